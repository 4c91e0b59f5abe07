"""The bytes of what travels between workers and supervisor.

One message is one msgpack array::

    [version, kind, name, identity, resolution, declaration, *arguments]

It describes itself: a supervisor that receives a feed knows the watchdog's name, the process that sent it and what
was declared, without any earlier message. For one watchdog in one process a feed is always the same bytes, so a
supervisor can look it up instead of decoding it.

Durations are whole milliseconds on the wire, seconds in Python. From docs/wire.md a client in another language can
be written; it and this module say the same.
"""

from __future__ import annotations

from typing import Any

import msgpack

from banken.errors import Refused, WireError
from banken.protocol import limits
from banken.protocol.messages import (
    ARGUMENTS,
    CLEAN,
    NUMBERED,
    Choice,
    Declaration,
    Exit,
    Feeders,
    Kind,
    Message,
    ProcessIdentity,
    Scope,
)

VERSION = 1

_MS_MAX = int(limits.SECONDS_MAX * 1000)

_FEEDERS, _EXITS = list(Feeders), list(Exit)
"""The number of one on the wire is its place here."""

_FIXED = 6
"""Parts of a message before its arguments."""


def encode(message: Message) -> bytes:
    """The bytes of one message. The caller has checked its parts (limits.py)."""
    kind, name, identity, resolution, declared, args, number = message
    if kind in (Kind.PAUSE, Kind.EXTEND):
        args = (_ms(args[0]),)
    elif kind is Kind.RESULT:
        args = (*args[:2], _ms(args[2]), _ms(args[3]), *args[4:])
    elif kind is Kind.WORK:
        seconds, scope = args
        if scope is not None:
            scope = (scope.name, _ms(scope.age), _ms(scope.limit), scope.tid, scope.thread, scope.task)
        # What is due at once is not idle: that is what 0 says.
        args = (0 if seconds is None else max(1, _ms(seconds)), scope)
    if number is not None:
        args = (*args, number)
    parts = None if declared is None else _pack_declaration(declared)
    return pack((VERSION, int(kind), name, identity, _ms(resolution), parts, *args))


def decode(frame: bytes) -> Message:
    """One message from its bytes; WireError says what is wrong with them."""
    body = unpack(frame, limits.FRAME_MAX)
    if type(body) is not list:
        raise WireError("shape", f"a message is an array, not {type(body).__name__}")
    version = body[0] if body and type(body[0]) is int else "something else"
    if version != VERSION:
        text = f"this supervisor speaks version {VERSION} of the wire, not {version}"
        raise WireError("version", f"{text}; install the same banken on both sides")
    if len(body) < _FIXED:
        raise WireError("shape", f"a message has at least {_FIXED} parts, not {len(body)}")
    _, which, name, who, resolution, declared, *args = body
    if type(which) is not int or not 1 <= which <= len(Kind):
        raise WireError("kind", f"the kind is a number from 1 to {len(Kind)}")
    kind = Kind(which)
    if len(args) not in ARGUMENTS[kind]:
        allowed = " or ".join(map(str, sorted(ARGUMENTS[kind])))
        raise WireError("shape", f"{kind.name} takes {allowed} arguments after the declaration, not {len(args)}")
    _check_name(name, "name")
    number = _number(args.pop()) if kind in NUMBERED and len(args) == max(ARGUMENTS[kind]) else None
    return Message(
        kind,
        name,
        None if who is None else read_identity(who),
        _seconds(resolution, "resolution", 0),
        None if declared is None else _unpack_declaration(declared),
        _arguments(kind, args),
        number,
    )


