"""The codec: what is taken comes back from its own bytes; what is not is refused with a reason."""

from __future__ import annotations

from random import Random

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
            again = pack(value)
            assert pack(unpack(again, DROP_MAX)) == again, value
