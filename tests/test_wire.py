"""The codec: what is encoded comes back, and nothing else gets in."""

from __future__ import annotations

import math

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banken.errors import WireError
from banken.protocol.codec import VERSION, decode, encode, unpack
from banken.protocol.limits import FRAME_MAX, NAME_MAX, NUMBERS_MAX, SECONDS_MAX
from banken.protocol.messages import (
    CLEAN,
    NUMBERED,
    Declaration,
    Exit,
    Feeders,
    Kind,
    Message,
    ProcessIdentity,
    Scope,
)

WHO = ProcessIdentity(b"b" * 8, 4711, 99, b"nnnn")
DECLARED = Declaration(30.0, 10.0, 60.0)

names = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.:@/+-]{0,127}\Z")
seconds = st.integers(1, int(SECONDS_MAX * 1000)).map(lambda ms: ms / 1000)
identities = st.none() | st.builds(
    ProcessIdentity,
    st.binary(min_size=8, max_size=8),
    st.integers(1, 2**32 - 1),
    st.integers(0, 2**63 - 1),
    st.binary(min_size=4, max_size=4),
)
declarations = st.none() | st.builds(
    Declaration,
    seconds,
    seconds,
    seconds,
    st.sampled_from(Feeders),
    st.none() | names,
    st.none() | seconds,
    st.sampled_from(Exit),
    st.sets(st.integers(-64, 255), max_size=64).map(lambda ends: tuple(sorted(ends))),
)
arguments = {
    Kind.FEED: st.just(()),
    Kind.DECLARE: st.just(()),
    Kind.RELEASE: st.just(()),
    Kind.RESUME: st.just(()),
    Kind.FAIL: st.tuples(st.text(max_size=500)),
    Kind.PAUSE: st.tuples(seconds | st.just(0.0)),
    Kind.EXTEND: st.tuples(seconds),
    Kind.NOTE: st.tuples(
        st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=200),
        st.none() | st.text(max_size=500),
    ),
    Kind.LEAVING: st.tuples(st.none() | st.text(max_size=500)),
    Kind.PROBE: st.tuples(st.binary(max_size=16), st.integers(0, 2**40)),
    Kind.RESULT: st.tuples(
        st.none() | st.booleans(),
        st.text(max_size=500),
        seconds | st.just(0.0),
        seconds | st.just(0.0),
        st.booleans(),
        st.none() | st.tuples(st.integers(1, 2**32 - 1), st.integers(0, 2**63 - 1)),
        st.booleans(),
    ),
    Kind.WORK: st.tuples(
        st.none() | seconds,
        st.none()
        | st.builds(
            Scope,
            st.text(max_size=60),
            seconds,
            seconds,
            st.integers(0, 2**31 - 1),
            st.text(max_size=60),
            st.text(max_size=60),
        ),
    ),
}
numbers = st.none() | st.integers(1, NUMBERS_MAX).flatmap(lambda number: st.sampled_from((number, -number)))
messages = st.sampled_from(Kind).flatmap(
    lambda kind: st.builds(
        Message,
        st.just(kind),
        names,
        identities,
        seconds | st.just(0.0),
        declarations,
        arguments[kind],
        numbers if kind in NUMBERED else st.none(),
    )
)


@given(messages)
@settings(max_examples=300, deadline=None)
def test_every_message_comes_back_as_it_was(message: Message) -> None:
    """Decoding undoes encoding, for every kind and every optional part."""
    assert decode(encode(message)) == message


def test_a_feed_is_small_and_always_the_same_bytes() -> None:
    """A plain feed with a usual name and declaration fits in 60 bytes and does not vary."""
    feed = Message(Kind.FEED, "worker-3", WHO, 0.6, DECLARED)
    assert encode(feed) == encode(feed)
    assert len(encode(feed)) <= 60


@pytest.mark.parametrize(
    ("parts", "declared"),
    [
        ([], DECLARED),
        ([None, None, None, 2], DECLARED._replace(exit=Exit.NEVER)),
        ([1, None, None, None, []], DECLARED._replace(feeders=Feeders.ANY, clean=())),
        ([0, None, None, 0, [3, -10, 3]], DECLARED._replace(clean=(-10, 3))),
        ([0, None, None, 0, [*CLEAN]], DECLARED),
    ],
)
def test_what_a_declaration_leaves_out_has_its_default(parts: list[object], declared: Declaration) -> None:
    """nil is the default, and no clean end at all is not."""
    taken = decode(msgpack.packb(_body(declaration=[30000, 10000, 60000, *parts])))
    assert taken.declaration == declared
    assert decode(encode(taken)) == taken


