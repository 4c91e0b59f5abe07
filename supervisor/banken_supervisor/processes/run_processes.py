"""Everything that one started process has started, however it left: it is signalled, and its end is awaited.

Members are found by their control group, by their session, by the mark of the run in their environment, and as
descendants of members. Where orphans come to this process (orphans.py) and they can come from nobody else, also
those that have changed all of that. Out of reach is what has changed session and environment, has lost its parent,
and is in no control group of its run, if its supervisor is another one by now or others may have started it.

One that carries the mark of another run is no member: it belongs to a supervisor that a member runs, or has set
``BANKEN_RUN`` itself because it wants to live on.

A session's number is the pid of the process that made it, and the kernel reuses it only when nobody is left in it.
It is taken for ours if a member was seen to lead it: a mark may also be copied, into a shell of the operator's.
"""

from __future__ import annotations

import contextlib
import os
import select
from signal import SIGCONT, SIGKILL
from time import monotonic

from banken_supervisor.processes.handle import ProcessError, ProcessHandle
from banken_supervisor.processes.orphans import Orphans
from banken_supervisor.processes.scan import Seen, command_of, is_within, search

HELD_MAX = 1024
"""Members that are held at once; the others follow when these have ended."""

SEARCHES_MAX = 4
"""Searches that find nothing while processes end, of which one may have started another at that moment."""

RESCAN_S = 1.0
"""Seconds between two searches for new members."""

KILL_S = 5.0
"""Seconds after SIGKILL until what still lives counts as out of reach."""


