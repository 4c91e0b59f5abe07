"""Pauses that end, and maintenance that comes back.

The clock on the wall is the shell's (maintenance.py): it says which windows are open, and for how long yet. Here
the watchdogs that a window concerns are paused until its end, in deadline time, so that the end needs no letter.
What the operator says meanwhile stands: one that is resumed stays so until the next window opens; one that was
paused for longer stays paused. A watchdog that is declared while a window is open is paused from the beginning.

A floor of the kennel, over habits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from math import inf

from banken_supervisor.core.dog import Dog
from banken_supervisor.core.effects import Effect, Event, EventType
from banken_supervisor.core.habits import Habits
from banken_supervisor.core.policy import Policy, Window
from banken_supervisor.core.states import State, Trigger

PORTION = 1000
"""Watchdogs that are paused or resumed in one turn of the loop."""


class Windows(Habits):
    """``maintain`` says which windows are open; ``maintain_more`` then carries that out in portions."""

    def __init__(self, run_id: str, jitter: Callable[[], float]) -> None:
        super().__init__(run_id, jitter)
        self._open_windows: dict[Window, float] = {}
        """until when, deadline time"""
        self._maintaining: deque[tuple[Dog, bool]] = deque()
        """whom to look at, and whether a window has just opened for it"""

    def maintain(self, left: Mapping[Window, float], now: float) -> None:
        """These windows are open, each for so many seconds yet."""
        fresh = left.keys() - self._open_windows.keys()
        self._open_windows = {window: now + seconds for window, seconds in left.items()}
        for dog in self._dogs.values():
            windows = () if dog.policy is None else dog.policy.maintenance
            if windows or (dog.rare is not None and dog.rare.maintained):
                self._maintaining.append((dog, not fresh.isdisjoint(windows)))

    def maintain_more(self, now: float, out: list[Effect], limit: int = PORTION) -> bool:
        """Carry out the next portion. True: some are left."""
        for _ in range(min(limit, len(self._maintaining))):
            dog, opened = self._maintaining.popleft()
            if self._dogs.get(dog.name) is dog:
                self._maintain(dog, now, out, opened=opened)
        return bool(self._maintaining)

    def _maintain_new(self, dog: Dog, now: float, out: list[Effect]) -> None:
        """It has been declared just now."""
        if self._open_windows and dog.policy is not None and dog.policy.maintenance:
            self._maintain(dog, now, out, opened=True)

    def _maintain_anew(self, dog: Dog, before: Policy | None) -> None:
        """The operator's word has changed: to be looked at with the next portion."""
        old: Iterable[Window] = () if before is None else before.maintenance
        new = () if dog.policy is None else dog.policy.maintenance
        if old != new:
            self._maintaining.append((dog, bool(self._open_windows.keys() & set(new) - set(old))))

    def _maintain(self, dog: Dog, now: float, out: list[Effect], *, opened: bool) -> None:
        windows = () if dog.policy is None else dog.policy.maintenance
        until = max((self._open_windows.get(window, now) for window in windows), default=now)
        rare = dog.more()
        if rare.maintained:
            if until > now:
                if rare.paused_until != until:
                    rare.paused_until = until
                    self._note_change(dog)
                self._arm(dog)
            elif dog.state is State.PAUSED:
                self._resume(dog, Trigger.RESUME, now, out)
        elif opened and until > now:
            if dog.state is State.PAUSED:
                rare.paused_until = max(rare.paused_until, until)
                self._note_change(dog)
                return
            self._close(dog, now, out, EventType.CLOSED, "paused")
            self._unlearn(dog)
            self._move(dog, Trigger.PAUSE)
            rare.maintained, rare.paused_until = True, until
            self._arm(dog)
            out.append(Event(EventType.PAUSED, dog.name, {"seconds": until - now, "by": "maintenance"}))

    def _resume(self, dog: Dog, trigger: Trigger, now: float, out: list[Effect]) -> None:
        """Judge it again, with a whole timeout from now."""
        self._move(dog, trigger)
        dog.fed_at = now
        rare = dog.more()
        rare.maintained = False
        rare.pace = None
        if rare.standing is not None:
            self._wake(dog)
        rare.paused_until = inf
        self._end_extension(dog)
        if rare.progress_at is not None:
            rare.progress_at = now
        self._arm(dog)
        out.append(Event(EventType.RESUMED, dog.name))
