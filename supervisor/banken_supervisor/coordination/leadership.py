"""Who leads: one of the members, or nobody, never two.

Theory of operation
-------------------
Two keys say it. ``leader`` is written at a takeover only; the revision at which it was written is the *term*.
``leader/beat`` is written by the leader every fifth of ``ttl``, if ``leader`` still has its term. Every member
reads both keys every tenth of ``ttl``. Whoever sees both unchanged for a whole ``ttl`` of its own clock takes over,
by a transaction that expects both as they were read. So of several that try, one succeeds, and none does if the
leader has written meanwhile.

The leader may act until ``ttl`` after it *sent* its last ``beat`` that was written, less a margin for clocks of
different rates. Whoever takes over has seen that ``beat`` for ``ttl``, and can have seen it only after it was sent.
So the former leader has stopped before. No clock is compared with another one, and no wall clock is asked.

*Away* never means that anything is lost. A leader whose store does not answer stops acting at that moment, and
remains the leader: the next ``beat`` that is written proves that nobody took over in between. Only what was
*refused*, or is seen in the store, deposes it. A takeover whose answer was lost is seen in the next reading, by the
run id, and made again, which gives a new term.

When the store's own leader is gone, it answers nobody for a second or two. A beat that was written shortly before
would be seen only then, and its whole ``ttl`` be waited for. So whoever does not lead *glances* before it reads: at
what any part of the store has, which may be behind. A beat that is there was sent before, and counts from then,
once the store has answered with the same one.

When the store has been away, the leader needs time to write again. So a member takes over only after the store has
answered for one interval of beats. A member that has just started, and does not know all watchdogs yet, is not
*eligible*: it takes over only if nobody has led for twice ``ttl``. A leader that stops in order writes that nobody
leads, and the others need not wait.

When the store has lost its data, or has those of an old copy, nobody leads. Who led last, and can be sure of it,
takes over at once, and knows what it had claimed; who led last, and may have been replaced, after one ``ttl``; the
others after ``UNLED_TTLS``. Revisions begin anew then, and a new term may have the number of an old one: so a
leader that may have been replaced reads before it writes. Takeovers have numbers of their own, which go on: by them
a member that could not read for a while knows that another one has led after it, and not in an old copy. A number
is one more than the highest that is known, and at least the seconds of the wall clock: where nobody remembers any
number, only that is later.

Compared with a lease in the store: etcd gives every lease its whole time again when its own leader changes, so a
takeover would take up to twice as long. (The idea: Kubernetes' client-go, ``leaderelection``.)

``TRANSITIONS`` (roles.py) is the whole of it. Pure: the time is an argument, in seconds of a clock that also runs
while the host sleeps (CLOCK_BOOTTIME); the caller makes the calls that ``call`` returns, one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from banken_supervisor.coordination.records import (
    BEAT,
    LEADER,
    Foreign,
    Leader,
    pack,
    pack_leader,
    unpack_leader,
)
from banken_supervisor.coordination.roles import TRANSITIONS, Role, Trigger
from banken_supervisor.coordination.store import ABSENT, Done, Item, Refused, Snapshot

TTL_MIN, TTL_MAX = 1.0, 3600.0

BEATS, READS = 5, 10
"""So often within ``ttl`` the leader writes, and every member reads."""

AGAIN = 20
"""A beat that was not answered is repeated after this part of ``ttl``."""

CALL_SHARE = 0.35
"""The share of ``ttl`` that one call may take. A beat every fifth of it, and two calls, fit into ``ttl``."""

MARGIN_MIN, MARGIN_SHARE = 0.1, 0.02
"""Seconds, and share of ``ttl``, by which the leader stops earlier: two clocks may differ by 2 % in their rates."""

UNLED_TTLS = 2
"""So many ``ttl`` without a leader, and a member takes over that is not eligible, or that did not lead when the
store lost its data."""


class Read(NamedTuple):
    """Read both keys; then ``was_read``, or ``was_away``."""


class Glance(NamedTuple):
    """Look at both keys as any part of the store has them; then ``was_glanced``. Nothing follows from no answer."""


class Write(NamedTuple):
    """Make this transaction; then ``was_written`` with what came of it, or ``was_away``."""

    what: str
    """for logs: beat, takeover, resignation"""
    expect: Mapping[str, int]
    put: Mapping[str, bytes]


class _Reset(NamedTuple):
    """The store's data were replaced, and nobody has taken over since."""

    seen: tuple[int, int]
    """the revisions of both keys in the new data"""
    stands_back_until: float


