"""How often a watchdog may be fed: the arithmetic of ``min_interval``.

A token bucket (Turner, "New Directions in Communications", 1986): it holds a few tokens, one more comes in every
``min_interval``, each feed takes one, and a feed that finds none is too fast. The difficulty is that a feed is
stamped when it is *read*: whatever keeps feeds waiting on their way (the loop's nap, a stall or a stop of the
supervisor, a flood, a starved I/O thread at either end) brings several in one instant, and none of that is the
worker's fault. Two things make a false verdict impossible as long as the delay is known:

* Time here is real time and not deadline time, which leaves out what was lost.
* A worker that keeps its pace, and whose feeds arrive in order and each late by at most ``d``, is read at most
  ``1 + (t + d) / min_interval`` times within any ``t`` seconds. So the bucket holds ``BURST`` tokens and
  ``d / min_interval`` more. For ``d`` stands ``SLACK``, for what nobody can see, plus what ``Backlog`` has seen.

What this cannot find: a single early feed, and short bursts (it takes a rate above the allowed one, kept up until
``BURST + d / min_interval`` feeds too many have come). And a client swallows feeds that come within its resolution
of each other before anybody sees them (docs/wire.md): a ``min_interval`` below the client's resolution, by default
a fiftieth of the timeout, finds nothing unless the client is made with ``resolution=0``.

Pure: all times are arguments, in seconds.
"""

from __future__ import annotations

from typing import NamedTuple

BURST = 3
"""Feeds that may come at once, whatever the interval."""

SLACK = 1.0
"""Seconds by which a feed may be late without the supervisor knowing: its sender's I/O thread is starved too when
the host is."""

CALM = 6
"""Feeds in a row that keep the pace end an incident."""

_ROUNDING = 1e-3
"""Of a token; a feed that comes exactly every ``min_interval`` must never miss one by a rounding error."""


class Bucket(NamedTuple):
    """One watchdog's bucket, as it was left by the last feed."""

    tokens: float
    at: float
    """real time"""
    fast: bool = False
    """whether the last feed found no token"""
    calm: int = 0
    """feeds in a row that found one, this one included"""


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
    """How late a feed that is read now may be: it may have come at any time since all had been read.

    What a stall held back need not come across in one turn (libzmq's own thread was stopped too), so the figure
    does not fall at once but by a second each second. ``real``: monotonic time, seconds.
    """

    __slots__ = ("_read_until", "_woke", "behind")

    def __init__(self, real: float) -> None:
        self.behind = 0.0
        self._woke = self._read_until = real

    def wake(self, real: float) -> float:
        """A turn begins at ``real``; how late what it reads may be, in seconds."""
        self.behind = max(real - self._read_until, self.behind - (real - self._woke))
        self._woke = real
        return self.behind

    def drained(self, *, complete: bool) -> None:
        """The turn has read all there was, or not."""
        if complete:
            self._read_until = self._woke
