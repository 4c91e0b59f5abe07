"""9. How soon something is done: from a process's end to its incident, from a verdict to SIGTERM.

*Exit*: workers that have fed are killed with SIGKILL one after the other. Counted from just before the kill to the
moment when another process has received the event of the incident, and to the first line of the callback in the
supervisor. The supervisor keeps a journal, so the event waits until it is on disk.

*SIGTERM*: workers feed and fall silent; the ladder is one step, ``signal``, with no dump before it. Each notes the
time in the first line of its handler. Counted from the true deadline (the moment before the last feed was sent,
plus timeout and resolution), so that the verdict's own lateness is in it; beside it, without that, from the
verdict.

All are real processes and share one clock. The workers of one round are forks of one child: so many starts of an
interpreter would measure nothing else.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from itertools import chain
from typing import Any

from common import Child, Figure, asked, percentile, say, short_directory, wait_for

from banken.client import Client
from banken.control import Control, Events
from banken.protocol.feed_state import RESOLUTION_UNDECLARED
from banken.protocol.incidents import Incident
from banken.protocol.messages import Declaration

P99_MS_MAX = 20

TIMEOUT_S = 0.4
NEVER_S = 3600.0
WORKERS = 25
PATIENCE_S = 20.0

Seconds = list[list[float]]
"""by round"""


def run(quick: bool) -> list[Figure]:
    """All figures."""
    rounds = 2 if quick else 4
    heard: Seconds = []
    called: Seconds = []
    for _ in range(rounds):
        events, callbacks = _exits(50)
        heard.append(events)
        called.append(callbacks)
    deadline: Seconds = []
    verdict: Seconds = []
    for _ in range(rounds):
        whole, late = _terms(2 if quick else 4)
        deadline.append(whole)
        verdict.append([all_ - own for all_, own in zip(whole, late, strict=True)])
    return [
        _figure("exit (kill -9) to incident heard by another process, p99", heard),
        _figure("exit (kill -9) to first line of the callback, p99", called),
        _figure("deadline to SIGTERM in the process, p99", deadline),
        _figure("verdict to SIGTERM in the process, p99", verdict),
    ]


def _figure(what: str, rounds: Seconds) -> Figure:
    values = list(chain(*rounds))
    if min(values) < 0:
        raise RuntimeError(f"{what}: {min(values):.6f} s: nothing comes before its cause")
    shares = ((0.5, "p50"), (0.99, "p99"), (1.0, "max"))
    told = ", ".join(f"{label} {percentile(values, share) * 1000:.2g}" for share, label in shares)
    return Figure(
        "recovery",
        what,
        percentile(values, 0.99) * 1000,
        "ms",
        at_most=P99_MS_MAX,
        note=f"{len(values)} in {len(rounds)} rounds, {told} ms",
        data={"seconds": rounds},
    )


# -- the two measurements -----------------------------------------------------------------------------


def _exits(count: int) -> tuple[list[float], list[float]]:
    """(kill to event, kill to callback) of each worker, seconds."""
    killed: dict[str, float] = {}
    heard: dict[str, float] = {}
    chance = random.Random(count)
    with short_directory() as base:
        address = os.path.join(base, "s")
        with (
            Child("supervise", address, file="recovery") as keeper,
            Control(address, PATIENCE_S) as control,
            Events(address) as events,
        ):
            keeper.line()
            with Child("mortals", address, count, file="recovery") as herd:
                pids: dict[str, int] = herd.line()["pids"]
                wait_for("all are fed", lambda: control.request("summary")["states"]["alive"] == count, PATIENCE_S)
                _listening(control, events)
                for name, pid in pids.items():
                    time.sleep(chance.uniform(0.02, 0.06))
                    killed[name] = time.monotonic()
                    os.kill(pid, signal.SIGKILL)
                    heard[name] = _hear(events, name, "exited")
            marks = dict(keeper.ask()["marks"])
    return [heard[n] - killed[n] for n in killed], [marks[n] - killed[n] for n in killed]


def _terms(times: int) -> tuple[list[float], list[float]]:
    """(true deadline to SIGTERM, how much of that the verdict was late) of each, seconds."""
    with short_directory() as base:
        address = os.path.join(base, "s")
        with (
            Child("supervise", address, file="recovery") as keeper,
            Control(address, PATIENCE_S) as control,
            Events(address) as events,
        ):
            keeper.line()
            control.request("ping")
            _listening(control, events)
            with Child("silent", address, WORKERS, times, file="recovery") as herd:
                noted: dict[str, list[float]] = herd.line()["seconds"]
            late: dict[str, list[float]] = {name: [] for name in noted}
            while (event := events.next(0.5)) is not None:
                if event["type"] == "expired" and event["cause"] == "timeout":
                    late[event["name"]].append(event["late"])
    if any(len(noted[name]) != times or len(late[name]) != times for name in noted):
        counts = sum(map(len, noted.values())), sum(map(len, late.values()))
        raise RuntimeError(f"{counts} signals and verdicts of {WORKERS * times}")
    return list(chain(*noted.values())), list(chain(*(late[name] for name in noted)))


def _listening(control: Control, events: Events) -> None:
    """Wait until a subscription has arrived: an event made after that would otherwise be missed."""
    from banken.protocol.codec import encode
    from banken.protocol.messages import Kind, Message

    def tried() -> bool:
        declared = Declaration(NEVER_S, NEVER_S, NEVER_S)
        for kind in (Kind.DECLARE, Kind.RELEASE):
            control.request("tell", frame=encode(Message(kind, "listening", None, 0.0, declared)))
        return events.next(0.05) is not None

    wait_for("events are heard", tried, PATIENCE_S)


def _hear(events: Events, name: str, cause: str) -> float:
    while (event := events.next(PATIENCE_S)) is not None:
        if (event["type"], event.get("name"), event.get("cause")) == ("expired", name, cause):
            return time.monotonic()
    raise RuntimeError(f"{name} was killed, and nobody said so for {PATIENCE_S:g} s")


# -- the processes ------------------------------------------------------------------------------------


def supervise(address: str) -> None:
    """A supervisor with a journal; asked, it says when its callback ran."""
    from banken_supervisor import Supervisor
    from banken_supervisor.cli import process
    from banken_supervisor.engine.ladder import Ladder, Step
    from banken_supervisor.engine.policy import Policy

    marks: list[tuple[str, float]] = []

    def mark(incident: Incident) -> None:
        now = time.monotonic()
        marks.append((incident.name, now))

    process.prepare()
    supervisor = Supervisor(address, journal=os.path.join(os.path.dirname(address), "journal.db"))
    supervisor.callback("mark", mark)
    ladder = Ladder((Step("signal", options=(("signal", "SIGTERM"),)),))
    for number in range(WORKERS):
        declared = Declaration(TIMEOUT_S, NEVER_S, NEVER_S)
        supervisor.policy(f"silent-{number}", Policy(declared, ladder))
    with supervisor:
        say(ready=True)
        for _ in asked():
            say(marks=marks)


def mortals(address: str, count: str) -> None:
    """Workers that feed once and wait for their end."""
    pids = {}
    for number in range(int(count)):
        pid = os.fork()
        if pid == 0:
            client = Client(address)
            worker = client.watchdog(f"mortal-{number}", NEVER_S, NEVER_S, callback="mark")
            while not client.stats()["sent"]:  # the first feed may find no connection yet
                worker.feed()
                time.sleep(0.02)
            while True:
                signal.pause()
        pids[f"mortal-{number}"] = pid
    say(pids=pids)
    try:
        for _ in asked():
            pass
    finally:
        _end(pids.values())


def silent(address: str, count: str, times: str) -> None:
    """Workers that feed, fall silent until SIGTERM, and again; they say how long after the deadline that came."""
    pipes, pids = {}, []
    for number in range(int(count)):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            _silent(address, number, int(times), write)
            os._exit(0)
        os.close(write)
        pids.append(pid)
        pipes[f"silent-{number}"] = read
    try:
        found = {}
        for name, pipe in pipes.items():
            with open(pipe, encoding="ascii") as file:
                found[name] = [float(each) for each in file.read().split()]
        say(seconds=found)
    finally:
        _end(pids)


def _silent(address: str, number: int, times: int, write: int) -> None:
    chance = random.Random(number)
    came: list[float] = []
    signal.signal(signal.SIGTERM, lambda *_: came.append(time.monotonic()))
    client = Client(address, release_at_exit=False)
    name = f"silent-{number}"
    lateness = []
    for _ in range(times):
        time.sleep(chance.uniform(0.05, 0.35))
        sent, before = client.stats()["sent"], len(came)
        fed_at = time.monotonic()
        client.feed(name)
        while client.stats()["sent"] == sent:  # the first feed may find no connection yet
            time.sleep(0.02)
            fed_at = time.monotonic()
            client.feed(name)
        while len(came) == before and time.monotonic() < fed_at + PATIENCE_S:
            time.sleep(0.05)
        lateness += [at - fed_at - TIMEOUT_S - RESOLUTION_UNDECLARED for at in came[before : before + 1]]
    client.release(name)
    client.close()
    os.write(write, " ".join(map(repr, lateness)).encode())


def _end(pids: Any) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        os.waitpid(pid, 0)


if __name__ == "__main__":
    {"supervise": supervise, "mortals": mortals, "silent": silent}[sys.argv[1]](*sys.argv[2:])
