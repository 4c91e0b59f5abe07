"""Whatever arrives on any socket: it is counted, dropped, and the supervisor goes on."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgpack
import pytest
import zmq

from banken.address import resolve
from banken.process_identity import own_identity
from banken.protocol.codec import VERSION, encode
from banken.protocol.limits import DROP_MAX, FRAME_MAX
from banken.protocol.messages import Declaration, Kind, Message
from process.kit import Home, until

pytestmark = pytest.mark.process

GOOD = encode(Message(Kind.FEED, "never", own_identity(), 0.0, Declaration(3600.0, 3600.0, 3600.0)))


def _nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\x00"


GARBAGE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "garbage"),
    "text": (b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", "garbage"),
    "truncated": (GOOD[:-3], "garbage"),
    "more behind it": (GOOD + b"\x00", "garbage"),
    "deeply nested": (_nested(5000), "garbage"),
    "an extension type": (msgpack.packb([VERSION, 1, msgpack.ExtType(5, b"x"), None, 0, None]), "garbage"),
    "a promise of 4 GiB": (b"\xdd\xff\xff\xff\xff\x01", "garbage"),
    "oversized": (b"\x00" * (FRAME_MAX + 1), "oversized"),
    "no array": (msgpack.packb({"name": "w"}), "shape"),
    "another version": (msgpack.packb([99, 1, "w", None, 0, None]), "version"),
    "a kind that is none": (msgpack.packb([VERSION, 200, "w", None, 0, None]), "kind"),
    "a bad name": (msgpack.packb([VERSION, 1, "\x1b[31mw", None, 0, None]), "name"),
    "a negative timeout": (msgpack.packb([VERSION, 1, "w", None, 0, [-1, 1, 1]]), "duration"),
    "a timeout that is no number": (msgpack.packb([VERSION, 1, "w", None, 0, [float("nan"), 1, 1]]), "duration"),
    "a stranger's probe": (encode(Message(Kind.PROBE, "w", None, 0.0, None, (b"guessed", 1))), "probe"),
}


@contextmanager
def _socket(kind: int, endpoint: str) -> Iterator[zmq.Socket[bytes]]:
    context: zmq.Context[Any] = zmq.Context()
    try:
        with context.socket(kind) as ours:
            ours.setsockopt(zmq.LINGER, 20_000)  # milliseconds: all is to arrive, on a busy machine too
            ours.connect(endpoint)
            yield ours
    finally:
        context.term()


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_on_the_feed_socket_is_counted_and_told(home: Home, what: str) -> None:
    """Each kind of it has its reason, is told with what is allowed, and is no watchdog."""
    frame, reason = GARBAGE[what]
    home.supervisor()
    events = home.events()
    with _socket(zmq.PUSH, resolve(home.address).feed) as push:
        for _ in range(3):
            push.send(frame)
    until(lambda: home.refused().get(reason) == 3, f"{what} is counted as {reason}")
    told = events.until(10, "refused")
    assert told["reason"] == reason
    assert told["text"]
    assert "\x1b" not in told["text"]
    assert home.rows("*") == {}


def test_multipart_messages_are_taken_apart_and_each_part_refused(home: Home) -> None:
    """Parts are messages of their own to a PULL socket: they cannot put it out of step."""
    home.supervisor()
    with _socket(zmq.PUSH, resolve(home.address).feed) as push:
        push.send_multipart([b"one", b"two", GOOD])
        until(lambda: home.row("never").get("state") == "alive", "the good part is taken")
        assert home.refused().get("garbage") == 2


def test_what_is_larger_than_anything_allowed_ends_its_connection_only(home: Home) -> None:
    """More than DROP_MAX: that connection is closed, which is told; others go on, and the memory is not taken."""
    home.supervisor()
    worker = home.worker("feeder", "steady", 1.0, 0.1)
    worker.hear()
    with _socket(zmq.PUSH, resolve(home.address).feed) as push:
        push.setsockopt(zmq.LINGER, 0)
        push.send(b"\x00" * (DROP_MAX + 1))
        until(lambda: home.refused().keys() == {"protocol"}, "it is closed")
        until(lambda: home.row("steady").get("state") == "alive", "the others go on")
    assert home.row("steady")["incidents"] == 0


@pytest.mark.parametrize(
    "parts",
    [
        [b""],
        [b"", b""],
        [b"\xc1"],
        [_nested(2000)],
        [msgpack.packb([VERSION, 1, "no-such-request", {}])],
        [msgpack.packb([VERSION, 1, "status", {"offset": -1}])],
        [msgpack.packb([VERSION, 1, "status", {"name": 5}])],
        [msgpack.packb([VERSION, 1, "tell", {"frame": b"\xc1"}])],
        [msgpack.packb([99, 1, "ping", {}])],
        [msgpack.packb([VERSION, "1", "ping", {}])],
        [msgpack.packb([VERSION, 1, "ping", []])],
        [b"one", b"two", b"three", b"four", b"five", b"six"],
    ],
)
def test_garbage_on_the_control_socket_is_answered_with_a_reason(home: Home, parts: list[bytes]) -> None:
    """Whatever is asked, the answer is no, with a text; and the next good request is answered."""
    home.supervisor()
    with _socket(zmq.DEALER, resolve(home.address).control) as dealer:
        dealer.send_multipart(parts)
        assert dealer.poll(10_000)
        version, _, ok, text = msgpack.unpackb(dealer.recv())
        assert (version, ok) == (VERSION, False)
        assert text
        dealer.send(msgpack.packb([VERSION, 7, "ping", {}]))
        assert dealer.poll(10_000)
        assert msgpack.unpackb(dealer.recv())[1:3] == [7, True]


def test_garbage_on_the_events_socket_changes_nothing(home: Home) -> None:
    """A subscriber that talks is not heard, and events go on."""
    home.supervisor()
    with _socket(zmq.XSUB, resolve(home.address).events) as sub:
        for some in (b"", b"\xff", b"\x01" + os.urandom(200), b"\x02" * 1000, b"hello"):
            sub.send(some)
        events = home.events()
        mine = home.client()
        mine.watchdog("told", timeout=3600).feed()
        assert events.until(10, "first-fed", "told")


def test_bytes_that_are_no_zeromq_hurt_nobody(home: Home) -> None:
    """A plain Unix socket that speaks HTTP, noise or nothing to each of the three endpoints.

    Noise can pass for frames of ZeroMQ's first protocol; what comes of it is refused like any other garbage.
    """
    home.supervisor()
    worker = home.worker("feeder", "steady", 1.0, 0.1)
    worker.hear()
    for endpoint in ("feed", "control", "events"):
        for some in (b"GET /ping/steady HTTP/1.1\r\n\r\n", os.urandom(4096), b""):
            with socket.socket(socket.AF_UNIX) as plain:
                plain.connect(os.path.join(home.address, endpoint))
                plain.settimeout(0.2)
                try:
                    plain.sendall(some)
                    plain.recv(100)
                except OSError:
                    pass
    assert home.ask("ping")
    until(lambda: home.row("steady"), "it is fed")
    assert home.row("steady")["incidents"] == 0
    assert set(home.rows("*")) == {"steady"}


def test_random_bytes_and_mutated_frames_never_stop_the_loop(home: Home) -> None:
    """10,000 of them between a worker's feeds: it is never convicted, and the counts add up."""
    home.supervisor()
    worker = home.worker("feeder", "steady", 1.5, 0.1)
    worker.hear()
    before = home.ask("summary")["messages"]
    chance = random.Random(20261124)
    with _socket(zmq.PUSH, resolve(home.address).feed) as push:
        for number in range(10_000):
            if number % 2:
                frame = bytearray(GOOD)
                for _ in range(chance.randint(1, 4)):
                    frame[chance.randrange(len(frame))] = chance.randrange(256)
            else:
                frame = bytearray(chance.randbytes(chance.randint(0, 200)))
            push.send(bytes(frame))
    until(lambda: home.ask("summary")["messages"] >= before + 10_000, "all have been read", 20)
    assert sum(home.refused().values()) >= 5000
    assert home.row("steady")["incidents"] == 0
