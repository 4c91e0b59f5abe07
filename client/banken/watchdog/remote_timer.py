"""A watchdog's timer at a supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from banken.protocol.feed_state import FeedState
    from banken.protocol.limits import Progress
    from banken.protocol.messages import Declaration
    from banken.threads import WakeUp
    from banken.watchdog.callback_invocation import Callback
    from banken.watchdog.timer import Watched
    from banken.watchdog.work import OpenWork


class TimerClient(Protocol):
    """What a remote timer uses of a client (client/base_client.py)."""

    def _send_feed(
        self, state: FeedState, now: float, progress: Progress | None = None, status: str | None = None
    ) -> None: ...
    def _work_of(self, name: str) -> OpenWork: ...
    def _declare(self, name: str, declaration: Declaration, resolution: float | None) -> FeedState: ...
    def _bind(self, name: str, callback: Callback | None) -> None: ...
    def _end_work(self, name: str) -> None: ...
    def release(self, name: str) -> bool: ...


class RemoteTimer:
    """A timer at a supervisor. What happens to the handle is sent there by ``client``."""

    def __init__(self, client: TimerClient, state: FeedState) -> None:
        self._client = client
        self._state = state
        self._watched = True
        self._work: OpenWork | None = None

    def feed(self, watched: Watched) -> None:
        state = self._state
        if watched.fed_at < state.open_until:
            state.coalesced += 1
        elif self._watched:  # a feed after stop() does not start the watch again
            self._client._send_feed(state, watched.fed_at)

    def note(self, watched: Watched, progress: Progress | None, status: str | None) -> None:
        if status is None and watched.fed_at < self._state.open_until:
            self._state.coalesced += 1
        elif self._watched:
            self._client._send_feed(self._state, watched.fed_at, progress, status)

    def work(self, watched: Watched) -> OpenWork:
        work = self._work
        if work is None or (work.closed and self._watched):  # work after stop() does not start the watch again
            work = self._work = self._client._work_of(watched.name)
            if not self._watched:
                self._client._end_work(watched.name)
        return work

    def check(self, watched: Watched, wake_up: WakeUp) -> None:
        """The supervisor checks all the time: only start it, and sleep."""
        self.start(watched, True)
        wake_up.wait(float(watched.interval))

    def start(self, watched: Watched, daemon: bool) -> None:
        if not self._watched:
            self._watched = True
            self._declare(watched, again=True)

    def stop(self, watched: Watched, timeout: float | None) -> None:
        if self._watched:
            self._watched = False
            if watched.callback is not None:
                self._client._bind(watched.name, None)
            self._state.open_until = 0.0
            if self._state.is_own:  # not in a forked child: there it is the parent's
                self._client.release(watched.name)

    def changed(self, watched: Watched) -> None:
        if self._watched:
            self._declare(watched, again=False)

    def _declare(self, watched: Watched, again: bool) -> None:
        """Declare it if it differs, in whole milliseconds, as it travels, or ``again``; and bind the callback."""
        declared = self._state.declaration
        assert declared is not None
        wanted = declared._replace(
            timeout=round(float(watched.timeout), 3),
            interval=round(float(watched.interval), 3),
            grace=round(float(watched.grace), 3),
        )
        if again or wanted != declared:
            self._state = self._client._declare(self._state.name, wanted, self._state.resolution)
        self._client._bind(watched.name, watched.callback)
