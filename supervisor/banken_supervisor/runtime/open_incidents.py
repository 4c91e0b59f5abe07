"""The leader's open incidents: the other members are asked now and then whether they hear the worker again.

Belongs to the loop's thread. A worker that fell silent may come back where only a follower hears it. One ear is
enough to end an incident, as it is enough that none is opened (members.py). So many incidents are asked about at a
time that it costs little, and all of them in turn.

A member that stood still, or was cut off, reads late what was sent before, and takes it for new. So what it hears
in its first seconds after it answers again ends no incident, whoever says it: others may have it from that member's
registry. A worker that lives feeds again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import NamedTuple

from banken.protocol.incidents import Cause
from banken_supervisor.engine.claim_gate import OF_SILENCE
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.hearing import Timer
from banken_supervisor.runtime.member_links import MemberLink
from banken_supervisor.runtime.members import NAMES_MAX, Members

ASK_S = 1.0
"""Seconds between two questions, each about at most ``NAMES_MAX`` incidents."""

SETTLES_S = 3.0
"""Seconds since a member answers in which it may hear what is old: as long as a connection keeps that, and some."""

ENDED_BY_FEED = OF_SILENCE | {Cause.FAILED}
"""Causes of incidents that a feed to any member ends; of no progress, a feed with progress. The others are found by
each member for itself."""


class _Up(NamedTuple):
    """A member that answers."""

    link: MemberLink
    times_up: int
    since: float
    """deadline time"""


class _Open(NamedTuple):
    """One open incident."""

    id: str
    cause: Cause
    since: float
    """deadline time: what was heard before does not end it"""


@dataclass(eq=False)
class OpenIncidents:
    """``may_act``: whether this member can be sure that it leads. ``heard_by``: gets a watchdog and a member that
    hears it, where this has ended an incident."""

    _driver: Driver
    _members: Members
    _may_act: Callable[[], bool]
    _heard_by: Callable[[str, str], None]
    _open: dict[str, _Open] = field(default_factory=dict)
    """by watchdog, whoever is asked about next first"""
    _ask_at: float = 0.0
    """monotonic time"""
    _up: dict[str, _Up] = field(default_factory=dict)
    """by member, since when it answers"""

    def note(self, name: str, incident: str, cause: Cause, since: float) -> None:
        """This one is open. ``since``: deadline time; a feed that came after it ends it."""
        if cause in ENDED_BY_FEED:
            self._open[name] = _Open(incident, cause, since)

    def stop(self) -> None:
        """This member leads no longer."""
        self._open.clear()

    def patience(self, now: float) -> float | None:
        """Seconds until ``turn`` has something to do; None: not before something else happens."""
        return max(0.0, self._ask_at - now) if self._open else None

    def turn(self, now: float) -> None:
        """Look who answers, in any role, and ask about the next ones; ``now``: monotonic time."""
        answer = [self._look_at(name, link) for name, link in self._members.links.items()]
        if not self._open or now < self._ask_at:
            return
        self._ask_at = now + ASK_S
        if not any(answer):
            return
        for name in list(islice(self._open, NAMES_MAX)):
            each = self._open.pop(name)
            if self._is_open(name, each):
                self._open[name] = each  # the last one now
                self._members.ask(name, each.cause, partial(self._heard, name, each, self._driver.now))

    def _look_at(self, member: str, link: MemberLink) -> bool:
        """Whether it answers; it is noted since when."""
        up = self._up.get(member)
        if not link.is_up:
            self._up.pop(member, None)
        elif up is None or up.link is not link or up.times_up != link.times_up:
            self._up[member] = _Up(link, link.times_up, self._driver.now)
        return link.is_up

    def _is_open(self, name: str, each: _Open) -> bool:
        record = self._driver.engine.get(name)
        incident = None if record is None or record.details is None else record.details.open_incident
        return incident is not None and incident.id == each.id

    def _heard(self, name: str, each: _Open, asked: float, member: str, timer: Timer | None) -> None:
        """A member has heard it ``timer.age`` before its answer: at the earliest so long before the question."""
        if timer is None or not self._may_act() or not self._is_open(name, each):
            return
        driver = self._driver
        if not all(self._look_at(*each) for each in self._members.links.items()):
            return
        incident = driver.engine.table.by_name[name].incident
        settled = max((self._up[each].since for each in self._members.links), default=driver.now) + SETTLES_S
        failed_at = None if incident is None else incident.failed_at
        since = max(each.since, each.since if failed_at is None else failed_at, settled)
        if asked - timer.age > since:
            driver.engine.succession.recover(name, timer, driver.now, driver.out)
            self._heard_by(name, member)
