"""What threads have found out for the loop, which takes it in its turns, and waits for it after its last one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event


@dataclass(eq=False)
class StoreAnswers:
    """``post``: has something done on the loop's thread, from any."""

    _post: Callable[[Callable[[], None]], None]
    _came: deque[Callable[[], None]] = field(default_factory=deque)
    _is_there: Event = field(default_factory=Event)

    def post(self, take: Callable[[], None]) -> None:
        """Have an answer taken on the loop's thread. For any thread."""
        self._came.append(take)
        self._is_there.set()
        self._post(self._take)

    def wait(self, seconds: float) -> None:
        """Take what has come, or comes within ``seconds``. On the loop's thread, after its last turn."""
        self._is_there.wait(seconds)
        self._is_there.clear()
        while self._came:
            self._take()

    def _take(self) -> None:
        if self._came:
            self._came.popleft()()
