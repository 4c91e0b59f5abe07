"""Where the web process listens, and by which names it is reached. Imports no web server."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import re
import socket
import time
from dataclasses import dataclass

from banken.errors import AddressRefused, Refused
from banken.protocol.limits import shorten

PORT = 7768
HTTP_PORT = 80
LISTEN = f"127.0.0.1:{PORT}"

BIND_S = 5.0
"""Seconds that a child of ``banken run`` waits for the port, which the child before it may still have."""


@dataclass(frozen=True)
class ListenAddress:
    """A host and a port."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this host can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def everywhere(self) -> bool:
        """Whether it stands for all addresses of this host; nothing can be reached by it."""
        return self.host in ("0.0.0.0", "::")  # noqa: S104  # compared, not bound

    @property
    def text(self) -> str:
        return f"{self.host_text}:{self.port}"

    @property
    def host_text(self) -> str:
        """The host as it stands in a URL, written as browsers write it."""
        with contextlib.suppress(ValueError):
            found = ipaddress.ip_address(self.host)
            return str(found) if found.version == 4 else f"[{found}]"
        return self.host.lower().removesuffix(".")


def listen_address(text: str) -> ListenAddress:
    """``HOST:PORT``, ``[HOST]:PORT`` or ``:PORT`` (this host only). Refused says what is allowed."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not colon or not port.isascii() or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise Refused(
            f"{shorten(text)!r} is no address to listen at: HOST:PORT such as {LISTEN}, PORT from 0 to 65535"
        )
    if ":" in host and not text.startswith("["):
        raise Refused(f"{shorten(text)!r}: an IPv6 address stands in brackets, [::1]:{PORT}")
    return ListenAddress(host or "127.0.0.1", int(port))


_name = re.compile(r"([a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\])(:[0-9]{1,5})?")


def host_name(text: str) -> str:
    """``text`` in lower case if it can stand in a Host header; Refused otherwise."""
    found = text.lower().removesuffix(".")
    if not _name.fullmatch(found):
        raise Refused(
            f"{shorten(text)!r} is no host name: write it as in a browser's address, without http:// and path, "
            "such as watch.example.org or watch.example.org:8080 (other alphabets as xn--…)"
        )
    return found


def hosts(where: ListenAddress, port: int, more: tuple[str, ...]) -> frozenset[str]:
    """What may stand in a Host header. ``more``: additional names, from ``host_name``."""
    names = {where.host_text}
    if where.loopback:
        names |= {"127.0.0.1", "localhost", "[::1]"}
    # A browser leaves out the port of http.
    bare = names if port == HTTP_PORT else ()
    return frozenset([*(f"{name}:{port}" for name in names), *bare, *more])


def bind(where: ListenAddress, wait_s: float = 0.0) -> socket.socket:
    """A listening socket; AddressRefused says why there is none. ``wait_s``: seconds to wait for the port."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return _bind(where)
        except OSError as fault:
            if fault.errno == errno.EADDRINUSE and time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            why = {
                errno.EADDRINUSE: f"another process listens there; choose another port with --listen, or find it "
                f"with `ss -ltnp 'sport = :{where.port}'`",
                errno.EACCES: "ports below 1024 belong to root; choose another port",
                errno.EADDRNOTAVAIL: "this host has no such address",
            }.get(fault.errno or 0, fault.strerror or str(fault))
            raise AddressRefused(f"cannot listen at {where.text}: {why}") from None


def _bind(where: ListenAddress) -> socket.socket:
    found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # A name may have several addresses; the list of hosts begins with 127.0.0.1.
    family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen(1024)  # here, and not by asyncio later: only this shows that the port is taken
        bound.setblocking(False)
    except BaseException:
        bound.close()
        raise
    return bound
