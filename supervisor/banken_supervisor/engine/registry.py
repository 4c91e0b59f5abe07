"""What the members of a cluster tell each other of their watchdogs.

A member that has just started hears from workers that feed. It does not hear of those that fell silent before, nor,
after it was cut off, of those that were released meanwhile. So it asks the others for their registry: for each
watchdog what was declared and how long ago it was fed, and for each that was released how long ago that was.

What is said are ages, so no clocks are compared. Between the question and its answer time passes: what happened
``age`` seconds ago happened at the earliest ``age`` before the question, and at the latest ``age`` before its
answer came. Of a feed and a release the later one counts, and where both may have been the later one, the release:
a worker that lives feeds again, and a watchdog that was released would never be fed.

A pause that this member has from its journal, from a word that was said before it began, or from another member,
has perhaps ended since: it is *unproved*, until a member that knows all has told of it, and was read to the end.
The end of a pause that was said to all may be missed, too: the worker has released the watchdog while this member
stood still, or did not hear it. So it is unproved again where another one that was told of it says that there is
none. What an operator has paused or resumed with one member alone is no matter of the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import NamedTuple, Protocol

from banken.protocol.messages import Declaration, Kind, Message
from banken_supervisor.engine import members
from banken_supervisor.engine.admission import Admission
from banken_supervisor.engine.allowance import NOTHING_ALLOWED
from banken_supervisor.engine.declarations import Declarations
from banken_supervisor.engine.effects import Effect
from banken_supervisor.engine.lifecycle import Lifecycle
from banken_supervisor.engine.maintenance import Maintenance
from banken_supervisor.engine.occurrence import Occurrence
from banken_supervisor.engine.policy import By
from banken_supervisor.engine.record import Record, deadline
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.states import State, Trigger
from banken_supervisor.engine.succession import Succession
from banken_supervisor.engine.table import Table

STALLS_MAX, STALL_MIN_S = 32, 0.1
"""Stops of this process that are remembered, the last; a shorter one does not count."""


class Standing(StrEnum):
    """How a watchdog stands in a registry."""

    WAITING = "waiting"
    ALIVE = "alive"
    """or silent: its age says so"""
    IDLE = "idle"
    """it said that it has nothing to do"""
    DUE = "due"
    """its worker said when the next message comes: in ``left`` seconds"""
    PAUSED = "paused"
    LEFT = "left"
    """a former run of that supervisor has left it, and nothing was heard of it since"""


_NOT_JUDGED = frozenset({Standing.IDLE, Standing.DUE, Standing.PAUSED})
"""Its silence is as it should be."""


class Entry(NamedTuple):
    """One watchdog in a registry."""

    name: str
    declaration: Declaration | None
    """None: nobody gave it a timeout"""
    resolution: float
    standing: Standing
    age: float
    """seconds since it was fed, or since it waits"""
    left: float | None
    """seconds until its pause, its extension or its work ends; None: there is no such end"""
    awaited: bool
    """False: nothing says that its worker is there"""


class Words(NamedTuple):
    """Which of the operators' words a member has applied."""

    identity: str
    """of the store's data"""
    since: int
    """those after this revision while it ran, as they were said"""
    revision: int
    """all up to this one"""


NO_WORDS = Words("", 0, 0)


class WasMade(Protocol):
    """See ``Registry.was_made``."""

    def __call__(self, name: str, *, is_paused: bool) -> None: ...


