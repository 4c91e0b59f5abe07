"""What the members of a cluster ask each other: one thread for each of the others, and a connection that stays."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from banken.address import resolve
from banken.control import Control
from banken.errors import BankenError, Unreachable
from banken.keys import Key
from banken_supervisor.coordination.records import Member
from banken_supervisor.runtime.member_answers import Page, Said, heard_of, read_page
from banken_supervisor.text.sanitize import ODD

T = TypeVar("T")

ANSWER_S = 0.25
"""Seconds that an answer is waited for."""

PING_S = 1.0
"""Seconds after which a silent connection is tried."""

JOBS_MAX = 100
"""Questions that wait for one member; a further one is not asked."""


class _Job(NamedTuple):
    """One question."""

    op: str
    args: dict[str, Any]
    read: Callable[[Any], Any]
    """what is passed on of the answer; an exception of ODD: it is not understood"""
    answered: Callable[[Any], None]


class MemberLink:
    """The way to one other member. ``post``: has something done on the loop's thread."""

    def __init__(
        self, member: Member, pair: tuple[bytes, bytes], post: Callable[[Callable[[], None]], None]
    ) -> None:
        self.member = member
        self.is_up = False
        """whether it answered last"""
        self.times_up = 0
        """how often it began to answer"""
        self._post = post
        self._jobs: deque[_Job] = deque()
        self._wake = threading.Event()
        self._ends = False
        feed = resolve(member.address).feed
        self._key = Key("member", *pair, {feed: member.public.encode()})
        self._thread = threading.Thread(target=self._work, name=f"banken-{member.name}", daemon=True)
        self._thread.start()

    def ask(self, names: Sequence[str], answered: Callable[[dict[str, Said] | None], None]) -> bool:
        """Ask which of these names it hears. ``answered``: called on the loop's thread; None: it did not answer.
        False: it is not asked, for it did not answer last time."""
        return self._put("look", {"names": list(names), "timers": True}, heard_of, answered)

    def registry(self, part: str, offset: int, answered: Callable[[Page | None], None]) -> bool:
        """Ask for a page of its registry; as ``ask``."""
        return self._put("registry", {"part": part, "offset": offset}, partial(read_page, part), answered)

    def connect(self, timeout: float) -> Control:
        """A connection of the caller's own, from any thread; ``timeout``: seconds."""
        return Control(self.member.address, timeout, self._key)

    def close(self) -> None:
        """End, without waiting."""
        self._ends = True
        self._wake.set()

    def _put(
        self, op: str, args: dict[str, Any], read: Callable[[Any], T], answered: Callable[[T | None], None]
    ) -> bool:
        if not self.is_up or len(self._jobs) >= JOBS_MAX:
            return False
        self._jobs.append(_Job(op, args, read, answered))
        self._wake.set()
        return True

    def _work(self) -> None:
        try:
            with Control(self.member.address, ANSWER_S, self._key) as control:
                while not self._ends:
                    self._turn(control)
        except BankenError:
            self.is_up = False

    def _turn(self, control: Control) -> None:
        self._wake.wait(PING_S if self.is_up else ANSWER_S)
        self._wake.clear()
        if not self._jobs:
            self._request(control, "ping", {})
        while self._jobs:
            job = self._jobs.popleft()
            answer = self._request(control, job.op, job.args)
            try:
                found = None if answer is None else job.read(answer)
            except ODD:
                found = None
            self._post(partial(job.answered, found))

    def _request(self, control: Control, op: str, args: dict[str, Any]) -> Any:
        try:
            answer = control.request(op, **args)
        except BankenError as fault:
            if op != "registry" or isinstance(fault, Unreachable):  # an older banken knows no registry
                self.is_up = False
            return None
        if not self.is_up:
            self.is_up = True
            self.times_up += 1
        return answer
