"""How often the callbacks of open incidents run again, when there are many: no process's dead names may fill the
journal, the log and all subscribers for ever.

Each incident asks for its next run after its interval. The runs of one process are spaced (a leaky bucket that is
kept as the time at which it will be empty, as in the generic cell rate algorithm, ITU-T I.371): ``BURST`` at once,
``RATE`` a second for long; those of all together by ``RATE_ALL``. What is beyond waits, at most ``WAIT_MAX``.

Pure: ``now`` is deadline time, seconds.
"""

from __future__ import annotations

from collections.abc import Hashable

RATE, BURST = 50.0, 500
"""Runs of one process: a second, and at once."""

RATE_ALL, BURST_ALL = 200.0, 5_000
"""The same of all processes together."""

WAIT_MAX = 60.0
"""Seconds from one run to the next, at most, unless the interval is longer."""

SOURCES_MAX = 1_000
"""Processes that are remembered; those that have rested are forgotten."""


class RepeatPace:
    """When the next runs are due."""

    def __init__(self) -> None:
        self._all = 0.0
        self._empty_at: dict[Hashable, float] = {}

    def next_run(self, source: Hashable, due: float, now: float) -> float:
        """When the run that ``source`` wants at ``due`` may be."""
        own = max(self._empty_at.pop(source, now), now)
        every = max(self._all, now)
        wait = min(WAIT_MAX, max(own - now - BURST / RATE, every - now - BURST_ALL / RATE_ALL, 0.0))
        if len(self._empty_at) >= SOURCES_MAX:
            self._empty_at = {each: at for each, at in self._empty_at.items() if at > now}
            while len(self._empty_at) >= SOURCES_MAX:
                del self._empty_at[next(iter(self._empty_at))]
        # Not further ahead than WAIT_MAX: what the storm has asked for in vain is no debt.
        self._empty_at[source] = min(own + 1 / RATE, now + WAIT_MAX + BURST / RATE)
        self._all = min(every + 1 / RATE_ALL, now + WAIT_MAX + BURST_ALL / RATE_ALL)
        return max(due, now + wait)
