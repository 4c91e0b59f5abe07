"""The rate limit of a watchdog (``min_interval``): a token bucket.

The bucket (Turner, "New Directions in Communications", 1986) holds a few tokens and gets one more every
``min_interval``. Each feed takes one token; a feed that finds none is too fast. The difficulty: a feed gets its
time stamp when it is *read*. Anything that delays feeds (the loop's nap, a stall or a stop of the supervisor, a
flood, a starved I/O thread at either end) makes several arrive at once, and the worker is not to blame. Two rules
exclude a false verdict as long as the delay is known:

* Time here is real time, not deadline time: deadline time omits stalls.
* If a worker respects its interval, and its feeds arrive in order and each late by at most ``d``, at most
  ``1 + (t + d) / min_interval`` feeds are read within any ``t`` seconds. So the bucket holds ``BURST`` tokens and
  ``d / min_interval`` more. ``d`` is ``SLACK``, for delays that cannot be measured, plus what ``Backlog`` measured.

This does not find a single early feed or a short burst: the rate must be too high until ``BURST + d /
min_interval`` extra feeds have come. Also, a client does not send feeds that follow each other within its
resolution (docs/wire.md). A ``min_interval`` below the client's resolution, by default a fiftieth of the timeout,
finds nothing unless the client is created with ``resolution=0``.

Pure: all times are arguments, in seconds.
"""

from __future__ import annotations

from typing import NamedTuple

BURST = 3
"""Feeds that may come at once, whatever the interval."""

SLACK = 1.0
"""Seconds by which a feed may be late without the supervisor knowing it: on an overloaded host the sender's I/O
thread is late too."""

CALM = 6
"""This many feeds in a row that respect the interval end an incident."""

_ROUNDING = 1e-3
"""Tokens. Feeds that come exactly every ``min_interval`` must not fail because of a rounding error."""


class Bucket(NamedTuple):
    """The bucket of one watchdog after its last feed."""

    tokens: float
    at: float
    """real time"""
    fast: bool = False
    """whether the last feed found no token"""
    calm: int = 0
    """feeds in a row that found a token, the last one included"""


def fed(before: Bucket | None, real: float, behind: float, min_interval: float) -> Bucket:
    """The bucket after a feed that is read at ``real``; ``before`` is None for the first one.

    ``behind``: how late this feed may be for reasons of the supervisor's own (``Backlog``).
    """
    most = BURST + (SLACK + behind) / min_interval
    if before is None:
        return Bucket(most - 1.0, real, False, 1)
    tokens = min(most, before.tokens + (real - before.at) / min_interval)
    if tokens < 1.0 - _ROUNDING:
        return Bucket(tokens, real, True, 0)
    return Bucket(max(0.0, tokens - 1.0), real, False, before.calm + 1)


class Backlog:
    """How late a feed that is read now may be: it may have arrived at any time since the queue was last empty.

    The feeds that a stall delayed may arrive over several turns (libzmq's own thread was stopped too). So the delay
    does not drop to zero at once; it falls by one second per second. ``real``: monotonic time, seconds.
    """

    __slots__ = ("_read_until", "_woke", "behind")

    def __init__(self, real: float) -> None:
        self.behind = 0.0
        self._woke = self._read_until = real

    def wake(self, real: float) -> float:
        """A turn begins at ``real``. Returns how late the feeds of this turn may be, in seconds."""
        self.behind = max(real - self._read_until, self.behind - (real - self._woke))
        self._woke = real
        return self.behind

    def drained(self, *, complete: bool) -> None:
        """The turn has read; ``complete``: the socket is empty."""
        if complete:
            self._read_until = self._woke
