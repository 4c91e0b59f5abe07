"""The journal's file, read on threads of their own. An incident may be long: its JSON is made there, too."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from banken_supervisor.journal import JournalError, reading, uptime
from banken_supervisor.journal.reading import event, plain, whole
from banken_supervisor.web.errors import Problem, to_json

T = TypeVar("T")

THREADS = 2
WAITING_MAX = 64
"""Reads that wait or run; more are refused."""

EVENTS_MAX = 200
"""Events in the history of one watchdog."""

WINDOWS_S = {"24h": 86_400.0, "7d": 604_800.0, "30d": 2_592_000.0}


class JournalReader:
    """Reads one supervisor's journal. ``path`` returns its file; None where it has none."""

    def __init__(self, path: Callable[[], str | None]) -> None:
        self._find = path
        self._threads = ThreadPoolExecutor(THREADS, "banken-web-journal")
        self._waiting = 0

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def read(self, what: Callable[[str], T]) -> T:
        """What this function finds in the file. Problem, JournalError."""
        path = self._find()
        if path is None:
            raise Problem(404, "this supervisor has no journal: it was started with --no-journal")
        if self._waiting >= WAITING_MAX:
            raise Problem(
                503, f"{WAITING_MAX} requests already read the journal; try again in a moment", retry_after="1"
            )

        def job() -> T:
            if not os.path.exists(path):
                raise Problem(404, f"there is no journal at {path}; a supervisor that has one makes it")
            return what(path)

        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, job)
        except OSError as fault:
            raise JournalError(str(fault)) from None
        finally:
            self._waiting -= 1


def incidents_json(path: str, **wanted: Any) -> str:
    """Incidents, newest first."""
    return to_json({"incidents": [plain(each) for each in reading.incidents(path, **wanted)]})


def incident_json(path: str, incident_id: str) -> str | None:
    """One incident with its timeline and evidence; None: there is none of this id."""
    story = reading.incident(path, incident_id)
    return None if story is None else to_json(whole(story))


def history_json(path: str, name: str) -> str | None:
    """What the journal has of one watchdog; None: nothing."""
    kept = reading.history(path, name)
    if kept.registered is None and not kept.incidents and not kept.events:
        return None
    now = time.time()
    up = {label: uptime.of(kept, length, now).share for label, length in WINDOWS_S.items()}
    told = {
        "name": name,
        "watched": kept.registered is not None,
        "known_since": kept.began,
        "uptime": {label: None if share is None else round(share, 6) for label, share in up.items()},
        "incidents": [plain(each) for each in kept.incidents[:EVENTS_MAX]],
        "events": [event(each) for each in kept.events[-EVENTS_MAX:]],
        "problems": kept.problems,
    }
    return to_json(told)