@dataclass(slots=True)
class Leadership:
    """One member's view of who leads. All times are seconds of the same clock.

    ``run``: the member's run id. ``ttl``: seconds. ``eligible``: whether it knows all watchdogs; the caller's to
    set.
    """

    member: str
    run: str
    ttl: float
    eligible: bool = False
    role: Role = Role.AWAY
    term: int | None = None
    """of this member's leadership; None: it does not lead"""
    leads_until: float = -inf
    """the leader may act until then"""
    leader: Leader | None = None
    """who leads, or was the last to do so, as far as this member has read; None: nobody ever did, or it cannot be
    read"""
    takeovers: int = 0
    resets: int = 0
    """times that the store's data were replaced"""
    regained: bool = False
    """of its term: the store's data were replaced, and this member led when they were"""
    _snapshot: Snapshot | None = None
    _seen: tuple[int, int] | None = None
    """the revisions of both keys as they were last read"""
    _seen_at: float = -inf
    """when they were first read so"""
    _glanced: tuple[str, int, int] | None = None
    """the store's identity, and the revisions of both keys as last glanced at: newer than what was read"""
    _glanced_at: float = -inf
    """when they were first glanced at so"""
    _glance_at: float = -inf
    """when the last glance began"""
    _answers_since: float = inf
    """since when the store has answered every call; inf: it did not answer the last one"""
    _read_at: float = -inf
    """when the last reading began"""
    _proved_at: float = -inf
    """when the last one began that was answered"""
    _wrote_at: float = -inf
    """when the last beat was sent"""
    _number: int = 0
    """of the beat"""
    _take: bool = field(default=False)
    """the next call is a takeover"""
    _led: bool = False
    """it was the last to lead, as far as it has read"""
    _own: int = 0
    """the number of its last takeover"""
    _newest: int = 0
    """the number of the newest one that it knows of"""
    _regains: bool = False
    """and the store's data were replaced since"""
    _sure_until: float = -inf
    """nobody else can have taken over before then"""
    _reset: _Reset | None = None
    _resigns: bool = False
    _vacated: bool = False

    @property
    def interval(self) -> float:
        """Seconds between two beats."""
        return self.ttl / BEATS

    @property
    def margin(self) -> float:
        """Seconds by which the leader stops earlier than others may take over."""
        return max(MARGIN_MIN, MARGIN_SHARE * self.ttl)

    @property
    def limit(self) -> float:
        """Seconds that one call may take."""
        return CALL_SHARE * self.ttl

    @property
    def leader_term(self) -> int:
        """The term of whoever leads, as far as this member has read; 0: nobody ever did."""
        return ABSENT if self._seen is None else self._seen[0]

    def may_act(self, now: float) -> bool:
        """Whether this member leads, and can be sure of it. False of a leader: it may be so again."""
        return self.role is Role.LEADER and now < self.leads_until

    def patience(self, now: float) -> float:
        """Seconds until ``call`` has something to do."""
        if self._take or (self._resigns and not self._vacated):
            return 0.0
        due = self._read_at + self.ttl / READS
        if self.role is Role.LEADER:
            due = min(due, self._wrote_at + self.interval)
        return max(0.0, due - now)

    def call(self, now: float, wall: float) -> Read | Glance | Write | None:
        """What is to be asked of the store now; None: nothing yet. ``wall``: the wall clock, for people."""
        if self._resigns:
            return self._resignation(now, wall)
        if self._take:
            self._take = False
            return self._takeover(now, wall)
        if self.role is Role.LEADER and now >= self._wrote_at + self.interval:
            assert self.term is not None
            if now >= self.leads_until > self._proved_at:
                self._read_at = now
                return Read()
            self._wrote_at = now
            self._number += 1
            return Write("beat", {LEADER: self.term}, {BEAT: pack(member=self.member, number=self._number)})
        if now >= self._read_at + self.ttl / READS:
            if self.role is not Role.LEADER and self._glance_at <= self._read_at:
                self._glance_at = now
                return Glance()
            self._read_at = now
            return Read()
        return None

    def was_glanced(self, snapshot: Snapshot, now: float) -> None:
        """A part of the store has the keys so. ``now``: when the answer was there."""
        leader, beat = _revisions(snapshot)
        if beat > (ABSENT if self._seen is None else self._seen[1]) and self._glanced != (
            found := (snapshot.identity, leader, beat)
        ):
            self._glanced, self._glanced_at = found, now

    def was_read(self, snapshot: Snapshot, now: float) -> None:
        """``leader`` and ``beat`` were read. ``now``: when the answer was there."""
        before, self._snapshot, self._proved_at = self._snapshot, snapshot, self._read_at
        if before is not None and (snapshot.identity != before.identity or snapshot.revision < before.revision):
            self.resets += 1
            self._seen = self._glanced = None
            self._depose()
        self._answered(now)
        leader, beat = _revisions(snapshot)
        self.leader = _leader(snapshot.items.get(LEADER))
        if self.leader is not None:
            self._newest = max(self._newest, self.leader.number)
            if self.leader.run != self.run and self.leader.number >= self._own:
                self._led = self._regains = False
        if self._seen is None and before is not None:
            ttls = UNLED_TTLS if not self._led else 0 if now < self._sure_until else 1
            self._reset, self._regains = _Reset((leader, beat), now + ttls * self.ttl), self._led
        if (leader, beat) != self._seen:
            was_glanced = self._glanced == (snapshot.identity, leader, beat)
            self._seen, self._seen_at = (leader, beat), self._glanced_at if was_glanced else now
        if self._reset is not None and self._reset.seen != (leader, beat):
            self._reset = None  # somebody leads
        if self._reset is None and self.leader is not None and self.leader.run != self.run:
            self._led = self._regains = False
        if self.role is Role.LEADER and leader != self.term:
            self._depose()
        self._take = self.role is Role.FOLLOWER and self._may_take_over(now)

    def was_written(self, write: Write, answer: Done | Refused, sent: float, now: float) -> None:
        """The store has answered a transaction, which was sent at ``sent``."""
        self._answered(now)
        match write.what, answer:
            case "takeover", Done(revision) if self.role is Role.FOLLOWER:
                self._become(Trigger.TOOK_OVER)
                self.term, self.leads_until = revision, sent + self.ttl - self.margin
                self.leader = unpack_leader(write.put[LEADER])
                self._own = self._newest = self.leader.number
                self.takeovers += 1
                self._wrote_at = sent
                self.regained, self._regains, self._reset = self._regains, False, None
                self._led, self._sure_until = True, self.leads_until
            case "beat", Done() if self.role is Role.LEADER and write.expect[LEADER] == self.term:
                self.leads_until = self._sure_until = sent + self.ttl - self.margin
            case "beat", Refused() if write.expect[LEADER] == self.term:
                self._depose()
            case "resignation", _:
                self._vacated = True
        if isinstance(answer, Refused):
            self._read_at = -inf  # what is there now is to be known at once

    def was_away(self, now: float) -> None:
        """The store did not answer a call; what it asked for may have been done."""
        self._answers_since = inf
        if self.role is not Role.RESIGNED:
            self._wrote_at = now - self.interval + self.ttl / AGAIN
        self._become(Trigger.UNANSWERED)

    def resign(self) -> None:
        """Step down: ``call`` writes that nobody leads. ``is_resigned`` says when that is done, or not needed."""
        leads = self.role is Role.LEADER
        self._become(Trigger.RESIGNED)
        self._resigns, self._vacated, self._take, self._led = True, not leads, False, False
        self.leads_until = self._wrote_at = -inf

    @property
    def is_resigned(self) -> bool:
        """Whether it has stepped down, and the others can know it."""
        return self._resigns and self._vacated

    def _resignation(self, now: float, wall: float) -> Write | None:
        if self._vacated or self.term is None or now < self._wrote_at + self.ttl / AGAIN:
            return None
        self._wrote_at = now
        return Write(
            "resignation",
            {LEADER: self.term},
            {LEADER: pack_leader(Leader("", self.run, wall, self.ttl, self._own))},
        )

    def _takeover(self, now: float, wall: float) -> Write:
        assert self._seen is not None
        leader, beat = self._seen
        self._number += 1
        number = max(self._newest + 1, int(wall))
        return Write(
            "takeover",
            {LEADER: leader, BEAT: beat},
            {
                LEADER: pack_leader(Leader(self.member, self.run, wall, self.ttl, number)),
                BEAT: pack(member=self.member, number=self._number),
            },
        )

    def _may_take_over(self, now: float) -> bool:
        if self._reset is not None:
            if now < self._reset.stands_back_until:
                return False
            if self._led and self._seen == self._reset.seen:
                return True
        elif self.leader is not None and self.leader.run == self.run:
            return True  # the answer to a takeover was lost
        # A leader that was told another ttl may believe to lead for as long.
        ttl = self.ttl if self.leader is None else max(self.ttl, min(self.leader.ttl, TTL_MAX))
        if not self.eligible:
            return now - max(self._seen_at, self._answers_since) >= UNLED_TTLS * ttl
        if self._seen == (ABSENT, ABSENT) or (self.leader is not None and not self.leader.member):
            return True  # nobody ever led, or who did has stepped down
        return now - self._seen_at >= ttl and now - self._answers_since >= ttl / BEATS

    def _depose(self) -> None:
        if self.role is Role.LEADER:
            self._become(Trigger.DEPOSED)
            self.term, self.leads_until = None, -inf

    def _answered(self, now: float) -> None:
        self._answers_since = min(self._answers_since, now)
        self._become(Trigger.ANSWERED)

    def _become(self, trigger: Trigger) -> None:
        self.role = TRANSITIONS[self.role, trigger]


_NONE = Item(b"", ABSENT)


def _revisions(snapshot: Snapshot) -> tuple[int, int]:
    """Of ``leader`` and ``beat``."""
    return snapshot.items.get(LEADER, _NONE).mod, snapshot.items.get(BEAT, _NONE).mod


def _leader(item: Item | None) -> Leader | None:
    """Who leads by this key; None: nobody ever led, or its value is not understood."""
    if item is None:
        return None
    try:
        return unpack_leader(item.value)
    except Foreign:
        return None
