"""What operators say about the cluster's watchdogs, to any member: written in the store, and applied by all; but a
failure by the leader alone (operator_failures.py).

Belongs to the loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import NamedTuple, TypeAlias

from banken.clock import wall
from banken.protocol.codec import encode
from banken.protocol.messages import Kind, Message
from banken_supervisor.coordination.records import (
    CLAIMS,
    FAILURES,
    SAID,
    WORDS,
    Failure,
    Foreign,
    Word,
    pack,
    pack_failure,
    pack_word,
    unpack_failure,
    unpack_word,
)
from banken_supervisor.coordination.store import ABSENT, Away, Done, Refused, Snapshot, Store
from banken_supervisor.coordination.store_thread import StoreThread
from banken_supervisor.engine.registry import NO_WORDS, Words
from banken_supervisor.text.cluster_text import of_store

SHARED = {kind.name.lower(): kind for kind in (Kind.PAUSE, Kind.RESUME, Kind.EXTEND, Kind.RELEASE)}
"""What counts for all members."""

OF_CLAIMED = frozenset({Kind.PAUSE, Kind.RELEASE})
"""What can be said of a watchdog that this member does not know, if an incident of it is open."""

OUTCOMES_MAX = 1_000
"""Words whose outcome is remembered, the latest."""

EARLY_S = 0.1
"""Seconds between two looks whether a watchdog is known by now that is paused."""

TAKEN_S = 3.0
"""Seconds that it is waited for until the leader has taken a failure, so that a feed after it comes after it there,
too. Where nobody leads it is taken later."""

AGAIN_S = 0.5
"""Seconds until they are read again, where the store did not answer."""


@dataclass(slots=True)
class _Untaken:
    """A failure that is in the store."""

    name: str
    mod: int
    """of its key"""
    until: float | None = None
    """monotonic time until which it is waited for; None: from the next turn on"""


class _Known(NamedTuple):
    """The last word of a watchdog that was read."""

    mod: int
    """of its key"""
    at: float
    """wall clock of who wrote it: that is kept where the store's data are replaced, and count anew"""
    paused: int = ABSENT
    """``mod`` of the last one that was a pause"""


Process: TypeAlias = tuple[int, int, bytes]
"""A process, but for its host's boot id, which stands otherwise with each member: as in ``Word``."""


class _Early(NamedTuple):
    """A pause of a watchdog that this member does not know yet."""

    word: Word
    mod: int | None
    is_former: bool
    """it was said before this member began"""


_NEVER = _Known(ABSENT, -inf)


