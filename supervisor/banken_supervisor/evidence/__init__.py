"""Evidence: what a process was doing, taken before any action on it.

``collect`` takes it, ``summary_lines`` and ``render`` show it, ``sweep`` removes the files of dead workers. A
shell: it knows processes and files, and no watchdogs. ``collect`` and ``sweep`` may wait (bounded): not for the
loop.
"""

from banken_supervisor.evidence.announced_dumps import start_sweeping, sweep
from banken_supervisor.evidence.collect import Evidence, collect
from banken_supervisor.evidence.evidence_text import (
    feeds_text,
    output_evidence,
    output_lines,
    render,
    summary_lines,
)

__all__ = [
    "Evidence",
    "collect",
    "feeds_text",
    "output_evidence",
    "output_lines",
    "render",
    "start_sweeping",
    "summary_lines",
    "sweep",
]
