"""Threads of the view: one follows the events, one reads files. The thread that draws never waits for either."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from banken_supervisor.operator_client.event_follower import EventFollower

EVENTS_MAX = 2000
"""Events that wait to be shown; of more the oldest are left out."""

END_S = 1.0
"""Seconds that the end waits for a thread; a file on a slow disk is not waited for longer."""


class EventThread(threading.Thread):
    """Receives the events of one supervisor, and calls ``happened`` when there are some after a ``take``."""

    def __init__(self, address: str, happened: Callable[[], None]) -> None:
        super().__init__(name="banken-top-events", daemon=True)
        self._address, self._happened = address, happened
        self._lock = threading.Lock()
        self._waiting: deque[dict[str, Any]] = deque(maxlen=EVENTS_MAX)
        self._announced = False
        self._end, self._bell = os.pipe()

    def take(self) -> list[dict[str, Any]]:
        """The events since the last call, oldest first; those of the type ``top`` are remarks of its own."""
        with self._lock:
            found = list(self._waiting)
            self._waiting.clear()
            self._announced = False
        return found

    def close(self) -> None:
        """End it."""
        os.write(self._bell, b"!")
        self.join(END_S)

    def run(self) -> None:
        """The thread: until ``close``."""
        last: int | None = None
        connected: bool | None = None
        with EventFollower(self._address) as following:
            while True:
                found: list[dict[str, Any]] = []
                for event in following.wait(also=(self._end,)):
                    found += _gap(last, event["seq"])
                    last = event["seq"]
                    found.append(event)
                if following.connected != connected and (connected is not None or following.connected):
                    lost = connected is not None and not following.connected
                    found.append(_remark("the supervisor is gone" if lost else "connected to the supervisor"))
                    connected = following.connected
                if found:
                    self._put(found)
                if _readable(self._end):
                    return

    def _put(self, found: list[dict[str, Any]]) -> None:
        with self._lock:
            self._waiting.extend(found)
            announced, self._announced = self._announced, True
        if not announced:
            self._happened()


def _gap(last: int | None, number: int) -> list[dict[str, Any]]:
    if last is None or number == last + 1:
        return []
    if number <= last:
        return [_remark("another supervisor runs now; its events are numbered anew")]
    return [_remark(f"{number - last - 1} events were missed")]


def _remark(text: str) -> dict[str, Any]:
    return {"type": "top", "time": time.time(), "text": text}


def _readable(descriptor: int) -> bool:
    import select

    return bool(select.select([descriptor], [], [], 0)[0])


class FileThread(threading.Thread):
    """Does jobs that wait for a disk, one after the other. Of jobs of one kind only the newest waits."""

    def __init__(self, done: Callable[[Callable[[], None]], None]) -> None:
        super().__init__(name="banken-top-files", daemon=True)
        self._done = done
        self._jobs: dict[str, tuple[Callable[[], Any], Callable[[Any], None]]] = {}
        self._changed = threading.Condition()
        self._closing = False

    def ask(self, kind: str, job: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Have ``job`` done soon on this thread, and ``then(its result)`` by way of ``done``.

        ``then`` gets the exception where the job raised one.
        """
        with self._changed:
            self._jobs[kind] = job, then
            self._changed.notify()

    def close(self) -> None:
        """End it after the job that is under way."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self.join(END_S)

    def run(self) -> None:
        """The thread: until ``close``."""
        while True:
            with self._changed:
                while not self._jobs and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                job, then = self._jobs.pop(next(iter(self._jobs)))
            result: Any
            try:
                result = job()
            except Exception as fault:  # noqa: BLE001  (whoever asked shows it)
                result = fault
            self._done(lambda then=then, result=result: then(result))  # type: ignore[misc]  # bound now
