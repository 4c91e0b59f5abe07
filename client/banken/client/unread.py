"""Words that the supervisor may not have read.

A feed that is lost does no harm, for another one follows; a release, a pause, the end of one, an extension and a
failure are said once. One that could not be sent is sent before the next message. One that was sent may be lost,
too: a supervisor that stands still and is killed then takes along what it has not read, and the next one would
judge a watchdog that is paused. So it is kept for a while, and said again where another supervisor is there.

That one may have it from the one before. A release does nothing to what is released. All else has a number, by
which the supervisor knows what was heard, and a pause and an extension are said with the time that is left of them:
whatever was done since by others stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from banken.protocol.messages import NUMBERED, Kind

if TYPE_CHECKING:
    import threading

KEPT_S, KEPT_MAX = 600.0, 1000
"""Seconds for which a word is kept (a release that was not sent: always), and how many are that were sent; the
oldest gives way."""

UNSENT_MAX = 1000
"""Words kept while no supervisor can be reached; further ones are lost."""

LOOK_S = 0.5
"""Seconds between two looks which supervisor is there. One that is new is spoken to at the look after the one that
found it: by then the connection is to it, and not to the one before."""

_PROOF = (Kind.RELEASE, Kind.EXTEND, Kind.FAIL)

VOIDS: dict[Kind, tuple[Kind, ...]] = {
    Kind.FEED: _PROOF,
    Kind.NOTE: _PROOF,
    Kind.WORK: _PROOF,
    Kind.DECLARE: (Kind.RELEASE,),
    Kind.FAIL: (Kind.RELEASE, Kind.FAIL),
    Kind.EXTEND: (Kind.RELEASE, Kind.EXTEND),
    Kind.PAUSE: (Kind.RELEASE, Kind.PAUSE, Kind.RESUME, Kind.EXTEND),
    Kind.RESUME: (Kind.RELEASE, Kind.PAUSE, Kind.RESUME, Kind.EXTEND),
    Kind.RELEASE: (*_PROOF, Kind.PAUSE, Kind.RESUME),
}
"""Which earlier words about its name are out of date when a message of this kind is to be said."""

Encode = Callable[[float], bytes]
"""The bytes of a word that is said again, given the seconds that are left of it."""

SILENT = (Kind.PAUSE, Kind.EXTEND)
"""What allows silence: the next message may be long in coming, so these are said again without one."""


class Word:
    """One that is kept."""

    __slots__ = ("encode", "ends", "kind", "name", "place", "until")

    def __init__(self, name: str, kind: Kind, encode: Encode, ends: float, until: float) -> None:
        self.name = name
        self.kind = kind
        self.encode = encode
        self.ends = ends
        """monotonic time at which what it allows is over; inf: it has no end"""
        self.until = until
        """monotonic time until which it is kept"""
        self.place: object = None
        """to which supervisor it was sent; None: none took it"""


class Unread:
    """Its methods must not run in two threads at once. Times are monotonic, in seconds.

    ``place``: says which supervisor is there, by what differs for each; None: none is, or it cannot be lost.
    """

    def __init__(self, place: Callable[[], object]) -> None:
        self.words: dict[str, dict[Kind, Word]] = {}
        """by name, in the order in which they were said"""
        self.unsent: dict[Word, None] = {}
        """of these, what no supervisor took, in order"""
        self._sent = 0
        self._place = place
        self._seen: object = None
        self._look_at = 0.0

    @property
    def due(self) -> float:
        """When something is to be said, or looked for, before any message; inf: there is nothing to say."""
        return -inf if self.unsent else self._look_at if self.words else inf

    def add(self, name: str, kind: Kind, encode: Encode, now: float, *, sent: bool, seconds: float = inf) -> None:
        """This was said; ``sent``: a supervisor took the message. ``seconds``: for which it allows something."""
        self.void(name, kind)
        until = inf if kind is Kind.RELEASE and not sent else now + KEPT_S
        word = Word(name, kind, encode, now + seconds, until)
        if sent:
            self._keep_sent(word, now)
        elif len(self.unsent) < UNSENT_MAX:
            self._keep(word)
            self.unsent[word] = None

    def before_message(self, name: str, kind: Kind, now: float, send: Callable[[bytes], bool]) -> None:
        """This is to be said of ``name``: earlier words are out of date. Say what is due; ``send``: whether it was
        taken."""
        self.void(name, kind)
        self.say_due(now, send)
        if kind in NUMBERED and name in self.words:
            place = self._place()  # who hears its number takes the numbers before it for heard: they go first
            for word in [*self.words[name].values()]:
                if word.place not in (None, place) and not self._is_over(word, now):
                    send(word.encode(word.ends - now))

    def void(self, name: str, kind: Kind) -> None:
        """Forget what is out of date when this is said of ``name``."""
        kept = self.words.get(name)
        for word in [kept[each] for each in VOIDS.get(kind, ()) if each in kept] if kept else ():
            self._drop(word)

    def say_due(self, now: float, send: Callable[[bytes], bool]) -> None:
        """Say what no supervisor took, and to another supervisor what the one before may not have read."""
        while self.unsent:
            word = next(iter(self.unsent))  # no list of all: while no supervisor is there each feed comes here
            if self._is_over(word, now):
                continue
            if not send(word.encode(word.ends - now)):
                return
            self._drop(word)
            self._keep_sent(word, now)
        if now < self._look_at or self._look(now) or self._seen is None:
            return
        for word in [*self._all()]:
            if not self._is_over(word, now) and word.place != self._seen:
                if not send(word.encode(word.ends - now)):
                    return
                word.place = self._seen

    def look_s(self, now: float) -> float:
        """Seconds until what is due is to be said though no message comes; inf: there is always one that comes."""
        if not any(word.kind in SILENT for word in self._all()):
            return inf
        return LOOK_S if self.unsent else max(0.0, self._look_at - now)

    def unread(self, now: float) -> list[bytes]:
        """At the end of the process: the messages that the supervisor which is there now has not been sent."""
        place = self._place()
        words = [word for word in self._all() if not self._is_over(word, now) and word.place != place]
        return [word.encode(word.ends - now) for word in words]

    def _all(self) -> Iterator[Word]:
        for kept in [*self.words.values()]:
            yield from [*kept.values()]

    def _is_over(self, word: Word, now: float) -> bool:
        is_over = now >= min(word.until, word.ends)
        if is_over:
            self._drop(word)
        return is_over

    def _keep_sent(self, word: Word, now: float) -> None:
        if now >= self._look_at:
            self._look(now)
        if self._seen is None:
            return
        if self._sent >= KEPT_MAX:
            kept = (word for words in self.words.values() for word in words.values())  # no copy of all
            self._drop(next(each for each in kept if each.place is not None))
        word.place, word.until = self._seen, now + KEPT_S
        self._sent += 1
        self._keep(word)

    def _keep(self, word: Word) -> None:
        self.words.setdefault(word.name, {})[word.kind] = word

    def _drop(self, word: Word) -> None:
        self.unsent.pop(word, None)
        kept = self.words.get(word.name, {})
        if kept.get(word.kind) is not word:
            return
        del kept[word.kind]
        if not kept:
            del self.words[word.name]
        self._sent -= word.place is not None

    def _look(self, now: float) -> bool:
        """Whether another supervisor is there than at the last look."""
        before, self._look_at, self._seen = self._seen, now + LOOK_S, self._place()
        return self._seen != before


class UnreadClient(Protocol):
    """What is used of a client (client/base_client.py)."""

    _making: threading.RLock
    _unread: UnreadOf | None
    _say_at: float

    def _deliver(self, frame: bytes, wait: float = 0.0) -> bool: ...
    def _place(self) -> object: ...
    def _is_open(self) -> bool: ...


class UnreadOf:
    """The unread words of one client, as long as there are any; safe to use from any thread."""

    def __init__(self, client: UnreadClient) -> None:
        self.words = Unread(client._place)
        self._client = client

    def say(self, name: str, kind: Kind, now: float) -> None:
        """This is to be said of ``name``: before it, say what is due."""
        client = self._client
        if now < client._say_at and name not in self.words.words:
            return
        with client._making:
            if client._unread is self:  # it still is
                self.words.before_message(name, kind, now, client._deliver)
                self.settle()

    def look(self, now: float) -> float:
        """Say what is due, for the next message may be long in coming. Seconds until the next look."""
        client = self._client
        with client._making:
            if client._unread is not self or not client._is_open():
                return inf
            self.words.say_due(now, client._deliver)
            self.settle()
            return self.words.look_s(now)

    def settle(self) -> None:
        """Note when the next message waits for these words."""
        self._client._say_at = self.words.due
        if self._client._say_at == inf:
            self._client._unread = None


def keep(
    client: UnreadClient,
    name: str,
    kind: Kind,
    encode: Encode,
    *,
    sent: bool,
    seconds: float = inf,
) -> None:
    """This was said by ``client``; the rest is as for ``Unread.add``."""
    with client._making:
        now = monotonic()
        unread = client._unread = client._unread or UnreadOf(client)
        unread.words.add(name, kind, encode, now, sent=sent, seconds=seconds)
        unread.settle()
    look_s = unread.words.look_s(now) if kind in SILENT else inf
    if look_s < inf:
        from banken.watchdog.work import teller

        teller.look(unread.look, now, now + look_s)
