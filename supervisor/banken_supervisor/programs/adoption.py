"""At the start: which programs of a former supervisor still run.

Records say it, but they are not all there is: they may be lost, one by one or with the whole directory. So the
processes that carry the mark of this address, and have no record, are looked for too. Any user of the host can give
a process such marks: without a record they count only in a process of the program's user.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import NamedTuple

from banken.address import main_directory
from banken.errors import NameRefused
from banken.protocol.limits import check_name
from banken_supervisor.engine.policy import ProgramSpec, Restart
from banken_supervisor.processes.handle import ProcessError, ProcessHandle, real_user
from banken_supervisor.processes.scan import COMMAND_RUN, WITHIN, Seen, command_of, is_within, processes
from banken_supervisor.programs.run_records import RunRecord, RunRecords
from banken_supervisor.programs.spawn import Child


def stranger(record: RunRecord) -> ProgramSpec:
    """Enough to stop a program that the configuration no longer names."""
    return ProgramSpec(
        record.name,
        ("true",),
        autostart=False,
        restart=Restart.NEVER,
        stop_signal=record.stop_signal,
        stop_timeout=record.stop_timeout,
    )


class Adoption(NamedTuple):
    """What was found."""

    running: list[tuple[RunRecord, Child]]
    ended: list[RunRecord]
    """the former supervisor's, gone by now; how they ended is not known. What they started may live"""
    remains: list[RunRecord]
    """runs without a record of which something lives, but not what the program is"""
    faults: list[str]
    """sentences about what could not be read or was missing"""

    def records(self) -> list[RunRecord]:
        """Of all processes that were on record, alive or not."""
        return [*(record for record, _ in self.running), *self.ended]


TOLD_MAX = 10
"""Processes of other users that are named."""


def adopt(records: RunRecords, address: str, users: Mapping[str, int]) -> Adoption:
    """Find every recorded process, and those whose record is lost. ``users``: by program, the user id that
    it runs as; others run as this process's user.

    A process is the recorded one if its handle could be opened with the recorded start time, and its environment
    carries no other run's mark. One of which only the intent was recorded is searched by its mark. Reads files and
    /proc: before the loop turns. OSError: the records cannot be read at all.
    """
    displaced = records.prepare()
    found, faults = records.read()
    seen = processes() if found or faults or users else []
    result = Adoption([], [], [], [*filter(None, [displaced]), *faults.values()])
    lost = _lost(seen, {record.run for record in found}, address, users, result.faults)
    for record in [*found, *lost]:
        child = _find(record, seen, users.get(record.name, os.geteuid()))
        if record not in found:
            _judge_lost(record, child, records, result)
        elif child is not None:
            _take(record, child, records, result)
        elif record.pid or any(is_within(each.run, record.run) for each in seen):
            result.ended.append(record)
        else:
            records.forget(record.name, record.run)  # the crash came before the spawn
    return result


def _take(record: RunRecord, child: Child, records: RunRecords, result: Adoption) -> None:
    result.running.append((record, child))
    if not record.pid:
        with contextlib.suppress(OSError):  # its intent is on record; that is enough to find it again
            records.confirm(record, child.handle.pid, child.handle.start)


def _judge_lost(record: RunRecord, child: Child | None, records: RunRecords, result: Adoption) -> None:
    """Adopt it, unless another process is the program, or its own has ended: then what is left of it is ended."""
    name = record.name
    if child is None:
        result.remains.append(record)
        result.faults.append(f"no record of {name} was left, but some of what it started: that is ended")
        return
    pid = child.handle.pid
    if any(name == each.name for each, _ in result.running):
        child.handle.close()
        result.remains.append(record)
        result.faults.append(
            f"{name} runs twice: pid {pid} ({command_of(pid)}), of which there is no record, is ended"
        )
        return
    result.ended[:] = [each for each in result.ended if each.name != name]
    with contextlib.suppress(OSError):  # it is found again by its mark
        record = records.intend(name, record.run, record.stop_signal, record.stop_timeout)
    _take(record, child, records, result)
    result.faults.append(
        f"no record of {name} was left: pid {pid} ({command_of(pid)}) carries its mark, and is adopted"
    )


def _lost(
    seen: list[Seen], recorded: set[str], address: str, users: Mapping[str, int], faults: list[str]
) -> list[RunRecord]:
    """Runs at this address that no record names, the oldest first."""
    found: dict[str, RunRecord] = {}
    forged = []
    for each in seen:
        if each.run and each.run not in recorded and each.run not in found and _is_here(each, address):
            with contextlib.suppress(NameRefused):
                name = check_name(each.name)
                if each.user in (None, users.get(name, os.geteuid())):
                    found[each.run] = RunRecord(name, each.run, "")
                else:
                    forged.append(f"pid {each.pid} ({command_of(each.pid)}) of user {each.user} as {name}")
    if forged:
        more = f" and {len(forged) - TOLD_MAX:,} more" if len(forged) > TOLD_MAX else ""
        faults.append(
            f"marked as programs, without a record, and of another user than theirs: {', '.join(forged[:TOLD_MAX])}"
            f"{more}; they are left alone. Whoever made them may have meant to stand in for a program"
        )
    return list(found.values())


def _is_here(seen: Seen, address: str) -> bool:
    """Whether its address is this one: the same directory, for processes of this container."""
    if not os.path.isabs(seen.address) or seen.run.startswith(COMMAND_RUN) or WITHIN in seen.run:
        return False
    root = f"/proc/{seen.pid}/root"
    its = os.path.realpath(main_directory(seen.address) or seen.address)
    try:
        same_host = os.readlink(f"/proc/{seen.pid}/ns/pid") == os.readlink("/proc/self/ns/pid")
        return same_host and os.path.samefile(root + its, address)
    except OSError:
        return False


def _find(record: RunRecord, seen: list[Seen], user: int) -> Child | None:
    """Its process, held by a handle; None: it has ended, or never was. ``user``: the user id of the program."""
    pid, start = record.pid, record.start
    if not pid:
        # The oldest leader of a session: what was spawned; it may have started others by now. It may have
        # overwritten its environment, while another process of its session has not.
        sessions = {each.session for each in seen if each.run == record.run}
        ours = (each for each in seen if each.leads and each.run in ("", record.run) and each.pid in sessions)
        leader = next(ours, None)
        if leader is None or user not in (0, real_user(leader.pid)):  # root's may have become another user
            return None
        pid, start = leader.pid, leader.start
    elif any(each.pid == pid and each.run not in ("", record.run) for each in seen):
        return None  # it is another run's
    try:
        handle = ProcessHandle.open_pid(pid, start)
    except ProcessError:
        return None
    if handle.alive:
        return Child(record.name, record.run, handle, False)
    handle.close()  # a zombie
    return None
