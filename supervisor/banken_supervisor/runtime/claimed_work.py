"""What this member may do only when the store has its claim: it waits until that is written, and then until this
member may act.

Belongs to the loop's thread. Nothing of it outlives the member's leadership: who leads next goes on with the
claims.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import NamedTuple

from banken_supervisor.coordination.claims import Adopted, Blocked, Claims, Deposed, Outcome, Transaction, Written
from banken_supervisor.coordination.records import Claim
from banken_supervisor.coordination.store import Away, Done, Refused, Store
from banken_supervisor.coordination.store_thread import StoreThread
from banken_supervisor.runtime.incident_terms import LOOK_S, Terms


def _as_it_is(claim: Claim) -> Claim | None:
    return claim


class _Work(NamedTuple):
    """What is done when a claim is written."""

    name: str
    incident: str
    version: int
    """of the claim"""
    do: Callable[[], None]
    undo: Callable[[Claim], Claim | None]
    """the claim without what was not done; None: there is none"""


@dataclass(eq=False)
class ClaimedWork:
    """``stores``: a way to the store for each transaction that may be under way. ``limit``: seconds that one may
    take. ``adopt``: goes on with a claim that a former leader left, where another one was wanted, and gets the
    revision at which it was written first. ``block``: says that a claim is left alone, and why. ``deposed``:
    another member leads.
    """

    _stores: Sequence[StoreThread]
    _limit: float
    _terms: Terms
    _may_act: Callable[[], bool]
    """whether this member may act, and leads as it did when it read the claims"""
    adopt: Callable[[str, Claim, int], None]
    block: Callable[[str, str], None]
    deposed: Callable[[], None]
    claims: Claims | None = None
    """None: this member does not lead, or does not know yet what there is"""
    _waiting: dict[str, list[_Work]] = field(default_factory=dict)
    """by name: what is to be done when its claim is written"""
    _ready: deque[_Work] = field(default_factory=deque)
    """what is written, and is done as soon as this member may act"""
    _over: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """by name: incidents that are over, each after the version at which its claim is gone from the store"""
    _idle: list[StoreThread] = field(init=False)
    """those of ``stores`` that are not asked now"""

    def __post_init__(self) -> None:
        self._idle = list(self._stores)

    def get(self, name: str) -> Claim | None:
        """The claim of this watchdog, as it is or is to be in the store."""
        return None if self.claims is None else self.claims.get(name)

    def want(
        self, name: str, claim: Claim, then: Callable[[], None], undo: Callable[[Claim], Claim | None]
    ) -> None:
        """Write this claim, and do what follows. Only while this member leads. ``undo``: what the claim is if that
        was not done; None: there is none."""
        assert self.claims is not None
        version = self.claims.want(name, claim)
        if version is not None:
            self._waiting.setdefault(name, []).append(_Work(name, claim.id, version, then, undo))

    def note(self, name: str, claim: Claim) -> None:
        """Write this claim; nothing waits for it."""
        if self.claims is not None:
            self.claims.want(name, claim, is_awaited=False)

    def drop(self, name: str, spent: bytes | None = None) -> None:
        """There is no incident of this watchdog: nothing that waits for its claim is done, and the claim goes.
        ``spent``: what is written of its budgets then; None: nothing."""
        self._waiting.pop(name, None)
        claim = self.get(name)
        if self.claims is None:
            return
        version = self.claims.want(name, None, is_awaited=False, spent=spent)
        if claim is not None and version is None:
            self._terms.is_over(claim.id)
        elif claim is not None and version is not None:
            self._over.setdefault(name, []).append((version, claim.id))

    def do(self, name: str, incident: str, what: Callable[[], None]) -> None:
        """Do this as soon as this member may act, if the claim of this incident, which is there, still is."""
        self._ready.append(_Work(name, incident, 0, what, _as_it_is))

    def stop(self) -> dict[str, Claim]:
        """This member leads no longer: nothing is done that was not begun. Returns the claims of what is open, with
        what was begun, by name."""
        left = {} if self.claims is None else self.claims.open()
        for work in (*self._ready, *(each for waiting in self._waiting.values() for each in waiting)):
            claim = left.get(work.name)
            if claim is None or claim.id != work.incident:
                continue
            if (undone := work.undo(claim)) is None:
                del left[work.name]
            else:
                left[work.name] = undone
        self.claims = None
        self._terms.held_back += len(self._ready)
        self._ready.clear()
        self._waiting.clear()
        self._over.clear()
        return left

    def give_back(self) -> None:
        """This member is about to end: what only waits is not done, and is not to be in the store. The claim
        of an incident that is not open yet, and is there, is left to the next leader."""
        waiting, self._waiting = self._waiting, {}
        ready, self._ready = self._ready, deque()
        if (claims := self.claims) is None:
            return
        self._terms.held_back += len(ready)
        for work in reversed((*ready, *(each for name in waiting.values() for each in name))):
            claim = claims.get(work.name)
            if claim is None or claim.id != work.incident:
                continue
            undone = work.undo(claim)
            if undone != claim and (undone is not None or not claims.may_be_there(work.name)):
                claims.want(work.name, undone, is_awaited=False)

    @property
    def is_writing(self) -> bool:
        """Whether something is to be written yet, and can be."""
        return self.claims is not None and len(self.claims) > 0 and self._may_act()

    def patience(self, now: float) -> float | None:
        """Seconds until ``turn`` has something to do; None: not before something else happens."""
        if self.claims is None:
            return None
        patience = 0.0 if self._ready else self.claims.patience(now) if self._idle else None
        return patience if patience is None or self._may_act() else max(LOOK_S, patience)

    def turn(self, now: float) -> None:
        """Write what is wanted. Not while another one may lead."""
        claims = self.claims
        if claims is None or not self._may_act():
            return
        while self._idle and (sent := claims.transaction(now)) is not None:
            store = self._idle.pop()
            over = [incident for each in sent.changes for incident in self._over_at(each.name, each.version)]
            store.ask(partial(self._write, sent, over), partial(self._answered, store, claims, sent))

    def do_what_is_written(self) -> None:
        """As far as this member may act, and but for what was to be done for an incident that is over."""
        while self._ready and self.claims is not None and self._may_act():
            work = self._ready.popleft()
            claim = self.claims.get(work.name)
            if claim is not None and claim.id == work.incident:
                work.do()

    def _write(self, sent: Transaction, over: Sequence[str], store: Store) -> Done | Refused:
        """On the thread of a store. ``over``: incidents whose claims are gone when it is done, which is noted at
        once: a loop that ends does not read the answer."""
        answer = store.transact(sent.expect, sent.put, sent.drop, self._limit)
        if isinstance(answer, Done):
            for incident in over:
                self._terms.is_over(incident)
        return answer

    def _over_at(self, name: str, version: int) -> list[str]:
        """The incidents whose claims are gone when this version is written."""
        return [incident for at, incident in self._over.get(name, ()) if at <= version]

    def _answered(
        self, store: StoreThread, claims: Claims, sent: Transaction, answer: Done | Refused | Away
    ) -> None:
        self._idle.append(store)
        if claims is not self.claims:
            return
        if isinstance(answer, Away):
            claims.was_away(sent, monotonic())
            return
        for outcome in claims.was_answered(sent, answer):
            self._take(sent.term, outcome)

    def _take(self, term: int, outcome: Outcome) -> None:
        match outcome:
            case Written(name, version):
                for incident in self._over_at(name, version):
                    self._terms.is_over(incident)
                if later := [each for each in self._over.pop(name, []) if each[0] > version]:
                    self._over[name] = later
                waiting = self._waiting.pop(name, [])
                self._ready.extend(each for each in waiting if each.version <= version)
                if left := [each for each in waiting if each.version > version]:
                    self._waiting[name] = left
            case Adopted(name, claim, created):
                self._waiting.pop(name, None)
                self._over.pop(name, None)
                self._terms.is_mine(claim.id, term)
                self.do(name, claim.id, partial(self.adopt, name, claim, created))
            case Blocked(name, why):
                self._waiting.pop(name, None)
                self._over.pop(name, None)
                self.block(name, why)
            case Deposed():
                self.deposed()
