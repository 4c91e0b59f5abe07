"""Messages as a worker sends them, sound or nearly so."""

from __future__ import annotations

from random import Random
from typing import Any

import msgpack

from banken.errors import WireError
from banken.process_identity import boot_id
from banken.protocol.codec import encode, pack
from banken.protocol.messages import NUMBERED, Declaration, Exit, Feeders, Kind, Message, ProcessIdentity, Scope
from fuzz.mutation import changed, damaged

REASONS = {
    "declaration", "duration", "garbage", "identity", "kind", "name", "number", "oversized", "probe", "progress",
    "reason", "result", "scope", "shape", "status", "version",
}  # fmt: skip
"""Why a message is refused by the codec."""

HERE = b"@BOOTID@"
"""Stands for the boot id of this host, so that a seed gives the same inputs everywhere."""

TEXT_MAX = 600
"""Characters of a refusal."""


def check_refusal(fault: WireError) -> None:
    """A refusal has a known reason, and a text that can be shown anywhere."""
    assert fault.reason in REASONS, fault.reason
    check_text(str(fault))


def check_text(text: str) -> None:
    """What is said of an input is one short line."""
    assert 10 <= len(text) <= TEXT_MAX, len(text)
    assert text.isprintable(), text


def local(data: bytes) -> bytes:
    """``data`` as a process of this host would say it."""
    return data.replace(HERE, boot_id())


def seconds(chance: Random) -> float:
    """A duration within the limits, most of them short."""
    return chance.choice((0.001, 0.5, 1.0, 2.0, 10.0, 60.0, 3600.0, 315_360_000.0))


def declaration(chance: Random) -> Declaration | None:
    """What a worker asks for, or nothing."""
    if chance.random() < 0.4:
        return None
    return Declaration(
        seconds(chance), seconds(chance), seconds(chance), chance.choice(list(Feeders)),
        chance.choice((None, None, "tell")), chance.choice((None, None, seconds(chance))),
        chance.choice(list(Exit)), chance.choice(((-15, 0), (), (3,))),
    )  # fmt: skip


def identity(chance: Random) -> ProcessIdentity | None:
    """A process of this host, alive or not, one of another host, or none."""
    if chance.random() < 0.3:
        return None
    pid = chance.choice((1, 2, chance.randrange(1, 2**22), 2**31, 2**32 - 1))
    return ProcessIdentity(chance.choice((HERE, b"another!")), pid, chance.randrange(4), b"abcd")


def arguments(chance: Random, kind: Kind) -> tuple[Any, ...]:
    """What goes with a message of this kind."""
    scope = Scope("load", 1.0, 2.0, 7, "MainThread", "")
    found: dict[Kind, tuple[Any, ...]] = {
        Kind.FAIL: ("why",),
        Kind.PAUSE: (chance.choice((0.0, seconds(chance))),),
        Kind.EXTEND: (seconds(chance),),
        Kind.NOTE: (chance.choice((None, 1, 2.5, "half")), chance.choice((None, "at work"))),
        Kind.PROBE: (b"12345678", chance.randrange(2**32)),
        Kind.WORK: (chance.choice((None, seconds(chance))), chance.choice((None, scope))),
        Kind.LEAVING: (chance.choice((None, "done")),),
        Kind.RESULT: (
            chance.choice((True, None)),
            "no answer",
            seconds(chance),
            seconds(chance),
            False,
            None,
            False,
        ),
    }
    return found.get(kind, ())


def message(chance: Random, names: int = 8) -> bytes:
    """A sound one, about one of so many names."""
    kind = chance.choice((Kind.FEED, *Kind))
    name = f"w-{chance.randrange(names)}"
    resolution = chance.choice((0.0, 0.0, 0.01, 1.0))
    args = arguments(chance, kind)
    number = chance.choice((None, 1, 2, -1, -2)) if kind in NUMBERED else None
    return encode(Message(kind, name, identity(chance), resolution, declaration(chance), args, number))


def frame(chance: Random, names: int = 8) -> bytes:
    """One message, sound or not."""
    made, how = message(chance, names), chance.random()
    if how < 0.3:
        return made
    if how < 0.4:
        return chance.randbytes(chance.randrange(200))
    if how < 0.8:
        whole = msgpack.unpackb(made)
        for _ in range(chance.choice((1, 1, 2, 5))):
            whole = changed(chance, whole)
        return pack(whole)
    return damaged(chance, made)
