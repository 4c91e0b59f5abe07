"""The codec: what is taken comes back from its own bytes; what is not is refused with a reason."""

from __future__ import annotations

from random import Random
from typing import Any

from banken.errors import WireError
from banken.protocol.codec import decode, encode, pack, unpack
from banken.protocol.limits import DROP_MAX, FRAME_MAX
from fuzz.targets import Own, frames


class Codec(Own):
    """Any bytes as one message, and as one value."""

    QUICK = 4_000

    def fresh(self, chance: Random) -> bytes:
        return frames.frame(chance)

    def check(self, data: bytes) -> None:
        try:
            message = decode(data)
        except WireError as fault:
            frames.check_refusal(fault)
        else:
            again = encode(message)
            assert decode(again) == message, message
            assert encode(decode(again)) == again, "the bytes of a message are always the same"
            assert len(again) <= FRAME_MAX, len(again)
        try:
            value = unpack(data, DROP_MAX)
        except WireError as fault:
            frames.check_refusal(fault)
        else:
            assert alike(unpack(pack(value), DROP_MAX), value), value


def alike(one: Any, other: Any) -> bool:
    """Equal; nan is equal to itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    return bool(one == other) or one != one
