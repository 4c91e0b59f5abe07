"""The server, which runs until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import uvicorn

from banken_supervisor.web.app import application
from banken_supervisor.web.backend import Settings
from banken_supervisor.web.http_protocol import BoundedProtocol
from banken_supervisor.web.listener import TURN_MAX, Listener
from banken_supervisor.web.peers import Connections

DRAIN_S = 1
"""Whole seconds that the end waits for requests that are under way."""

log = logging.getLogger("banken.web")


class Server(uvicorn.Server):
    """uvicorn's server; it ends in order with exit code 0."""

    def __init__(self, settings: Settings, *, until_eof: bool, announce: Callable[[], None]) -> None:
        connections = Connections(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._web = application(settings, connections)
        self._connections, self._allowed = connections, settings.allowed
        protocol: Any = partial(BoundedProtocol, open_ones=connections)
        super().__init__(
            uvicorn.Config(
                self._web,
                http=protocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=TURN_MAX,
                timeout_keep_alive=15,
                timeout_graceful_shutdown=DRAIN_S,
            )
        )
        self._until_eof = until_eof
        self._announce = announce

    def serve_on(self, bound: list[socket.socket]) -> None:
        """Serve until SIGTERM, SIGINT or, with ``until_eof``, the end of stdin."""
        # Clients that send garbage get an answer, and must not fill the log.
        for each in ("uvicorn", "asyncio"):  # asyncio warns of each write to a client that went away
            logging.getLogger(each).setLevel(logging.ERROR)
        # Before uvicorn handles signals, and after: it raises the signal again when it has ended.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        asyncio.run(self._serve_until_eof(bound))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End streams at once: they would not end by themselves."""
        backend = getattr(self._web.state, "backend", None)
        if backend is not None:
            backend.broadcaster.close()
        await super().shutdown(sockets)

    async def _serve_until_eof(self, bound: list[socket.socket]) -> None:
        if self._until_eof:
            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._stdin)
        await self.serve(sockets=[Listener(each, self._connections, self._allowed) for each in bound])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """uvicorn's signal handler. It would log an error for each stream and request that the end cuts."""
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        super().handle_exit(sig, frame)

    def _stdin(self) -> None:
        with contextlib.suppress(BlockingIOError, InterruptedError):
            if not os.read(sys.stdin.fileno(), 4096):  # the parent process has ended
                asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
                self.handle_exit(signal.SIGTERM, None)
