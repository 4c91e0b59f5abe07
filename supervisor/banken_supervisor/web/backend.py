"""What all answers share: the way to the supervisor, the copy of its rows, the journal, the listeners."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import Any

from banken.address import Address
from banken_supervisor.web.asker import Asker
from banken_supervisor.web.following import Follower
from banken_supervisor.web.hub import Hub
from banken_supervisor.web.mirror import Mirror
from banken_supervisor.web.records import Records

SHARED_S = 0.5
"""Those who look at the same names within so many seconds get one answer."""

SHARED_MAX = 256


@dataclass(frozen=True)
class Settings:
    """How the web process serves."""

    address: Address
    token: str
    hosts: frozenset[str]
    """what may stand in a Host header, in lower case; those without a port go with any"""
    ping_token: bool = False
    """whether pings need the token even from this host"""
    journal: str | None = None
    """the journal's file; None: the supervisor's"""
    listen: str = field(default="", compare=False)
    """where it listens, for people"""


class Backend:
    """Lives as long as the application does, in its event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.hub = Hub()
        self.asker = Asker(settings.address.text)
        self.mirror = Mirror(self.asker, self.hub)
        self.mirror.error = f"none has answered yet at {settings.address.text}; `banken run` starts one"
        self.records = Records(self._journal)
        self._follower = Follower(settings.address.text, self.mirror.heard, self.mirror.linked)
        self._looks: dict[tuple[bool, tuple[str, ...]], asyncio.Task[Any]] = {}

    async def look(self, names: tuple[str, ...], *, feeds: bool) -> Any:
        """The rows of these names as they are now; shared among those who ask for the same."""
        key = (feeds, names)
        task = self._looks.get(key)
        if task is None:
            loop = asyncio.get_running_loop()
            if len(self._looks) >= SHARED_MAX:
                return await self.asker.ask("look", names=list(names), feeds=feeds)
            task = self._looks[key] = loop.create_task(self.asker.ask("look", names=list(names), feeds=feeds))
            loop.call_later(SHARED_S, self._forget, key, task)
        return await asyncio.shield(task)

    async def tell(self, op: str, **args: Any) -> Any:
        """Ask for something that changes what there is to see: who looks next sees it."""
        try:
            return await self.asker.ask(op, **args)
        finally:
            self._looks.clear()

    def close(self) -> None:
        """End everything, streams first."""
        self.hub.close()
        self.mirror.close()
        self._follower.close()
        self.asker.close()
        self.records.close()

    def _forget(self, key: tuple[bool, tuple[str, ...]], task: asyncio.Task[Any]) -> None:
        if self._looks.get(key) is task:
            del self._looks[key]
        if task.done() and not task.cancelled():
            task.exception()  # seen, whether or not anybody still waited

    def _journal(self) -> str | None:
        if self.settings.journal is not None:
            return self.settings.journal
        summary = self.mirror.summary
        if summary is not None:
            state = summary.get("journal")
            return None if state is None else str(state["path"])
        directory = self.settings.address.directory
        return None if directory is None else os.path.join(directory, "journal.db")
