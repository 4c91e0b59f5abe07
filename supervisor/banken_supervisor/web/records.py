"""The journal's file, read on threads of their own."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from banken_supervisor.journal import JournalError, reading
from banken_supervisor.journal.rows import IncidentRecord
from banken_supervisor.journal.shown import event, shown, whole
from banken_supervisor.web.problems import Problem

T = TypeVar("T")

THREADS = 2
WAITING_MAX = 64
"""Readings that wait or run; more are refused."""

EVENTS_MAX = 200
"""Events in the history of one watchdog."""

WINDOWS_S = {"24h": 86_400.0, "7d": 604_800.0, "30d": 2_592_000.0}


class Records:
    """Reads one supervisor's journal. ``place`` gives its file, None where it keeps none."""

    def __init__(self, place: Callable[[], str | None]) -> None:
        self._place = place
        self._threads = ThreadPoolExecutor(THREADS, "banken-web-journal")
        self._waiting = 0

    async def incidents(self, *, open_only: bool, since: float | None, name: str | None, limit: int) -> Any:
        """Incidents, the newest first."""
        path = self._path()
        found = await self._read(
            lambda: reading.incidents(path, open_only=open_only, since=since, name=name, limit=limit)
        )
        return {"incidents": [shown(each) for each in found]}

    async def incident(self, incident_id: str) -> Any:
        """The story of one incident; None: there is none of this id."""
        path = self._path()
        story = await self._read(lambda: reading.incident(path, incident_id))
        return None if story is None else whole(story)

    async def history(self, name: str) -> Any:
        """What is kept of one watchdog."""
        path = self._path()
        kept = await self._read(lambda: reading.history(path, name, limit=1_000))
        known = min([each.time for each in kept.events] + [each.opened for each in kept.incidents], default=None)
        return {
            "name": name,
            "watched": kept.registered is not None,
            "known_since": known,
            "uptime": None if known is None else uptime(kept.incidents, known, time.time()),
            "incidents": [shown(each) for each in kept.incidents[:EVENTS_MAX]],
            "events": [event(each) for each in kept.events[-EVENTS_MAX:]],
            "problems": kept.problems,
        }

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _path(self) -> str:
        path = self._place()
        if path is None:
            raise Problem(404, "this supervisor keeps no journal: it was started with --no-journal")
        if not os.path.exists(path) and not os.path.exists(f"{path}.new"):
            raise Problem(404, f"there is no journal at {path}; a supervisor that keeps one makes it")
        return path

    async def _read(self, what: Callable[[], T]) -> T:
        if self._waiting >= WAITING_MAX:
            raise Problem(503, "the journal is being read by too many at once", retry_after="1")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, what)
        except OSError as fault:
            raise JournalError(str(fault)) from None
        finally:
            self._waiting -= 1


def uptime(incidents: list[IncidentRecord], known: float, now: float) -> dict[str, float]:
    """The share of each window, as far back as anything is known, in which no incident was open."""
    shares = {}
    for label, length in WINDOWS_S.items():
        begin = max(now - length, known)
        spells = sorted((max(begin, each.opened), min(now, each.closed or now)) for each in incidents)
        down, reached = 0.0, begin
        for opened, closed in spells:
            down += max(0.0, closed - max(opened, reached))
            reached = max(reached, closed)
        shares[label] = round(1 - down / (now - begin), 6) if now > begin else 1.0
    return shares
