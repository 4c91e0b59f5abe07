"""Where the web process listens, and by which names it is reached. Imports no web server."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from banken.errors import Refused
from banken.model import shorten

PORT = 7768
LISTEN = f"127.0.0.1:{PORT}"


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
        """As it stands in a URL."""
        return f"{self.host_text}:{self.port}"

    @property
    def host_text(self) -> str:
        """The host as it stands in a URL."""
        return f"[{self.host}]" if ":" in self.host else self.host


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


_name = re.compile(r"([a-z0-9_]([a-z0-9_.-]{0,252})|\[[0-9a-f:.]{2,45}\])(:[0-9]{1,5})?")


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
    names = ["127.0.0.1", "localhost", "[::1]"] if where.loopback else [where.host_text]
    return frozenset([f"{name}:{port}" for name in names] + list(more))
