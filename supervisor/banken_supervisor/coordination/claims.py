"""Claims: what the leader writes down in the store before it acts, and what becomes of it.

Theory of operation
-------------------
Of each incident the store has one key, its *claim*, and every transaction expects that this member still leads (its
term, leadership.py). So of two that both believe to lead, one is refused: an incident is opened, and each of its
actions begun, by one member only.

The caller says what a claim is to be (``want``), and gets to know when it is so (``Written``). For each name one
change is under way at most; what is wanted meanwhile is written after it, all at once. Up to ``BATCH_MAX`` names go
into one transaction, and up to ``TRANSACTIONS_MAX`` transactions, of different names, are under way: four of them
take a store as long as one, and for ten thousand workers that are silent at once there are three hundred. What
somebody waits for goes first; that an action has ended can wait until others have begun.

*Away* means that a transaction may have been done. The same one is made again, unchanged, until an answer comes:
then a claim that is there already, exactly as it was to be written, is this member's own. (If it were made anew
with another id, it would meet its own claim, take it for another member's, and never act.) A claim that is there
and is another one is what a former leader left: it is *adopted*, under its id. What is not understood there is
*foreign*: it is left alone.

Pure: the time is an argument, in seconds, of any clock that does not jump.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from banken_supervisor.coordination.records import CLAIMS, LEADER, SPENT, Claim, Foreign, pack_claim, unpack_claim
from banken_supervisor.coordination.store import ABSENT, OPERATIONS_MAX, Done, Item, Refused, Snapshot

BATCH_MAX = 100
"""Keys that are written in one transaction; the term is one key more."""

assert BATCH_MAX < OPERATIONS_MAX

TRANSACTIONS_MAX = 4
"""Transactions that are under way at once."""

RETRY_MIN_S, RETRY_MAX_S = 0.1, 2.0
"""Seconds between two attempts of a transaction that was not answered."""


class Change(NamedTuple):
    """One claim in a transaction."""

    name: str
    version: int
    """of what was wanted when the transaction was made"""
    value: bytes | None
    """None: it is dropped"""
    mod: int
    """that it is expected to have"""
    spent: bytes | None = None
    """what is written of the name's budgets besides; None: nothing"""


@dataclass(frozen=True, slots=True, eq=False)
class Transaction:
    """What is to be asked of the store: again and again, unchanged, until it has answered."""

    term: int
    changes: tuple[Change, ...]

    @property
    def expect(self) -> dict[str, int]:
        """See ``Store.transact``."""
        return {LEADER: self.term, **{CLAIMS + each.name: each.mod for each in self.changes}}

    @property
    def put(self) -> dict[str, bytes]:
        """See ``Store.transact``."""
        claims = {CLAIMS + each.name: each.value for each in self.changes if each.value is not None}
        return claims | {SPENT + each.name: each.spent for each in self.changes if each.spent is not None}

    @property
    def drop(self) -> list[str]:
        """See ``Store.transact``."""
        return [CLAIMS + each.name for each in self.changes if each.value is None]


class Written(NamedTuple):
    """The claim is in the store as it was wanted at this version."""

    name: str
    version: int


class Adopted(NamedTuple):
    """A former leader has left this claim, where another one was wanted, which is forgotten."""

    name: str
    claim: Claim
    created: int
    """the revision at which it was written first"""


class Blocked(NamedTuple):
    """Something is there that is not understood; it is left alone, and nothing is written about this name."""

    name: str
    why: str


class Deposed(NamedTuple):
    """Another member leads: nothing of what was wanted is written any more."""


Outcome = Written | Adopted | Blocked | Deposed


@dataclass(slots=True)
class _Entry:
    """One name."""

    mod: int = ABSENT
    """of the claim in the store, as far as it is known"""
    wanted: Claim | None = None
    id: str = ""
    """of the incident that was wanted or found last"""
    version: int = 0
    """of ``wanted``"""
    is_awaited: bool = False
    """whether somebody waits for it to be written"""
    spent: bytes | None = None
    """what is to be written of its budgets with the next change"""


