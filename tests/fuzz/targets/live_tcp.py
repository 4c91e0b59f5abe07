"""Raw bytes for the ports of a ``banken run --listen``, and messages that come with a key: it lives, has no fault
of its own, and serves the others."""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import zmq

from banken import tcp
from banken.address import Address, resolve
from banken.control import Control
from banken.keys import load
from banken_supervisor.keys.access import Control as Rights
from banken_supervisor.keys.directory import KeyDirectory
from banken_supervisor.sources.zmtp import GREETING, frame
from fuzz.mutation import damaged
from fuzz.targets import directory, frames
from fuzz.targets.frames import local
from fuzz.targets.live import ANSWER_S, HONEST, LOOK_EVERY, SILENCE_S, Process
from fuzz.targets.requests import request
from fuzz.targets.zmtp import stream
from hosts_kit import free_ports

DOORS = 3
"""Ports in a row: feeds, commands, events."""

WITH_KEY = (zmq.PUSH, zmq.DEALER, zmq.SUB)

CURVE = GREETING[:12] + b"CURVE".ljust(20, b"\0") + GREETING[32:]
PLAIN = GREETING[:12] + b"PLAIN".ljust(20, b"\0") + GREETING[32:]
HTTP = b"POST / HTTP/1.1\r\nHost: watch\r\nContent-Length: 5\r\n\r\nhello"
TLS = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


def hello(chance: Random) -> bytes:
    """CURVE's first command, of the right length or not; whose key it is, nobody knows."""
    size = chance.choice((192, 192, 192, 0, 191, 193, 1_000))
    return frame(b"\x05HELLO\x01\x00" + chance.randbytes(size), 4)


class Tcp:
    """The first byte says which port, and whether the rest is sent as it is or as a message with a key."""

    SECONDS = 0.5
    QUICK = 200

    def __init__(self) -> None:
        self._place = directory()
        place = Path(self._place.name)
        self._address, listen = str(place / "a"), f"tcp://127.0.0.1:{free_ports()}"
        self._there: Address = resolve(listen)
        keys = KeyDirectory(place / "keys")
        keys.new("watch", server=True)
        path = keys.new("w")
        keys.allow("w", ["*"], Rights.READ)
        path.write_text(path.read_text() + f'[servers]\n"{listen}" = "{keys.server().key.decode()}"\n')
        self._run = Process(
            self._place.name,
            "run",
            "--address",
            self._address,
            "--no-journal",
            "--listen",
            listen,
            "--keys",
            "keys",
        )
        self.pids = (self._run.pid,)
        self._count = 0
        self._control = Control(self._address, ANSWER_S)
        self._run.wait(lambda: os.path.exists(f"{self._address}/control"))
        self._look()
        self._context: zmq.Context[Any] = zmq.Context()
        self._peers: list[zmq.Socket[bytes]] = []
        for kind, end in zip(WITH_KEY, (self._there.feed, self._there.control, self._there.events), strict=True):
            peer = self._context.socket(kind)
            peer.setsockopt(zmq.LINGER, 0)
            tcp.prepare(peer, self._there, load(path))
            peer.connect(end)
            self._peers.append(peer)

    def fresh(self, chance: Random) -> bytes:
        which = chance.randrange(2 * DOORS)
        if which >= DOORS:
            made = request(chance, 1) if which - DOORS == 1 else frames.frame(chance)
            return bytes((which,)) + (damaged(chance, made) if chance.random() < 0.3 else made)
        first = chance.choice((CURVE, CURVE, CURVE, PLAIN, HTTP, TLS, b"", stream(chance, which)))
        whole = first + b"".join(hello(chance) for _ in range(chance.randrange(3)))
        return bytes((which,)) + (damaged(chance, whole) if chance.random() < 0.5 else whole)

    def check(self, data: bytes) -> None:
        which = (data[0] if data else 0) % (2 * DOORS)
        if which >= DOORS:
            self._say(which - DOORS, local(data[1:]))
        else:
            port = int(re.sub(r".*:", "", self._there.feed)) + which
            with socket.create_connection(("127.0.0.1", port), ANSWER_S) as peer:
                peer.settimeout(SILENCE_S)
                with suppress(OSError):  # it is closed for what it says
                    peer.sendall(data[1:])
                    if len(data) % 8 == 0:
                        peer.recv(65_536)
        self._count += 1
        if self._count % LOOK_EVERY == 0:
            self._look()

    def _say(self, which: int, body: bytes) -> None:
        peer = self._peers[which]
        with suppress(zmq.Again):
            if WITH_KEY[which] == zmq.SUB:
                peer.setsockopt(zmq.SUBSCRIBE, body[:5_000])
                peer.setsockopt(zmq.UNSUBSCRIBE, body[:5_000])
            else:
                peer.send(body, zmq.DONTWAIT)
        with suppress(zmq.ZMQError):
            while WITH_KEY[which] == zmq.DEALER:
                peer.recv(zmq.DONTWAIT)

    def close(self) -> None:
        try:
            self._look()
            summary = self._control.request("summary")
            assert not summary["internal_errors"], summary["internal_errors"]
            (row,) = self._control.request("status", name="honest")["rows"]
            assert row["incidents"] == 0, row
        finally:
            for each in self._peers:
                each.close(0)
            self._context.term()
            self._control.close()
            self._run.end()
            self._place.cleanup()

    def _look(self) -> None:
        """It answers, and takes a feed."""
        self._control.request("ping")
        self._control.request("tell", frame=HONEST)
