"""From options to a bound socket and a server that runs until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import secrets
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from banken.address import Address
from banken.errors import AddressRefused, Refused
from banken_supervisor.web.app import application
from banken_supervisor.web.backend import Settings
from banken_supervisor.web.broadcaster import SUBSCRIBERS_MAX
from banken_supervisor.web.http_protocol import TimeLimitedProtocol
from banken_supervisor.web.listen_address import ListenAddress

CONNECTIONS_MAX = SUBSCRIBERS_MAX + 300
"""Beyond so many connections, requests are answered 503."""

HEAD_MAX = 16_384
"""Longest head of a request (address and headers), bytes."""

DRAIN_S = 1
"""Whole seconds that the end waits for requests that are under way."""

BIND_S = 5.0
"""Seconds that a child of ``banken run`` waits for the port, which the child before it may still have."""

TOKEN_FILE = "web-token"  # noqa: S105  # a file's name
TOKEN_MIN = 16
TOKEN_MAX = 512

log = logging.getLogger("banken.web")


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


def given_token(file: str | None) -> str | None:
    """The token of ``--token-file``, else of ``$BANKEN_TOKEN``; None: neither was given."""
    if file is None:
        found = os.environ.get("BANKEN_TOKEN")
        return None if found is None else _checked(found, "$BANKEN_TOKEN")
    try:
        with open(file, encoding="utf-8") as opened:
            return _checked(opened.read(TOKEN_MAX + 2).strip(), file)
    except (OSError, UnicodeDecodeError) as fault:
        raise Refused(f"the token file {file} cannot be read: {fault}") from None


def stored_token(address: Address) -> tuple[str, str]:
    """The token in the address's directory, made if there is none, and its file."""
    if address.directory is None:
        raise Refused("an address without a directory has no token file; give one with --token-file")
    path = os.path.join(address.directory, TOKEN_FILE)
    try:
        if not os.path.lexists(path):
            os.makedirs(address.directory, 0o700, exist_ok=True)
            _make_token(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, encoding="ascii") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise Refused(f"{path} is not a file that only you may read; remove it, and a new one is made")
            return _checked(file.read(TOKEN_MAX + 2).strip(), path), path
    except (OSError, UnicodeDecodeError) as fault:
        raise AddressRefused(f"the token file {path} cannot be used: {fault}") from None


def _make_token(path: str) -> None:
    """Make the file with a new token, in one step; another process may have made one."""
    half = f"{path}.{os.getpid()}"
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(half, path)
    finally:
        os.unlink(half)


def _checked(token: str, where: str) -> str:
    if not TOKEN_MIN <= len(token) <= TOKEN_MAX or not token.isascii() or not token.isprintable() or " " in token:
        raise Refused(
            f"the token in {where} is not usable: {TOKEN_MIN} to {TOKEN_MAX} visible ASCII characters, no space"
        )
    return token


class Server(uvicorn.Server):
    """uvicorn's server; it ends in order with exit code 0."""

    def __init__(self, settings: Settings, *, until_eof: bool, announce: Callable[[], None]) -> None:
        self._web = application(settings)
        super().__init__(
            uvicorn.Config(
                self._web,
                http=TimeLimitedProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=CONNECTIONS_MAX,
                h11_max_incomplete_event_size=HEAD_MAX,
                timeout_keep_alive=15,
                timeout_graceful_shutdown=DRAIN_S,
            )
        )
        self._until_eof = until_eof
        self._announce = announce

    def serve_on(self, bound: socket.socket) -> None:
        """Serve until SIGTERM, SIGINT or, with ``until_eof``, the end of stdin."""
        # Clients that send garbage get an answer, and must not fill the log.
        logging.getLogger("uvicorn").setLevel(logging.ERROR)
        # Before uvicorn handles signals, and after: it raises the signal again when it has ended.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        asyncio.run(self._serve_until_eof(bound))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then announce the address."""
        await super().startup(sockets)
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End streams at once: they would not end by themselves."""
        backend = getattr(self._web.state, "backend", None)
        if backend is not None:
            backend.broadcaster.close()
        await super().shutdown(sockets)

    async def _serve_until_eof(self, bound: socket.socket) -> None:
        if self._until_eof:
            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._stdin)
        await self.serve(sockets=[bound])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """uvicorn's signal handler."""
        _silence()
        super().handle_exit(sig, frame)

    def _stdin(self) -> None:
        with contextlib.suppress(BlockingIOError, InterruptedError):
            if not os.read(sys.stdin.fileno(), 4096):  # the parent process has ended
                asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
                self._end()

    def _on_signal(self, number: int, frame: object) -> None:
        self._end()

    def _end(self) -> None:
        _silence()
        self.should_exit = True


def _silence() -> None:
    """uvicorn would log an error for each stream and request that the end cuts."""
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
