"""What is written in the store, and by whom. Every value is a msgpack map with ``v``, the version of its form.

``leader``: who leads. It is written at a takeover only, and its revision is the *term*: whatever the leader writes
is on the condition that ``leader`` still has it.

``leader/beat``: a number that the leader writes again and again, which shows that it still leads.

``members/NAME``: where a member is, and its public key. It writes that at its start.

``words/NAME``: what an operator said last of this watchdog, to any member.

``failures/NAME``: what an operator said has failed, to any member, until the leader has taken it.

``spent/NAME``: what the steps of its closed incidents have used up of their budgets.

``claims/NAME``: the open incident of a watchdog, with what was begun for it. It is written before the incident is
announced, and again before each action begins and when it has ended; it is dropped when the incident ends.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import msgpack

from banken.protocol.incidents import Cause
from banken_supervisor.text.sanitize import ODD

T = TypeVar("T", bound=tuple[Any, ...])

VERSION = 1

LEADER, BEAT = "leader", "leader/beat"
"""Both begin with the same word, so that one question is answered with these two, and with nothing else."""

SAID = "leader/words"
"""Changes with every word of an operator, so that all members see that there is one."""

CLAIMS = "claims/"
SPENT = "spent/"
WORDS = "words/"
FAILURES = "failures/"
MEMBERS = "members/"


class Foreign(Exception):
    """A value that this banken did not write, or that a newer one did. It is left alone."""


class Leader(NamedTuple):
    """Who leads. ``member`` empty: nobody, the last one has stepped down."""

    member: str
    run: str
    """run id of its supervisor, another one at each start"""
    since: float
    """wall clock"""
    ttl: float = 0.0
    """seconds that it was told to lead without a beat"""
    number: int = 0
    """of its takeover: greater than that of each one that it knew of, and at least ``since``"""


class Member(NamedTuple):
    """One supervisor of the cluster."""

    name: str
    run: str
    address: str
    """where it listens for the others, ``tcp://HOST:PORT``; empty: nowhere"""
    public: str
    """its public key"""
    since: float
    """wall clock"""
    ttl: float
    """seconds, by its config"""


class Word(NamedTuple):
    """What an operator said of a watchdog."""

    kind: str
    """pause, resume, extend, release"""
    seconds: float | None
    """that a pause, or an extension, lasts; None: it has no end. Not when it ends: the clocks of hosts differ"""
    member: str
    """to whom it was said"""
    at: float
    """wall clock"""
    process: tuple[int, int, bytes] | None = None
    """whose the watchdog was then, as far as that member knew: pid, start and random part; None: nobody's, or an
    older banken's word"""


class Failure(NamedTuple):
    """That a watchdog has failed, by an operator."""

    frame: bytes
    """the message, as on the wire"""
    member: str
    """to whom it was said"""
    at: float
    """wall clock"""


class Begun(NamedTuple):
    """One run of a step that was begun."""

    step: int
    run: int
    """which run of this step in its incident, from 1"""
    action: str
    at: float
    """wall clock"""
    ended: bool = False


class SpentRun(NamedTuple):
    """One run of a step with a budget, in an incident that is closed."""

    step: int
    action: str
    at: float
    """wall clock"""


class Claim(NamedTuple):
    """The open incident of one watchdog, as all members know it."""

    id: str
    cause: str
    opened: float
    """wall clock"""
    silence: float
    """seconds that it had been silent for then"""
    timeout: float
    member: str
    """who opened it"""
    reason: str | None = None
    begun: tuple[Begun, ...] = ()
    given_up: bool = False


def pack(**fields: Any) -> bytes:
    """A value with these fields."""
    packed: bytes = msgpack.packb({"v": VERSION, **fields})
    return packed


def unpack(value: bytes) -> dict[str, Any]:
    """The fields of a value. Foreign."""
    try:
        found = msgpack.unpackb(value)
    except (*ODD, msgpack.UnpackException) as fault:
        raise Foreign(f"no value of banken's: {type(fault).__name__}") from None
    if not isinstance(found, dict) or not isinstance(found.get("v"), int):
        raise Foreign("no value of banken's")
    if found["v"] > VERSION:
        raise Foreign(f"a value of a newer banken, version {found['v']}; this one knows {VERSION}")
    return found


def pack_leader(leader: Leader) -> bytes:
    """The value of ``leader``."""
    return pack(**leader._asdict())


def unpack_leader(value: bytes) -> Leader:
    """Who leads by this value. Foreign."""
    found = unpack(value)
    try:
        return _checked(Leader(**{each: found[each] for each in Leader._fields}), (str, str, _NUMBER, _NUMBER, int))
    except ODD:
        raise Foreign("no leader of banken's") from None


def pack_member(member: Member) -> bytes:
    """The value of ``members/NAME``."""
    return pack(**member._asdict())


def unpack_member(value: bytes) -> Member:
    """The member by this value. Foreign."""
    found = unpack(value)
    try:
        return _checked(
            Member(**{each: found[each] for each in Member._fields}), (str, str, str, str, _NUMBER, _NUMBER)
        )
    except ODD:
        raise Foreign("no member of banken's") from None


def pack_word(word: Word) -> bytes:
    """The value of ``words/NAME``."""
    return pack(**word._asdict())


def unpack_word(value: bytes) -> Word:
    """The word by this value. Foreign."""
    found = unpack(value)
    try:
        if (process := found.get("process")) is not None:
            process = _checked(tuple(process), (int, int, bytes))
        word = Word(found["kind"], found["seconds"], found["member"], found["at"], process)
        return _checked(word, (str, _NUMBER | None, str, _NUMBER, tuple | None))
    except ODD:
        raise Foreign("no word of banken's") from None


def pack_failure(failure: Failure) -> bytes:
    """The value of ``failures/NAME``."""
    return pack(**failure._asdict())


def unpack_failure(value: bytes) -> Failure:
    """The failure by this value. Foreign."""
    found = unpack(value)
    try:
        return _checked(Failure(**{each: found[each] for each in Failure._fields}), (bytes, str, _NUMBER))
    except ODD:
        raise Foreign("no failure of banken's") from None


def pack_claim(claim: Claim) -> bytes:
    """The value of ``claims/NAME``. Equal claims have equal values."""
    return pack(**claim._asdict())


def unpack_claim(value: bytes) -> Claim:
    """The incident by this value. Foreign."""
    found = unpack(value)
    try:
        begun = tuple(_checked(Begun(*each), _BEGUN) for each in found["begun"])
        claim = Claim(**{each: found[each] for each in Claim._fields})._replace(begun=begun)
        Cause(claim.cause)  # ValueError: a cause of a newer banken
        return _checked(claim, _CLAIM)
    except ODD:
        raise Foreign("no incident of banken's") from None


def pack_spent(runs: tuple[SpentRun, ...]) -> bytes:
    """The value of ``spent/NAME``."""
    return pack(runs=runs)


def unpack_spent(value: bytes) -> tuple[SpentRun, ...]:
    """The runs by this value. Foreign."""
    found = unpack(value)
    try:
        return tuple(_checked(SpentRun(*each), (int, str, _NUMBER)) for each in found["runs"])
    except ODD:
        raise Foreign("no runs of banken's") from None


_NUMBER = int | float
_BEGUN = (int, int, str, _NUMBER, bool)
_CLAIM = (str, str, _NUMBER, _NUMBER, _NUMBER, str, str | None, tuple, bool)


def _checked(values: T, kinds: tuple[Any, ...]) -> T:
    """The values, if each is of its kind. TypeError."""
    for value, kind in zip(values, kinds, strict=True):
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise TypeError(value)
    return values