@dataclass(eq=False)
class OperatorWords:
    """``tell``: has the engine take a message of an operator. ``tell_former``: the same, of what was said before
    this member began, and has perhaps ended since. ``age``: seconds since the store had this revision, at the least
    and at the most; None: it is not known. ``away``: why the store does not answer, if it does not. ``is_shared``:
    whether this name concerns all; None: it is not watched here. ``limit``: seconds that the store may take.
    ``wrote_failure``: a failure is in the store. ``process_of``: whose a watchdog is. ``is_next``: whether it is
    another one's, which was fed in these seconds.
    """

    member: str
    _store: StoreThread
    _limit: float
    _tell: Callable[[Message], object]
    _tell_former: Callable[[Message], object]
    _age: Callable[[int | None], tuple[float, float]]
    _away: Callable[[], str | None]
    _is_shared: Callable[[str], bool | None]
    _wrote_failure: Callable[[], None] = lambda: None
    _process_of: Callable[[str], Process | None] = lambda name: None
    _is_next: Callable[[str, Process, float], bool] = lambda name, process, most: False
    _number: int = 0
    _outcomes: dict[int, str | None] = field(default_factory=dict)
    """by number: why it was not done; None: it was"""
    _written: dict[int, int] = field(default_factory=dict)
    """by number: the revision of a word that is in the store and was not applied here yet"""
    _untaken: dict[int, _Untaken] = field(default_factory=dict)
    """by number: failures that the leader has perhaps not taken yet"""
    _look_for_at: float = 0.0
    """monotonic time at which it is looked whether it has"""
    _known: dict[str, _Known] = field(default_factory=dict)
    """by watchdog"""
    _early: dict[str, _Early] = field(default_factory=dict)
    """by watchdog"""
    _look_at: float = 0.0
    """monotonic time at which it is looked whether it knows them"""
    has_read: bool = False
    """whether this member has what was said before it began"""
    _read: Snapshot | None = None
    """the last answer"""
    _since: int = ABSENT
    """the revision from which on words were read as they were said"""
    _is_replaced: bool = False
    """the store's data were, and are to be read"""
    _again_at: float | None = None

    def takes(self, message: Message) -> bool:
        """Whether this is said to all members."""
        if message.kind is Kind.FAIL:
            return self._is_shared(message.name) is not False
        is_shared = self._is_shared(message.name)
        return message.kind in OF_CLAIMED if is_shared is None else is_shared and message.kind in SHARED.values()

    def refusal(self, message: Message) -> str | None:
        """Why this cannot be said now."""
        if (why := self._away()) is None:
            return None
        to_all = "without --here this must reach all members"
        reach = "this must reach the leader" if message.kind is Kind.FAIL else to_all
        cause = of_store(why, "the cluster's store")
        return f"{reach}, and {cause}"

    def say(self, message: Message) -> int:
        """Write it; a number by which to ask ``outcome``."""
        self._number += 1
        number, now, name = self._number, wall(), message.name
        said = {SAID: pack(member=self.member, at=now)}
        write: Callable[[Store], Done | Refused | None]
        if message.kind is Kind.FAIL:
            failure = Failure(encode(message._replace(identity=None)), self.member, now)
            write = partial(_write_failure, name, failure, said, self._limit)
        else:
            seconds = message.args[0] if message.args else 0.0
            word = Word(message.kind.name.lower(), seconds or None, self.member, now, self._process_of(name))
            is_known = self._is_shared(name) is not None
            write = partial(_write_word, name, word, said, self._limit, is_known=is_known)
        done = partial(self._failed if message.kind is Kind.FAIL else self._done, number, name)
        self._store.ask(write, done)
        return number

    def outcome(self, number: int) -> dict[str, object]:
        """Whether it is done, and if not, why not, if that is known."""
        return {"done": number in self._outcomes, "why": self._outcomes.get(number)}

    def read(self) -> None:
        """There is a new one, or this member has just begun."""
        self._store.ask(lambda store: store.read(WORDS, self._limit), self._apply)

    def forget(self) -> None:
        """The store's data were replaced: of what is there now only what was said since is said here."""
        for number in (*self._written, *self._untaken):
            self._finish(number, "the data of the cluster's store were replaced meanwhile: say it again")
        self._written.clear()
        self._untaken.clear()
        self._is_replaced = True
        self._store.ask(lambda store: store.read(WORDS, self._limit), self._begin_again)

    def turn(self, now: float) -> None:
        """Read again what could not be read, and pause what is known now; ``now``: monotonic time."""
        if self._early and now >= self._look_at:
            self._look_at = now + EARLY_S
            self._say_early()
        if self._untaken and now >= self._look_for_at:
            self._look_for_at = now + EARLY_S
            for each in self._untaken.values():
                each.until = now + TAKEN_S if each.until is None else each.until
            self._store.ask(lambda store: store.read(FAILURES, self._limit), partial(self._look_for, now))
        if self._again_at == 0.0:
            self._again_at = now + AGAIN_S
        elif self._again_at is not None and now >= self._again_at:
            self._again_at = None
            (self.forget if self._is_replaced else self.read)()

    def was_made(self, name: str, *, is_paused: bool) -> None:
        """This watchdog is known here now by another member's word. A pause that was said before this member began
        is in force for the time being: it is proved or ended by what they know (engine/registry.py)."""
        early = self._early.get(name)
        if early is not None and early.is_former:
            del self._early[name]
            if not is_paused:
                self._say_here(name, *early)

    def has_read_all(self, words: Words) -> None:
        """The registry of a member that knows all was read; it has applied these words. What it does not watch was
        released since it was paused: whoever comes under that name later is not paused."""
        for name, early in list(self._early.items()):
            if early.is_former and not self._is_shared(name) and not self.is_unknown(name, words):
                del self._early[name]

    def applied(self, said: int, revision: int) -> Words:
        """Those that are applied here. ``said``: the revision of the last one that the store had at this
        ``revision``."""
        self._say_early()
        read = self._read
        if read is None or self._is_replaced:
            return NO_WORDS
        is_all = said <= read.revision
        return Words(read.identity, self._since, max(read.revision, revision) if is_all else read.revision)

    def revision_of(self, name: str) -> int:
        """That of the last word of this watchdog that was read."""
        return self._known.get(name, _NEVER).mod

    def was_late(self, name: str) -> None:
        """The last word of this watchdog was, and its pause may be over here before it is with the others."""
        self._since = max(self._since, self.revision_of(name))

    def is_unknown(self, name: str, words: Words) -> bool:
        """Whether the last word of this watchdog is none of these."""
        return self.revision_of(name) > (words.revision if self._is_of_same(words) else ABSENT)

    def was_told(self, name: str, words: Words) -> bool:
        """Whether the last pause of this watchdog is one of these."""
        return self._is_of_same(words) and words.since < self._known.get(name, _NEVER).paused <= words.revision

    def _is_of_same(self, words: Words) -> bool:
        return self._read is not None and self._read.identity == words.identity

    def _say_early(self) -> None:
        for name in [name for name in self._early if self._is_shared(name)]:
            self._say_here(name, *self._early.pop(name))

    def _done(self, number: int, name: str, answer: Done | Refused | Away | None) -> None:
        if isinstance(answer, Done):
            self._written[number] = answer.revision
            self.read()
        elif answer is None:
            self._finish(number, f"no watchdog is called {name!r} here, and the cluster has no open incident of it")
        else:
            self._finish(number, f"the cluster's store did not answer, and it may have been done: {answer}")

    def _failed(self, number: int, name: str, answer: Done | Refused | Away | None) -> None:
        if isinstance(answer, Done):
            self._untaken[number] = _Untaken(name, answer.revision)
            self._wrote_failure()
        else:
            self._done(number, name, answer)

    def _look_for(self, now: float, answer: Snapshot | Away) -> None:
        for number, each in list(self._untaken.items()):
            is_there = True
            if isinstance(answer, Snapshot):
                item = answer.items.get(FAILURES + each.name)
                is_there = item is not None and item.mod == each.mod
            if not is_there or (each.until is not None and now >= each.until):
                self._untaken.pop(number, None)
                self._finish(number, None)

    def _begin_again(self, answer: Snapshot | Away) -> None:
        if isinstance(answer, Snapshot):
            self._is_replaced, self._read = False, None
            self._early = {name: early._replace(mod=None) for name, early in self._early.items()}
            for name, known in self._known.items():
                item = answer.items.get(WORDS + name)
                word = None if item is None else _word(item.value)
                is_newer = item is None or (word is not None and word.at > known.at)
                mod = ABSENT if item is None or is_newer else item.mod
                self._known[name] = known._replace(mod=mod, paused=ABSENT)
            self._since = answer.revision
        self._apply(answer)

    def _apply(self, answer: Snapshot | Away) -> None:
        if isinstance(answer, Away):
            self._again_at = 0.0
            return
        fresh, self.has_read = not self.has_read, True
        is_other = self._read is not None and not _is_later(answer, self._read)
        if not is_other:
            self._read = answer
        if fresh:
            self._since = answer.revision
        for key, item in answer.items.items():
            name = key.removeprefix(WORDS)
            known = self._known.get(name, _NEVER)
            if item.mod <= known.mod:
                continue
            word = _word(item.value)
            if word is None:
                self._known[name] = known._replace(mod=item.mod)
                continue
            self._known[name] = _Known(item.mod, word.at, item.mod if word.kind == "pause" else known.paused)
            mod = None if is_other else item.mod  # else of data that this member does not know to be replaced yet
            self._early.pop(name, None)
            if word.kind == "pause" and not self._is_shared(name):
                self._early[name] = _Early(word, mod, fresh)
            elif not fresh or word.kind == "pause":  # else it was said before this member began
                self._say_here(name, word, mod, fresh)
        for number, revision in list(self._written.items()):
            if revision <= answer.revision:
                del self._written[number]
                self._finish(number, None)

    def _say_here(self, name: str, word: Word, mod: int | None, is_former: bool) -> None:
        kind, left = SHARED.get(word.kind), 0.0
        if kind is None:
            return  # a newer banken's
        least, most = self._age(mod)
        if kind is Kind.RELEASE and word.process is not None:
            most = wall() - word.at if most == inf else most
            if self._is_next(name, word.process, most):
                kind = Kind.RESUME  # the next worker stays, and is not paused as the one before perhaps was
        if word.seconds is not None:
            left = word.seconds - min(max(wall() - word.at, least), most)
            if left <= 0.0:
                return  # it is over
        args = (left,) if kind in (Kind.PAUSE, Kind.EXTEND) else ()
        tell = self._tell_former if is_former else self._tell
        tell(Message(kind, name, None, 0.0, None, args))

    def _finish(self, number: int, why: str | None) -> None:
        self._outcomes[number] = why
        if len(self._outcomes) > OUTCOMES_MAX:
            del self._outcomes[next(iter(self._outcomes))]