class RunProcesses:
    """All processes of one run but the first. For one thread at a time. Close it after use.

    ``pid``, ``start``: of the first, whose session has the same number; it may have ended. ``orphans``: None: those
    of this process are not looked at.
    """

    def __init__(self, run: str, pid: int, start: int, orphans: Orphans | None = None) -> None:
        assert run  # what has no mark must not be taken for a member
        self._run = run
        self._pid = pid
        self._start = start
        self._orphans = orphans
        self._held: dict[int, ProcessHandle] = {}
        self._told: set[tuple[int, int]] = set()
        """those that got the stop signal"""
        self._signalled = False
        self.is_first_meant = False
        """whether the first is a member like the others: it lives, and its program has ended"""
        self._parents: dict[int, int] = {}
        """of all processes, at the last search"""
        self._forbidden: set[tuple[int, int]] = set()
        """those that this process may not signal"""
        self._sessions: set[int] = set()
        """those that a member made, as long as one is in them"""
        self.strays: list[Seen] = []
        """orphans of this process that may be of this run or of others, at the last search"""

    def find(self) -> list[ProcessHandle]:
        """The members that live and may be signalled. Reads all of /proc."""
        for _ in range(SEARCHES_MAX):
            seen, complete = search(self._start)
            members = self._members(seen)
            if members or complete:
                break
        self._held = {pid: handle for pid, handle in self._held.items() if _keep_if_alive(handle)}
        for each in members:
            if each.pid not in self._held and len(self._held) < HELD_MAX and each[:2] not in self._forbidden:
                with contextlib.suppress(ProcessError):
                    self._held[each.pid] = ProcessHandle.open_pid(each.pid, each.start)
        return list(self._held.values())

    def left_session(self) -> list[str]:
        """Which of the members found last are in another session than the first, in words."""
        ours = os.getsid(0)  # what has our terminal is in our session (spawn.py)
        return [_words(pid) for pid in self._held if _session_of(pid) not in (0, self._pid, ours)]

    def signal(self, number: int) -> None:
        """Send it to each member that was found, after SIGCONT: SIGKILL always, the stop signal once.

        What a member starts after it got the stop signal helps it to end, and does not get it.
        """
        first_time, self._signalled = not self._signalled, True
        for pid, handle in list(self._held.items()):
            key = pid, handle.start
            helps = not first_time and self._parents.get(pid) in {self._pid, *self._held}
            if number != SIGKILL and (key in self._told or helps):
                continue
            self._told.add(key)
            try:
                handle.signal(SIGCONT)
                handle.signal(number)
            except PermissionError:
                self._forbidden.add(key)
                self._held.pop(pid).close()

    def signal_first(self, number: int) -> None:
        """Send it to the first process, after SIGCONT, if that lives and is not another user's."""
        with (
            contextlib.suppress(ProcessError, PermissionError),
            ProcessHandle.open_pid(self._pid, self._start) as handle,
        ):
            handle.signal(SIGCONT)
            handle.signal(number)

    def end(self, number: int, until: float) -> list[str]:
        """End all: the stop signal, which none gets twice, and SIGKILL at ``until``, in monotonic time.

        What outlives that for ``KILL_S``, or belongs to another user, in words.
        """
        given_up = max(until, monotonic()) + KILL_S
        while self.find() and (now := monotonic()) < given_up:
            self.signal(number if now < until else SIGKILL)
            self._wait(min(RESCAN_S, (until if now < until else given_up) - now))
        forbidden = [f"{_words(pid)} of another user" for pid, start in self._forbidden if _is(pid, start)]
        return [*(f"{_words(pid)}, which outlives SIGKILL" for pid in self._held), *forbidden]

    def close(self) -> None:
        """Give the descriptors back."""
        for handle in self._held.values():
            handle.close()
        self._held.clear()

    def _wait(self, seconds: float) -> None:
        """At most so long for the end of all that are held."""
        deadline = monotonic() + seconds
        poll = select.poll()
        waiting = {handle.fileno() for handle in self._held.values()}
        for fd in waiting:
            poll.register(fd, select.POLLIN)
        while waiting and (left := deadline - monotonic()) > 0:
            for fd, _ in poll.poll(left * 1000):
                poll.unregister(fd)
                waiting.discard(fd)

    def _members(self, seen: list[Seen]) -> list[Seen]:
        by_pid = {each.pid: each for each in seen}
        self._parents = {each.pid: each.parent for each in seen}
        first = by_pid.get(self._pid)
        ours = first is None or first.start == self._start
        sessions = self._sessions | ({self._pid} if ours and self._pid else set())
        found = {pid: by_pid[pid] for pid, handle in self._held.items() if _same(by_pid.get(pid), handle)}
        if first is not None and ours:
            found[first.pid] = first
        own = set() if self._orphans is None else self._orphans.own
        never = {0, 1, os.getpid(), *own} - {self._pid}
        candidates = [
            each
            for each in seen
            if each.start >= self._start
            and each.pid not in never
            and (not each.run or is_within(each.run, self._run))
        ]
        orphaned = [each for each in candidates if self._may_be_orphan(each)]
        if self._orphans is not None and self._orphans.sole_starter():
            found |= {each.pid: each for each in orphaned}
            orphaned = []
        here = os.getsid(0)
        grew = True
        while grew:
            grew = False
            for each in candidates:
                if each.pid not in found and (
                    is_within(each.run, self._run)
                    or each.session in sessions
                    or (ours and self._pid and each.group == self._pid)
                    or each.parent in found
                ):
                    found[each.pid] = each
                    grew = True
            led = {each.session for each in found.values() if each.session in found} - sessions - {here}
            sessions |= led
            grew = grew or bool(led)
        self._sessions = sessions & {each.session for each in found.values()}
        self.strays = [each for each in orphaned if each.pid not in found]
        return [each for pid, each in found.items() if pid != self._pid or self.is_first_meant]

    def _may_be_orphan(self, each: Seen) -> bool:
        """Whether it is an orphan without a mark that came to this process during this run."""
        return (
            self._orphans is not None
            and self._orphans.adopted
            and each.parent == os.getpid()
            and not each.run
            and each.session != os.getsid(0)
        )


def _keep_if_alive(handle: ProcessHandle) -> bool:
    if handle.alive:
        return True
    handle.close()
    return False


def _same(seen: Seen | None, handle: ProcessHandle) -> bool:
    return seen is not None and seen.start == handle.start


def _is(pid: int, start: int) -> bool:
    try:
        with ProcessHandle.open_pid(pid, start) as handle:
            return handle.alive
    except ProcessError:
        return False


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _words(pid: int) -> str:
    return f"pid {pid} ({command_of(pid)})"
