"""After a crash: which programs of the former supervisor still run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple

from banken_supervisor.processes.handle import ProcessError, ProcessHandle
from banken_supervisor.processes.scan import Marks, Seen, look, marked, marks_of
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
    known = [(record, _by_identity(record)) for record in found]
    by_mark = marked() if faults or any(seen is None for _, seen in known) else []
    for name in faults:
        seen = _leader(by_mark, lambda marks, name=name: (marks.name, marks.address) == (name, address))  # type: ignore[misc]
        if seen is not None and seen.marks is not None:
            with contextlib.suppress(OSError):
                known.append((records.intend(name, seen.marks.run), seen))
    result = Adoption([], [], [*filter(None, [displaced]), *faults.values()])
    for record, seen in known:
        if seen is None and not record.pid:
            seen = _leader(by_mark, lambda marks, run=record.run: marks.run == run)  # type: ignore[misc]
        child = None if seen is None else _hold(record, seen)
        if child is not None:
            result.running.append((record, child))
            if not record.pid:
                with contextlib.suppress(OSError):  # its intent is on record; that is enough to find it again
                    records.confirm(record, child.handle)
        elif _sweep_after(record, by_mark):
            result.ended.append(record)
        else:
            records.forget(record.name, record.run)  # the crash came before the spawn
    return result


def _leader(seen: list[Seen], fits: Callable[[Marks], bool]) -> Seen | None:
    """The oldest leader of a session whose marks fit: what was spawned; it may have started others by now."""
    return next((each for each in seen if each.leads and each.marks is not None and fits(each.marks)), None)


def _hold(record: RunRecord, seen: Seen) -> Child | None:
    """The process, held by a handle; None: it has ended."""
    try:
        handle = ProcessHandle.open_pid(seen.pid, seen.start)
    except ProcessError:
        return None
    if handle.alive:
        return Child(record.name, record.run, handle, False)
    handle.close()  # a zombie
    return None


def _sweep_after(record: RunRecord, by_mark: list[Seen]) -> bool:
    """Kill what an ended process left of its group. False: there never was a process."""
    remains = [each for each in by_mark if each.marks is not None and each.marks.run == record.run]
    for group in {record.pid} if record.pid else {each.group for each in remains}:
        sweep(record.run, group)
    return bool(record.pid or remains)


def _by_identity(record: RunRecord) -> Seen | None:
    if not record.pid:
        return None
    seen = look(record.pid)
    if seen is None or seen.start != record.start:
        return None
    marks = marks_of(record.pid)
    return seen if marks is None or marks.run == record.run else None
