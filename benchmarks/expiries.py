"""Ten thousand expiries at one moment, in a real supervisor with a journal: part of 8 (journal.py).

All watchdogs fall due within a few milliseconds. Measured are the seconds until the last incident is on disk, the
longest pass of the loop meanwhile, and what the supervisor's memory grew by. How late it is seen is found by asking
every ``LOOK_S``, in a reading connection to the same file.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import ExitStack

from common import Child, Figure, resident_bytes, short_directory, wait_for

COUNT = 10_000
DUE_IN_S = 4.0
"""Seconds from the first declaration to the moment at which all are due."""
ON_DISK_S_MAX = 2.0
PASS_MS_MAX = 100.0
GROWTH_MB_MAX = 64.0
"""What 10,000 incidents may take while they wait and afterwards: 6.5 kB each."""
LOOK_S = 0.02
WAIT_S = 60.0


def run() -> list[Figure]:
    """All three figures."""
    import zmq
    from traffic import push

    from banken.control import Control
    from banken.protocol.codec import encode
    from banken.protocol.messages import Declaration, Kind, Message

    with short_directory() as place:
        address, journal = os.path.join(place, "a"), os.path.join(place, "journal.db")
        os.mkdir(address, 0o700)
        with Child("run", "--address", address, "--journal", journal, module="banken_supervisor") as child:
            wait_for("the supervisor", lambda: os.path.exists(os.path.join(address, "feed")), WAIT_S)
            context = zmq.Context()
            with ExitStack() as resources:
                resources.callback(context.destroy, 0)  # a fault would wait for it for ever
                control = resources.enter_context(Control(address, WAIT_S))
                socket = push(context, address)
                began = time.monotonic()
                for number in range(COUNT):
                    timeout = DUE_IN_S - (time.monotonic() - began)
                    declared = Declaration(timeout, 3600.0, timeout)
                    socket.send(encode(Message(Kind.FEED, f"worker-{number}", None, 0.0, declared)))
                sent = time.monotonic() - began
                wait_for("all are watched", lambda: control.request("summary")["watchdogs"] == COUNT, WAIT_S)
                if time.monotonic() - began > DUE_IN_S:
                    raise RuntimeError("this machine is too busy: the first fell due before the last was declared")
                before = control.request("summary")
                memory = resident_bytes(child.pid)
                seen = _on_disk(journal, began + DUE_IN_S)
                after = control.request("summary")
                grown = (resident_bytes(child.pid) - memory) / 1e6
    if after["events"].get("expired") != COUNT:
        raise RuntimeError(f"{after['events'].get('expired')} verdicts on {COUNT} silent watchdogs")
    if sum(after["journal"]["dropped"].values()):
        raise RuntimeError(f"the journal dropped entries: {after['journal']}")
    note = (
        f"{COUNT:,} watchdogs, declared in {sent:.1f} s; slowest pass before {before['slowest_turn'] * 1e3:.0f} ms"
    )
    slowest = after["slowest_turn"] * 1000
    return [
        Figure(
            "journal", "10,000 expiries at one moment, all on disk", seen, "s", at_most=ON_DISK_S_MAX, note=note
        ),
        Figure("journal", "the loop's longest pass with it", slowest, "ms", at_most=PASS_MS_MAX, note=note),
        Figure("journal", "what memory grew by with it", grown, "MB", at_most=GROWTH_MB_MAX, note=note),
    ]


def _on_disk(journal: str, due: float) -> float:
    """Seconds from ``due`` until the journal holds all incidents."""
    with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as connection:
        deadline = time.monotonic() + WAIT_S
        while True:
            (count,) = connection.execute("SELECT count(*) FROM incidents").fetchone()
            if count >= COUNT:
                return time.monotonic() - due
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {count} incidents are on disk")
            time.sleep(LOOK_S)
