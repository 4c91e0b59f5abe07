"""The other members of a cluster: who they are, and what each of them hears.

Belongs to the loop's thread. Before a silence becomes an incident the others are asked whether they hear the
worker: one that does is proof that the worker lives, and no number of deaf ears is proof that it does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from banken.clock import wall
from banken.protocol.incidents import Cause
from banken_supervisor.coordination.leadership import UNLED_TTLS
from banken_supervisor.coordination.records import MEMBERS, Foreign, Member, pack_member, unpack_member
from banken_supervisor.coordination.store import Away, Snapshot
from banken_supervisor.coordination.store_thread import StoreThread
from banken_supervisor.engine.hearing import Timer
from banken_supervisor.runtime.member_answers import Released, Said
from banken_supervisor.runtime.member_links import ANSWER_S, MemberLink

NAMES_MAX = 200
"""Names in one question."""

PAUSE_MAX = 60.0
"""Seconds between two times that this member writes itself over another one of its name, at most. The first time it
does so at once, and each time it waits twice as long: one that is gone does not come back, and of two that live the
others would else ask now this one, now that one."""

AGAIN_S, UP_S = 0.5, 0.02
"""Seconds for which it is waited that one answers again, where nobody did, and between two looks."""

SAME_NAME_S = 2 * PAUSE_MAX
"""Seconds for which another one of this name is shown: one that lives has written itself again by then."""

Pair = tuple[bytes, bytes]
Decide = Callable[[str, Timer | None], None]
"""Gets a member's name and how the timer stands there; or an empty name and None: nobody hears it."""


@dataclass(slots=True)
class _Question:
    """What is asked of several members at once."""

    names: dict[str, tuple[Cause, Decide]]
    """those that nobody has answered for yet"""
    members: set[str]
    """who has not answered"""
    until: float
    is_last: bool
    """no other one follows where nobody answers: nobody was up to be asked, or this is the second one"""


