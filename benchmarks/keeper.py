"""A supervisor in a process of its own, with callbacks that say when they ran.

``python benchmarks/keeper.py DIRECTORY [HOLD_S] [own]`` supervises until SIGTERM and then says every run of
``mark``: the watchdog's name and the monotonic time in the callback's first line, which all processes of a
host share. ``stuck`` sleeps for a minute, ``raises`` raises, ``hold`` runs a regular expression that keeps
the interpreter's lock for about HOLD_S seconds. With ``own`` they run as those of a config do, in a process of
their own, and ``crashes`` ends that with a segmentation fault.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import time
from math import ceil, log2
from pathlib import Path

from common import HERE, say

from banken.protocol.incidents import Incident
from banken_supervisor import Supervisor
from banken_supervisor.actions.callback_processes import CallbackProcesses
from banken_supervisor.engine.policy import Quotas

STUCK_S = 60.0

marks: list[tuple[str, float]] = []
raised: list[str] = []
held: list[float] = []
"""seconds of each run of ``hold``"""

RUNAWAY = re.compile(r"(a+)+$")
"""Tries every way to split a row of a's: twice the time for each one more."""


def mark(incident: Incident) -> None:
    """A good callback."""
    now = time.monotonic()
    marks.append((incident.name, now))


def write_mark(incident: Incident) -> None:
    """``mark`` in another process."""
    now = time.monotonic()
    with open(os.environ["BENCH_MARKS"], "a") as file:
        file.write(f"{incident.name} {now!r}\n")


def crashes() -> None:
    """One that ends its process."""
    ctypes.string_at(0)


def stuck() -> None:
    """One that hangs."""
    time.sleep(STUCK_S)


def raises(incident: Incident) -> None:
    """One that fails."""
    raised.append(incident.name)
    raise RuntimeError("a callback that raises")


def runaway(seconds: float) -> str:
    """A text for which RUNAWAY takes about ``seconds`` on this machine."""
    size = 16
    while True:
        text = "a" * size + "b"
        start = time.perf_counter()
        RUNAWAY.match(text)
        took = time.perf_counter() - start
        if took > 0.05:
            return "a" * (size + max(0, ceil(log2(seconds / took)))) + "b"
        size += 1


def main(directory: str, hold_s: str = "0", own: str = "") -> None:
    """Supervise until SIGTERM."""
    if own:
        in_own_process(directory)
        return
    text = runaway(float(hold_s)) if float(hold_s) else "b"

    def hold() -> None:
        start = time.monotonic()
        RUNAWAY.match(text)
        held.append(time.monotonic() - start)

    supervisor = Supervisor(directory, quotas=Quotas(2_000_000, 2_000_000, events_burst=10_000_000))
    for each in (mark, stuck, raises, hold):
        supervisor.callback(each.__name__, each)
    supervisor.run()
    say(marks=marks, raised=len(raised), held=held)


def in_own_process(directory: str) -> None:
    """Supervise, the callbacks elsewhere."""
    file = Path(directory).with_suffix(".marks")
    os.environ["BENCH_MARKS"] = str(file)
    file.touch()
    targets = {"mark": "keeper:write_mark", "crashes": "keeper:crashes"}
    processes = CallbackProcesses(targets, str(HERE))
    if faults := processes.start():
        raise RuntimeError(str(faults))
    supervisor = Supervisor(directory, quotas=Quotas(2_000_000, 2_000_000, events_burst=10_000_000))
    for name in targets:
        supervisor.callback(name, processes.function(name))
    supervisor.run()
    processes.kill(1.0)
    rows = [line.split() for line in file.read_text().splitlines()]
    file.unlink()
    say(marks=[(name, float(at)) for name, at in rows], raised=0, held=[])


if __name__ == "__main__":
    main(*sys.argv[1:])
