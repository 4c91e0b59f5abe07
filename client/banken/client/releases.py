"""Releases that the supervisor may not have read.

A feed that is lost does no harm, for another one follows; a release is said once. One that could not be sent is
sent before the next message. One that was sent may be lost, too: a supervisor that stands still and is killed then
takes along what it has not read, and the next one would wait for that watchdog in vain. So it is kept for a while,
and said again where another supervisor is there.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

KEPT_S, KEPT_MAX = 600.0, 1000
"""Seconds for which a release that was sent is kept, and how many are; the oldest gives way."""

UNSENT_MAX = 1000
"""Releases kept while no supervisor can be reached; further ones are lost."""

LOOK_S = 0.5
"""Seconds between two looks which supervisor is there. One that is new is spoken to at the look after the one that
found it: by then the connection is to it, and not to the one before."""


class Releases:
    """Its methods must not run in two threads at once. Times are monotonic, in seconds.

    ``place``: says which supervisor is there, by what differs for each; None: none is, or it cannot be lost.
    """

    def __init__(self, place: Callable[[], object]) -> None:
        self.unsent: dict[str, bytes] = {}
        """by name: messages that no supervisor took"""
        self.sent: dict[str, tuple[bytes, object, float]] = {}
        """by name: the message, to which supervisor it was sent, and until when it is kept"""
        self._place = place
        self._seen: object = None
        self._look_at = 0.0

    @property
    def due(self) -> float:
        """When something is to be said, or looked for, before any message; inf: there is nothing to say."""
        return -inf if self.unsent else self._look_at if self.sent else inf

    def add(self, name: str, frame: bytes, now: float, *, sent: bool) -> None:
        """``name`` was released; ``sent``: a supervisor took the message."""
        if not sent:
            if len(self.unsent) < UNSENT_MAX:
                self.unsent[name] = frame
            return
        if now >= self._look_at:
            self._look(now)
        if self._seen is not None:
            if len(self.sent) >= KEPT_MAX:
                self.sent.pop(next(iter(self.sent)), None)
            self.sent[name] = frame, self._seen, now + KEPT_S

    def before_message(self, name: str, now: float, send: Callable[[bytes], bool]) -> None:
        """Something is to be said of ``name``: a release of it is out of date. Send those of other names that are
        due; ``send``: whether it was taken."""
        self.unsent.pop(name, None)
        self.sent.pop(name, None)
        for each, frame in [*self.unsent.items()]:
            if not send(frame):
                return
            self.unsent.pop(each, None)
            self.add(each, frame, now, sent=True)
        if now < self._look_at or self._look(now) or self._seen is None:
            return
        for each, (frame, place, until) in [*self.sent.items()]:
            if now >= until:
                self.sent.pop(each, None)
            elif place != self._seen:
                if not send(frame):
                    return
                self.sent[each] = frame, self._seen, until

    def unread(self) -> list[bytes]:
        """At the end of the process: the messages that the supervisor which is there now has not been sent."""
        place = self._place()
        return [*self.unsent.values(), *(frame for frame, sent_to, _ in self.sent.values() if sent_to != place)]

    def _look(self, now: float) -> bool:
        """Whether another supervisor is there than at the last look."""
        before, self._look_at, self._seen = self._seen, now + LOOK_S, self._place()
        return self._seen != before
