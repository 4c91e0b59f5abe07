"""What the answers and events of a supervisor must look like before a tool works with them or shows them.

A process that is broken, of another version, or no supervisor at all may answer anything. So each answer is checked
here once: it has the fields that tools need, of the right kinds; numbers are finite (others become texts); texts
have at most ``TEXT_MAX`` characters. Names and words are such; free texts may hold what a terminal obeys: who shows
them cleans them. Fields that are not known are taken as they are, so that a newer supervisor may say more.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from banken.errors import RequestFailed
from banken.protocol.limits import NAME_PATTERN, REASON_MAX, shorten

TEXT_MAX = 64 * 1024
"""Characters of a text."""

DEPTH_MAX = 16

NUMBER_MAX = 1e15
"""Largest number that is calculated with: of seconds, 30 million years."""

KEY_MAY_NOT = "is not allowed with this key"
"""What a refusal says to a key that may not make a request."""

_word = re.compile(r"[a-z][a-z0-9-]{0,63}")
_name = re.compile(NAME_PATTERN)


class AnswerNotUnderstood(RequestFailed):
    """The answer to a request is not what a supervisor of this version says."""


def tidy(value: Any, depth: int = 0) -> Any:
    """``value`` as it may be shown and written as JSON; ValueError: it holds what JSON does not have."""
    kind = type(value)
    if kind is str:
        return value if len(value) <= TEXT_MAX else shorten(value, TEXT_MAX)
    if value is None or kind is bool or kind is int:
        return value
    if kind is float:
        return value if value - value == 0 else str(value)  # what JSON does not have
    if depth < DEPTH_MAX:
        if kind is dict:
            return {_key(key): tidy(each, depth + 1) for key, each in value.items()}
        if kind is list:
            return [tidy(each, depth + 1) for each in value]
    raise ValueError("maps too deep within each other" if kind in (dict, list) else f"{kind.__name__} as a value")


def checked(op: str, answer: Any) -> Any:
    """The answer to this request. AnswerNotUnderstood."""
    try:
        found = tidy(answer)
        wrong = _wrong(_ANSWERS.get(op), found)
    except ValueError as fault:
        wrong = f"it holds {fault}"
    if wrong is None:
        return found
    raise AnswerNotUnderstood(
        f"the answer to {op!r} is not understood: {wrong}; it is of another version, or of no supervisor"
    )


def reason(text: Any) -> str:
    """Why a request was refused, in one line."""
    if type(text) is not str:
        return "it gave no reason"
    return "".join(c if c.isprintable() else " " for c in shorten(text, REASON_MAX))


def event(found: Any) -> dict[str, Any] | None:
    """An event that was received; None: it is none."""
    try:
        found = tidy(found)
    except ValueError:
        return None
    return found if _wrong(_EVENT, found) is None else None


def _key(key: Any) -> str:
    if type(key) is not str:
        raise ValueError("a key that is no text")
    return key


def _wrong(shape: Any, value: Any, path: str = "it") -> str | None:
    """Where ``value`` is not of this shape, in words; None: it is.

    A shape is a check; a dict of the fields that must be there, or may be where their name ends with ``?``; a list
    with the shape of all elements; a tuple with the shape of each. None: anything.
    """
    if shape is None:
        return None
    if type(shape) is dict:
        if type(value) is not dict:
            return f"{path} is no map"
        for key, inner in shape.items():
            name = key.removesuffix("?")
            if name not in value:
                if name is key:
                    return f"{path} has no {name!r}"
            elif callable(inner):  # here, because a function's call for each would cost as much again
                if not inner(value[name]):
                    return f"{name!r} is of the wrong kind"
            elif (wrong := _wrong(inner, value[name], repr(name))) is not None:
                return wrong
        return None
    if type(shape) is list or type(shape) is tuple:
        if type(value) is not list:
            return f"{path} is no list"
        if type(shape) is tuple and len(value) != len(shape):
            return f"{path} has {len(value)} elements and not {len(shape)}"
        shapes = shape if type(shape) is tuple else shape * len(value)
        return next((wrong for each in zip(shapes, value, strict=True) if (wrong := _wrong(*each, path))), None)
    return None if shape(value) else f"{path} is of the wrong kind"


def _number(value: Any) -> bool:
    return type(value) in (int, float) and -NUMBER_MAX <= value <= NUMBER_MAX


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= NUMBER_MAX


def _a_pid(value: Any) -> bool:
    """Commands show how it is killed: 0 and less mean others. (A supervisor in a container may be pid 1.)"""
    return type(value) is int and 1 <= value < 2**31


def _claimed_pid(value: Any) -> bool:
    """Of whoever feeds a watchdog, by its own word: of another host, perhaps."""
    return type(value) is int and 1 <= value < 2**32


def _flag(value: Any) -> bool:
    return type(value) is bool


def _text(value: Any) -> bool:
    return type(value) is str


def _a_word(value: Any) -> bool:
    return type(value) is str and _word.fullmatch(value) is not None


def _a_name(value: Any) -> bool:
    return type(value) is str and _name.fullmatch(value) is not None


def _counts(value: Any) -> bool:
    return type(value) is dict and all(map(_count, value.values()))


def _members(value: Any) -> bool:
    """What several members say: rows, or why there are none."""
    shape = {"rows": [_RECORD], "why": _maybe(_text)}
    return type(value) is dict and all(_wrong(shape, each) is None for each in value.values())


def _maybe(shape: Any) -> Callable[[Any], bool]:
    """What may be None instead."""
    return lambda value: value is None or _wrong(shape, value) is None


_INCIDENT = {
    "id": _text, "cause": _a_word, "age": _number, "runs": _count, "reason?": _maybe(_text),
    "blamed?": _maybe(_text), "steps?": _count,
    "next?": _maybe({"step": _count, "do": _text, "left": _number}),
}  # fmt: skip
_ROW = {
    "name": _a_name, "state": _a_word, "silence": _number, "left": _maybe(_number), "timeout": _number,
    "interval": _number, "grace": _number, "by": _a_word, "awaited": _flag, "pid": _maybe(_claimed_pid),
    "incidents": _count, "stopped_with?": _text, "status?": _text, "incident?": _INCIDENT,
    "group?": {"alive": _count, "at_least": _count, "members": [_text], "stopped": [_text]},
    "feeds?": [(_number, _number)], "key?": _text, "host?": _maybe(_text),
}  # fmt: skip
_RECORD = {
    "id": _text, "name": _a_name, "cause": _a_word, "opened": _number, "closed": _maybe(_number),
    "how": _maybe(_text), "reason": _maybe(_text),
}  # fmt: skip
_PROGRAM = {
    "name": _a_name, "state": _a_word, "since": _number, "adopted": _flag, "failures": _count,
    "pid": _maybe(lambda value: value != 1 and _a_pid(value)), "log": _maybe(_text), "due": _maybe(_number),
    "killed": _flag,
}  # fmt: skip
_SUGGESTION = {
    "name": _a_name, "timeout": _number, "auto": _maybe((_number, _number)), "gaps": _count, "needed": _count,
    "longest": _maybe(_number), "proposed": _maybe(_number),
}  # fmt: skip
_KEY = {"name": _text, "public": _text, "control": _a_word, "seen": _maybe(_number), "hosts": [_text]}
_STUCK = {"stuck": _count}
_JOURNAL = {"state": _a_word, "reason": _maybe(_text), "path": _text, "problems?": [_text]}
_SUMMARY = {
    "pid": _a_pid, "version": _text, "started": _number, "uptime": _number, "watchdogs": _count, "states": _counts,
    "messages": _count, "stalls": _count, "lost": _number, "overloads": _count, "events": _counts,
    "refused": _counts, "programs": _count, "journal": _maybe(_JOURNAL), "callbacks": _STUCK, "actions": _STUCK,
    "log_lines_dropped": _count, "internal_errors": _counts,
}  # fmt: skip
_HISTOGRAM = {"bounds": [_number], "counts": [_count], "sum": _number}

_ANSWERS: dict[str, Any] = {
    "ping": {"pid": _a_pid, "version": _text, "time": _number},
    "tell": {"taken": _flag, "word?": _count},
    "word": {"done": _flag, "why": _maybe(_text)},
    "summary": _SUMMARY,
    "status": {"rows": [_ROW], "next": _maybe(_count), "total": _count},
    "suggest": {"rows": [_SUGGESTION], "next": _maybe(_count), "total": _count},
    "look": {"rows": [_ROW], "gone": [_a_name], "released?": [(_a_name, _number)]},
    "keys": {"rows": [_KEY], "denied": [{"host": _text, "key": _maybe(_text), "age": _number}]},
    "may_feed": {"refused": [_text]},
    "programs": {"rows": [_PROGRAM]},
    "program": {"rows": [_PROGRAM]},
    "reload": {"number": _count},
    "reloaded": {"number": _count, "ok": _flag, "text": _text, "later?": [_text]},
    "registry": {"end": _count, "more": _flag, "removals": _count, "whole": _flag},
    "incidents": {"number": _count},
    "incidents_found": {"done": _flag, "members": _members},
    "do": {"taken": _flag, "here": _flag, "why": _maybe(_text), "stops?": _flag},
    "did": {
        "known": _flag, "done": _flag, "ok": _flag, "skipped": _flag, "text": _text, "dropped?": _flag,
        "stops?": _flag,
    },
    "stop": {"within": _number, "programs": _flag},
    "metrics": {
        **_SUMMARY, "incidents": _counts, "acted": [(_text, _text, _count)], "turn_seconds": _HISTOGRAM,
        "lateness": _HISTOGRAM, "gaps": _HISTOGRAM, "program_states": _counts, "cpu": _number, "memory": _number,
        "rows": [(_a_name, _a_word, _number, _maybe(_number), _number, _count)],
    },
}  # fmt: skip

_EVENT = {"seq": _count, "time": _number, "type": _a_word, "name?": _maybe(_a_name)}
