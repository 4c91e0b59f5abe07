"""What a watchdog's handle and its timer know of each other. They import this and not one another."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from banken.protocol.incidents import Incident
    from banken.watchdog.callback_invocation import Callback

WAIT_MAX = 3600.0
"""Seconds; some systems cannot wait for longer than 49 days at once."""


class WakeUp:
    """Ends one thread's sleep, now or when it next sleeps.

    Like an Event, but without its lock: a signal handler that sets an Event may interrupt its own thread inside the
    lock, and would wait for ever.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def signal(self) -> None:
        """End the wait, or the next one if no thread waits now. Two signals before a wait are one."""
        try:
            self._lock.release()
        except RuntimeError:
            return  # it was signalled already

    def wait(self, seconds: float) -> bool:
        """Sleep for ``seconds``, however many; True, and at once, if it was signalled."""
        while seconds > WAIT_MAX:
            if self._lock.acquire(timeout=WAIT_MAX):
                return True
            seconds -= WAIT_MAX
        return self._lock.acquire(timeout=max(seconds, 0.0))


class Watched(Protocol):
    """What a timer reads of a handle. Durations in seconds."""

    name: str
    fed_at: float
    """monotonic time of the last feed, seconds; before the first one: when the handle was made"""
    was_fed: bool
    timeout: float
    interval: float
    callback: Callback | None

    @property
    def grace(self) -> float: ...
    def run_callback(self, incident: Incident) -> None: ...


class Timer(Protocol):
    """What notices that a watchdog is unfed for too long."""

    def feed(self, watched: Watched) -> None:
        """It was fed at ``watched.fed_at``."""

    def check(self, watched: Watched, wake_up: WakeUp) -> None:
        """Check once, then sleep for ``interval`` seconds or until ``wake_up`` is signalled."""

    def start(self, watched: Watched, daemon: bool) -> None:
        """Watch in the background; nothing happens if it does so already."""

    def stop(self, watched: Watched, timeout: float | None) -> None:
        """Watch no longer. If the callback runs, wait for its end, at most ``timeout`` seconds; None: for ever."""

    def changed(self, watched: Watched) -> None:
        """A duration, the callback or the last feed was set."""
