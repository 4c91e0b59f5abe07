"""The registry: what the journal has of each watchdog, as it changes, and what a new supervisor makes of it.

The core notes whose record has changed (``Roll.changed``); here it is written, in portions, so that ten thousand
declarations at once keep nobody from the loop. Feeds change nothing that is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import TYPE_CHECKING

from banken.clock import wall
from banken.model import Incarnation
from banken_supervisor.annals import Annals
from banken_supervisor.core.dog import Dog
from banken_supervisor.core.effects import Effect, Event, EventType, WatchProcess
from banken_supervisor.core.journaled import Begun, Known, Ran, Remembered, known
from banken_supervisor.core.states import State
from banken_supervisor.journal import (
    Cleared,
    Condition,
    Declared,
    Entry,
    IncidentOpened,
    Released,
    Restored,
    RungRun,
)
from banken_supervisor.journal.rows import IncidentRecord

if TYPE_CHECKING:
    from banken_supervisor.core.watch import Watch
    from banken_supervisor.lives import Lives

PORTION_S = 0.005
"""Seconds of one turn of the loop that writing may take; the rest follows in the next turns."""

LOOK_AFTER = 32
"""Records between two looks at the clock."""

QUEUED_MAX = 20_000
"""Entries that wait for the disk, above which the registry waits itself: incidents come first."""

WAIT_S = 0.05
"""Seconds until it looks again, then."""


class Register:
    """One run's registry. Belongs to the loop's thread."""

    def __init__(self, watch: Watch, annals: Annals) -> None:
        self._kennel = watch.kennel
        self._watch = watch
        self._annals = annals
        self._journal = annals.journal
        self._names: deque[str] = deque()
        """of ``changed``, copied: to look for a dict's first key again and again steps over every deleted one"""
        self._again: deque[Dog] = deque()
        """open incidents to be written once more, into a file that is new"""
        self._state = "opening"
        """the journal's, as it was told last"""
        self._kennel.remember()
        annals.registered = self._entry
        annals.last_words = self._rest

    def restore(
        self, lives: Lives, is_program: Callable[[str], bool], trust: Callable[[Incarnation], None]
    ) -> tuple[int, int]:
        """Bring back what was left: how many watchdogs, and open incidents. Once, before the loop turns.

        Whose process has ended meanwhile is judged for it. The others are given to ``trust``: one that hangs in
        SIGSTOP does not connect to the new supervisor any more, and the former one has known it.
        """
        left, self._annals.left = self._annals.left, None
        if left is None:
            return 0, 0
        watch, found = self._watch, list[Effect]()
        counts = self._kennel.restore(remembered(left, wall()), watch.now, found, is_program)
        for effect in found:
            if isinstance(effect, WatchProcess) and lives.ended(effect.who):
                self._kennel.gone(effect.who, watch.now, is_program)
            else:
                if isinstance(effect, WatchProcess):
                    trust(effect.who)
                watch.out.append(effect)
        return counts

    def patience(self) -> float | None:
        """Seconds until ``turn`` has something to do; None: nothing."""
        if not self._kennel.changed and not self._again:
            return None
        return WAIT_S if self._journal.queued >= QUEUED_MAX else 0.0

    def turn(self) -> None:
        """Write what has changed, or a portion of it."""
        changed = self._kennel.changed
        until = monotonic() + PORTION_S
        count = 0
        while (changed or self._again) and self._journal.queued < QUEUED_MAX:
            if self._again:
                self._incident_again(self._again.popleft())
            else:
                self._next(changed)
            count += 1
            if count % LOOK_AFTER == 0 and monotonic() >= until:
                return

    def _next(self, changed: dict[str, None]) -> None:
        if not self._names:
            self._names.extend(changed)
        entry = self._entry(self._names.popleft())
        if entry is not None:
            self._journal.record(entry)
        if not changed:
            self._names.clear()
            changed.clear()  # a dict that was emptied key by key keeps the places of all of them

    def _rest(self, until: float) -> None:
        """Record what ``turn`` has not come to, before the journal is closed. ``until``: monotonic time."""
        while (self._again or self._kennel.changed) and monotonic() < until:
            if self._again:
                self._incident_again(self._again.popleft())
            else:
                self._next(self._kennel.changed)

    def conditioned(self, condition: Condition, out: list[Effect]) -> None:
        """Tell of a change. Where entries were lost, or the file is a new one: all once more, in portions."""
        before, self._state = self._state, condition.state
        if condition.state != before and not (before == "opening" and condition.state == "ok"):
            out.append(Event(EventType.JOURNAL, None, {"state": condition.state, "reason": condition.reason}))
        if not condition.resync:
            return
        self._journal.record(Cleared())
        for dog in self._kennel.all():
            self._kennel.changed[dog.name] = None
            if dog.rare is not None and dog.rare.incident is not None:
                self._again.append(dog)

    def _entry(self, name: str) -> Entry | None:
        """What is to be written of a name, if something is; it is then taken for written."""
        if name not in self._kennel.changed:
            return None
        del self._kennel.changed[name]
        dog = self._kennel.get(name)
        if dog is None:
            return Released(name)
        kept = known(dog, self._watch.now)
        if kept is None:
            return None
        at = wall()
        until = None if kept.left is None else at + kept.left
        return Declared(
            name,
            kept.declaration,
            kept.resolution,
            kept.owner,
            kept.state,
            until,
            kept.operator,
            kept.incidents,
            at,
        )

    def _incident_again(self, dog: Dog) -> None:
        incident = dog.rare.incident if dog.rare is not None else None
        if incident is None:
            return
        at, now = wall(), self._watch.now
        opened = at - (now - incident.opened)
        silence = max(0.0, incident.opened - dog.fed_at)
        timeout = dog.declaration.timeout
        self._journal.record(
            IncidentOpened(incident.id, dog.name, incident.cause, opened, silence, timeout, incident.reason)
        )
        rungs = () if dog.policy is None else (*dog.policy.ladder.rungs, *dog.policy.ladder.on_give_up)
        for number, count in incident.counts.items():
            if number < len(rungs):
                self._journal.record(RungRun(incident.id, number, count, rungs[number].do, at))


def remembered(left: Restored, wall: float) -> Remembered:
    """What the journal has, for the core: wall-clock times as ages. ``wall``: the time now."""

    def ran(runs: Iterable[RungRun]) -> tuple[Ran, ...]:
        return tuple(Ran(each.rung, each.run, each.action, max(0.0, wall - each.started)) for each in runs)

    def begun(opened: IncidentRecord, runs: Iterable[RungRun]) -> Begun:
        return Begun(
            opened.id,
            opened.name,
            opened.cause,
            max(0.0, wall - opened.opened),
            opened.silence,
            opened.timeout,
            opened.reason,
            opened.status,
            opened.progress,
            ran=ran(runs),
        )

    return Remembered(
        [
            _known(each, left.counts.get(each.name, 0), wall)
            for each in left.registry
            if each.state is not State.RELEASED
        ],
        [begun(each.opened, each.rungs) for each in left.open],
        {name: begun(each.opened, each.rungs) for name, each in left.given_up.items()},
        {name: ran(runs) for name, runs in left.ran.items()},
    )


def _known(entry: Declared, incidents: int, wall: float) -> Known:
    return Known(
        entry.name,
        entry.declaration,
        entry.resolution,
        entry.owner,
        entry.state,
        None if entry.paused_until is None else entry.paused_until - wall,
        entry.operator,
        max(entry.incidents, incidents),
    )
