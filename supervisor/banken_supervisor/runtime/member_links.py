"""What the members of a cluster ask each other: one thread for each of the others, and a connection that stays."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from banken.address import resolve
from banken.control import Control
from banken.errors import BankenError
from banken.keys import Key
from banken_supervisor.coordination.records import Member
from banken_supervisor.engine.hearing import Heard, Timer
from banken_supervisor.text.sanitize import ODD

ANSWER_S = 0.25
"""Seconds that an answer is waited for."""

PING_S = 1.0
"""Seconds after which a silent connection is tried."""

JOBS_MAX = 100
"""Questions that wait for one member; a further one is not asked."""


class MemberLink:
    """The way to one other member. ``post``: has something done on the loop's thread."""

    def __init__(
        self, member: Member, pair: tuple[bytes, bytes], post: Callable[[Callable[[], None]], None]
    ) -> None:
        self.member = member
        self.is_up = False
        """whether it answered last"""
        self._post = post
        self._jobs: deque[tuple[Sequence[str], Callable[[dict[str, Heard] | None], None]]] = deque()
        self._wake = threading.Event()
        self._ends = False
        feed = resolve(member.address).feed
        self._key = Key("member", *pair, {feed: member.public.encode()})
        self._thread = threading.Thread(target=self._work, name=f"banken-{member.name}", daemon=True)
        self._thread.start()

    def ask(self, names: Sequence[str], answered: Callable[[dict[str, Heard] | None], None]) -> bool:
        """Ask which of these names it hears. ``answered``: called on the loop's thread; None: it did not answer.
        False: it is not asked, for it did not answer last time."""
        if not self.is_up or len(self._jobs) >= JOBS_MAX:
            return False
        self._jobs.append((names, answered))
        self._wake.set()
        return True

    def close(self) -> None:
        """End, without waiting."""
        self._ends = True
        self._wake.set()

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
            self._request(control, "ping")
        while self._jobs:
            names, answered = self._jobs.popleft()
            answer = self._request(control, "look", names=list(names), timers=True)
            found = None if answer is None else heard_of(answer)
            self._post(lambda answered=answered, found=found: answered(found))  # type: ignore[misc]

    def _request(self, control: Control, op: str, **args: Any) -> Any:
        try:
            answer = control.request(op, **args)
        except BankenError:
            self.is_up = False
            return None
        self.is_up = True
        return answer


def heard_of(answer: Any) -> dict[str, Heard]:
    """What another member's answer says of each name; of what is not understood, nothing."""
    try:
        return {
            row["name"]: Heard(*(_timer(row["timers"][each]) for each in Heard._fields)) for row in answer["rows"]
        }
    except ODD:
        return {}


def _timer(found: Any) -> Timer | None:
    if found is None:
        return None
    age, left = map(float, found)
    return Timer(age, left) if age >= 0.0 and left > 0.0 else None
