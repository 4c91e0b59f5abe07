"""What a watchdog's handle and its timer know of each other. They import this and not one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from banken.protocol.incidents import Incident
    from banken.protocol.limits import Progress
    from banken.protocol.messages import Scope
    from banken.threads import WakeUp
    from banken.watchdog.callback_invocation import Callback
    from banken.watchdog.work import OpenWork


class Said(NamedTuple):
    """What open work says: when it is due, and what it is."""

    seconds: float
    """from ``fed_at``; inf: it is idle"""
    scope: Scope | None


class Watched(Protocol):
    """What a timer reads of a handle. Durations in seconds."""

    name: str
    fed_at: float
    """monotonic time of the last feed, seconds; before the first one: when the handle was made"""
    was_fed: bool
    timeout: float
    interval: float
    callback: Callback | None
    progress: Progress | None
    status: str | None
    said: Said | None
    """what its open work said last, at ``fed_at``; None: it is fed"""

    @property
    def grace(self) -> float: ...
    def run_callback(self, incident: Incident) -> None: ...


class Timer(Protocol):
    """What notices that a watchdog is unfed for too long."""

    def feed(self, watched: Watched) -> None:
        """It was fed at ``watched.fed_at``."""

    def note(self, watched: Watched, progress: Progress | None, status: str | None) -> None:
        """The same, with progress or status. TextRefused for those that are not allowed."""

    def work(self, watched: Watched) -> OpenWork:
        """The open work of this watchdog in this process."""

    def check(self, watched: Watched, wake_up: WakeUp) -> None:
        """Check once, then sleep for ``interval`` seconds or until ``wake_up`` is signalled."""

    def start(self, watched: Watched, daemon: bool) -> None:
        """Watch in the background; nothing happens if it does so already."""

    def stop(self, watched: Watched, timeout: float | None) -> None:
        """Watch no longer. If the callback runs, wait for its end, at most ``timeout`` seconds; None: for ever."""

    def changed(self, watched: Watched) -> None:
        """A duration, the callback or the last feed was set."""
