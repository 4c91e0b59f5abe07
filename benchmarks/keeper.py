"""A supervisor in a process of its own, with callbacks that say when they ran.

``python benchmarks/keeper.py DIRECTORY [HOLD_S]`` supervises until SIGTERM and then says every run of
``mark``: the watchdog's name and the monotonic time in the callback's first line, which all processes of a
host share. ``stuck`` sleeps for a minute, ``raises`` raises, ``hold`` runs a regular expression that keeps
the interpreter's lock for about HOLD_S seconds.
"""

from __future__ import annotations

import re
import sys
import time
from math import ceil, log2

from common import say

from banken.protocol.incidents import Incident
from banken_supervisor import Supervisor

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


def main(directory: str, hold_s: str = "0") -> None:
    """Supervise until SIGTERM."""
    text = runaway(float(hold_s)) if float(hold_s) else "b"

    def hold() -> None:
        start = time.monotonic()
        RUNAWAY.match(text)
        held.append(time.monotonic() - start)

    supervisor = Supervisor(directory)
    for each in (mark, stuck, raises, hold):
        supervisor.callback(each.__name__, each)
    supervisor.run()
    say(marks=marks, raised=len(raised), held=held)


if __name__ == "__main__":
    main(*sys.argv[1:])
