"""The roll: every record, and what they are found by. The ground floor of the kennel (kennel.py).

``_known`` finds a watchdog by the bytes of its plain feed, ``_owned`` by the process it belongs to, ``_deadlines``
by the time at which it is due.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from math import inf
from typing import Any

from banken.model import Feeders, Incarnation
from banken_supervisor.core.deadlines import Deadlines
from banken_supervisor.core.dog import Dog, deadline
from banken_supervisor.core.effects import Effect, WatchProcess
from banken_supervisor.core.states import State, Trigger, after

POOL_FRAMES_MAX = 64
"""Feeds known by their bytes per pooled name; those of further processes are decoded each time."""

SHARED_MAX = 50_000
"""Equal declarations and incarnations that are kept once; beyond that many different ones sharing begins anew."""

_INCIDENTS = (State.ALIVE, State.EXPIRED)
"""From the one to the other, the incident itself says it: ten thousand verdicts are not written twice."""

_SWEEP_MIN = 64
"""A process's list of watchdogs is cleared of those it lost when it has doubled, from this many on."""


class Roll:
    """Records of watchdogs by name, bytes, owner and time. Nothing is decided here."""

    def __init__(self) -> None:
        self.states: Counter[State] = Counter()
        self.shortest_timeout = inf
        self.longest_known = 0
        """bytes of the longest feed that is known by its bytes"""
        self._dogs: dict[str, Dog] = {}
        self._known: dict[bytes, Dog] = {}
        self._owned: dict[Incarnation, tuple[list[Dog], int]] = {}
        """by process: its watchdogs, lost ones among them, and the length at which those are cleared out"""
        self._shared: dict[Any, Any] = {}
        self._deadlines: Deadlines[Dog] = Deadlines()
        self._suspects: deque[Dog] = deque()
        self._changed: dict[str, None] | None = None

    def __len__(self) -> int:
        return len(self._dogs)

    def get(self, name: str) -> Dog | None:
        """The record of one name; to be read only."""
        return self._dogs.get(name)

    def all(self) -> Iterable[Dog]:
        """Every record, in the order of declaration; to be read only."""
        return self._dogs.values()

    @property
    def suspected(self) -> int:
        """How many ``judge`` has to look at."""
        return len(self._suspects)

    def next_due(self) -> float | None:
        """When ``sweep`` has something to do next; None: not before something arrives."""
        return self._deadlines.next_due()

    # -- what is to be kept -------------------------------------------------------------------------

    @property
    def changed(self) -> dict[str, None]:
        """Names of which what is to be kept (journaled.py) has changed, or that are watched no longer: the caller
        takes out what it has written. Empty unless ``remember`` was called."""
        return {} if self._changed is None else self._changed

    def remember(self) -> None:
        """Take note of changes from now on."""
        self._changed = {}

    def _note_change(self, dog: Dog) -> None:
        if self._changed is not None:
            self._changed[dog.name] = None

    def _end_extension(self, dog: Dog) -> None:
        """What ends one is on record, too: else the next supervisor would bring it back."""
        if dog.rare is not None and dog.rare.extended_until is not None:
            dog.rare.extended_until = None
            self._note_change(dog)

    # -- by time ------------------------------------------------------------------------------------

    def _arm(self, dog: Dog) -> None:
        due = deadline(dog)
        if due is not None:
            self._deadlines.arm(dog, due)

    def _move(self, dog: Dog, trigger: Trigger) -> None:
        state = after(dog.state, trigger)
        if state is not dog.state:
            self.states[dog.state] -= 1
            self.states[state] += 1
            before, dog.state = dog.state, state
            if before not in _INCIDENTS or state not in _INCIDENTS:
                self._note_change(dog)
            if dog.rare is not None and dog.rare.groups:
                self._member_moved(dog, before, state)

    def _member_moved(self, dog: Dog, before: State, state: State) -> None:
        """A member of a group has changed its state (groups.py)."""

    # -- by bytes -----------------------------------------------------------------------------------

    def _learn(self, dog: Dog, frame: bytes) -> None:
        """From now on this frame needs nothing but its time stored."""
        if dog.frame == frame:
            self._known[frame] = dog
        elif dog.declaration.feeders is Feeders.ANY and dog.frame is not None:
            frames = dog.more().frames
            if frame not in frames and len(frames) >= POOL_FRAMES_MAX:
                return
            if frame not in frames:
                frames.append(frame)
            self._known[frame] = dog
        else:
            if dog.frame is not None:
                self._known.pop(dog.frame, None)
            dog.frame = frame
            self._known[frame] = dog
        self.longest_known = max(self.longest_known, len(frame))

    def _unlearn(self, dog: Dog) -> None:
        """Look at the next feed again."""
        if dog.frame is not None:
            self._known.pop(dog.frame, None)
            dog.frame = None
        if dog.rare is not None and dog.rare.frames:
            for frame in dog.rare.frames:
                self._known.pop(frame, None)
            dog.rare.frames.clear()

    # -- by owner -----------------------------------------------------------------------------------

    def _belongs(self, dog: Dog, who: Incarnation | None, out: list[Effect]) -> None:
        """``dog`` is this process's from now on."""
        if who is None or dog.declaration.feeders is Feeders.ANY:
            return
        dogs, limit = self._owned.get(who) or ([], _SWEEP_MIN)
        if not dogs:
            out.append(WatchProcess(who))
        dogs.append(dog)
        if len(dogs) >= limit:
            dogs = self._those_of(who, dogs)
            limit = max(_SWEEP_MIN, 2 * len(dogs))
        self._owned[who] = dogs, limit

    def _take_owned(self, who: Incarnation) -> list[Dog]:
        """The watchdogs of a process that is no more."""
        dogs, _ = self._owned.pop(who, ([], 0))
        return self._those_of(who, dogs)

    def _those_of(self, who: Incarnation, dogs: list[Dog]) -> list[Dog]:
        kept = dict.fromkeys(dog.name for dog in dogs if dog.owner == who and self._dogs.get(dog.name) is dog)
        return [self._dogs[name] for name in kept]

    # -- memory -------------------------------------------------------------------------------------

    def _share(self, value: Any) -> Any:
        """An equal value that is kept already: a worker with a thousand names says who it is a thousand times."""
        if len(self._shared) >= SHARED_MAX:
            self._shared.clear()
        return self._shared.setdefault(value, value)
