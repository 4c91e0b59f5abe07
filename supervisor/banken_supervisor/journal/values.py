"""Values of columns: what is cut and cleaned before it is written, and how what was written is read.

Reading raises ValueError where this version does not understand a value.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from banken.protocol.answers import NUMBER_MAX
from banken.protocol.codec import read_identity
from banken.protocol.limits import NONCE_SIZE, PROGRESS_MAX
from banken.protocol.messages import Declaration, Kind, ProcessIdentity, declare
from banken_supervisor.engine.record import JOINS_AFTER
from banken_supervisor.engine.snapshot import Extensions, NumbersHeard, PastMember
from banken_supervisor.text import sanitize

ID_MAX = 128
"""Longest incident id, run id, action, level or word, in characters."""

TEXT_MAX = 8192
"""Longest text of a step's run, in characters."""

DATA_MAX = 32 * 1024
"""Longest event data, in bytes of JSON; of longer ones only the short values are kept."""

EVIDENCE_MAX = 1024 * 1024
"""Longest evidence, in bytes of JSON before it is compressed."""

_INT_MAX = 2**63 - 1
_COUNT_MAX = int(NUMBER_MAX)

Value = int | float | str | bytes | None
Row = tuple[Value, ...]


def a(kind: type) -> Callable[[Any], Any]:
    """What was written as this, and is still."""

    def checked(value: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"a value is a {type(value).__name__} where a {kind.__name__} was written")
        return value

    return checked


def a_number(value: Any) -> float:
    """What was written as a float, which SQLite may keep as an integer."""
    number: float = value if type(value) is float else float(a(int)(value))
    if not -NUMBER_MAX <= number <= NUMBER_MAX:
        raise ValueError(f"a number is {number}")
    return number


def a_count(value: Any) -> int:
    """What was written as a count."""
    if type(value) is not int or not 0 <= value <= _COUNT_MAX:
        raise ValueError(f"a count is {value!r:.50}")
    return value


def a_progress(value: Any) -> int | float | str:
    """What was written as a worker's progress."""
    if type(value) not in (int, float, str):
        raise ValueError(f"a progress is a {type(value).__name__}")
    return value  # type: ignore[no-any-return]


