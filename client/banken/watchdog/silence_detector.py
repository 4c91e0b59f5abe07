"""How a local timer decides that a watchdog has expired. Pure: the time is an argument, and nothing sleeps."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from banken.clock import ALLOWANCE, ALLOWANCE_MIN, CreditedClock, wall
from banken.protocol.incidents import Cause, Incident
from banken.threads import WAIT_MAX

if TYPE_CHECKING:
    from banken.watchdog.timer import Watched

NAPS = 10
"""A timeout is slept through in this many naps. Only a nap that took too long shows that the process was stopped:
each stop can count as silence for one nap and the clock's allowance, a fifth of the timeout."""

NAP_MIN = 0.005
"""Seconds. Shorter naps would cost more than they save: with timeouts under 0.05 s a stop counts for 0.01 s."""

WAIT_MIN = 0.0005
"""Seconds; on a system whose waits end a little early, the rest is not asked for again and again."""

_numbers = itertools.count(1)


class SilenceDetector:
    """How long a watchdog is unfed, less the time its process was stopped; and the incident of that silence.

    Times are arguments: ``now`` is monotonic, seconds.
    """

    def __init__(self, watched: Watched, now: float) -> None:
        self._watched = watched
        self._clock = CreditedClock(now)
        self._fed = watched.fed_at
        self._since = self._clock.now - (now - self._fed)
        """the last feed, in the credited clock's time"""
        self.limit = 0.0
        """seconds of silence that are allowed"""
        self.silence = 0.0
        self.settled = False
        """whether it was fed and has not expired: the next feed can only make the verdict later"""
        self._cause = Cause.GRACE
        self._incident = ""
        self._opened = 0.0
        self._run = 0
        """runs of the open incident; 0: none is open"""
        self._last_run = 0.0
        """when the last run was due"""

    def check(self, now: float, asked: float) -> bool:
        """Whether it is unfed for too long at ``now``, after a wait of ``asked`` seconds; inf: after work."""
        watched, clock = self._watched, self._clock
        # In this order. A feed stores its time first, ``was_fed`` second: read the other way round, a first feed in
        # between would apply the timeout, and not the grace, to the time before it.
        was_fed = watched.was_fed
        said = watched.said  # open work stores its time first, what it says second
        fed = watched.fed_at
        self.limit = said.seconds if said else float(watched.timeout if was_fed else watched.grace)
        self._cause = Cause.TIMEOUT if was_fed else Cause.GRACE
        clock.allowance = max(ALLOWANCE_MIN, min(ALLOWANCE, self.limit / NAPS))
        clock.credit(now, asked)
        if fed != self._fed:
            self._fed = fed
            self._run = 0
            # Time lost in this wait may lie before the feed or after it: assume after, which favours the worker.
            age = now - fed
            self._since = clock.now - (max(0.0, age - clock.last_lost) if age > 0.0 else age)
        self.silence = clock.now - self._since
        expired = self.silence > self.limit
        if not expired:
            self._run = 0
        self.settled = was_fed and not expired
        return expired

    def nap(self) -> float:
        """Seconds to sleep before the next check of a watchdog that has not expired."""
        nap = min(self.limit - self.silence, max(self.limit / NAPS, NAP_MIN))
        return min(max(nap, WAIT_MIN), WAIT_MAX)

    def until_run(self, now: float) -> float:
        """Seconds until the callback of an expired watchdog is due; not above 0: now."""
        return self._last_run + float(self._watched.interval) - now if self._run else 0.0

    def run(self, now: float) -> Incident:
        """Begin one more run of the callback at ``now``; the incident to give it."""
        watched = self._watched
        if self._run == 0:
            self._incident = f"{watched.name}-{next(_numbers)}"
            self._opened = wall()
            self._last_run = now
        self._run += 1
        scope = watched.said.scope if watched.said else None
        reason = None if scope is None else scope.late_text(self.silence)
        return Incident(
            self._incident, watched.name, self._cause, self._opened, self.silence, float(watched.timeout),
            self._run, reason, watched.status, watched.progress,
        )  # fmt: skip

    def ran(self, began: float, ended: float) -> None:
        """End the run that took from ``began`` to ``ended``; runs that came due meanwhile are left out.

        Runs are due at whole intervals from the verdict, so that late ones do not add up.
        """
        interval = float(self._watched.interval)
        if self._run > 1:  # this one was due an interval after the last
            self._last_run += interval * max(1.0, (began - self._last_run) // interval)
        self._last_run += interval * max(0.0, (ended - self._last_run) // interval)
