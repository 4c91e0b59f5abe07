"""Raw bytes for real processes over real sockets: they live, have no fault of their own, and serve the others."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from banken.control import Control
from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message
from banken_supervisor.sources.zmtp import GREETING, frame
from fuzz.mutation import damaged
from fuzz.targets import directory
from fuzz.targets.frames import local
from fuzz.targets.requests import request
from fuzz.targets.zmtp import ready, stream

START_S, ANSWER_S, END_S = 120.0, 30.0, 30.0
"""Seconds until a process serves, answers one who asks, and ends."""

LOOK_EVERY = 500
"""Inputs between two looks at whether it still serves others."""

SILENCE_S = 0.05
"""Seconds without a further byte after which an answer is over."""

HONEST = encode(Message(Kind.FEED, "honest", None, 0.0, Declaration(300.0, 300.0, 300.0)))
DOORS = ("feed", "control", "events")
STATUSES = {100, 200, 204, 304, 400, 401, 403, 404, 405, 408, 409, 411, 413, 414, 421, 429, 431, 501, 503}


class Process:
    """A command of banken, with its log."""

    def __init__(self, place: str, *words: str) -> None:
        self._log = Path(place, f"{words[0]}.log")
        with self._log.open("wb") as log:
            command = [sys.executable, "-m", "banken_supervisor", *words]
            self._popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=place)
        self.pid = self._popen.pid

    def wait(self, what: Callable[[], Any]) -> Any:
        """Until ``what`` returns something."""
        until = time.monotonic() + START_S
        while not (found := what()):
            assert self._popen.poll() is None, self.log()
            assert time.monotonic() < until, self.log()
            time.sleep(0.02)
        return found

    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text(errors="replace")

    def end(self) -> None:
        """End it in order; it has had no fault."""
        ended = self._popen.poll()
        with suppress(ProcessLookupError):
            self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(END_S)
        finally:
            self._popen.kill()
        assert ended is None, (ended, self.log()[-2_000:])
        assert self._popen.returncode == 0, (self._popen.returncode, self.log()[-2_000:])
        fault = self.log().partition("Traceback")
        assert not fault[1], fault[2][-1_500:]


class Wire:
    """The first byte says which socket of a ``banken run``, the rest is sent to it."""

    SECONDS = 0.5
    QUICK = 400

    def __init__(self) -> None:
        self._place = directory()
        self._address = os.path.join(self._place.name, "a")
        self._run = Process(self._place.name, "run", "--address", self._address, "--journal", "journal.db")
        self.pids = (self._run.pid,)
        self._count = 0
        self._control = Control(self._address, ANSWER_S)
        self._run.wait(lambda: os.path.exists(f"{self._address}/control"))
        self._look()

    def fresh(self, chance: Random) -> bytes:
        which = chance.randrange(3)
        if which == 1 and chance.random() < 0.7:
            asked = (frame(request(chance, number)) for number in range(chance.randint(1, 5)))
            return b"\1" + GREETING + ready(b"DEALER") + b"".join(asked)
        return bytes((which,)) + stream(chance, which)

    def check(self, data: bytes) -> None:
        door = DOORS[(data[0] if data else 0) % 3]
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(SILENCE_S)
            peer.connect(f"{self._address}/{door}")
            with suppress(OSError):  # it is closed for what it says
                peer.sendall(local(data[1:]))
                if door == "control" and len(data) % 4 == 0:
                    peer.recv(65_536)
        self._count += 1
        if self._count % LOOK_EVERY == 0:
            self._look()

    def close(self) -> None:
        try:
            self._look()
            summary = self._control.request("summary")
            assert not summary["internal_errors"], summary["internal_errors"]
            (row,) = self._control.request("status", name="honest")["rows"]
            assert row["incidents"] == 0, row
        finally:
            self._control.close()
            self._run.end()
            self._place.cleanup()

    def _look(self) -> None:
        """It answers, and takes a feed."""
        self._control.request("ping")
        self._control.request("tell", frame=HONEST)


class Http:
    """What is sent to a ``banken web`` over TCP."""

    SECONDS = 0.5
    QUICK = 120

    def __init__(self) -> None:
        self._place = directory()
        address = os.path.join(self._place.name, "a")
        self._run = Process(self._place.name, "run", "--address", address)
        self._web = Process(self._place.name, "web", "--address", address, "--listen", "127.0.0.1:0")
        found = self._web.wait(lambda: re.search(r"banken serves http://127\.0\.0\.1:(\d+)/", self._web.log()))
        self._port = int(found[1])
        self._token = Path(address, "web-token").read_text().strip().encode()
        self.pids = (self._run.pid, self._web.pid)
        self._count = 0
        self._control = Control(address, ANSWER_S)
        self._run.wait(self._serves)
        self._control.request("tell", frame=HONEST)

    def fresh(self, chance: Random) -> bytes:
        line = chance.choice((b"GET", b"HEAD", b"POST", b"POST", b"PUT", b"\0")) + b" " + _path(chance)
        head = [line + b" HTTP/1.1", b"Host: 127.0.0.1:@PORT@"]
        if chance.random() < 0.9:
            head.append(b"X-Banken-Token: @TOKEN@")
        head += chance.sample(_HEADERS, chance.randrange(3))
        body = chance.choice(_BODIES)
        if body and chance.random() < 0.8:
            head.append(b"Content-Length: %d" % (len(body) + chance.choice((0, 0, 0, -1, 1))))
        if chance.random() < 0.9:
            head.append(b"Connection: close")
        whole = b"\r\n".join(head) + b"\r\n\r\n" + body
        return damaged(chance, whole) if chance.random() < 0.3 else whole

    def check(self, data: bytes) -> None:
        sent = data.replace(b"@TOKEN@", self._token).replace(b"@PORT@", b"%d" % self._port)
        answer = b""
        with socket.create_connection(("127.0.0.1", self._port), ANSWER_S) as peer:
            peer.settimeout(SILENCE_S)
            with suppress(OSError):  # it is closed for what it says
                peer.sendall(sent)
            with suppress(OSError):
                while (some := peer.recv(65_536)) and len(answer) < 1_000_000:
                    answer += some
        assert not answer or _status(answer) in STATUSES, answer[:500]
        self._count += 1
        if self._count % LOOK_EVERY == 0:
            assert self._serves()

    def close(self) -> None:
        try:
            assert self._serves()
            summary = self._control.request("summary")
            assert not summary["internal_errors"], summary["internal_errors"]
        finally:
            self._control.close()
            try:
                self._web.end()
            finally:
                self._run.end()
                self._place.cleanup()

    def _serves(self) -> bool:
        """Whether the web process serves others, and has found its supervisor."""
        request = b"GET /-/ready HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Banken-Token: %s\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self._port), ANSWER_S) as peer:
            peer.settimeout(ANSWER_S)
            peer.sendall(request % (self._port, self._token))
            answer = b""
            while some := peer.recv(65_536):
                answer += some
        return _status(answer) == 200


_BODIES = (b"", b"", b"{}", b'{"seconds": 5}', b'{"seconds": 1e999}', b"[" * 2_000, b"\xff" * 70_000)
_HEADERS = (
    b"Origin: http://evil.example", b"Sec-Fetch-Site: cross-site", b"Transfer-Encoding: chunked", b"\xff: 1",
    b"Authorization: Bearer @TOKEN@", b"Content-Type: application/json", b"Accept: application/openmetrics-text",
    b"If-None-Match: *", b"Upgrade: websocket", b"Content-Length: 5", b"Host: other", b"X: " + b"y" * 20_000,
    b"Expect: 100-continue",
)  # fmt: skip
_PATHS = (
    b"/", b"/api/", b"/api/v1/openapi.json", b"/api/v1/summary", b"/api/v1/watchdogs", b"/api/v1/watchdogs/honest",
    b"/api/v1/watchdogs/honest/history", b"/api/v1/watchdogs/honest/pause", b"/api/v1/watchdogs/w/resume",
    b"/api/v1/look?names=honest", b"/api/v1/incidents", b"/api/v1/incidents/x", b"/api/v1/programs/p/start", b"*",
    b"/api/v1/groups", b"/metrics", b"/-/ready", b"/-/healthy", b"/ping/w", b"/ping/w/fail", b"/ping/w/3", b"/p/k",
    b"/badge/honest.svg", b"/static/js/main.js", b"/static/../app.py", b"/api/v1/stream", b"http://x/",
)  # fmt: skip
_QUERIES = (
    b"", b"?name=w*", b"?offset=-1", b"?limit=501", b"?limit=1&limit=2", b"?names=a,b", b"?feeds=true", b"?%00=1",
    b"?name=%ff", b"?open=maybe", b"?since=nan", b"?names=" + b"[" * 300, b"?status=a%0ab", b"?since=1e9",
)  # fmt: skip


def _path(chance: Random) -> bytes:
    made = chance.choice(_PATHS)
    if chance.random() < 0.2:
        made += chance.choice((b"/", b"%2F", b"/..", b"%00", b"\xff", b"%25", b"//x"))
    return made + chance.choice(_QUERIES)


def _status(answer: bytes) -> int:
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    assert found is not None, answer[:500]
    return int(found[1])
