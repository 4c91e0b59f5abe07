"""Reads the registries of the other members (engine/registry.py), whenever something may have been missed.

Belongs to the loop's thread. One member is read at a time, a page at a time. It is read again now and then, and at
once when its connection was down or this process stood still. A member that has read one that knows all is *whole*:
it may lead at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Protocol

from banken_supervisor.control.registry_page import PART_RELEASED, PART_WATCHED
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.registry import Standing, Words
from banken_supervisor.runtime.member_answers import Page
from banken_supervisor.runtime.member_links import MemberLink

AGAIN_S = 1.0
"""Seconds until a member is asked again that did not answer, or did not know all itself."""

EVERY_S, SHARE_MAX = 30.0, 0.02
"""Seconds after which it is read again in any case, and the share of the time that reading may take: a member that
does not hear the workers of some host knows of them only by the others."""

GAP_S = 3.0
"""Seconds between two turns after which something may have been missed: workers send again to a supervisor that
does not take what they say, but for what they say once."""

PATIENCE_S = 5.0
"""Seconds after which an answer is not waited for."""

LOOK_S = 1.0
"""Seconds between two looks at the members."""

PAGES_MAX = 20_000
"""Pages of one member's registry: with more it is left."""

WORD_S = 0.5
"""Seconds, and a tenth of ``ttl``, after which all members have applied what an operator said."""


LATE_TTLS = 3.0
"""A word that is perhaps older, in times of ``ttl``, was read late. By as much a pause that was read in time may be
over sooner with one member than with another one, where their hosts' clocks differ."""


class SaidHere(Protocol):
    """What operators have said, as far as this member has read it."""

    def is_unknown(self, name: str, words: Words) -> bool:
        """Whether the last word of this watchdog is none of these."""

    def was_told(self, name: str, words: Words) -> bool:
        """Whether the last pause of this watchdog is one of these."""


@dataclass(slots=True)
class _Member:
    """What was read of one."""

    times_up: int = 0
    """of its connection, when it was looked at last"""
    again_at: float = 0.0
    """not asked before, monotonic time"""
    was_read: bool = False
    """since its connection came up last"""
    part: str = PART_RELEASED
    offset: int = 0
    removals: int | None = None
    pages: int = 0
    began_at: float = 0.0


