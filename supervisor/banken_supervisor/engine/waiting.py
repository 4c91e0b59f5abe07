"""Messages that need work wait here when there are many, by who sent them, and are taken in turn.

A plain feed costs a look-up and does not wait, unless an earlier message about its name does: what one worker says
keeps its order. Everything else is decoded, and may cause events, each of which is written to the journal, the log
and all subscribers: that is a hundred times the work. In calm it is done at once. When more comes than fits into a
turn of the loop, it waits, and the sources take turns (round robin), so that one that floods delays only itself.
``Verdicts`` decides whose silence is judged meanwhile: it is patient with a process whose own messages wait here.

Two bounds. What waits has at most ``most`` bytes; a source may use as much as is free besides (Choudhury and
Hahne, "Dynamic queue length thresholds", 1998), so that there is room for others however many there are. What does
not fit is dropped. And a source may cause ``Quotas.events_per_second`` for long, ``events_burst`` at once (a
leaky bucket); beyond that its messages wait. Sources are told apart by the kernel's word where it is known, else by
the process that each message claims to come from.

Pure: ``now`` is deadline time, seconds.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

from banken.errors import WireError
from banken.protocol.codec import pack, unpack
from banken.protocol.limits import BOOT_SIZE, FRAME_MAX
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.policy import Quotas
from banken_supervisor.engine.principal import AnyPrincipal, KeyHolder, may_use

WAITING_MAX, WAITING_EACH = 16 * 2**20, 1024
"""Bytes of all messages that wait, with ``OVERHEAD`` for each; or so many for each watchdog that a process may
have, if that is more: it declares all of them at its start."""

LANE_FULL = 256 * 1024
"""Bytes that wait of one source, from which on its connections are not read, where that can be."""

OVERHEAD = 100
"""Bytes that a message takes besides its own."""

BUCKETS_MAX = 1_000
"""Sources whose events are counted; beyond that those that have rested are forgotten."""

REPORT_EVERY_S, REPORT_GAP_S = 10.0, 1.0
"""Seconds between two reports about one source, and between any two."""

_LONG_ARRAYS = range(0xDC, 0xDE)
_LONG_NUMBERS = range(0xCC, 0xD4)
"""First bytes, in msgpack, of arrays and numbers that another client may write longer than ours does."""

_BOOT = b"\xc4\x08"
_NONCE = b"\xc4\x04"
"""How msgpack begins the two byte strings of an identity."""


class Source(NamedTuple):
    """Who sent a message."""

    principal: AnyPrincipal
    process: int | bytes
    """the pid of the process that has the connection; where that is not known, what the message claims"""

    @property
    def pid(self) -> int | None:
        """The number of the process; None: it is not known. A claim was not decoded: it may say anything."""
        if isinstance(self.process, int):
            return self.process
        try:
            _, pid, _ = unpack(b"\x93" + self.process, FRAME_MAX)
        except WireError:
            return None
        return pid if type(pid) is int else None


def _place_of_name(frame: bytes) -> tuple[int, int]:
    """Where its name begins and ends. IndexError: it is too short for one."""
    first = frame[3]
    begin, length = (4, first & 31) if first < 0xC0 else (5, frame[4])
    return begin, begin + length


def claim_of(frame: bytes) -> bytes:
    """Which process this message claims to come from, packed without its random part; empty: none. It is not
    decoded for that: its identity begins after its name (docs/wire.md)."""
    try:
        _, at = _place_of_name(frame)
        if frame[at + 1 : at + 3] == _BOOT and (end := frame.find(_NONCE, at + 12, at + 32)) > 0:
            return frame[at + 1 : end]
    except IndexError:
        pass
    return b""


def name_in(frame: bytes) -> str:
    """Which name this message is about, as far as its bytes tell; empty: none. It is not decoded for that."""
    try:
        begin, end = _place_of_name(frame)
    except IndexError:
        return ""
    return frame[begin:end].decode("utf-8", "replace")


def claim_with(frame: bytes, principal: AnyPrincipal) -> bytes:
    """``claim_of``, as the watchdogs of this principal have their processes."""
    claim = claim_of(frame)
    if claim and isinstance(principal, KeyHolder):
        head, end = len(_BOOT), len(_BOOT) + BOOT_SIZE
        return _BOOT + principal.boot(claim[head:end]) + claim[end:]
    return claim


def source_of(frame: bytes, principal: AnyPrincipal, pid: int) -> Source:
    """Who sent this message. ``pid``: of the process that has the connection, by the kernel's word; 0: unknown. All
    that comes with one key has one turn: what it says of its processes may be invented."""
    return Source(principal, b"" if isinstance(principal, KeyHolder) else pid or claim_of(frame))


def may_be_message(frame: bytes) -> bool:
    """Whether it begins as a message does: an array of at least six, and a number (the version: what another one
    sends is refused as that). What does not need not wait."""
    if not 6 < len(frame) <= FRAME_MAX:
        return False
    first, second = frame[0], frame[1]
    return first in _LONG_ARRAYS or (0x96 <= first <= 0x9F and (second < 0x80 or second in _LONG_NUMBERS))


def packed(process: ProcessIdentity | None) -> bytes:
    """What messages of this process claim; None: those that name no process."""
    return b"" if process is None else pack(process[:3])[1:]


@dataclass(slots=True)
class _Lane:
    frames: deque[bytes] = field(default_factory=deque)
    size: int = 0


@dataclass(slots=True)
class _Bucket:
    """Events that a source caused lately: it leaks ``events_per_second``."""

    level: float
    at: float


class Waiting:
    """What waits, and who caused how many events."""

    def __init__(self, quotas: Quotas) -> None:
        self.quotas = quotas
        self.at_once: float = inf
        """messages of this turn that are taken as they are read, in calm; the caller's to set"""
        self.speaker: Callable[[], int] = lambda: 0
        """the pid of the process whose connection is being read, as for ``source_of``"""
        self.elsewhere: Callable[[str], int] = lambda name: 0
        """how many messages about this watchdog wait outside, where each has a queue of its own (sd_notify)"""
        self.size = 0
        """bytes that wait"""
        self.taken = 0
        """messages that waited and were taken"""
        self._ready: OrderedDict[Source, _Lane] = OrderedDict()
        self._claims: dict[AnyPrincipal, Counter[bytes]] = {}
        """how many messages wait that claim to come from a process, by who said it"""
        self._held: dict[Source, _Lane] = {}
        """those of sources that have caused too many events"""
        self._buckets: dict[Source, _Bucket] = {}
        self._full: dict[Source, float] = {}
        """until when a source has to wait"""
        self._dropped: Counter[Source] = Counter()
        self._reported: dict[Source, float] = {}
        """when the last report about a source was"""
        self._report_at = 0.0

    @property
    def is_calm(self) -> bool:
        """Whether nothing waits, and nobody has to."""
        return not self._ready and not self._held and not self._full

    @property
    def most(self) -> int:
        """Bytes that may wait."""
        return max(WAITING_MAX, WAITING_EACH * self.quotas.names_per_process)

    def holds(self, name: str, process: ProcessIdentity | None) -> int:
        """How many messages of this process wait that may be about this name. None: those that name no process."""
        which = packed(process)
        return sum(
            claims[which]
            for principal, claims in self._claims.items()
            if which in claims and may_use(principal, name)
        )

    def is_full(self, principal: AnyPrincipal, pid: int) -> bool:
        """Whether so many messages of this process wait that its connections need not be read before some are
        taken. ``pid``: as for ``source_of``."""
        source = Source(principal, pid)
        lane = self._ready.get(source) or self._held.get(source)
        return lane is not None and lane.size >= LANE_FULL

    def put(self, frame: bytes, principal: AnyPrincipal) -> str | None:
        """Add a message that is being read, or drop it: why, in one word, as refusals have it."""
        if not may_be_message(frame):
            return "garbage"
        claim = claim_with(frame, principal)
        source = Source(principal, b"" if isinstance(principal, KeyHolder) else self.speaker() or claim)
        size = len(frame) + OVERHEAD
        lane = self._ready.get(source) or self._held.get(source)
        if (0 if lane is None else lane.size) + size > self.most - self.size:
            if len(self._dropped) < BUCKETS_MAX or source in self._dropped:
                self._dropped[source] += 1
            return "flood"
        if lane is None:
            lane = _Lane()
            if source in self._full:
                self._held[source] = lane
            else:
                self._ready[source] = lane
        lane.frames.append(frame)
        self._claims.setdefault(principal, Counter())[claim] += 1
        lane.size += size
        self.size += size
        return None

    def wake(self, now: float) -> None:
        """A turn begins: those that have waited for long enough go on."""
        for source in [source for source, until in self._full.items() if until <= now]:
            del self._full[source]
            if (lane := self._held.pop(source, None)) is not None:
                self._ready[source] = lane

    def patience(self, now: float) -> float | None:
        """Seconds until ``take`` has one; None: nothing waits."""
        if self._ready:
            return 0.0
        return max(0.0, min(self._full[source] for source in self._held) - now) if self._held else None

    def take(self) -> tuple[bytes, AnyPrincipal, int] | None:
        """The next message, of the source whose turn it is: its bytes, who sent it, and the pid as for
        ``source_of``. None: there is none."""
        if not self._ready:
            return None
        source, lane = self._ready.popitem(last=False)
        frame = lane.frames.popleft()
        size = len(frame) + OVERHEAD
        lane.size -= size
        self.size -= size
        self.taken += 1
        if lane.frames:
            self._ready[source] = lane
        claims, claim = self._claims[source.principal], claim_with(frame, source.principal)
        claims[claim] -= 1
        if not claims[claim]:
            del claims[claim]
        return frame, source.principal, source.process if isinstance(source.process, int) else 0

    def charge(self, source: Source, events: int, now: float) -> None:
        """A message of this source caused so many events."""
        bucket = self._buckets.get(source)
        if bucket is None:
            if len(self._buckets) >= BUCKETS_MAX:
                self._forget_rested(now)
            bucket = self._buckets[source] = _Bucket(0.0, now)
        bucket.level = max(0.0, bucket.level - (now - bucket.at) * self.quotas.events_per_second) + events
        bucket.at = now
        if bucket.level >= self.quotas.events_burst and source not in self._full:
            # Not before a tenth of a second's worth has leaked: it is not moved to and fro for each.
            self._full[source] = (
                now + 0.1 + (bucket.level - self.quotas.events_burst) / self.quotas.events_per_second
            )
            if (lane := self._ready.pop(source, None)) is not None:
                self._held[source] = lane

    def flood(self, now: float) -> list[Effect]:
        """An event about a source that sends too much and was not reported lately. Empty: there is none, or another
        one just was."""
        if now < self._report_at or not (self._full or self._dropped):
            return []
        self._report_at = now + REPORT_GAP_S
        self._reported = {each: at for each, at in self._reported.items() if now - at < REPORT_EVERY_S}
        for source in (*self._full, *self._dropped):
            if source not in self._reported:
                self._reported[source] = now
                lane = self._ready.get(source) or self._held.get(source)
                data: dict[str, Any] = {"pid": source.pid, "waiting": 0 if lane is None else lane.size}
                if isinstance(source.principal, KeyHolder):
                    data["key"] = source.principal.name
                return [Event(EventType.FLOOD, None, {**data, "dropped": self._dropped.pop(source, 0)})]
        return []

    def _forget_rested(self, now: float) -> None:
        rate = self.quotas.events_per_second
        self._buckets = {
            source: bucket
            for source, bucket in self._buckets.items()
            if source in self._full or bucket.level > (now - bucket.at) * rate
        }
        while len(self._buckets) > BUCKETS_MAX * 9 // 10:  # not one by one: all are looked at each time
            del self._buckets[next(iter(self._buckets))]
