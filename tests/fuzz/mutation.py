"""Inputs that are nearly sound: a value or some bytes, changed in one place or several."""

from __future__ import annotations

from random import Random
from typing import Any

EDGES: list[Any] = [
    None, True, False, 0, 1, -1, 127, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 20_000,
    2**63 - 1, 2**63, 2**64 - 1, -(2**63), 0.0, -0.5, 1e308, float("inf"), float("nan"), "", "w-1", "w*", "[", "\0",
    "\x1b[2J", "\u202e", "n" * 128, "n" * 129, "é" * 1024, "*a" * 100, b"", b"\xff" * 8, b"x" * 300, [], {},
    [[[[]]]], {"a": []}, {"": {}}, [None] * 40,
]  # fmt: skip

_BYTES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\n", b"\r\n", b'"', b"'", b"[", b"{", b"\\", b"%2F", b"\x1b[")


def changed(chance: Random, value: Any) -> Any:
    """``value`` with one place of it changed: an edge, another value of the same, left out, or twice."""
    if isinstance(value, list) and value and chance.random() < 0.9:
        place, how = chance.randrange(len(value)), chance.random()
        if how < 0.1:
            return value[:place] + value[place + 1 :]
        if how < 0.2:
            return [*value, value[place]]
        return [*value[:place], changed(chance, value[place]), *value[place + 1 :]]
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        if chance.random() < 0.1:
            return {other: each for other, each in value.items() if other != key}
        return {**value, key: changed(chance, value[key])}
    return chance.choice(EDGES)


def damaged(chance: Random, data: bytes, other: bytes = b"") -> bytes:
    """``data`` with some bytes changed, left out, repeated or put in; ``other``: what it may be joined with."""
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        place = chance.randrange(len(made) + 1)
        size = chance.choice((1, 1, 2, 4, 16, 64))
        match chance.randrange(7):
            case 0 if made:
                made[place % len(made)] ^= 1 << chance.randrange(8)
            case 1 if made:
                made[place % len(made)] = chance.randrange(256)
            case 2:
                del made[place : place + size]
            case 3:
                made[place:place] = made[place : place + size] * chance.choice((1, 2, 50))
            case 4:
                made[place:place] = chance.choice(_BYTES) * chance.choice((1, 1, 2, 300))
            case 5:
                made[place : place + size] = chance.randbytes(size)
            case _ if other:
                made[place:] = other[chance.randrange(len(other)) :]
    return bytes(made)