def unpack(data: bytes, longest: int, items: int = 1024) -> Any:
    """msgpack with a limit on everything; WireError on any fault in ``data``. ``items``: most elements of one list;
    a map has a quarter of them."""
    size = len(data)
    if size > longest:
        raise WireError("oversized", f"{size} bytes; at most {longest} are allowed")
    try:
        return msgpack.unpackb(data, max_array_len=items, max_map_len=items // 4, max_ext_len=0)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as fault:
        # UnicodeDecodeError and msgpack's own errors are ValueErrors or UnpackExceptions.
        raise WireError("garbage", f"not one msgpack value: {type(fault).__name__}") from None


def pack(body: Any) -> bytes:
    """msgpack of a request, a reply or an event."""
    return bytes(msgpack.packb(body))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _pack_declaration(declared: Declaration) -> tuple[Any, ...]:
    """The shortest array that says the same: trailing defaults are left out."""
    progress = None if declared.progress_timeout is None else _ms(declared.progress_timeout)
    parts: list[Any] = [_ms(declared.timeout), _ms(declared.interval), _ms(declared.grace)]
    parts += [_FEEDERS.index(declared.feeders), declared.callback, progress]
    parts += [_EXITS.index(declared.exit), None if declared.clean == CLEAN else declared.clean]
    while len(parts) > 3 and parts[-1] in (0, None):
        parts.pop()
    return tuple(parts)


def _unpack_declaration(parts: object) -> Declaration:
    if type(parts) is not list or not 3 <= len(parts) <= 8:
        raise WireError("declaration", "a declaration is nil or an array of 3 to 8 parts")
    timeout, interval, grace = map(_seconds, parts, ("timeout", "interval", "grace"))
    feeders, callback, progress, end, clean = (*parts[3:], None, None, None, None, None)[:5]
    if callback is not None:
        _check_name(callback, "declaration")
    progress = None if progress is None else _seconds(progress, "progress_timeout")
    pool = _choice(_FEEDERS, feeders, "feeders")
    return Declaration(
        timeout, interval, grace, pool, callback, progress, _choice(_EXITS, end, "exit"), _clean(clean)
    )


def _choice(choices: list[Choice], number: object, what: str) -> Choice:
    if number is None:
        return choices[0]
    if type(number) is int and 0 <= number < len(choices):
        return choices[number]
    allowed = ", ".join(f"{index} ({each})" for index, each in enumerate(choices))
    raise WireError("declaration", f"{what} is nil or one of {allowed}")


def _clean(ends: object) -> tuple[int, ...]:
    if ends is None:
        return CLEAN
    span = limits.STATUS_RANGE
    if type(ends) is list and len(ends) <= limits.CLEAN_MAX and all(type(n) is int and n in span for n in ends):
        return tuple(sorted(set(ends)))
    allowed = f"{span[0]} to {span[-1]}"
    raise WireError("declaration", f"clean is nil or at most {limits.CLEAN_MAX} whole numbers from {allowed}")


def _seconds(value: object, what: str, least_ms: int = 1) -> float:
    if type(value) is not int or not least_ms <= value <= _MS_MAX:
        raise WireError("duration", f"{what} is a whole number of milliseconds, {least_ms} to {_MS_MAX}")
    return value / 1000


def _number(value: object) -> int:
    if type(value) is not int or value == 0 or not -limits.NUMBERS_MAX <= value <= limits.NUMBERS_MAX:
        raise WireError("number", f"a number is 1 to {limits.NUMBERS_MAX}, with a minus if it is said again")
    return value


def _check_name(name: object, reason: str) -> None:
    try:
        limits.check_name(name)
    except Refused as fault:
        raise WireError(reason, str(fault)) from None


def read_identity(who: object) -> ProcessIdentity:
    """A process identity from its parts; WireError says what they should be."""
    if type(who) is list and [*map(type, who)] == [bytes, int, int, bytes]:
        boot, pid, start, nonce = who
        if (
            len(boot) == limits.BOOT_SIZE
            and 0 < pid < 2**32
            and 0 <= start < 2**63
            and len(nonce) == limits.NONCE_SIZE
        ):
            return ProcessIdentity(boot, pid, start, nonce)
    wanted = f"[boot: {limits.BOOT_SIZE} bytes, pid, start, nonce: {limits.NONCE_SIZE} bytes]"
    raise WireError("identity", f"an identity is nil or {wanted}")


def _scope(parts: object) -> Scope | None:
    if parts is None:
        return None
    if type(parts) is list and [*map(type, parts)] == [str, int, int, int, str, str]:
        name, age, limit, tid, thread, task = parts
        if max(map(len, (name, thread, task))) <= limits.SCOPE_MAX and 0 <= tid < 2**31:
            return Scope(name, _seconds(age, "scope", 0), _seconds(limit, "scope"), tid, thread, task)
    wanted = "[name, milliseconds since it began, milliseconds allowed, thread's number, its name, task's name]"
    raise WireError("scope", f"a scope is nil or {wanted}; a name has at most {limits.SCOPE_MAX} characters")


def _is_text(value: object, longest: int) -> bool:
    return type(value) is str and len(value) <= longest


def _result(args: list[Any]) -> tuple[Any, ...]:
    passed, text, took, until, certain, process, provisional = args
    is_known = passed is None or type(passed) is bool
    are_known = is_known and type(certain) is bool and type(provisional) is bool
    if not are_known or not _is_text(text, limits.RESULT_MAX):
        wanted = f"true, false or nil, and a text of at most {limits.RESULT_MAX} characters"
        raise WireError("result", f"a result is {wanted}; whether it is certain, or provisional, is true or false")
    if process is not None:
        if type(process) is not list or [*map(type, process)] != [int, int]:
            raise WireError("result", "the process that a check has found is nil or [pid, start]")
        process = read_identity([bytes(limits.BOOT_SIZE), *process, bytes(limits.NONCE_SIZE)])[1:3]
    return passed, text, _seconds(took, "result", 0), _seconds(until, "result", 0), certain, process, provisional


def _arguments(kind: Kind, args: list[Any]) -> tuple[Any, ...]:
    if kind is Kind.FAIL and not _is_text(args[0], limits.REASON_MAX):
        raise WireError("reason", f"a reason is a text of at most {limits.REASON_MAX} characters")
    if kind is Kind.LEAVING and args[0] is not None and not _is_text(args[0], limits.REASON_MAX):
        raise WireError("reason", f"a reason is nil or a text of at most {limits.REASON_MAX} characters")
    if kind is Kind.RESULT:
        return _result(args)
    if kind is Kind.PAUSE:
        return (_seconds(args[0], "pause", 0),)
    if kind is Kind.EXTEND:
        return (_seconds(args[0], "extend"),)
    if kind is Kind.WORK:
        return _seconds(args[0], "work", 0) or None, _scope(args[1] if len(args) > 1 else None)
    if kind is Kind.NOTE:
        progress, status = args
        if type(progress) is bool:
            progress = int(progress)
        elif progress != progress:  # nan says nothing of the work, but it does prove life
            progress = None
        number = type(progress) in (int, float)
        if progress is not None and not number and not _is_text(progress, limits.PROGRESS_MAX):
            raise WireError("progress", f"progress is nil, a number or a text of at most {limits.PROGRESS_MAX}")
        if status is not None and not _is_text(status, limits.STATUS_MAX):
            raise WireError("status", f"a status is nil or a text of at most {limits.STATUS_MAX} characters")
        return progress, status
    if kind is Kind.PROBE and (type(args[0]) is not bytes or type(args[1]) is not int):
        raise WireError("probe", "a probe carries a token and a number")
    return tuple(args)