def optional(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``convert``, with None left as it is."""
    return lambda value: None if value is None else convert(value)


def text(longest: int) -> Callable[[str], str]:
    """Cuts to ``longest`` characters. Lone surrogates (of an argument or a path) fit neither SQLite nor msgpack."""
    return lambda value: sanitize.text(value, longest)


def count(value: int) -> int:
    """A number of things, or a process id."""
    return min(max(int(value), 0), _COUNT_MAX)


def seconds(value: float) -> float:
    """A moment or a duration. Never -0.0 and never NaN, which SQLite does not give back."""
    number = float(value) + 0.0
    return min(max(number, -NUMBER_MAX), NUMBER_MAX) if number == number else 0.0  # NaN is not equal to itself


def progress(value: int | float | str | None) -> Value:
    """A worker's progress value."""
    if isinstance(value, str):
        return sanitize.text(value, PROGRESS_MAX)
    if isinstance(value, int):
        return min(max(int(value), -_INT_MAX), _INT_MAX)
    return None if value is None or math.isnan(value) else float(value) + 0.0


@lru_cache(4096)
def declaration_text(declaration: Declaration) -> str:
    """A declaration as JSON."""
    return plain_json(declaration._asdict())


@lru_cache(4096)
def parse_declaration(written: str) -> Declaration:
    """Fields that this version does not know are left out; those that an older one did not know get their
    defaults."""
    known = {key: value for key, value in sanitize.from_json(written).items() if key in Declaration._fields}
    return declare(**{**Declaration()._asdict(), **known})


def owner_text(owner: ProcessIdentity) -> str:
    """A process's identity."""
    return f"{owner.boot.hex()}-{owner.pid}-{owner.start}-{owner.nonce.hex()}"


def parse_owner(written: str) -> ProcessIdentity:
    """What ``owner_text`` wrote. On the wire each has a nonce; one that MAINPID of sd_notify named has none."""
    boot, pid, start, nonce = written.split("-")
    said = bytes.fromhex(nonce)
    owner = read_identity([bytes.fromhex(boot), int(pid), int(start), said or bytes(NONCE_SIZE)])
    return owner._replace(nonce=said)


def members_text(members: tuple[PastMember, ...]) -> str:
    """The processes of one watchdog, and how often each was heard where that is not often enough yet."""
    return " ".join(
        owner_text(who) if words >= JOINS_AFTER else f"{owner_text(who)}={count(words)}" for who, words in members
    )


def parse_members(written: str) -> tuple[PastMember, ...]:
    """What ``members_text`` wrote."""
    parts = [each.partition("=") for each in written.split()]
    return tuple(PastMember(parse_owner(who), int(words or JOINS_AFTER)) for who, _, words in parts)


def extensions_text(extended: Extensions) -> str:
    """Which of them are extended, and how many seconds each ends before the longest one."""
    return " ".join(f"{owner_text(who)}={seconds(earlier)!r}" for who, earlier in extended)


def parse_extensions(written: str) -> Extensions:
    """What ``extensions_text`` wrote."""
    parts = [each.partition("=") for each in written.split()]
    return tuple((parse_owner(who), a_number(float(earlier or 0.0))) for who, _, earlier in parts)


def numbers_text(heard: NumbersHeard) -> str:
    """The highest number of a word of each process and matter."""
    return " ".join(f"{owner_text(who)}={int(what)}:{count(number)}" for (who, what), number in heard)


def parse_numbers(written: str) -> NumbersHeard:
    """What ``numbers_text`` wrote."""
    parts = [each.replace("=", ":").split(":") for each in written.split()]
    return tuple(((parse_owner(who), Kind(int(what))), a_count(int(number))) for who, what, number in parts)


def bounded_json(data: Mapping[str, Any]) -> str:
    """An event's data as JSON; of what is too long the short values only."""
    return _bounded(data, DATA_MAX, DATA_MAX // 128)


def squeeze(evidence: Mapping[str, Any]) -> bytes:
    """Evidence as ``EvidenceTaken.blob``: JSON, compressed. What is too long is replaced by a note that says so."""
    return zlib.compress(_bounded(evidence, EVIDENCE_MAX, TEXT_MAX).encode(), 6)


def _bounded(data: Mapping[str, Any], longest: int, value_max: int) -> str:
    """JSON of at most ``longest`` bytes: of what is longer only values of at most ``value_max``, and a note."""
    whole = plain_json(data)
    if len(whole) <= longest:
        return whole
    short = {key: value for key, value in list(data.items())[:64] if len(plain_json({key: value})) <= value_max}
    return plain_json({**short, "cut": f"{len(whole)} bytes; at most {longest} are kept"})


def unsqueeze(blob: bytes) -> Any:
    """What ``squeeze`` was given. ValueError: it is damaged, or longer than EVIDENCE_MAX bytes."""
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(blob, EVIDENCE_MAX)
    except zlib.error as fault:
        raise ValueError(f"the evidence cannot be unpacked: {fault}") from None
    if not unpacker.eof:
        raise ValueError(f"the evidence is longer than {EVIDENCE_MAX} bytes")
    return sanitize.from_json(unpacked)


def checked_blob(blob: bytes) -> bytes:
    """ValueError: it is longer than ``squeeze`` makes any."""
    if len(blob) > EVIDENCE_MAX:
        raise ValueError(f"evidence has at most {EVIDENCE_MAX} bytes, this has {len(blob)}")
    return bytes(blob)


def plain_json(data: Mapping[str, Any]) -> str:
    """Standard JSON of any data: ASCII, no NaN, no infinity, no key that is not a text."""
    try:
        return _encode(data)
    except (ValueError, TypeError, RecursionError):
        return _encode(sanitize.plain(data))


_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
