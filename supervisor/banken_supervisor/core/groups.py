"""Groups that want K of their members alive: a watchdog of the group's own, over those of its members.

The group's watchdog bears the group's name (the config allows no second use of it), and has everything a watchdog
has: incidents, a ladder, pause and resume, a row in ``status``. Nobody feeds it; messages in its name are refused.

*Down* is decided by who may still be alive: an incident opens when fewer than K members are alive, paused or in
the grace of a start. *Up* is decided by who has proved it: the incident closes when K members are alive or paused.
So a program in a crash loop, which is in its grace half of the time, does not open and close an incident at each
start. Before K members were ever alive the group has a grace of its own, and then the cause is the same: too-few.

A change of a member's state changes two numbers here and wakes the sweep; a feed costs nothing. The group is judged
as everybody is, when all that was sent has been read: members that fall together are one incident.

A floor of the kennel (kennel.py), over incidents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from banken.model import Cause, Declaration
from banken_supervisor.core.dog import Dog, Standing
from banken_supervisor.core.effects import Effect, EventType
from banken_supervisor.core.keeping import Keeping
from banken_supervisor.core.policy import Group, Policy
from banken_supervisor.core.states import State, Trigger
from banken_supervisor.core.telling import declared

NAMED_MAX = 5
"""Fallen members that an incident names; the others are counted."""

_SURE = (State.ALIVE, State.PAUSED)
_DOWN = (State.EXPIRED, State.GIVEN_UP)


class Groups(Keeping):
    """Keeps every group's numbers. ``set_groups`` says which groups there are."""

    def __init__(self, run_id: str, jitter: Callable[[], float]) -> None:
        super().__init__(run_id, jitter)
        self._members: dict[str, list[Dog]] = {}
        """by the exact name of a member: the groups it is in"""
        self._patterns: list[tuple[str, Dog]] = []

    def set_groups(self, groups: Iterable[Group], declaration: Declaration, now: float, out: list[Effect]) -> None:
        """These groups from now on, those with ``at_least``; incidents of groups that remain stay open.

        ``declaration``: for the interval of the callback and the grace before all was ever well.
        """
        wanted = {group.name: group for group in groups if group.at_least is not None}
        for dog in list(self._dogs.values()):
            if dog.rare is not None:
                dog.rare.groups = ()
            # A group that is no more, or a worker's watchdog that has the name of a group.
            is_group = dog.rare is not None and dog.rare.standing is not None
            if is_group != (dog.name in wanted):
                self._discard(dog, now, out)
        self._members, self._patterns = {}, []
        for group in wanted.values():
            dog = self._founded(group, declaration, now, out)
            for member in group.members:
                if any(c in member for c in "*?["):
                    self._patterns.append((member, dog))
                else:
                    self._members.setdefault(member, []).append(dog)
        if wanted:
            for dog in self._dogs.values():
                self._enrol(dog)

    def _founded(self, group: Group, declaration: Declaration, now: float, out: list[Effect]) -> Dog:
        assert group.at_least is not None
        dog = self._dogs.get(group.name)
        if dog is None:
            dog = self._dogs[group.name] = Dog(group.name, declaration, 0.0, now, operator=True)
            self.states[State.WAITING] += 1
            out.append(declared(dog, "operator"))
        dog.declaration = declaration
        before, dog.policy = dog.policy, Policy(declaration, group.ladder)
        self._climb_on(dog, before)
        dog.more().standing = Standing(group.at_least, group.members)
        self._wake(dog)
        return dog

    def _enrol(self, dog: Dog) -> None:
        """Find the groups that a watchdog is in."""
        if not (self._members or self._patterns) or (dog.rare is not None and dog.rare.standing is not None):
            return
        groups = list(self._members.get(dog.name, ()))
        groups += [group for pattern, group in self._patterns if fnmatchcase(dog.name, pattern)]
        if groups:
            dog.more().groups = tuple(dict.fromkeys(groups))
            self._member_moved(dog, State.RELEASED, dog.state)

    def _member_moved(self, dog: Dog, before: State, state: State) -> None:
        assert dog.rare is not None
        for group in dog.rare.groups:
            assert group.rare is not None
            standing = group.rare.standing
            assert standing is not None
            standing.sure += (state in _SURE) - (before in _SURE)
            standing.coming += (state is State.WAITING) - (before is State.WAITING)
            if state in _DOWN:
                standing.down[dog.name] = None
            else:
                standing.down.pop(dog.name, None)
            self._wake(group)

    def _wake(self, group: Dog) -> None:
        """Have the next sweep look at it; there is no time at hand here."""
        assert group.rare is not None
        assert group.rare.standing is not None
        group.rare.standing.stirred = True
        self._deadlines.arm(group, 0.0)

    def _settle(self, dog: Dog, now: float) -> None:
        """In the sweep: since when is the group not what it is said to be?"""
        standing = dog.rare.standing if dog.rare is not None else None
        if standing is not None and standing.stirred:
            standing.stirred = False
            changed = standing.change(dog.state) is not None
            standing.since = (now if standing.since is None else standing.since) if changed else None

    def _verdict(self, dog: Dog, due: float, now: float, out: list[Effect]) -> None:
        standing = dog.rare.standing if dog.rare is not None else None
        if standing is None:
            super()._verdict(dog, due, now, out)
            return
        change = standing.change(dog.state)
        standing.since = None
        if change is None and dog.state is State.WAITING:  # its grace is over; are all in a grace of their own?
            change = standing.change(State.ALIVE) is None
        if change is True:
            self._close(dog, now, out, EventType.RECOVERED, "enough alive")
            self._move(dog, Trigger.FEED)
            dog.fed_at = now
            self._arm(dog)
        elif change is False:
            dog.fed_at = due
            self._open(dog, Cause.TOO_FEW, due, now, out, _shortage(standing))
        elif dog.state is State.EXPIRED:
            super()._verdict(dog, due, now, out)
        else:
            self._arm(dog)

    def _discard(self, dog: Dog, now: float, out: list[Effect], how: str = "released") -> None:
        """Watch this one no longer."""
        raise NotImplementedError


def _shortage(standing: Standing) -> str:
    names = list(standing.down)
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    down = f"; down: {', '.join(names[:NAMED_MAX])}{more}" if names else ""
    return f"{standing.sure} alive, at least {standing.at_least} wanted{down}"
