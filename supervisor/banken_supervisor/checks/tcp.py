"""``tcp`` and ``unix``: connect, say something, and wait for what is expected."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from ipaddress import ip_address
from time import monotonic
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from banken_supervisor.actions import options
from banken_supervisor.checks.base import CheckFields, Progress
from banken_supervisor.checks.names import resolve
from banken_supervisor.checks.outcome import Outcome
from banken_supervisor.checks.subject import Subject
from banken_supervisor.text.quoting import quoted

BODY_MAX = 64 * 1024
"""Bytes of an answer that are read."""

READ = 16 * 1024

UNIX_MAX = 107
"""Bytes of the path of a Unix socket."""

FULL_S = 0.02
"""Seconds between two tries to connect to a Unix socket whose queue is full."""

ENDPOINT_ALLOWED = 'allowed is HOST:PORT, such as "127.0.0.1:6379" or "[::1]:6379"'


class Endpoint(NamedTuple):
    """Where to connect."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def endpoint(value: object) -> Endpoint:
    """``HOST:PORT``."""
    if isinstance(value, Endpoint):
        return value
    given = options.text(value, longest=300, what="HOST:PORT")
    host, colon, port = given.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        with contextlib.suppress(ValueError):
            if ip_address(host).version == 6 and _is_port(port):
                return Endpoint(host, int(port))
    elif colon and _is_port(port) and is_host(host):
        return Endpoint(host, int(port))
    raise ValueError(f"{quoted(given)} is no address; {ENDPOINT_ALLOWED}")


def is_host(text: str) -> bool:
    """Whether it may be a host's name, or an IPv4 address."""
    return 0 < len(text) <= 253 and text.isascii() and not set(text) - _HOST and text[0] not in ".-"


_HOST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65536


Send = Annotated[str, Field(max_length=options.TEXT_MAX, description="Sent once it is connected.")]
Expect = Annotated[
    str,
    Field(min_length=1, max_length=options.TEXT_MAX, description="A text that must come; default: any connection."),
]


class Tcp(CheckFields):
    """Connects, and what is expected comes."""

    kind: ClassVar[str] = "tcp"

    tcp: Annotated[Endpoint, *options.kind(endpoint, options.STRING)] = Field(description="HOST:PORT.")
    send: Send | None = None
    expect: Expect | None = None

    @property
    def label(self) -> str:
        return f"tcp {self.tcp}"

    async def look(self, subject: Subject, progress: Progress) -> Outcome:
        """Connect, and have the talk."""
        began = monotonic()
        progress.text = f"the address of {self.tcp.host} is looked up"
        with await connect(self.tcp.host, self.tcp.port, progress) as sock:
            return await talk(sock, self.send, self.expect, progress, began)


class Unix(CheckFields):
    """The same with a Unix socket."""

    kind: ClassVar[str] = "unix"

    unix: options.PathField = Field(description="Path of the socket.")
    send: Send | None = None
    expect: Expect | None = None

    @property
    def label(self) -> str:
        return f"unix {self.unix}"

    async def look(self, subject: Subject, progress: Progress) -> Outcome:
        """Connect, and have the talk."""
        began = monotonic()
        progress.text = "it does not answer"
        with await connect_unix(self.unix) as sock:
            return await talk(sock, self.send, self.expect, progress, began)


async def talk(
    sock: socket.socket, send: str | None, expect: str | None, progress: Progress, began: float
) -> Outcome:
    """Send, and read until what is expected has come."""
    loop = asyncio.get_running_loop()
    progress.text = "connected, but what is to be sent is not taken"
    if send:
        await loop.sock_sendall(sock, send.encode())
    if expect is None:
        return Outcome(True, f"connected in {_ms(began)}")
    wanted, got, ended = expect.encode(), b"", False
    while wanted not in got:
        so_far = f"{_bytes(got)} came" if got else "nothing came"
        progress.text = f"{quoted(expect)} was expected, {so_far}"
        if ended or len(got) >= BODY_MAX:
            why = "before it closed the connection" if ended else f"within {BODY_MAX // 1024} KiB"
            return Outcome(False, f"{progress.text} {why}")
        some = await loop.sock_recv(sock, READ)
        got += some
        ended = not some
    return Outcome(True, f"{_bytes(got)} came in {_ms(began)}")


async def connect_unix(path: str) -> socket.socket:
    """A connected socket. OSError."""
    if len(os.fsencode(path)) > UNIX_MAX:
        raise OSError(errno.ENAMETOOLONG, f"the path has more than {UNIX_MAX} bytes, which no socket can have")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    while True:
        try:
            return await _connect(sock, path)
        except BlockingIOError:  # its queue is full: unlike tcp, the kernel says so at once
            await asyncio.sleep(FULL_S)
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


async def connect(host: str, port: int, progress: Progress) -> socket.socket:
    """A connected socket, of the first address of the host that takes it. OSError: of the last."""
    last: OSError | None = None
    for family, address in await resolve(host, port):
        progress.text = f"{address[0]} port {port} does not answer"
        try:
            return await _connect(socket.socket(family, socket.SOCK_STREAM), address)
        except OSError as fault:
            last = fault
    raise last or OSError(errno.EADDRNOTAVAIL, f"{host} has no address")


async def _connect(sock: socket.socket, address: tuple[str, int] | str) -> socket.socket:
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
        # A port of the range for outgoing connections, on which nobody listens: Linux may connect it to itself.
        if isinstance(address, tuple) and sock.getsockname() == sock.getpeername():
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    except BaseException:
        sock.close()
        raise
    return sock


def _bytes(got: bytes) -> str:
    """What came, as a text in quotes: of much, its end."""
    return quoted(got[-80:].decode("utf-8", "backslashreplace"), 80)


def _ms(began: float) -> str:
    return f"{(monotonic() - began) * 1000:.0f} ms"