def _is_later(answer: Snapshot, before: Snapshot) -> bool:
    """Whether both are of the same data."""
    return answer.identity == before.identity and answer.revision >= before.revision


def _word(value: bytes) -> Word | None:
    """None: a newer banken's."""
    try:
        return unpack_word(value)
    except Foreign:
        return None


def _write_word(
    name: str, word: Word, said: Mapping[str, bytes], limit: float, store: Store, *, is_known: bool
) -> Done | Refused | None:
    """None: nobody knows the name."""
    claim = CLAIMS + name
    if not is_known and claim not in store.read(claim, limit).items:
        return None
    return store.transact({}, {WORDS + name: pack_word(word), **said}, (), limit)


def _write_failure(
    name: str, failure: Failure, said: Mapping[str, bytes], limit: float, store: Store
) -> Done | Refused:
    """Once: whoever says it to several members says it to each. Its revision is that of the key."""
    key, put = FAILURES + name, pack_failure(failure)
    while True:
        found = store.read(key, limit)
        there = found.items.get(key)
        if there is not None and _is_same(there.value, failure):
            return Done(there.mod)
        expected = {key: ABSENT if there is None else there.mod}
        answer = store.transact(expected, {key: put, **said}, (), limit)
        if isinstance(answer, Done):
            return answer


def _is_same(value: bytes, failure: Failure) -> bool:
    try:
        return unpack_failure(value).frame == failure.frame
    except Foreign:
        return False
