"""Entries as rows and back: what is cut, what is cleaned, and the checksum that each row carries.

A row is its columns and their checksum: the CRC-32 of the table's name and the values, as msgpack. SQLite takes
inserts into damaged files and its quick_check misses some damage (FIELD_NOTES.md), so nothing is believed whose sum
is not right. The sum is of what SQLite gives back: a NaN would come back as NULL and -0.0 as 0.0, so they are
written as that.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgpack

from banken.protocol.incidents import Cause
from banken.protocol.limits import NAME_MAX, PROGRESS_MAX, REASON_MAX, STATUS_MAX
from banken.protocol.messages import Declaration, Feeders, ProcessIdentity
from banken_supervisor.engine.states import State
from banken_supervisor.journal.entries import Declared, EventSeen, EvidenceTaken, IncidentOpened, StepRun

ID_MAX = 128
"""Longest incident id, run id, action, level or word, in characters."""

TEXT_MAX = 8192
"""Longest text of a step's run, in characters."""

DATA_MAX = 32 * 1024
"""Longest event data, in bytes of JSON; of longer ones only the short values are kept."""

EVIDENCE_MAX = 1024 * 1024
"""Longest evidence, in bytes of JSON before it is compressed."""

_INT_MAX = 2**63 - 1

_STATES = {state.value: state for state in State}

Value = int | float | str | bytes | None
Row = tuple[Value, ...]


class IncidentRecord(NamedTuple):
    """An incident as it is kept: the columns of ``incidents``."""

    id: str
    name: str
    cause: Cause
    opened: float
    closed: float | None
    """wall clock; None: it is open, or its end was not recorded"""
    how: str | None
    runs: int
    reason: str | None
    status: str | None
    progress: int | float | str | None
    silence: float
    timeout: float
    pid: int | None
    level: str | None


class Evidence(NamedTuple):
    """Evidence as it is kept, unpacked."""

    incident: str
    taken: float
    data: Any


class EventRecord(NamedTuple):
    """An event as it is kept. ``run`` tells the runs of the supervisor apart: ``seq`` may begin anew with each."""

    run: str
    seq: int
    time: float
    type: str
    name: str | None
    incident: str | None
    data: Any


def checksum(table: str, values: Sequence[Value]) -> int:
    """The sum that a row of ``table`` with these values carries."""
    return zlib.crc32(msgpack.packb((table, *values)))


def sealed(table: str, *values: Value) -> Row:
    """The values with their sum."""
    return (*values, checksum(table, values))


def intact(table: str, row: Sequence[Any]) -> bool:
    """Whether a row that was read, its sum last, is what was written."""
    try:
        return bool(row[-1] == checksum(table, row[:-1]))
    except (TypeError, ValueError, OverflowError):  # damage can put anything there
        return False


# -- entries to rows ----------------------------------------------------------------------------------


def registry_row(entry: Declared) -> Row:
    """A row of ``registry``."""
    return sealed(
        "registry",
        _text(entry.name, NAME_MAX),
        _declaration_text(entry.declaration),
        _real(entry.resolution),
        _owner_text(entry.owner),
        entry.state.value,
        None if entry.paused_until is None else _real(entry.paused_until),
        int(entry.operator),
        _int(entry.incidents),
        _real(entry.changed),
    )


def incident_row(entry: IncidentOpened) -> Row:
    """A row of ``incidents`` that is open."""
    return sealed(
        "incidents",
        _text(entry.id, ID_MAX),
        _text(entry.name, NAME_MAX),
        str(entry.cause),
        _real(entry.opened),
        None,
        None,
        1,
        _maybe(entry.reason, REASON_MAX),
        _maybe(entry.status, STATUS_MAX),
        _progress(entry.progress),
        _real(entry.silence),
        _real(entry.timeout),
        None if entry.pid is None else _int(entry.pid),
        _maybe(entry.level, ID_MAX),
    )


def closed_row(row: Sequence[Value], closed: float, how: str, runs: int) -> Row:
    """The row of ``incidents`` that takes the place of ``row``, which is open."""
    values = (*row[:4], _real(closed), _text(how, ID_MAX), _int(runs), *row[7:-1])
    return sealed("incidents", *values)


def step_row(entry: StepRun) -> Row:
    """A row of ``steps``."""
    return sealed(
        "steps",
        _text(entry.incident, ID_MAX),
        _int(entry.step),
        _int(entry.run),
        _text(entry.action, ID_MAX),
        _real(entry.started),
        None if entry.ok is None else int(entry.ok),
        _text(entry.text, TEXT_MAX),
    )


def evidence_row(entry: EvidenceTaken) -> Row:
    """A row of ``evidence``; ValueError: the blob is longer than ``squeeze`` makes any."""
    if len(entry.blob) > EVIDENCE_MAX:
        raise ValueError(f"evidence has at most {EVIDENCE_MAX} bytes, this has {len(entry.blob)}")
    return sealed("evidence", _text(entry.incident, ID_MAX), _real(entry.taken), bytes(entry.blob))


def event_row(entry: EventSeen, run: str) -> Row:
    """A row of ``events``."""
    incident = entry.data.get("incident")
    return sealed(
        "events",
        _text(run, ID_MAX),
        _int(entry.seq),
        _real(entry.time),
        _text(entry.type, ID_MAX),
        _maybe(entry.name, NAME_MAX),
        _text(incident, ID_MAX) if isinstance(incident, str) else None,
        _data_text(entry.data),
    )