@dataclass(eq=False)
class Registry:
    """What the other members say, put to what is known here. ``now`` and ``asked``, when the question was sent, are
    deadline time."""

    _table: Table
    _rules: Rules
    _admission: Admission
    _declarations: Declarations
    _maintenance: Maintenance
    _lifecycle: Lifecycle
    _succession: Succession
    is_whole: bool = False
    """whether this member knows all watchdogs: it has read the registry of one that does, or has led"""
    learnt: int = 0
    """watchdogs that are watched here by the others' word, so far"""
    _stalls: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=STALLS_MAX))
    """deadline times at which this process had stood still, and for how many seconds"""
    _absent: dict[str, None] = field(default_factory=dict)
    """what a former run of this supervisor has left, and the member whose registry is read has not named"""
    unproved: set[str] = field(default_factory=set)
    """watchdogs whose pause has perhaps ended since it was known here"""
    said_to_all: set[str] = field(default_factory=set)
    """watchdogs that an operator has paused, with a word to all members"""
    said_here: dict[str, tuple[Record, bool]] = field(default_factory=dict)
    """watchdogs that an operator has paused or resumed since with this member alone, and whether paused"""
    words: Callable[[], Words] = lambda: NO_WORDS
    """those that this member has applied"""
    _told_of: dict[str, tuple[Entry, float]] = field(default_factory=dict)
    """what the member whose registry is read has told of those, and the deadline time then"""
    was_made: WasMade = lambda name, *, is_paused: None
    """called with what is watched here from now on by another member's word"""

    def entry(self, record: Record, now: float) -> Entry | None:
        """What this member says of it; None: it is no matter of the cluster. A pause of a maintenance window is
        none: each member has its own windows."""
        if record.is_group or self._succession.gate.is_local(record):
            return None
        details, standing, left = record.details, Standing.ALIVE, None
        if self._succession.is_unheard(record) or self._is_said_here(record):
            standing = Standing.LEFT
        elif record.state is State.WAITING:
            standing = Standing.WAITING
        elif details is not None:
            if record.state is State.PAUSED and not details.maintained:
                standing = Standing.PAUSED
                left = None if details.paused_until == inf else max(0.0, details.paused_until - now)
            elif record.state is State.ALIVE and details.work_due is not None:
                standing = Standing.IDLE if details.work_due == inf else Standing.DUE
                left = None if details.work_due == inf else max(0.0, details.work_due - now)
        if standing in (Standing.WAITING, Standing.ALIVE) and details is not None and details.extended_until:
            left = max(0.0, details.extended_until - now)
        is_declared = record.by in (By.OPERATOR, By.WORKER)
        return Entry(
            record.name, record.declaration if is_declared else None, record.resolution, standing,
            self.age(record.fed_at, now), left, record.awaited,
        )  # fmt: skip

    def note_stall(self, lost: float, now: float) -> None:
        """This process stood still for so long, which its deadline time does not count."""
        if lost >= STALL_MIN_S:
            self._stalls.append((now, lost))

    def age(self, at: float, now: float) -> float:
        """Seconds since then by the time of all members, of which none is lost: what was fed, and what was released
        before a stop of this process, must not seem to be younger than what others have heard since."""
        return max(0.0, now - at) + sum(lost for since, lost in self._stalls if at < since <= now)

    def _at(self, age: float, now: float) -> float:
        """Deadline time of what was ``age`` seconds ago by the time of all members."""
        at, left = now, age
        for since, lost in reversed(self._stalls):
            if at - left >= since:
                break
            left = max(0.0, left - (at - since) - lost)
            at = since
        return at - left

    def doubt_pauses(self) -> None:
        """This member begins: what it has paused it has from its journal."""
        self.unproved.update(record.name for record in self._table if _is_paused(record))

    def was_said(self, name: str, *, pauses: bool, here: bool = False) -> None:
        """An operator has just said whether this one is paused; ``here``: to this member alone."""
        self.unproved.discard(name)
        self.said_to_all.discard(name)
        self.said_here.pop(name, None)
        if here and (record := self._table.by_name.get(name)) is not None:
            self.said_here[name] = record, pauses
        elif pauses and not here:
            self.said_to_all.add(name)

    def is_next(self, name: str, process: tuple[int, int, bytes], most: float, now: float) -> bool:
        """Whether this is another worker's than ``process``'s, whose it was when an operator released it, and was
        fed in these ``most`` seconds, in which that was. ``process``: without its boot id."""
        record = self._table.by_name.get(name)
        if record is None or record.owner is None or self.age(record.fed_at, now) >= most:
            return False
        pool = () if record.details is None else record.details.members or ()
        return all(each[1:] != process for each in (record.owner, *pool))

    def begin(self) -> None:
        """The registry of another member begins to be read."""
        self._absent, self._told_of = {}, {}
        by_name = self._table.by_name
        for names in (self.unproved, self.said_to_all):
            names &= {name for name in names if (record := by_name.get(name)) and _is_paused(record)}
        self.said_here = {name: each for name, each in self.said_here.items() if self._is_said_here(each[0])}
        if not self.is_whole:
            self._absent = {each.name: None for each in self._table if self._succession.is_unheard(each)}

    def end(self, now: float, out: list[Effect]) -> None:
        """The registry of a member that knows all was read to its end. What a former run of this supervisor has
        left, and neither that member nor a worker has spoken of since, is forgotten: it was released meanwhile."""
        self.is_whole, absent, self._absent = True, self._absent, {}
        self._settle_pauses(now, out)
        for name in absent:
            record = self._table.by_name.get(name)
            if record is not None and self._succession.is_unheard(record) and self._may_drop(record):
                self._lifecycle.apply(record, Occurrence(Trigger.RELEASE), now, out)

    def take(self, told: Entry, asked: float, now: float, out: list[Effect], *, ends_pause: bool = False) -> None:
        """Another member watches this. ``ends_pause``: that one was told of its pause, too."""
        table, name = self._table, told.name
        self._absent.pop(name, None)
        if told.standing is Standing.LEFT:
            return
        if ends_pause and name in self.said_to_all and told.standing is not Standing.PAUSED:
            self.unproved.add(name)
        if (released := table.released.get(name)) is not None and self.age(released, asked) <= told.age:
            return
        record = table.by_name.get(name)
        if record is None:
            if (record := self._make(told, now, out)) is None:
                return
            self.learnt += 1
            self._set(record, told, now, out)
            self.was_made(name, is_paused=_is_paused(record))
        elif self._is_doubted(record):
            self._told_of[name] = told, now
            return
        elif self._knows_more(record, told, now):
            self._set_declared(record, told, now, out)
        else:
            return
        if _is_paused(record):  # that other one may not know all
            self.unproved.add(name)
            self._told_of[name] = told, now

    def _settle_pauses(self, now: float, out: list[Effect]) -> None:
        """A member that knows all has told of these whether they are paused."""
        told_of, self._told_of = self._told_of, {}
        for name, (told, at) in told_of.items():
            record = self._table.by_name.get(name)
            if record is None or not self._is_doubted(record):
                continue
            self.was_said(name, pauses=told.standing is Standing.PAUSED)
            since = self.age(at, now)
            left = None if told.left is None else max(0.0, told.left - since)
            if told.standing is Standing.PAUSED:  # it ends as it does there
                record.detailed().paused_until = inf if left is None else now + left
                self._table.mark_changed(record)
                self._table.arm(record)
            else:
                self._set_declared(record, told._replace(age=told.age + since, left=left), now, out)

    def _is_doubted(self, record: Record) -> bool:
        """Whether it is paused, and that has perhaps ended."""
        is_others = not record.is_group and not self._succession.gate.is_local(record)
        return is_others and record.name in self.unproved and _is_paused(record)

    def _is_said_here(self, record: Record) -> bool:
        found = self.said_here.get(record.name)
        if found is None or found[0] is not self._table.by_name.get(record.name):
            return False
        return not found[1] or _is_paused(record)

    def drop(self, name: str, age: float, asked: float, now: float, out: list[Effect]) -> None:
        """With another member this was released ``age`` seconds ago."""
        record, earliest = self._table.by_name.get(name), self._at(self.age(asked, now) + age, now)
        if record is None:
            self._table.note_released(name, max(earliest, self._table.released.get(name, -inf)))
        elif self._may_drop(record) and (self._succession.is_unheard(record) or self.age(record.fed_at, now) > age):
            self._lifecycle.apply(record, Occurrence(Trigger.RELEASE), now, out)
            self._table.note_released(name, earliest)

    def _may_drop(self, record: Record) -> bool:
        """Whether another member's word ends it: not where an incident is open, or where this one's config names
        it, and its worker was not heard here."""
        if not (record.is_judged or self._is_doubted(record)):
            return False
        if record.is_group or self._succession.gate.is_local(record):
            return False
        is_heard = record.state is State.ALIVE and not self._succession.is_unheard(record)
        return is_heard or not self._rules.names(record.name)

    def _knows_more(self, record: Record, told: Entry, now: float) -> bool:
        """Whether the other member knows more of it: here it is silent, or was not heard since the start."""
        if record.is_group or self._succession.gate.is_local(record) or self._is_said_here(record):
            return False
        unheard = self._succession.is_unheard(record)
        if unheard or not record.is_judged:
            return unheard and record.is_judged
        due, declared = deadline(record), record.declaration
        lives = told.standing is Standing.ALIVE and told.age < declared.timeout + record.resolution
        return due is not None and due <= now and (lives or told.standing in _NOT_JUDGED)

    def _make(self, told: Entry, now: float, out: list[Effect]) -> Record | None:
        """A record for a name that is not watched here; None: it is refused here."""
        admission, policy = self._admission, self._rules.policy_of(told.name)
        fed = told.standing is not Standing.WAITING
        found = self._rules.in_force(policy, told.declaration, fed=fed)
        if found is None or admission.short_of_memory or len(self._table) >= admission.quotas.names:
            return None
        declaration, by = found
        record = Record(told.name, self._table.share(declaration), told.resolution, now - told.age, by=by)
        record.policy = policy
        if not told.awaited:
            record.detailed().dormant = True
        admission.watch(record)
        self._maintenance.apply_to_new(record, now, out)
        return record

    def _set_declared(self, record: Record, told: Entry, now: float, out: list[Effect]) -> None:
        if not record.operator:
            message = Message(Kind.DECLARE, record.name, None, told.resolution, told.declaration)
            self._declarations.update(record, message, out)
        self._set(record, told, now, out)

    def _set(self, record: Record, told: Entry, now: float, out: list[Effect]) -> None:
        """It stands here as it does there."""
        table, standing = self._table, told.standing
        until = inf if told.left is None else now + told.left
        unheard, fed_at = self._succession.is_unheard(record), record.fed_at
        if record.state is State.PAUSED:
            if record.detailed().maintained:
                return  # by a window of this member's
            self._lifecycle.apply(record, Occurrence(Trigger.RESUME), now, out)
        record.fed_at = now - told.age if unheard else max(fed_at, now - told.age)
        if standing is not Standing.WAITING and record.state is State.WAITING:
            table.await_feeds(record)
            table.move(record, State.ALIVE)
        if standing is Standing.PAUSED:
            what = Occurrence(Trigger.PAUSE, until=until, seconds=told.left)
            self._lifecycle.apply(record, what, now, out)
            return
        table.forget_frames(record)  # its next feed ends what is told here
        if standing in (Standing.IDLE, Standing.DUE):
            record.detailed().work_due = until
        elif record.details is not None or told.left is not None:
            details = record.detailed()
            details.work_due, details.allowed = None, NOTHING_ALLOWED
            details.extended_until = None if told.left is None else until
        members.keep_shown(record)
        self._succession.gate.let_go(record, Trigger.FEED, now, out)
        table.arm(record)


def _is_paused(record: Record) -> bool:
    """By an operator or its worker: each member has its own maintenance windows."""
    return record.state is State.PAUSED and record.details is not None and not record.details.maintained