@dataclass(eq=False)
class Members:
    """``own``: this member. ``pair``: its key; None: it has none, and asks nobody. ``let_in`` gets the keys of the
    others. ``limit``: seconds that the store may take; between two looks at who there is pass ``own.ttl``. ``tell``
    gets a word for what is wrong with a member, and a sentence; once for each run of it.
    """

    own: Member
    _pair: Pair | None
    _store: StoreThread
    _post: Callable[[Callable[[], None]], None]
    _let_in: Callable[[dict[str, bytes]], None]
    _limit: float
    _tell: Callable[[str, str], None]
    links: dict[str, MemberLink] = field(default_factory=dict)
    """by name"""
    asks: bool = True
    was_released: Callable[[str, float], None] = lambda name, age: None
    """gets a name that another member says was released, and seconds since then"""
    _waiting: dict[str, tuple[Cause, Decide]] = field(default_factory=dict)
    """names that are to be asked for, and of which verdict"""
    _again: dict[str, tuple[Cause, Decide, float]] = field(default_factory=dict)
    """those of which nobody answered, though somebody was up: until when one may be up again"""
    _questions: dict[int, _Question] = field(default_factory=dict)
    _number: int = 0
    _look_at: float = 0.0
    """monotonic time"""
    _is_written: bool = False
    _kept: int = 0
    """so many times more a member is kept that is not in the store"""
    _turned_at: float = 0.0
    _write_at: float = 0.0
    """before, it is not written over another one; both monotonic times"""
    _pause: float = field(init=False)
    _same_name: tuple[float, str] | None = None
    """when another one of this name was seen last, and what is said of it"""
    _told: set[tuple[str, str]] = field(default_factory=set)
    """of which runs what was told"""

    def __post_init__(self) -> None:
        self._pause = self.own.ttl

    @property
    def same_name(self) -> str | None:
        """What is said of another supervisor that says that it is this member, too; None: there is none."""
        if self._same_name is None or self._turned_at - self._same_name[0] > SAME_NAME_S:
            return None
        return self._same_name[1]

    def ask(self, name: str, cause: Cause, decide: Decide) -> None:
        """Ask the others whether they have heard what speaks against this verdict."""
        self._waiting[name] = cause, decide

    def withdraw(self, name: str) -> None:
        """Nobody waits for the answer any more."""
        self._waiting.pop(name, None)
        self._again.pop(name, None)
        for question in self._questions.values():
            question.names.pop(name, None)

    def stop_asking(self) -> None:
        """This member leads no longer: nobody waits for any answer."""
        self._waiting.clear()
        self._again.clear()
        self._questions.clear()

    def write_again(self) -> None:
        """The store's data were replaced. The others have time to write themselves, too."""
        self._is_written, self._look_at, self._kept = False, 0.0, UNLED_TTLS

    def patience(self, now: float) -> float:
        """Seconds until ``turn`` has something to do."""
        if self._waiting or any(not each.members for each in self._questions.values()):
            return 0.0
        if self._again:
            return UP_S
        return max(0.0, min((each.until for each in self._questions.values()), default=self._look_at) - now)

    def turn(self, now: float) -> None:
        """Ask, and decide where no answer came in time."""
        self._turned_at = now
        if now >= self._look_at:
            self._look_at = now + self.own.ttl
            if not self._is_written:
                value = {MEMBERS + self.own.name: pack_member(self.own)}
                self._store.ask(lambda store: store.transact({}, value, (), self._limit), self._written)
            self._store.ask(lambda store: store.read(MEMBERS, self._limit), self._read)
        while self._waiting:
            self._ask({name: self._waiting.pop(name) for name in list(islice(self._waiting, NAMES_MAX))}, now)
        self._ask_again(now)
        for number in [each for each, found in self._questions.items() if not found.members or found.until <= now]:
            question = self._questions.pop(number)
            for name, (cause, decide) in question.names.items():
                if question.is_last:
                    decide("", None)
                else:
                    self._again[name] = cause, decide, now + AGAIN_S

    def _ask(self, names: dict[str, tuple[Cause, Decide]], now: float, *, is_last: bool = False) -> None:
        self._number += 1
        number = self._number
        asked = {
            link.member.name
            for link in self.links.values()
            if self.asks and link.ask(list(names), partial(self._answered, number, link.member.name))
        }
        self._questions[number] = _Question(names, asked, now + ANSWER_S, is_last or not asked)

    def _ask_again(self, now: float) -> None:
        """Where nobody answered, all of them may only have been late."""
        while self._again and any(link.is_up for link in self.links.values()):
            names = list(islice(self._again, NAMES_MAX))
            self._ask({name: self._again.pop(name)[:2] for name in names}, now, is_last=True)
        for name in [name for name, (_, _, until) in self._again.items() if until <= now]:
            if (each := self._again.pop(name, None)) is not None:
                each[1]("", None)

    def close(self) -> None:
        """End the connections."""
        for link in self.links.values():
            link.close()

    def _answered(self, number: int, member: str, found: dict[str, Said] | None) -> None:
        question = self._questions.get(number)
        if question is None:
            return
        question.members.discard(member)
        question.is_last |= found is not None
        for name, heard in (found or {}).items():
            if (asked := question.names.get(name)) is None:
                continue
            if isinstance(heard, Released):
                self.was_released(name, heard.age)  # where that is later than the last feed here, it is withdrawn
            elif (timer := heard.of(asked[0])) is not None:
                del question.names[name]
                asked[1](member, timer)

    def _written(self, answer: object) -> None:
        self._is_written = not isinstance(answer, Away)

    def _read(self, answer: Snapshot | Away) -> None:
        if isinstance(answer, Away):
            return
        found = {}
        for key, item in answer.items.items():
            try:
                member = unpack_member(item.value)
            except Foreign:
                continue
            self._look_at_settings(member)
            if member.name != self.own.name and MEMBERS + member.name == key and member.address and member.public:
                found[member.name] = member
        self._kept, is_kept = max(0, self._kept - 1), self._kept > 0
        for name, link in list(self.links.items()):
            if found.get(name) != link.member and not (is_kept and name not in found):
                self.links.pop(name).close()
        if self._pair is None:
            return
        new = {name: member for name, member in found.items() if name not in self.links}
        if new:
            self._let_in(
                {name: link.member.public.encode() for name, link in self.links.items()}
                | {name: member.public.encode() for name, member in found.items()}
            )
        for name, member in new.items():
            self.links[name] = MemberLink(member, self._pair, self._post)

    def _look_at_settings(self, member: Member) -> None:
        """What two configs of one cluster may not have in common, and what they must."""
        if member.name == self.own.name:
            if self._is_written:
                self._look_at_own(member)
        elif member.ttl != self.own.ttl:
            text = f"{member.name} has ttl {member.ttl:g} s, this member {self.own.ttl:g} s: the longer one holds"
            self._tell_once("other-ttl", member, text)

    def _look_at_own(self, member: Member) -> None:
        """What is in the store under this member's name, after it was written."""
        now = self._turned_at
        if member.run == self.own.run:
            if now > self._write_at + PAUSE_MAX:
                self._pause = self.own.ttl
            return
        where = f" at {member.address}" if member.address else ""
        text = f"another supervisor{where} says that it is {member.name}, too"
        self._same_name = now, text
        self._tell_once("same-name", member, text)
        if now >= self._write_at:
            self._is_written, self._look_at = False, now
            self._write_at, self._pause = now + self._pause, min(PAUSE_MAX, 2 * self._pause)

    def _tell_once(self, what: str, member: Member, text: str) -> None:
        if (what, member.run) not in self._told:
            self._told.add((what, member.run))
            self._tell(what, text)


def member(name: str, run: str, address: str, public: str, ttl: float) -> Member:
    """This supervisor, from now on."""
    return Member(name, run, address, public, wall(), ttl)
