"""Judge only what has been read: the barrier between a suspicion and a verdict.

"Drain the socket until it is empty, then judge" is not enough. libzmq's own thread moves messages from
the kernel to the socket's queue, and after a stop, or when that thread is starved, a feed can sit in the
kernel while the queue looks empty. So a suspicion first sends a *probe*: a message of the supervisor's own
through the same thread. When it has come back, every connection that had something to read has been read
at least once (epoll hands out ready descriptors in turn). A single read takes at most ``READ_BYTES`` from one
connection, so the barrier sends another probe while a trip brought more than that in all, and stops after
``TRIPS_MAX``. A turn of the loop that could not read everything that had come across is no trip: a feed may wait
in the queues behind a flood. Such turns are waited for up to ``UNREAD_MAX``.

A probe that is lost must not hold up verdicts for ever: after ``PATIENCE`` seconds of awake time it is sent again,
after ``PROBES_LOST_MAX`` lost ones the verdict falls without it.

Pure: ``now`` is deadline time, the shell sends the probes that are asked for.
"""

from __future__ import annotations

READ_BYTES = 8192
"""libzmq reads at most this much from one connection before it serves the next (``in_batch_size``)."""

TRIPS_MAX = 32
"""32 times 8 KiB is more than the kernel buffers of one local connection hold (about 200 KiB)."""

UNREAD_MAX = 1000
"""With 10,000 messages a turn, ten million: a full queue (10,000) of each of a thousand connections."""

PATIENCE = 0.25
PROBES_LOST_MAX = 4


class Barrier:
    """The barrier of one engine.

    Call ``suspect`` while something is due, ``read`` after each drain, ``came_back`` when a probe was among
    what was read, and judge up to what ``horizon`` gives.
    """

    __slots__ = ("_bytes", "_missed", "_number", "_ready", "_since", "_trips", "_unread", "_until", "lost")

    def __init__(self) -> None:
        self._number = 0
        self._since: float | None = None
        self._until = 0.0
        self._ready: float | None = None
        self._bytes = 0
        self._trips = 0
        self._unread = 0
        self._missed = 0
        self.lost = 0
        """probes that never came back, in all"""

    @property
    def waiting(self) -> bool:
        """Whether a probe is under way."""
        return self._since is not None

    def patience(self, now: float) -> float | None:
        """Seconds until the probe under way counts as lost; None: there is none."""
        return None if self._since is None else max(0.0, self._since + PATIENCE - now)

    def suspect(self, now: float) -> int | None:
        """Something is due at ``now``: the number of the probe to send, or None while one is under way."""
        if self._since is None:
            self._trips = self._unread = self._missed = 0
            self._until = now
            return self._send(now)
        if now - self._since < PATIENCE:
            return None
        self.lost += 1
        self._missed += 1
        if self._missed <= PROBES_LOST_MAX:
            return self._send(now)
        self._settle()
        return None

    def read(self, size: int) -> None:
        """At most ``size`` bytes of messages were read just now."""
        self._bytes += size

    def came_back(self, number: int, now: float, *, complete: bool = True) -> int | None:
        """Probe ``number`` was read: the number of a further one to send, or None.

        ``complete``: the turn that read it read all there was.
        """
        if self._since is None or number != self._number:
            return None
        if complete:
            self._trips += 1
        else:
            self._unread += 1
        settled = complete and self._bytes <= READ_BYTES
        if not settled and self._trips < TRIPS_MAX and self._unread < UNREAD_MAX:
            return self._send(now)
        self._settle()
        return None

    def horizon(self) -> float | None:
        """Verdicts may fall for deadlines up to this time; None: not yet. Given once per suspicion."""
        ready, self._ready = self._ready, None
        return ready

    def _send(self, now: float) -> int:
        self._number += 1
        self._since = now
        self._bytes = 0
        return self._number

    def _settle(self) -> None:
        self._since = None
        self._ready = self._until
