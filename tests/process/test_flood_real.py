"""One process floods the feed socket, and nobody else waits for what it sent: real sockets, a real journal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from banken.address import resolve
from banken.control import Events
from banken.process_identity import own_identity
from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity
from banken_supervisor import Supervisor
from process.kit import START_S, Home

pytestmark = pytest.mark.process

NUMBER = 16_000
"""Messages of the flood: more than are done while an honest one is, and while a process does not run."""

LONG = Declaration(3600.0, 3600.0, 3600.0)
ME = own_identity()
HOG = ME._replace(nonce=b"hogs")

SENDER = """
import sys, msgpack, zmq
frames = msgpack.unpackb(open(sys.argv[2], "rb").read())
push = zmq.Context().socket(zmq.PUSH)
push.setsockopt(zmq.SNDHWM, 0)
push.connect(sys.argv[1])
for frame in frames:
    push.send(frame)
print("sent", flush=True)
sys.stdin.read()
"""
"""Sends frames as fast as it can, and stays."""


def message(kind: Kind, name: str, *args: Any, who: ProcessIdentity = HOG) -> bytes:
    return encode(Message(kind, name, who, 0.0, LONG, args))


FLOODS = {
    "extend": lambda number: [message(Kind.EXTEND, "hog", 10.0)],
    "section": lambda number: [message(kind, f"hog@1.{number}") for kind in (Kind.DECLARE, Kind.RELEASE)],
    "fail": lambda number: [message(Kind.FAIL, "hog", "again"), message(Kind.FEED, "hog")],
    "names": lambda number: [message(Kind.FEED, f"hog-{number}")],
}


@contextmanager
def pushing(address: str) -> Iterator[zmq.Socket[bytes]]:
    context: zmq.Context[Any] = zmq.Context()
    try:
        with context.socket(zmq.PUSH) as push:
            push.setsockopt(zmq.LINGER, 0)
            push.connect(resolve(address).feed)
            assert push.poll(int(START_S * 1000), zmq.POLLOUT)
            yield push
    finally:
        context.term()


@contextmanager
def flooding(address: str, frames: list[bytes], place: Path) -> Iterator[None]:
    """Another process has all of these under way."""
    file = place / "frames"
    file.write_bytes(msgpack.packb(frames))
    command = [sys.executable, "-c", SENDER, resolve(address).feed, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"sent\n"
            yield
        finally:
            process.kill()


@pytest.mark.parametrize("kind", FLOODS)
def test_a_verdict_does_not_wait_for_what_another_process_sent_before(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """All of the flood is under way when the honest one fails. That is announced before the flood is all taken."""
    frames = [frame for number in range(NUMBER) for frame in FLOODS[kind](number)][:NUMBER]
    supervisor = Supervisor(home.address, journal=tmp_path / "journal.db")
    with supervisor, Events(home.address) as events, pushing(home.address) as honest:
        loop = supervisor._loop
        assert loop is not None
        publish, read = loop._sockets.events.publish, []

        def noting(topic: bytes, body: bytes) -> None:
            """How much was read when it is announced: more is, before we hear of it."""
            if b"honest" in body and b"expired" in body:
                read.append(loop.metrics.messages)
            publish(topic, body)

        monkeypatch.setattr(loop._sockets.events, "publish", noting)
        honest.send(message(Kind.FEED, "honest", who=ME))
        with flooding(home.address, [message(Kind.FEED, "hog"), *frames], tmp_path):
            honest.send(message(Kind.FAIL, "honest", "out of paper", who=ME))
            while (event := events.next(START_S)) is not None:
                if event.get("name") == "honest" and event["type"] == "expired":
                    break
            assert event is not None
            assert read[0] < NUMBER
