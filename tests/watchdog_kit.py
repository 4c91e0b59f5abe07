"""What the tests of the original class share: bounds, and a callback that remembers its calls.

Durations are small and upper bounds generous: a loaded machine may be late, which is no fault of the watchdog.
Where it must *not* bark, a test asks by ``start()``, which checks at once, instead of waiting to see.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from banken import Watchdog

WITHIN = 10.0
"""Seconds in which anything that has to happen must have happened."""

SOON = 2.0
"""Seconds that count as 'at once', on a machine that is busy with other things."""

LONG = 1000.0
"""Seconds that no test lives to see."""


class Calls:
    """A callback that remembers when it was called."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.threads: list[threading.Thread] = []
        self._changed = threading.Condition()

    def __call__(self) -> None:
        with self._changed:
            self.times.append(time.monotonic())
            self.threads.append(threading.current_thread())
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self.times)

    def reach(self, count: int, within: float = WITHIN) -> bool:
        """Wait until it was called ``count`` times in all."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.times) >= count, within)


@contextmanager
def no_thread_stays() -> Iterator[None]:
    """Whatever a test started, it also ended."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(WITHIN)
        assert not thread.is_alive(), thread


def expired(calls: Calls, **settings: Any) -> Watchdog:
    """A watchdog that was silent for too long already and calls ``calls`` at the next check."""
    dog = Watchdog(**{"timeout": 0.001, "interval": 0.001, "callback": calls, **settings})
    dog.feed()
    time.sleep(0.005)
    return dog
