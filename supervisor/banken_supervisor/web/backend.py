"""What all answers share: requests to the supervisor, the copy of its rows, the journal, the open streams."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request

from banken.address import Address
from banken_supervisor.operator_client.event_follower import EventThread
from banken_supervisor.operator_client.state_directory import journal_file
from banken_supervisor.web.broadcaster import Broadcaster
from banken_supervisor.web.journal_reader import JournalReader
from banken_supervisor.web.peers import NOBODY, Allowed
from banken_supervisor.web.state_cache import StateCache
from banken_supervisor.web.supervisor_client import AsyncSupervisorClient

T = TypeVar("T")

SHARED_S = 0.5
"""Requests for the same names within so many seconds share one answer."""

SHARED_MAX = 256


@dataclass(frozen=True)
class Settings:
    """How the web process serves."""

    address: Address
    token: str
    hosts: frozenset[str]
    """what may stand in a Host header, in lower case; those without a port allow any"""
    open: bool = False
    """whether reading and pings need no token"""
    token_file: str | None = None
    """the file that has the token; None: it was given in ``$BANKEN_TOKEN``"""
    journal: str | None = None
    """the journal's file; None: the supervisor's"""
    ping_keys: str | None = None
    """the file of the ping keys; None: there can be none"""
    allowed: Allowed = NOBODY
    """who may use the Unix socket"""
    read_token: str | None = None
    """with which a client can only read; None: there is none"""

    @property
    def where_the_token_is(self) -> str:
        """A sentence, without its full stop."""
        if self.token_file is None:
            return "It is what $BANKEN_TOKEN was when `banken web` was started"
        return f"`cat {shlex.quote(self.token_file)}` prints it, on the host of `banken web`"


class Backend:
    """Lives as long as the application does, in its event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.broadcaster = Broadcaster()
        self.client = AsyncSupervisorClient(settings.address.text)
        self.cache = StateCache(self.client, self.broadcaster)
        self.cache.error = f"no supervisor has answered yet at {settings.address.text}; `banken run` starts one"
        self.journal = JournalReader(self._journal_path)
        self._follower = EventThread(
            settings.address.text, _in_loop(self.cache.on_events), _in_loop(self.cache.on_connected)
        )
        self._follower.start()
        self._looks: dict[tuple[bool, tuple[str, ...]], asyncio.Task[Any]] = {}

    async def look(self, names: tuple[str, ...], *, feeds: bool) -> Any:
        """The rows of these names as they are now; concurrent requests for the same names share one answer."""
        key = (feeds, names)
        task = self._looks.get(key)
        if task is None:
            loop = asyncio.get_running_loop()
            if len(self._looks) >= SHARED_MAX:
                return await self.client.request("look", names=list(names), feeds=feeds)
            task = self._looks[key] = loop.create_task(self.client.request("look", names=list(names), feeds=feeds))
            loop.call_later(SHARED_S, self._forget, key, task)
        return await asyncio.shield(task)

    async def change(self, op: str, **args: Any) -> Any:
        """A request that changes something: the next ``look`` shows it."""
        try:
            return await self.client.request(op, **args)
        finally:
            self._looks.clear()

    def close(self) -> None:
        """End everything, streams first."""
        self.broadcaster.close()
        self.cache.close()
        self._follower.close()
        self.client.close()
        self.journal.close()

    def _forget(self, key: tuple[bool, tuple[str, ...]], task: asyncio.Task[Any]) -> None:
        if self._looks.get(key) is task:
            del self._looks[key]
        if task.done() and not task.cancelled():
            task.exception()  # retrieved, whether or not a request still waits for it

    def _journal_path(self) -> str | None:
        if self.settings.journal is not None:
            return self.settings.journal
        summary = self.cache.summary
        if summary is not None:
            state = summary.get("journal")
            return None if state is None else str(state["path"])
        return journal_file(self.settings.address)


def _in_loop(call: Callable[[T], None]) -> Callable[[T], None]:
    """The same for other threads: it runs in the event loop of now."""
    loop = asyncio.get_running_loop()

    def pass_on(argument: T) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            loop.call_soon_threadsafe(call, argument)

    return pass_on


def backend_of(request: Request) -> Backend:
    """The backend of the application that serves ``request``."""
    backend: Backend = request.app.state.backend
    return backend
