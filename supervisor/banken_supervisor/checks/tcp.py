"""``tcp`` and ``unix``: connect, say something, and wait for what is expected."""

from __future__ import annotations

import contextlib
from ipaddress import ip_address
from time import monotonic
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from banken_supervisor.actions import options
from banken_supervisor.checks.base import CheckFields
from banken_supervisor.checks.outcome import Outcome
from banken_supervisor.checks.progress import Progress
from banken_supervisor.checks.subject import Subject
from banken_supervisor.text.quoting import quoted

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


def is_ip(text: str) -> bool:
    """Whether it is an address."""
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


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
        from banken_supervisor.checks.connection import connect, talk

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
        from banken_supervisor.checks.blocking import reach
        from banken_supervisor.checks.connection import connect_unix, talk

        began = monotonic()
        progress.text = "its file system does not answer"
        await reach(self.unix)
        progress.text = "it does not answer"
        with await connect_unix(self.unix) as sock:
            return await talk(sock, self.send, self.expect, progress, began)
