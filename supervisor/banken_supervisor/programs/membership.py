"""Which program has started a process: by its control group, its mark, its session, and those of its ancestors.

So processes/run_processes.py knows what is signalled with a program. Asked once for each process that feeds.
"""

from __future__ import annotations

from collections.abc import Mapping

from banken.protocol.messages import ProcessIdentity
from banken_supervisor.processes.handle import is_local
from banken_supervisor.processes.namespaces import pid_here
from banken_supervisor.processes.scan import look

ANCESTORS_MAX = 64


def program_of(process: ProcessIdentity, runs: Mapping[str, str], leaders: Mapping[int, str]) -> str | None:
    """``runs``: program by run. ``leaders``: program by the pid of its living process. None: it is of no program,
    or that cannot be known. Reads /proc: about 30 µs for a process and for each ancestor without a mark."""
    pid = first = pid_here(process) if is_local(process) else 0
    for _ in range(ANCESTORS_MAX):
        seen = look(pid) if pid > 1 else None
        if seen is None or (pid == first and seen.start != process.start):
            return None
        if seen.run:
            return runs.get(seen.run)  # another one's mark: it belongs to what a member runs, or wants to live on
        for number in (pid, seen.session, seen.group):
            if number in leaders:
                return leaders[number]
        pid = seen.parent
    return None
