"""A real ``banken web`` beside a real ``banken run``, and clients that say exactly what a test wants to be said."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from pathlib import Path
from typing import Any, NamedTuple

from process.kit import START_S, until
from process.ladder_kit import LONG, Command, House

CONFIG = """
[supervisor]
defaults = { timeout = "1h", interval = "1h" }

[[watchdog]]
name = "reject-*"
timeout = "0.3s"
ladder = [{ do = "log", text = "noted", level = "warning" }]

[[watchdog]]
name = "pool-*"

[[program]]
name = "sleeper"
command = ["sleep", "infinity"]
restart = "never"
autostart = false
dies_with_supervisor = true

[[group]]
name = "pool"
members = ["pool-*"]
at_least = 1
"""


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    """names in lower case"""
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body as JSON, read strictly."""
        return json.loads(self.body, parse_constant=_refuse)


class Web:
    """One ``banken web``, serving."""

    own_token: str | None = None

    def __init__(self, address: str, *args: object) -> None:
        self.address = address
        self.process = Command("web", "--address", address, "--listen", "127.0.0.1:0", *args)
        try:
            found = until(self._announced, "the web process serves", START_S)
        except AssertionError:
            self.process.close()
            raise
        self.port = int(found[1])
        self.host = f"127.0.0.1:{self.port}"
        self._streams: list[Stream] = []

    @property
    def token(self) -> str:
        """The one that it made, or ``own_token``."""
        return self.own_token or (Path(self.address) / "web-token").read_text().strip()

    @property
    def signed(self) -> dict[str, str]:
        """The header that allows everything."""
        return {"X-Banken-Token": self.token}

    def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | str | None = None
    ) -> Answer:
        """A request with the token, on a connection of its own. A ``Host`` in ``headers`` is sent instead."""
        return self.bare(method, path, {**self.signed, **(headers or {})}, body)

    def bare(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | str | None = None
    ) -> Answer:
        """The same without the token."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            data = body.encode() if isinstance(body, str) else body
            sent = {"Host": self.host, **(headers or {})}
            if data is not None and "Content-Length" not in sent:
                sent["Content-Length"] = str(len(data))
            for name, value in sent.items():
                connection.putheader(name, value)
            connection.endheaders(data)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        """GET; ``sec_fetch_site="none"`` is the header Sec-Fetch-Site."""
        return self.ask("GET", path, {name.replace("_", "-"): value for name, value in headers.items()})

    def act(self, path: str, body: Any = None) -> Answer:
        """POST, what is to be done as JSON."""
        return self.ask("POST", path, body=None if body is None else json.dumps(body))

    def stream(self) -> Stream:
        """The event stream, open."""
        one = Stream(self)
        self._streams.append(one)
        return one

    def ready(self) -> None:
        """Wait until a supervisor answers it."""
        until(lambda: self.get("/-/ready").status == 200, "the web process has found its supervisor", START_S)

    def close(self) -> None:
        """End it, and whoever listens."""
        for each in self._streams:
            each.close()
        self.process.close()

    def _announced(self) -> re.Match[str] | None:
        assert self.process.running(), f"banken web ended: {self.process.log()}"
        return re.search(r"banken serves http://127\.0\.0\.1:(\d+)/", self.process.log())


class Stream:
    """A browser's EventSource, as far as it goes; ``receive_buffer`` makes it a small one."""

    def __init__(self, web: Web, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(LONG)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", web.port))
        head = f"GET /api/v1/stream HTTP/1.1\r\nHost: {web.host}\r\nX-Banken-Token: {web.token}\r\n"
        self.socket.sendall(f"{head}Accept: text/event-stream\r\n\r\n".encode())
        self._read = b""
        self.seen: list[tuple[str, Any]] = []
        self.ids: list[str] = []
        self.status = 0
        self.headers = b""

    def open(self) -> Stream:
        """Read the head of the answer."""
        while b"\r\n\r\n" not in self._read:
            some = self.socket.recv(65536)
            assert some, "the stream ended before it began"
            self._read += some
        self.headers, _, self._read = self._read.partition(b"\r\n\r\n")
        self.status = int(self.headers.split()[1])
        return self

    def until(self, kind: str, timeout: float = LONG, **data: Any) -> Any:
        """The data of the next event of this kind that has ``data``; those before it are in ``seen``."""
        deadline = time.monotonic() + timeout
        while True:
            name, told = self._one(deadline, f"{kind} {data}")
            if name == kind and data.items() <= told.items():
                return told

    def row(self, name: str, timeout: float = LONG, **data: Any) -> Any:
        """Wait until a row of this name that has ``data`` is told, in ``rows`` or ``changed``."""
        deadline = time.monotonic() + timeout
        looked = 0
        while True:
            for kind, told in self.seen[looked:]:
                for each in told["rows"] if kind in ("rows", "changed") else ():
                    if each["name"] == name and data.items() <= each.items():
                        return each
            looked = len(self.seen)
            self._one(deadline, f"a row {name} {data}")

    def ended(self, timeout: float = LONG) -> float:
        """Seconds until the server ends it: by the last chunk of its body, or by cutting the connection."""
        began = time.monotonic()
        self.socket.settimeout(timeout)
        tail = self._read
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            try:
                some = self.socket.recv(262_144)
            except ConnectionResetError:
                break
            if not some:
                break
            tail = (tail + some)[-16:]
        return time.monotonic() - began

    def close(self) -> None:
        """Go away."""
        self.socket.close()

    def _one(self, deadline: float, what: str) -> tuple[str, Any]:
        if not self.status:
            self.open()
        while (event := self._next()) is None:
            left = deadline - time.monotonic()
            assert left > 0, f"not told in time: {what}; told: {[name for name, _ in self.seen[-20:]]}"
            self.socket.settimeout(left)
            some = self.socket.recv(262_144)
            assert some, f"the stream ended before {what}"
            self._read += some
        self.seen.append(event)
        return event

    def _next(self) -> tuple[str, Any] | None:
        """The next whole event among the bytes that are there; the chunks' own lines are between them."""
        while b"\n\n" in self._read:
            block, _, self._read = self._read.partition(b"\n\n")
            fields = dict(
                line.split(": ", 1) for line in block.decode().replace("\r", "").split("\n") if ": " in line[1:]
            )
            if "id" in fields:
                self.ids.append(fields["id"])
            if "event" in fields:
                return fields["event"], json.loads(fields["data"], parse_constant=_refuse)
        return None


class Street(House):
    """A home with a supervisor of ``CONFIG`` and web processes."""

    def web(self, *args: object) -> Web:
        """A ``banken web`` that has found the supervisor."""
        one = Web(self.address, *args)
        self._closing.append(one)
        one.ready()
        return one


def _refuse(text: str) -> Any:
    raise AssertionError(f"{text} is no JSON")