def _body(**changed: object) -> list[object]:
    parts: dict[str, object] = {
        "version": VERSION,
        "kind": int(Kind.FEED),
        "name": "worker-3",
        "who": list(WHO),
        "resolution": 10,
        "declaration": [30000, 10000, 60000],
    }
    args = changed.pop("args", [])
    parts.update(changed)
    return [*parts.values(), *args]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"version": 2}, "version"),
        ({"version": True}, "version"),
        ({"kind": 0}, "kind"),
        ({"kind": 99}, "kind"),
        ({"kind": "feed"}, "kind"),
        ({"kind": True}, "kind"),
        ({"name": ""}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "-a"}, "name"),
        ({"name": "a\n"}, "name"),
        ({"name": "犬"}, "name"),
        ({"name": "\x1b[31m"}, "name"),
        ({"name": b"worker"}, "name"),
        ({"name": "x" * (NAME_MAX + 1)}, "name"),
        ({"who": [b"b" * 8, 4711, 99]}, "identity"),
        ({"who": [b"b" * 7, 4711, 99, b"nnnn"]}, "identity"),
        ({"who": [b"b" * 8, 0, 99, b"nnnn"]}, "identity"),
        ({"who": [b"b" * 8, -1, 99, b"nnnn"]}, "identity"),
        ({"who": [b"b" * 8, True, 99, b"nnnn"]}, "identity"),
        ({"who": "me"}, "identity"),
        ({"resolution": -1}, "duration"),
        ({"resolution": 1.5}, "duration"),
        ({"resolution": None}, "duration"),
        ({"resolution": 2**62}, "duration"),
        ({"declaration": [0, 1, 1]}, "duration"),
        ({"declaration": [math.nan, 1, 1]}, "duration"),
        ({"declaration": [True, 1, 1]}, "duration"),
        ({"declaration": [1, 1]}, "declaration"),
        ({"declaration": [1] * 9}, "declaration"),
        ({"declaration": [1, 1, 1, 0, None, None, 3]}, "declaration"),
        ({"declaration": [1, 1, 1, 0, None, None, True]}, "declaration"),
        ({"declaration": [1, 1, 1, 0, None, None, "never"]}, "declaration"),
        ({"declaration": [1, 1, 1, 0, None, None, 0, 3]}, "declaration"),
        ({"declaration": [1, 1, 1, 0, None, None, 0, [256]]}, "declaration"),
        ({"declaration": [1, 1, 1, 0, None, None, 0, [-65]]}, "declaration"),
        ({"declaration": [1, 1, 1, 0, None, None, 0, [True]]}, "declaration"),
        ({"declaration": [1, 1, 1, 0, None, None, 0, ["SIGTERM"]]}, "declaration"),
        ({"declaration": [1, 1, 1, 0, None, None, 0, [0] * 65]}, "declaration"),
        ({"declaration": {"timeout": 1}}, "declaration"),
        ({"declaration": [1, 1, 1, 3]}, "declaration"),
        ({"declaration": [1, 1, 1, True]}, "declaration"),
        ({"declaration": [1, 1, 1, 0, ""]}, "declaration"),
        ({"declaration": [1, 1, 1, 0, "x" * 129]}, "declaration"),
        ({"declaration": [1, 1, 1, 0, "a b"]}, "declaration"),
        ({"args": ["surplus"]}, "shape"),
        ({"kind": int(Kind.FAIL)}, "shape"),
        ({"kind": int(Kind.FAIL), "args": [7]}, "reason"),
        ({"kind": int(Kind.FAIL), "args": ["x" * 4097]}, "reason"),
        ({"kind": int(Kind.LEAVING)}, "shape"),
        ({"kind": int(Kind.LEAVING), "args": [3]}, "reason"),
        ({"kind": int(Kind.LEAVING), "args": ["x" * 4097]}, "reason"),
        ({"kind": int(Kind.PAUSE), "args": [-1]}, "duration"),
        ({"kind": int(Kind.EXTEND), "args": [0]}, "duration"),
        ({"kind": int(Kind.NOTE), "args": [[1], None]}, "progress"),
        ({"kind": int(Kind.NOTE), "args": [None, "x" * 1025]}, "status"),
        ({"kind": int(Kind.PROBE), "args": ["t", 1]}, "probe"),
        ({"kind": int(Kind.WORK)}, "shape"),
        ({"kind": int(Kind.WORK), "args": [1, None, None]}, "shape"),
        ({"kind": int(Kind.WORK), "args": [None]}, "duration"),
        ({"kind": int(Kind.WORK), "args": [1.5]}, "duration"),
        ({"kind": int(Kind.WORK), "args": [-1]}, "duration"),
        ({"kind": int(Kind.WORK), "args": [True]}, "duration"),
        ({"kind": int(Kind.WORK), "args": [315_360_000_001]}, "duration"),
        ({"kind": int(Kind.WORK), "args": [1, "GET /x"]}, "scope"),
        ({"kind": int(Kind.WORK), "args": [1, ["GET /x", 1, 1, 1, ""]]}, "scope"),
        ({"kind": int(Kind.WORK), "args": [1, ["x" * 257, 1, 1, 1, "", ""]]}, "scope"),
        ({"kind": int(Kind.WORK), "args": [1, ["x", 1, 1, 2**31, "", ""]]}, "scope"),
        ({"kind": int(Kind.WORK), "args": [1, ["x", -1, 1, 1, "", ""]]}, "duration"),
        ({"kind": int(Kind.WORK), "args": [1, ["x", 1, 0, 1, "", ""]]}, "duration"),
    ],
)
def test_what_is_not_allowed_is_refused_with_its_reason(changed: dict[str, object], reason: str) -> None:
    """Each part has limits; what breaks one is a WireError that says which, and what is allowed."""
    with pytest.raises(WireError) as fault:
        decode(msgpack.packb(_body(**changed)))
    assert fault.value.reason == reason
    assert len(str(fault.value)) > 10