@dataclass(eq=False)
class RegistryReading:
    """``links``: the connections to the other members, by name. ``ttl``: seconds. ``became_whole``: this member
    knows all watchdogs now, by one that has applied these words of operators."""

    _links: Mapping[str, MemberLink]
    _driver: Driver
    _ttl: float
    _became_whole: Callable[[Words], None]
    _said: SaidHere
    _members: dict[str, _Member] = field(default_factory=dict)
    _number: int = 0
    """of the last question"""
    _asked_of: str | None = None
    """the member whose answer is waited for"""
    _asked_at: float = 0.0
    _now: float | None = None
    """of the last turn"""
    _words_since: float | None = None
    """since when this member has the operators' words"""

    def read_soon(self) -> None:
        """An operator's word came late: the others know what has become of it."""
        for each in self._members.values():
            each.again_at = min(each.again_at, (self._now or 0.0) + self._settles_s)

    def ask_again(self) -> None:
        """Another one leads: it may know all."""
        if not self._driver.engine.registry.is_whole:
            for each in self._members.values():
                each.again_at = 0.0

    def patience(self, now: float) -> float:
        """Seconds until ``turn`` has something to do."""
        if self._asked_of is not None or self._words_since is None:
            return LOOK_S
        due = [each.again_at for name, each in self._members.items() if self._is_up(name)]
        return min(LOOK_S, max(0.0, min(due, default=inf) - now, self._words_since + self._settles_s - now))

    def turn(self, now: float, *, has_words: bool) -> None:
        """Ask for the next page; ``now``: monotonic time. ``has_words``: whether this member has read what
        operators have said."""
        stood_still = self._now is not None and now - self._now > GAP_S
        self._now = now
        for name in [name for name in self._members if name not in self._links]:
            del self._members[name]
        for name, link in self._links.items():
            member = self._members.setdefault(name, _Member())
            if link.times_up != member.times_up or stood_still:
                member.times_up, member.again_at, member.was_read = link.times_up, now, False
        if self._asked_of not in (None, *self._members) or now >= self._asked_at + PATIENCE_S:
            self._asked_of = None
        if self._words_since is None and has_words:
            self._words_since = now
        if self._asked_of is not None or self._words_since is None or now < self._words_since + self._settles_s:
            return
        for name, member in self._members.items():
            if member.again_at <= now and self._is_up(name):
                member.part, member.offset, member.removals, member.pages = PART_RELEASED, 0, None, 0
                member.began_at = now
                self._driver.engine.registry.begin()
                self._ask(name, member)
                return

    def _is_up(self, name: str) -> bool:
        link = self._links.get(name)
        return link is not None and link.is_up

    @property
    def _settles_s(self) -> float:
        return self._ttl / 10 + WORD_S

    def _ask(self, name: str, member: _Member) -> None:
        assert self._now is not None
        self._number += 1
        self._asked_of, self._asked_at = name, self._now
        answered = partial(self._answered, self._number, self._driver.now)
        if not self._links[name].registry(member.part, member.offset, answered):
            self._stop(member)

    def _stop(self, member: _Member) -> None:
        """It does not go on now."""
        assert self._now is not None
        self._asked_of, member.again_at = None, self._now + AGAIN_S

    def _answered(self, number: int, asked: float, page: Page | None) -> None:
        name = self._asked_of
        if number != self._number or name is None or name not in self._links:
            return
        member = self._members[name]
        if page is None or page.end < member.offset or member.pages >= PAGES_MAX:
            self._stop(member)
            return
        if member.pages == 0 and member.was_read and not page.whole:
            self._stop(member)  # nothing new, and it does not know all yet
            return
        member.pages += 1
        self._take(page, asked)
        passed_over = 0 if member.removals is None else page.removals - member.removals
        member.removals = page.removals
        if passed_over < 0:  # it has begun anew
            self._stop(member)
        elif passed_over and member.offset and member.part == PART_WATCHED:
            member.offset = max(0, member.offset - passed_over)  # so many have moved up before this page
            self._ask(name, member)
        elif page.more:
            member.offset = page.end
            self._ask(name, member)
        elif member.part == PART_RELEASED:
            member.part, member.offset, member.removals = PART_WATCHED, 0, None
            self._ask(name, member)
        else:
            self._finish(member, page)

    def _take(self, page: Page, asked: float) -> None:
        engine, now, out = self._driver.engine, self._driver.now, self._driver.out
        for name, age in page.released:
            engine.registry.drop(name, age, asked, now, out)
        for entry in page.watched:
            if self._said.is_unknown(entry.name, page.words):
                if engine.get(entry.name) is not None:
                    continue  # the word is newer than what that member knew
                entry = entry._replace(standing=Standing.ALIVE, left=None)
            ends_pause = self._said.was_told(entry.name, page.words) and not self._ends_soon(entry.name)
            engine.registry.take(entry, asked, now, out, ends_pause=ends_pause)

    def _ends_soon(self, name: str) -> bool:
        """Whether its pause is about to be over here, and so is perhaps over elsewhere for no other reason."""
        record = self._driver.engine.get(name)
        details = None if record is None else record.details
        return details is not None and details.paused_until < self._driver.now + LATE_TTLS * self._ttl

    def _finish(self, member: _Member, page: Page) -> None:
        registry = self._driver.engine.registry
        self._stop(member)
        member.was_read = True
        if page.whole:
            took = member.again_at - AGAIN_S - member.began_at
            member.again_at += max(EVERY_S, took / SHARE_MAX) - AGAIN_S
            registry.end(self._driver.now, self._driver.out)
            self._became_whole(page.words)
