"""What one feed costs the supervisor when it is awakened for it.

``banken run`` beside a bare loop: a process with the same three sockets that does nothing but poll and receive.
Both get the same feeds at the same moments. CPU time is what the scheduler counts for all threads of a process,
libzmq's included (/proc/PID/task/*/schedstat, nanoseconds); ticks would be too coarse.

``python benchmarks/wake.py bare DIRECTORY`` is the bare loop.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import traffic
import zmq
from common import Child, Figure, say, short_directory, wait_for

from banken.address import resolve
from banken.control import Control
from banken.protocol.messages import Kind

RATES = (10, 100, 1_000)
RATIO_MAX = 1.3
WATCHDOGS = 1_000
EVERY_S = 10.0
MANY_RATIO_MAX = 1.5
TIMEOUT_S = 60.0


def run(quick: bool) -> list[Figure]:
    """One figure a rate, and one for many watchdogs."""
    rounds, seconds = (3, 3.0) if quick else (11, 5.0)
    figures = []
    with (
        short_directory() as ours,
        short_directory() as theirs,
        Child("run", "--address", ours, module="banken_supervisor") as supervisor,
        Child("bare", theirs, file="wake") as bare,
    ):
        bare.line()
        with Control(ours, timeout=10.0) as control:
            wait_for("the supervisor", lambda: control.request("ping"), 10.0)
            context: zmq.Context[Any] = zmq.Context()
            try:
                sockets = [traffic.push(context, ours), traffic.push(context, theirs)]
                pids = supervisor.pid, bare.pid
                for rate in RATES:
                    note = f"{rounds} rounds of {seconds:.0f} s, one watchdog"
                    ratio = _ratio(sockets, pids, ["wake"], rate, seconds, rounds)
                    figures.append(
                        Figure("wake", f"CPU a feed, supervisor / bare loop, at {rate:,}/s", ratio, "x",
                               at_most=RATIO_MAX, note=note)
                    )  # fmt: skip
                called = traffic.names("wake", WATCHDOGS)
                ratio = _ratio(sockets, pids, called, WATCHDOGS / EVERY_S, 2 * EVERY_S, max(1, rounds // 4))
                figures.append(
                    Figure("wake", f"the same, {WATCHDOGS:,} watchdogs, each fed every {EVERY_S:.0f} s",
                           ratio, "x", at_most=MANY_RATIO_MAX, note=f"rounds of {2 * EVERY_S:.0f} s")
                )  # fmt: skip
            finally:
                context.destroy(0)
    return figures


def _ratio(
    sockets: list[Any], pids: tuple[int, int], names: list[str], rate: float, seconds: float, rounds: int
) -> float:
    """The median of the rounds' ratios. A round before them makes the feeds known."""
    frames = cycle(traffic.frames(Kind.FEED, names, TIMEOUT_S, grace_s=TIMEOUT_S))
    ratios = []
    for number in range(rounds + 1):
        before = [_nanoseconds(pid) for pid in pids]
        pause = 1.0 / rate
        count = len(names) if number == 0 else int(seconds * rate)
        start = time.monotonic()
        for done in range(count):
            frame = next(frames)
            for socket in sockets if done % 2 else reversed(sockets):
                socket.send(frame)
            time.sleep(max(0.0, start + (done + 1) * pause - time.monotonic()))
        ours, theirs = (after - first for after, first in zip(map(_nanoseconds, pids), before, strict=True))
        if number:
            ratios.append(ours / theirs)
    return median(ratios)


def _nanoseconds(pid: int) -> int:
    """What the scheduler has counted for all threads of a process."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # it has ended meanwhile
            total += int((task / "schedstat").read_text().split()[0])
    return total


def bare_loop(directory: str) -> None:
    """Poll and receive, until SIGTERM."""
    address = resolve(directory)
    context: zmq.Context[Any] = zmq.Context(io_threads=1)
    feeds, control, events = context.socket(zmq.PULL), context.socket(zmq.ROUTER), context.socket(zmq.XPUB)
    feeds.bind(address.feed)
    control.bind(address.control)
    events.bind(address.events)
    polled = [(feeds, zmq.POLLIN), (control, zmq.POLLIN), (events, zmq.POLLIN)]
    say(ready=True)
    while True:
        zmq.zmq_poll(polled, 1000)
        with suppress(zmq.Again):
            while True:
                feeds.recv(zmq.DONTWAIT)


if __name__ == "__main__":
    bare_loop(sys.argv[2])