@pytest.mark.parametrize(("milliseconds", "seconds"), [(30_000, 30.0), (0, None)])
def test_work_may_leave_out_what_it_is(milliseconds: int, seconds: float | None) -> None:
    """One argument is enough for a client that names no work; 0 is idle."""
    message = decode(msgpack.packb(_body(kind=int(Kind.WORK), args=[milliseconds])))
    assert message.args == (seconds, None)


@pytest.mark.parametrize(("sent", "taken"), [(math.nan, None), (True, 1), (False, 0), (math.inf, math.inf)])
def test_a_progress_that_says_nothing_costs_no_proof_of_life(sent: object, taken: object) -> None:
    """nan is a feed without progress, and a bool is a number: the watchdog is fed all the same."""
    message = decode(msgpack.packb(_body(kind=int(Kind.NOTE), args=[sent, "busy"])))
    assert message.args == (taken, "busy")
    assert type(message.args[0]) is type(taken)


def test_the_unchanged_body_is_accepted() -> None:
    """The cases above fail for what they change, not for the rest."""
    assert decode(msgpack.packb(_body())) == Message(Kind.FEED, "worker-3", WHO, 0.01, DECLARED)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        b"GET / HTTP/1.1\r\n\r\n",
        msgpack.packb(_body())[:-1],
        msgpack.packb(_body()) + b"x",
        b"\x91" * 2000,
        b"\x91" * 2000 + b"\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xffabc",
        msgpack.packb([1, msgpack.ExtType(5, b"x")]),
        msgpack.packb(msgpack.Timestamp(1, 1)),
        b"\x92\x01\xa2\xff\xfe",
        msgpack.packb({1: 2}),
        msgpack.packb({"a": [{}]}),
        msgpack.packb(_body()) * 400,
        b"x" * (FRAME_MAX + 1),
    ],
)
def test_garbage_is_a_wire_error_and_nothing_else(frame: bytes) -> None:
    """Truncated, nested, oversized, extension-typed or meaningless bytes raise WireError only."""
    with pytest.raises(WireError):
        decode(frame)


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_random_bytes_never_raise_anything_else(frame: bytes) -> None:
    """Whatever arrives, decode returns a message or raises WireError."""
    try:
        decode(frame)
    except WireError:
        pass


@given(messages, st.data())
@settings(max_examples=500, deadline=None)
def test_a_damaged_message_never_raises_anything_else(message: Message, data: st.DataObject) -> None:
    """One byte changed somewhere in a good message: a message or a WireError."""
    frame = bytearray(encode(message))
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(frame))
    except WireError:
        pass


def test_the_size_is_looked_at_before_the_bytes_are() -> None:
    """A message over the limit is refused as oversized even where its bytes are garbage."""
    with pytest.raises(WireError) as fault:
        unpack(b"\xc1" * 100, 99)
    assert fault.value.reason == "oversized"