def squeeze(evidence: Mapping[str, Any]) -> bytes:
    """Evidence as ``EvidenceTaken.blob``: JSON, compressed. What is too long is replaced by a note that says so."""
    text = plain_json(evidence)
    if len(text) > EVIDENCE_MAX:
        short = {key: value for key, value in evidence.items() if isinstance(value, str) and len(value) <= TEXT_MAX}
        text = plain_json(
            {**dict(list(short.items())[:64]), "cut": f"{len(text)} bytes; at most {EVIDENCE_MAX} are kept"}
        )
    return zlib.compress(text.encode(), 6)


# -- rows to entries; ValueError: the sum is right, but this version cannot read it --------------------------


def declared(row: Row) -> Declared:
    """A row of ``registry``, without its sum."""
    name, declaration, resolution, owner, state, paused_until, operator, incidents, changed = _any(row)
    return Declared(
        name,
        _declaration(declaration),
        resolution,
        _owner(owner),
        _STATES[state],
        paused_until,
        bool(operator),
        incidents,
        changed,
    )


def incident(row: Row) -> IncidentRecord:
    """A row of ``incidents``, without its sum."""
    incident_id, name, cause, *rest = _any(row)
    return IncidentRecord(incident_id, name, Cause(cause), *rest)


def step(row: Row) -> StepRun:
    """A row of ``steps``, without its sum."""
    incident_id, index, run, action, started, ok, text = _any(row)
    return StepRun(incident_id, index, run, action, started, None if ok is None else bool(ok), text)


def evidence(row: Row) -> Evidence:
    """A row of ``evidence``, without its sum; never unpacks to more than EVIDENCE_MAX bytes."""
    incident_id, taken, blob = _any(row)
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(blob, EVIDENCE_MAX)
    except zlib.error as fault:
        raise ValueError(f"the evidence cannot be unpacked: {fault}") from None
    if not unpacker.eof:
        raise ValueError(f"the evidence is longer than {EVIDENCE_MAX} bytes")
    return Evidence(incident_id, taken, json.loads(text))


def event(row: Row) -> EventRecord:
    """A row of ``events``, without its sum."""
    run, seq, time, kind, name, incident_id, data = _any(row)
    return EventRecord(run, seq, time, kind, name, incident_id, json.loads(data))


# -- values -------------------------------------------------------------------------------------------


def _any(row: Row) -> tuple[Any, ...]:
    """Values of a row whose sum is right have the types that were written."""
    return row


def _text(value: str, longest: int) -> str:
    if len(value) > longest:
        value = value[: longest - 1] + "…"
    # Lone surrogates (undecodable bytes of an argument or a path) fit neither SQLite nor msgpack.
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def _maybe(value: str | None, longest: int) -> str | None:
    return None if value is None else _text(value, longest)


def _int(value: int) -> int:
    number = int(value)
    return number if -_INT_MAX <= number <= _INT_MAX else _INT_MAX if number > 0 else -_INT_MAX


def _real(value: float) -> float:
    number = float(value) + 0.0  # never -0.0
    return number if number == number else 0.0  # NaN is not itself


def _progress(value: int | float | str | None) -> Value:
    if isinstance(value, str):
        return _text(value, PROGRESS_MAX)
    if isinstance(value, int):
        return _int(value)
    return None if value is None or math.isnan(value) else _real(value)


def plain_json(value: Any) -> str:
    """JSON as the standard has it, whatever comes: ASCII, no NaN, no infinity, no key that is not a text."""
    try:
        return _encode(value)
    except (ValueError, TypeError, RecursionError):
        return json.dumps(_tamed(value, 16), separators=(",", ":"))


_encode = json.JSONEncoder(allow_nan=False, default=lambda value: _plain(value), separators=(",", ":")).encode


def _plain(value: Any) -> Any:
    """What JSON has no word for."""
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return value.hex() if isinstance(value, (bytes, bytearray)) else str(value)


def _tamed(value: Any, depth: int) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if depth == 0:
        return "…"
    if isinstance(value, Mapping):
        return {str(key): _tamed(each, depth - 1) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_tamed(each, depth - 1) for each in value]
    return _plain(value)


def _data_text(data: Mapping[str, Any]) -> str:
    text = plain_json(data)
    if len(text) <= DATA_MAX:
        return text
    short = {
        key: value for key, value in list(data.items())[:64] if len(plain_json({key: value})) <= DATA_MAX // 128
    }
    return plain_json({**short, "cut": f"{len(text)} bytes; at most {DATA_MAX} are kept"})


@lru_cache(4096)
def _declaration_text(declaration: Declaration) -> str:
    return plain_json(declaration._asdict())


@lru_cache(4096)
def _declaration(text: str) -> Declaration:
    """Fields that this version does not know are left out; those that an older one did not know have their
    defaults."""
    fields = json.loads(text)
    known = {key: value for key, value in fields.items() if key in Declaration._fields}
    if "feeders" in known:
        known["feeders"] = Feeders(known["feeders"])
    return Declaration(**known)


def _owner_text(owner: ProcessIdentity | None) -> str | None:
    return None if owner is None else f"{owner.boot.hex()}-{owner.pid}-{owner.start}-{owner.nonce.hex()}"


def _owner(text: str | None) -> ProcessIdentity | None:
    if text is None:
        return None
    boot, pid, start, nonce = text.split("-")
    return ProcessIdentity(bytes.fromhex(boot), int(pid), int(start), bytes.fromhex(nonce))
