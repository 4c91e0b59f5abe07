"""What one peer sends, taken apart: however its bytes come, the same messages; no more is kept than allowed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banken_supervisor.sources.zmtp import COMMAND_MAX, GREETING, Incoming, Terms, frame

SIZE_MAX, DROP_MAX = 300, 2_000
PUSH = frame(b"\x05READY\x0bSocket-Type\0\0\0\x04PUSH", 4)
FEEDS = Terms(b"PULL", frozenset((b"PUSH",)), SIZE_MAX, DROP_MAX, parts=True)
REQUESTS = Terms(b"ROUTER", frozenset((b"PUSH",)), SIZE_MAX, DROP_MAX)

bodies = st.binary(max_size=40) | st.integers(200, 600).map(bytes)
parts = st.lists(bodies, min_size=1, max_size=4)


def sent(messages: list[list[bytes]]) -> bytes:
    return b"".join(
        frame(body, 1 if number < len(message) - 1 else 0)
        for message in messages
        for number, body in enumerate(message)
    )


def taken(incoming: Incoming, data: bytes, cuts: list[int]) -> list[bytes]:
    """The messages of ``data``, which comes in pieces that are cut at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [message for start, end in pairwise(places) for message in incoming.take(data[start:end])]


@given(st.lists(parts, max_size=6), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_split_of_the_bytes_gives_the_same_messages(messages: list[list[bytes]], cuts: list[int]) -> None:
    """Parts are messages of their own, or those of one are an empty one; the end of a long one is dropped."""
    data = GREETING + PUSH + sent(messages)
    each = [body[: SIZE_MAX + 1] for message in messages for body in message]
    whole = [message[0][: SIZE_MAX + 1] if len(message) == 1 else b"" for message in messages]
    for terms, wanted in ((FEEDS, each), (REQUESTS, whole)):
        incoming = Incoming(terms)
        assert taken(incoming, data, cuts) == wanted
        assert (incoming.is_ready, incoming.fault) == (True, "")


@given(st.binary(max_size=400), st.booleans(), st.lists(st.integers(0, 400), max_size=5))
def test_any_bytes_end_in_messages_or_a_fault(data: bytes, opened: bool, cuts: list[int]) -> None:
    """Nothing else is raised, and the beginning of what has not come whole is all that is kept."""
    data = GREETING + PUSH + data if opened else data
    incoming, at_once = Incoming(REQUESTS), Incoming(REQUESTS)
    found = taken(incoming, data, cuts)
    if not incoming.fault:
        assert found == at_once.take(data)
        assert not at_once.fault
    assert len(incoming._rest) <= max(SIZE_MAX, COMMAND_MAX) + 9


def test_a_byte_at_a_time() -> None:
    incoming = Incoming(FEEDS)
    data = GREETING + PUSH + sent([[b"one"], [bytes(260)], [b""]])
    assert [m for byte in data for m in incoming.take(bytes((byte,)))] == [b"one", bytes(260), b""]


@pytest.mark.parametrize("minor", [0, 1])
def test_older_and_longer_openings_are_understood(minor: int) -> None:
    """ZMTP 3.0; a READY with more in it, in a long frame, with the name in other letters."""
    ready = (
        b"\x05READY\x08Identity\0\0\0\0\x0bsocket-type\0\0\0\x04PUSH\x03X-a" + (250).to_bytes(4, "big") + bytes(250)
    )
    incoming = Incoming(FEEDS)
    assert incoming.take(GREETING[:11] + bytes((minor,)) + GREETING[12:] + frame(ready, 4) + sent([[b"x"]])) == [
        b"x"
    ]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"GET / HTTP/1.1\r\n", "does not speak"),
        (b"\x01", "does not speak"),
        (GREETING[:10] + b"\x01\x01", "does not speak"),  # its version is 2
        (GREETING[:12] + b"CURVE".ljust(20, b"\0") + bytes(32) + PUSH, "not NULL"),
        (GREETING + sent([[b"too early"]]), "no command"),
        (GREETING + frame(b"\x05ERROR\x01x", 4), "not READY"),
        (GREETING + frame(bytes(2_000), 4), "2000 bytes"),
        (GREETING + b"\x06" + (2**62).to_bytes(8, "big"), "at most 1024"),
        (GREETING + PUSH.replace(b"PUSH", b"REP!"), "'REP!' socket; PUSH is allowed"),
        (GREETING + frame(b"\x05READY", 4), "'' socket"),
        (GREETING + PUSH + b"\x08\x00", "flags 0x08"),
        (GREETING + PUSH + b"\x05\x00", "flags 0x05"),
        (GREETING + PUSH + b"\x02" + (2**63 + 5).to_bytes(8, "big"), "at most 2000"),
        (GREETING + PUSH + b"\x03" + (2_001).to_bytes(8, "big"), "a message of 2001 bytes"),
        (GREETING + PUSH + frame(bytes(2_000), 4), "a command of 2000 bytes"),
        (GREETING + PUSH + frame(b"", 4), "without its name"),
        (GREETING + PUSH + frame(b"\x09PING", 4), "without its name"),
    ],
)
def test_what_is_against_the_protocol_is_said(data: bytes, text: str) -> None:
    incoming = Incoming(FEEDS)
    assert incoming.take(data) == []
    assert text in incoming.fault


def test_what_came_before_a_fault_is_given() -> None:
    incoming = Incoming(FEEDS)
    assert incoming.take(GREETING + PUSH + sent([[b"good"]]) + b"\xff\xff") == [b"good"]
    assert incoming.fault


def test_a_ping_is_answered_with_its_context_and_other_commands_are_ignored() -> None:
    incoming = Incoming(FEEDS)
    ping = frame(b"\x04PING\x00\x0acontext", 4)
    assert incoming.take(GREETING + PUSH + ping + frame(b"\x03NEW?", 4) + sent([[b"x"]])) == [b"x"]
    assert incoming.pong == frame(b"\x04PONGcontext", 4)
    assert incoming.take(frame(b"\x09SUBSCRIBEa", 4) + frame(b"\x06CANCELb", 4)) == [b"\1a", b"\0b"]


def test_endless_parts_are_kept_nowhere() -> None:
    """A message of parts that never ends: nothing is given, and nothing is kept."""
    incoming = Incoming(REQUESTS)
    incoming.take(GREETING + PUSH)
    for _ in range(100):
        assert incoming.take(frame(bytes(200), 1) * 50) == []
    assert incoming._rest == b""
    assert incoming.take(frame(b"the last", 0) + frame(b"the next", 0)) == [b"", b"the next"]