@dataclass(slots=True)
class _Sent:
    """A transaction that is under way."""

    what: Transaction
    again_at: float | None = None
    """when it is to be made again; None: its answer is waited for"""
    pause: float = RETRY_MIN_S


@dataclass(slots=True)
class Claims:
    """Those of one term. A new one begins with those that are in the store."""

    term: int
    blocked: dict[str, str] = field(default_factory=dict)
    """names whose claim is foreign, and why"""
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _waiting: dict[str, None] = field(default_factory=dict)
    """names of which something is to be written that is awaited, in turn"""
    _later: dict[str, None] = field(default_factory=dict)
    """the other names of which something is to be written, in turn"""
    _sent: list[_Sent] = field(default_factory=list)
    _under_way: set[str] = field(default_factory=set)
    """names that are in a transaction"""
    _version: int = 0

    @classmethod
    def restored(cls, term: int, snapshot: Snapshot) -> tuple[Claims, dict[str, Claim]]:
        """Those of a new leader, and what a former one has left: by name."""
        made, found = cls(term), {}
        for key, item in snapshot.items.items():
            if not key.startswith(CLAIMS):
                continue
            name = key.removeprefix(CLAIMS)
            try:
                claim = unpack_claim(item.value)
            except Foreign as why:
                made.blocked[name] = str(why)
                continue
            made._entries[name] = _Entry(item.mod, claim, claim.id)
            found[name] = claim
        return made, found

    def open(self) -> dict[str, Claim]:
        """What is wanted, by name: all that this member knows to be open."""
        return {name: entry.wanted for name, entry in self._entries.items() if entry.wanted is not None}

    def rewrite(self, known: Mapping[str, Claim]) -> dict[str, Claim]:
        """The store has lost what this member knows, or has what was so before: it is to be as it is known. What is
        to be there then."""
        for name in self._entries.keys() - known.keys():
            self.want(name, None)
        return {name: claim for name, claim in known.items() if self.want(name, claim) is not None}

    def __len__(self) -> int:
        """How many names are not written yet as they are wanted."""
        return len(self._waiting) + len(self._later) + len(self._under_way)

    def may_be_there(self, name: str) -> bool:
        """Whether the store has a claim of this name, as far as is known, or may have one soon."""
        entry = self._entries.get(name)
        return name in self._under_way or (entry is not None and entry.mod != ABSENT)

    def get(self, name: str) -> Claim | None:
        """What is wanted of this name."""
        entry = self._entries.get(name)
        return None if entry is None else entry.wanted

    def want(
        self, name: str, claim: Claim | None, *, is_awaited: bool = True, spent: bytes | None = None
    ) -> int | None:
        """This is to be in the store; None: no claim. The version to wait for, higher than all before; None: the
        name is blocked, or nothing has to be written. ``is_awaited``: whether something is to be done then.
        ``spent``: what is to be written of its budgets in the same transaction."""
        if name in self.blocked:
            return None
        entry = self._entries.setdefault(name, _Entry())
        if claim is None and entry.mod == ABSENT and name not in self._under_way:
            self._forget(name)
            return None
        entry.wanted = claim
        entry.id = entry.id if claim is None else claim.id
        entry.is_awaited |= is_awaited
        entry.spent = entry.spent if spent is None else spent
        self._version = entry.version = self._version + 1
        if name not in self._under_way:
            self._queue(name, entry)
        return entry.version

    def patience(self, now: float) -> float | None:
        """Seconds until ``transaction`` has one; None: not before something else happens."""
        if (self._waiting or self._later) and len(self._sent) < TRANSACTIONS_MAX:
            return 0.0
        again = min((each.again_at for each in self._sent if each.again_at is not None), default=None)
        return None if again is None else max(0.0, again - now)

    def transaction(self, now: float) -> Transaction | None:
        """The next one, or one again that was not answered; None: nothing is to be asked now."""
        for each in self._sent:
            if each.again_at is not None and each.again_at <= now:
                each.again_at = None
                return each.what
        if len(self._sent) >= TRANSACTIONS_MAX:
            return None
        changes: list[Change] = []
        room = BATCH_MAX
        for queue in (self._waiting, self._later):
            for name in list(islice(queue, max(0, room))):  # a dict looks for its first key past all that are gone
                if room <= 0:
                    break
                del queue[name]
                entry = self._entries[name]
                if entry.wanted is None and entry.mod == ABSENT:
                    self._settle(name, entry, entry.version)  # it was never written
                    continue
                value = None if entry.wanted is None else pack_claim(entry.wanted)
                changes.append(Change(name, entry.version, value, entry.mod, entry.spent))
                room -= 1 if entry.spent is None else 2
                entry.is_awaited, entry.spent = False, None
        if not changes:
            return None
        sent = Transaction(self.term, tuple(changes))
        self._sent.append(_Sent(sent))
        self._under_way.update(each.name for each in changes)
        return sent

    def was_away(self, what: Transaction, now: float) -> None:
        """This transaction was not answered: it is made again after a while."""
        for each in self._sent:
            if each.what is what:
                each.again_at = now + each.pause
                each.pause = min(RETRY_MAX_S, 2 * each.pause)

    def was_answered(self, what: Transaction, answer: Done | Refused) -> list[Outcome]:
        """What came of this transaction."""
        self._sent = [each for each in self._sent if each.what is not what]
        self._under_way.difference_update(each.name for each in what.changes)
        if isinstance(answer, Done):
            return [self._written(each, ABSENT if each.value is None else answer.revision) for each in what.changes]
        leader = answer.found.get(LEADER)
        if leader is None or leader.mod != self.term:
            self._waiting.clear()
            self._later.clear()
            return [Deposed()]
        return [outcome for each in what.changes for outcome in self._refused(each, answer.found)]

    def _queue(self, name: str, entry: _Entry) -> None:
        if entry.is_awaited:
            self._later.pop(name, None)
            self._waiting[name] = None
        elif name not in self._waiting:
            self._later[name] = None

    def _forget(self, name: str) -> None:
        del self._entries[name]
        self._waiting.pop(name, None)
        self._later.pop(name, None)

    def _refused(self, change: Change, found: Mapping[str, Item]) -> list[Outcome]:
        name, there = change.name, found.get(CLAIMS + change.name)
        if (None if there is None else there.value) == change.value:
            return [self._written(change, ABSENT if there is None else there.mod)]  # the answer was lost
        entry = self._entries[name]
        claim = None
        if there is not None and there.mod != change.mod:
            try:
                claim = unpack_claim(there.value)
            except Foreign as why:
                self.blocked[name] = str(why)
                self._forget(name)
                return [Blocked(name, str(why))]
        if there is None or claim is None or claim.id == entry.id:
            # Another name was the reason; or somebody has dropped it, who may not; or the store has the data of an
            # old copy, and what was so of the same incident then: it is written again.
            entry.mod, entry.is_awaited = ABSENT if there is None else there.mod, True
            entry.spent = change.spent if entry.spent is None else entry.spent
            self._queue(name, entry)
            return []
        entry.mod, entry.wanted, entry.id, entry.is_awaited = there.mod, claim, claim.id, False
        self._version = entry.version = self._version + 1
        return [Adopted(name, claim, there.created)]

    def _written(self, change: Change, mod: int) -> Written:
        entry = self._entries[change.name]
        entry.mod = mod
        if entry.version == change.version:
            self._settle(change.name, entry, change.version)
        else:
            self._queue(change.name, entry)
        return Written(change.name, change.version)

    def _settle(self, name: str, entry: _Entry, version: int) -> None:
        if entry.wanted is None and entry.mod == ABSENT and entry.version == version:
            del self._entries[name]
