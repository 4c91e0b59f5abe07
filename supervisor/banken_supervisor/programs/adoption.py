"""After a crash: which programs of the former supervisor still run."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from banken_supervisor.processes.handle import ProcessError, ProcessHandle
from banken_supervisor.processes.scan import Marked, marked
from banken_supervisor.programs.child_table import sweep
from banken_supervisor.programs.run_records import RunRecord, RunRecords
from banken_supervisor.programs.spawn import Child


class Adoption(NamedTuple):
    """What was found."""

    running: list[tuple[RunRecord, Child]]
    ended: list[RunRecord]
    """the former supervisor's, gone by now; how they ended is not known"""
    faults: list[str]
    """sentences about what could not be read"""


def adopt(records: RunRecords, address: str) -> Adoption:
    """Find every recorded process, and what is left of the groups of those that have ended.

    A process is the recorded one if its handle could be opened with the recorded start time, and its environment
    carries no other run's mark. One of which only the intent was recorded is searched by its mark, one whose
    record is damaged by its name and ``address``. Reads files and /proc: before the loop turns. OSError: the
    records cannot be read at all.
    """
    displaced = records.prepare()
    found, faults = records.read()
    by_mark = marked() if found or faults else []
    for name in faults:
        seen = next((each for each in by_mark if each.leads and (each.name, each.address) == (name, address)), None)
        if seen is not None:
            with contextlib.suppress(OSError):
                found.append(records.intend(name, seen.run))
    result = Adoption([], [], [*filter(None, [displaced]), *faults.values()])
    for record in found:
        child = _find(record, by_mark)
        if child is not None:
            result.running.append((record, child))
            if not record.pid:
                with contextlib.suppress(OSError):  # its intent is on record; that is enough to find it again
                    records.confirm(record, child.handle.pid, child.handle.start)
        elif _sweep_after(record, by_mark):
            result.ended.append(record)
        else:
            records.forget(record.name, record.run)  # the crash came before the spawn
    return result


def _find(record: RunRecord, by_mark: list[Marked]) -> Child | None:
    """Its process, held by a handle; None: it has ended, or never was."""
    pid, start = record.pid, record.start
    if not pid:
        # The oldest leader of a session: what was spawned; it may have started others by now.
        seen = next((each for each in by_mark if each.leads and each.run == record.run), None)
        if seen is None:
            return None
        pid, start = seen.pid, seen.start
    elif any(each.pid == pid and each.run != record.run for each in by_mark):
        return None  # it is another run's
    try:
        handle = ProcessHandle.open_pid(pid, start)
    except ProcessError:
        return None
    if handle.alive:
        return Child(record.name, record.run, handle, False)
    handle.close()  # a zombie
    return None


def _sweep_after(record: RunRecord, by_mark: list[Marked]) -> bool:
    """Kill what an ended process left of its group. False: there never was a process."""
    remains = [each for each in by_mark if each.run == record.run]
    for group in {record.pid} if record.pid else {each.group for each in remains}:
        sweep(record.run, group)
    return bool(record.pid or remains)
