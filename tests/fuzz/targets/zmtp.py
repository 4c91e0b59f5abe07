"""What a peer sends to the listener: however its bytes come, the same messages and the same fault, and no more is
kept than is allowed."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from banken_supervisor.sources import control_socket, event_socket
from banken_supervisor.sources.sockets import FEEDS_TERMS
from banken_supervisor.sources.zmtp import COMMAND_MAX, CONTEXT_MAX, GREETING, Incoming, Terms, frame
from fuzz.mutation import damaged
from fuzz.targets import Own, frames

TERMS: tuple[Terms, ...] = (FEEDS_TERMS, control_socket.TERMS, event_socket.TERMS)
PEERS = (b"PUSH", b"DEALER", b"SUB")

SHORT_MAX = 255
"""Bytes of a message that has a short header: it is given whole."""

HEADER_MAX = 9
"""Bytes before the body of a frame."""


def ready(kind: bytes) -> bytes:
    """What a peer of this kind says after its greeting."""
    return frame(b"\x05READY\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind, 4)


def stream(chance: Random, which: int) -> bytes:
    """A whole conversation, sound or not: greeting, READY, then frames of all kinds."""
    parts = [GREETING[:11] + bytes((chance.choice((0, 1, 1, 9)),)) + GREETING[12:], ready(PEERS[which])]
    for _ in range(chance.randrange(8)):
        kind = chance.randrange(10)
        body = frames.frame(chance) if kind < 4 else bytes(chance.choice((0, 1, 255, 256, 1_025, 17_000)))
        if kind == 9:
            size = chance.choice((0, 2**16, 2**20 + 1, 2**63, 2**64 - 1))
            parts.append(bytes((chance.choice((2, 3, 6)),)) + size.to_bytes(8, "big"))
        elif kind == 8:
            word = chance.choice((b"\x04PING\0\x0a", b"\x09SUBSCRIBE", b"\x06CANCEL", b"\x05ERROR", b"\xff", b""))
            parts.append(frame(word + body[:40], 4))
        else:
            parts.append(frame(body, chance.choice((0, 0, 0, 1))))
    whole = b"".join(parts)
    return damaged(chance, whole) if chance.random() < 0.4 else whole


class Zmtp(Own):
    """The first byte says which socket, the next two how the rest is cut into pieces."""

    QUICK = 2_500

    def fresh(self, chance: Random) -> bytes:
        which = chance.randrange(3)
        return bytes((which,)) + chance.randbytes(2) + stream(chance, which)

    def check(self, data: bytes) -> None:
        terms, rest = TERMS[(data[0] if data else 0) % 3], data[3:]
        whole, pieces = Incoming(terms), Incoming(terms)
        messages = whole.take(rest)
        cuts = Random(data[1:3])
        places = sorted({0, len(rest), *(cuts.randrange(len(rest) + 1) for _ in range(cuts.randrange(12)))})
        found: list[bytes] = []
        for start, end in pairwise(places):
            found += pieces.take(rest[start:end])
            assert len(pieces._rest) <= max(terms.size_max + 1, COMMAND_MAX + len(GREETING)) + HEADER_MAX
            if pieces.fault:
                break
        assert found == messages, (found, messages)
        assert (pieces.fault, pieces.is_ready) == (whole.fault, whole.is_ready)
        assert whole.is_ready or not messages
        assert all(len(message) <= max(terms.size_max, SHORT_MAX, COMMAND_MAX) + 1 for message in messages)
        if whole.fault:
            frames.check_text(whole.fault)
        assert len(whole.pong) <= 2 + 5 + CONTEXT_MAX
