"""Start order, groups and restart strategies, computed once from the config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from banken_supervisor.engine.policy import Group, ProgramSpec, Strategy
from banken_supervisor.programs.engine.record import Rank


class Grouping:
    """Looks up the groups, restart partners and rank of a program. A name that is not configured has none.

    A program follows the strategy of the first group that names it and has a strategy. The budgets of all its
    groups apply. Programs of such a group with the same start order are ordered as in ``members``. One that starts
    ``after`` others has a higher rank than they, whatever its order.
    """

    def __init__(self, specs: Iterable[ProgramSpec] = (), groups: Iterable[Group] = ()) -> None:
        self._groups: dict[str, tuple[Group, ...]] = {}
        self._mates: dict[str, tuple[str, ...]] = {}
        self._strategy: dict[str, Strategy] = {}
        self._rank: dict[str, Rank] = {}
        specs, groups = tuple(specs), tuple(groups)
        for spec in specs:
            self._groups[spec.name] = tuple(each for each in groups if _place(spec.name, each) is not None)
            self._rank[spec.name] = spec.order, 0, 0
        for group in groups:
            if group.strategy is not None:
                self._apply_strategy(specs, group, group.strategy)
        after = {spec.name: spec.after for spec in specs}
        done: set[str] = set()
        for spec in specs:
            self._rank_after(spec.name, after, done)

    def rank(self, name: str) -> Rank:
        """Its place in the order of starting."""
        return self._rank.get(name, (0, 0, 0))

    def groups_of(self, name: str) -> tuple[Group, ...]:
        """The groups that name it."""
        return self._groups.get(name, ())

    def others(self, name: str) -> tuple[str, ...]:
        """Other programs that restart when this one does, in start order."""
        mates = self._mates.get(name, ())
        match self._strategy.get(name):
            case Strategy.ONE_FOR_ALL:
                return tuple(each for each in mates if each != name)
            case Strategy.REST_FOR_ONE:
                return mates[mates.index(name) + 1 :]
        return ()

    def _rank_after(self, start: str, after: Mapping[str, tuple[str, ...]], done: set[str]) -> None:
        """Rank it, and before it all that it starts after. A circle, which no config has, is cut somewhere."""
        way = [start]
        while way:
            name = way[-1]
            others = [each for each in after[name] if each in after and each != name]
            pending = next((each for each in others if each not in done and each not in way), None)
            if pending is not None:
                way.append(pending)
                continue
            way.pop()
            done.add(name)
            highest = max((self._rank[each] for each in others), default=self._rank[name])
            if others and highest >= self._rank[name]:
                self._rank[name] = highest[0], highest[1], highest[2] + 1

    def _apply_strategy(self, specs: tuple[ProgramSpec, ...], group: Group, strategy: Strategy) -> None:
        found = []
        for number, spec in enumerate(specs):
            place = _place(spec.name, group)
            if place is not None and spec.name not in self._mates:
                found.append((spec.order, place, number, spec.name))
        mates = tuple(name for *_, name in sorted(found))
        for place, (order, _, _, name) in enumerate(sorted(found)):
            self._mates[name] = mates
            self._strategy[name] = strategy
            if strategy is not Strategy.ONE_FOR_ONE:
                self._rank[name] = order, place, 0


def _place(name: str, group: Group) -> int | None:
    """The first of the group's members that names it; None: it is not in the group."""
    return next((place for place, member in enumerate(group.members) if fnmatchcase(name, member)), None)
