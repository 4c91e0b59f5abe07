"""Evidence: what a process was doing, taken before any action on it.

``collect`` takes it, ``summary_lines`` and ``render`` show it, ``Sweeper`` removes the files of dead workers. A
shell: it knows processes and files, and no watchdogs. ``collect`` and ``sweep`` may wait (bounded): not for the
loop.

    collect.py                         its parts in order, one deadline, what a failed part means
    process_facts.py, kernel_waits.py  what the kernel says
    stacks.py                          Python stacks by py-spy
    announced_dumps.py                 by the worker's ``enable_dumps()``: a dump by signal, an answer about tasks
    faulthandler_text.py               reads a dump
    sweeping.py                        removes the files of dead workers
    headline.py                        pure: where it hangs, in one line
    size_limits.py, evidence_text.py   pure: a limited size; lines for people
    time_limits.py, text.py            deadlines; safe text
"""

from banken_supervisor.evidence.collect import Evidence, collect
from banken_supervisor.evidence.evidence_text import feeds_text, render, summary_lines
from banken_supervisor.evidence.sweeping import Sweeper, sweep

__all__ = ["Evidence", "Sweeper", "collect", "feeds_text", "render", "summary_lines", "sweep"]
