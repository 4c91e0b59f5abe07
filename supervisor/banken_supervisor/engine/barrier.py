"""The barrier between a suspicion and a verdict: it makes sure that all feeds that were sent before are read first.

"Drain the socket until it is empty, then judge" is not enough. libzmq's own thread moves messages from the kernel
to the socket's queue. After a stop, or when that thread is starved, a feed can still be in the kernel while the
queue is empty. So a suspicion first sends a *probe*: the supervisor's own message through the same thread. When the
probe has come back, every connection that had data has been read at least once (epoll returns ready descriptors in
turn). A single read takes at most ``READ_BYTES`` from one connection. So the barrier sends another probe as long as
a round trip brought more than that in total, at most ``TRIPS_MAX`` times. A turn of the loop that could not empty
the queue does not count as a round trip, because a feed may wait behind a flood. At most ``UNREAD_MAX`` such turns
are allowed.

That is for sockets of libzmq. A source that reads the kernel itself (sources/listener.py) gives the probe back only
when it has read all that came before it (``exact``): one round trip is enough.

A lost probe must not delay verdicts for ever: after ``PATIENCE`` seconds of deadline time it is sent again, and
after ``PROBES_LOST_MAX`` lost probes the verdict is made without it.

Pure: ``now`` is deadline time; the caller sends the probes.
"""

from __future__ import annotations

from dataclasses import dataclass

READ_BYTES = 8192
"""libzmq reads at most this much from one connection before it serves the next (``in_batch_size``)."""

TRIPS_MAX = 32
"""32 times 8 KiB is more than the kernel buffers of one local connection hold (about 200 KiB)."""

UNREAD_MAX = 1000
"""With 10,000 messages per turn this is ten million: the full queues (10,000 each) of a thousand connections."""

PATIENCE = 0.25
"""Seconds until a probe counts as lost."""

PROBES_LOST_MAX = 4


@dataclass(slots=True)
class Barrier:
    """The barrier of one engine.

    Call ``suspect`` while something is due, ``read`` after each drain and ``came_back`` when a probe was read;
    then judge deadlines up to ``horizon``.
    """

    lost: int = 0
    """number of probes that were lost"""
    exact: bool = False
    """a probe comes back only when all that was sent before it has been read: the first one proves it"""
    _number: int = 0
    _since: float | None = None
    _until: float = 0.0
    _ready: float | None = None
    _bytes: int = 0
    _trips: int = 0
    _unread: int = 0
    _missed: int = 0

    @property
    def waiting(self) -> bool:
        """Whether a probe is under way."""
        return self._since is not None

    def patience(self, now: float) -> float | None:
        """Seconds until the probe under way counts as lost; None: no probe is under way."""
        return None if self._since is None else max(0.0, self._since + PATIENCE - now)

    def suspect(self, now: float) -> int | None:
        """Something is due at ``now``. Returns the number of a probe to send; None: one is under way."""
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
        """Messages of at most ``size`` bytes were read."""
        self._bytes += size

    def came_back(self, number: int, now: float, *, complete: bool = True) -> int | None:
        """Probe ``number`` was read. Returns the number of another probe to send, or None.

        ``complete``: the turn that read it emptied the queue of every socket.
        """
        if self._since is None or number != self._number:
            return None
        if complete:
            self._trips += 1
        else:
            self._unread += 1
        settled = self.exact or (complete and self._bytes <= READ_BYTES)
        if not settled and self._trips < TRIPS_MAX and self._unread < UNREAD_MAX:
            return self._send(now)
        self._settle()
        return None

    def horizon(self) -> float | None:
        """Deadlines up to this time may be judged; None: not yet. Returned once per suspicion."""
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
