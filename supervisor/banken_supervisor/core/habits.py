"""What is in force for a watchdog, and how it is usually fed: declarations, learnt timeouts, the pace.

Most feeds are known by their bytes and only store a time (kennel.py). What is asked here needs more, and gets it
without slowing those: a watchdog with ``min_interval`` or a learnt timeout is never known by its bytes, so that
each of its feeds is looked at; and of every other one a single gap per timeout is seen, the one in which its entry
in the queue came up. That is one feed in a timeout that is decoded. Longer gaps are hit more often so, which makes
the sample err towards longer timeouts.

A floor of the kennel, over groups.
"""

from __future__ import annotations

from typing import Any

from banken.model import Cause, Declaration
from banken.wire import Message
from banken_supervisor.core import learning, pace
from banken_supervisor.core.dog import Dog
from banken_supervisor.core.effects import Effect, Event, EventType
from banken_supervisor.core.groups import Groups
from banken_supervisor.core.learning import Gaps
from banken_supervisor.core.states import State
from banken_supervisor.core.telling import declared

OBSERVED_MAX = 10_000
"""With more watchdogs than this, gaps are seen of those with a learnt timeout only: a summary has 400 bytes."""


class Habits(Groups):
    """``uncredited`` and ``behind`` are the caller's to set before feeds are taken."""

    uncredited = 0.0
    """seconds by which deadline time is behind real time since the start"""
    behind = 0.0
    """how late a feed that is taken now may be, seconds (pace.Backlog)"""

    # -- what is in force ---------------------------------------------------------------------------

    def _update_declaration(self, dog: Dog, message: Message, out: list[Effect]) -> None:
        word = message.declaration
        if dog.operator:
            self._set_resolution(dog, message.resolution)
            if word is not None and word != dog.declaration and not dog.more().conflict_told:
                dog.more().conflict_told = True
                data = {"operator": list(dog.declaration), "worker": list(word)}
                out.append(Event(EventType.CONFLICT, dog.name, data))
        elif word is not None and word != dog.declaration:
            self._redeclare(dog, word, message.resolution)
        elif message.incarnation is not None:
            self._set_resolution(dog, message.resolution)

    def _set_resolution(self, dog: Dog, resolution: float) -> None:
        if resolution != dog.resolution:
            dog.resolution = resolution
            self._note_change(dog)

    def _redeclare(self, dog: Dog, declaration: Declaration, resolution: float) -> None:
        dog.declaration = self._share(declaration)
        dog.resolution = resolution
        self._note_change(dog)
        self.shortest_timeout = min(self.shortest_timeout, declaration.timeout, declaration.grace)
        self._arm(dog)

    def _in_force(self, dog: Dog) -> Declaration:
        """The operator's declaration, with the timeout that was learnt where that is wanted."""
        policy = dog.policy
        assert policy is not None
        if policy.auto is None:
            return policy.declaration
        gaps = None if dog.rare is None else dog.rare.gaps
        timeout = learning.in_force(policy.auto, gaps, dog.declaration.timeout)
        return policy.declaration._replace(timeout=timeout)

    @staticmethod
    def _looked_at(dog: Dog) -> bool:
        """Whether each feed of this one must be looked at."""
        return dog.policy is not None and (dog.policy.min_interval is not None or dog.policy.auto is not None)

    # -- how it is fed ------------------------------------------------------------------------------

    def _sample(self, dog: Dog) -> None:
        """It was fed since it was armed: have its next feed looked at, and learn how long that took."""
        if dog.state is State.ALIVE and not self._looked_at(dog) and len(self._dogs) <= OBSERVED_MAX:
            rare = dog.more()
            if rare.extended_until is None and not rare.frames:
                rare.sampled = True
                self._unlearn(dog)

    def _observe(self, dog: Dog, now: float, out: list[Effect]) -> None:
        """A feed has come; the last one is still in ``fed_at``."""
        rare = dog.rare
        self._noted(dog, now, sampled=rare is not None and rare.sampled and not rare.changed_hands)
        auto = None if dog.policy is None else dog.policy.auto
        if auto is None and (rare is None or not rare.sampled):
            return
        rare = dog.more()
        usable = rare.extended_until is None and not rare.changed_hands
        rare.sampled = rare.changed_hands = False
        gap = now - dog.fed_at
        if dog.state is State.EXPIRED and rare.cause is Cause.TIMEOUT:
            gap = min(gap, learning.HANG_SHARE * dog.declaration.timeout)
        elif dog.state is not State.ALIVE:
            return
        if not usable:
            return
        if rare.gaps is None:
            rare.gaps = Gaps()
        rare.gaps.add(gap)
        if auto is not None:
            self._apply_learnt(dog, out)

    def _apply_learnt(self, dog: Dog, out: list[Effect]) -> None:
        declaration = self._in_force(dog)
        if declaration != dog.declaration:
            self._redeclare(dog, declaration, dog.resolution)
            out.append(declared(dog, "learnt"))

    def _too_fast(self, dog: Dog, now: float) -> bool:
        """Whether this feed came too soon after the others."""
        policy = dog.policy
        if policy is None or policy.min_interval is None or dog.state is State.PAUSED:
            return False
        rare = dog.more()
        rare.pace = pace.fed(rare.pace, now + self.uncredited, self.behind, policy.min_interval)
        return rare.pace.fast

    @staticmethod
    def _new_feeder(dog: Dog) -> None:
        """Another process feeds it: the former one's pace, and the gap since its last feed, mean nothing."""
        if dog.trail is not None:
            dog.trail.clear()
        if dog.rare is not None:
            dog.rare.pace = None
            dog.rare.changed_hands = True

    @staticmethod
    def _persists(dog: Dog, now: float) -> bool:
        """Whether a feed leaves the incident as it is: it beats, and is still too fast or still where it stood."""
        rare = dog.rare
        if rare is None or (rare.incident is None and rare.given_up is None):
            return False
        if rare.cause is Cause.TOO_FAST and rare.pace is not None:
            if rare.pace.calm < pace.CALM:
                return True
            rare.pace = None  # the next incident needs as much evidence as this one
        if rare.cause is Cause.NO_PROGRESS and rare.progress_at is not None:
            return rare.progress_at != now
        return False


def suggestion(dog: Dog) -> dict[str, Any]:
    """One watchdog as ``banken suggest`` shows it; seconds. ``proposed``: None while too little was seen."""
    policy = dog.policy
    auto = None if policy is None else policy.auto
    gaps = None if dog.rare is None else dog.rare.gaps
    enough = gaps is not None and gaps.count >= (learning.FEW if auto is None else auto.warm_up)
    return {
        "name": dog.name,
        "timeout": dog.declaration.timeout,
        "auto": None if auto is None else [auto.least, auto.most],
        "gaps": 0 if gaps is None else gaps.count,
        "needed": learning.FEW if auto is None else auto.warm_up,
        "longest": None if gaps is None else gaps.longest,
        "proposed": round(learning.proposal(gaps), 3) if gaps is not None and enough else None,
    }
