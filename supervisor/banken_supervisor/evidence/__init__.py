"""Evidence: what a process was doing, taken before anything is done to it.

``collect`` looks, ``summary_lines`` and ``render`` show, ``Sweeper`` clears away what dead workers left behind. A
shell: it knows processes and files, and nothing of watchdogs. ``collect`` and ``sweep`` may wait (bounded), so
neither belongs on the loop.

    collect.py    the order of things, one deadline, what becomes of a part that fails
    subject.py    one process, held by its pidfd
    proc.py, waits.py, cgroup.py    what the kernel says of it
    stacks.py     Python stacks by py-spy
    announced.py  what the worker left for us with ``enable_dumps()``: a dump by signal, an answer about its tasks
    sweeping.py   clears away what dead workers left there
    faulttext.py  reads the text that faulthandler writes
    headline.py, bounds.py, showing.py    pure: where it hangs, in one line; keeping to a size; plain text
"""

from banken_supervisor.evidence.collect import Evidence, collect
from banken_supervisor.evidence.evidence_text import feeds_text, render, summary_lines
from banken_supervisor.evidence.sweeping import Sweeper, sweep

__all__ = ["Evidence", "Sweeper", "collect", "feeds_text", "render", "summary_lines", "sweep"]
