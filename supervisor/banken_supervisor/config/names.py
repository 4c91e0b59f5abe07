"""Which names the file declares, and which patterns can mean the same name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import translate
from functools import lru_cache

from banken_supervisor.config.checks import as_tuple
from banken_supervisor.config.faults import KeyPath
from banken_supervisor.config.models import WATCH_KEYS, ProgramTable, WatchdogTable, WatchFields
from banken_supervisor.config.numbering import filled
from banken_supervisor.config.parsing import Parsed
from banken_supervisor.config.placed_checks import check_name
from banken_supervisor.engine.patterns import is_pattern, matcher

_part = re.compile(r"\[!?\]?[^\]]*\]|.")


_matcher = lru_cache(maxsize=4096)(matcher)


def matches(name: str, pattern: str) -> bool:
    """Whether ``name`` matches the shell pattern."""
    return bool(_matcher(pattern)(name))


def numbered(table: ProgramTable) -> Iterator[tuple[int, str]]:
    """(number, name) of each process of a program."""
    for number in range(table.numprocs):
        yield number, filled(table.name, number)


def watched(table: ProgramTable) -> bool:
    """Whether the program's table has any key of a watchdog."""
    return not WATCH_KEYS.isdisjoint(table.model_fields_set)


class Names:
    """Everything that has a name in the file."""

    def __init__(self, parsed: Parsed) -> None:
        self.programs: dict[str, tuple[KeyPath, ProgramTable]] = {}
        """each process; of two with one name the first"""
        self.exact: dict[str, tuple[KeyPath, WatchFields]] = {}
        """watchdogs that are declared by name, programs' own too"""
        self.patterns: list[tuple[str, KeyPath, WatchFields]] = []
        self.groups = {table.name: table.members for _, table in parsed.groups}
        """by name: the members as they were given"""
        self.broken = parsed.named
        """what tables with a fault would have declared, names and patterns"""
        for path, program in parsed.programs:
            for _, name in numbered(program):
                self.programs.setdefault(name, (path, program))
                if watched(program):
                    self.exact.setdefault(name, (path, program))
        for path, watchdog in parsed.watchdogs:
            if is_pattern(watchdog.name):
                self.patterns.append((watchdog.name, path, watchdog))
            else:
                self.exact.setdefault(watchdog.name, (path, watchdog))
        self._fixed = {*self.exact, *self.programs}
        """all names that are declared one by one"""
        self.checks = {
            check_name(owner, place): path
            for owner, (path, table) in {**self.exact, **self.programs}.items()
            if isinstance(table, WatchdogTable | ProgramTable)
            for place in range(len(as_tuple(table.check)))
        }
        """names of checks' watchdogs; no pattern means one of them"""
        patterns = [*(pattern for pattern, _, _ in self.patterns), *self.broken]
        # All patterns in one: with a thousand of them, asking each about each name takes minutes.
        self._any = re.compile("|".join(map(translate, patterns))) if patterns else None

    def policy(self, name: str) -> tuple[KeyPath, WatchFields] | None:
        """What holds for a name: the exact one, else the first pattern that matches."""
        found = self.exact.get(name)
        if found is not None or self._any is None or self._any.match(name) is None:
            return found
        return next(((path, table) for pattern, path, table in self.patterns if matches(name, pattern)), None)

    def known(self, name: str) -> bool:
        """Whether anything in the file can have this name."""
        declared = name in self._fixed or name in self.groups or name in self.checks
        return declared or (self._any is not None and self._any.match(name) is not None)

    def depends(self, name: str) -> Iterable[str]:
        """What a name depends on: a watchdog on what its table says, a group on its members.

        Of members that a pattern of [[watchdog]] declares, the pattern stands for them: it is matched by itself.
        """
        members = self.groups.get(name)
        if members is None or name in self.exact:
            found = self.policy(name)
            return found[1].depends_on if found is not None else ()
        wide = [member for member in members if is_pattern(member)]
        more = [pattern for pattern, _, _ in self.patterns if any(overlap(member, pattern) for member in wide)]
        return [*sorted(self.matched(members)[0]), *more]

    def matched(self, members: Iterable[str]) -> tuple[set[str], bool]:
        """(names that the members mean, whether there may be more of them than the file says)."""
        found: set[str] = set()
        more = False
        for member in members:
            if not is_pattern(member):
                found.add(member)
                continue
            found.update(name for name in self._fixed if matches(name, member))
            wide = (*(pattern for pattern, _, _ in self.patterns), *self.broken)
            more = more or any(overlap(member, each) for each in wide)
        return found, more


def overlap(one: str, other: str) -> bool:
    """Whether some name matches both shell patterns. A class such as ``[ab]`` is taken for ``?``: in doubt, yes."""
    ours, theirs = (_part.findall(pattern) for pattern in (one, other))
    # reachable[j]: what was read of ours so far, and j parts of theirs, can mean the same text
    reachable = [all(part == "*" for part in theirs[:j]) for j in range(len(theirs) + 1)]
    for part in ours:
        before, reachable = reachable, [False] * (len(theirs) + 1)
        reachable[0] = before[0] and part == "*"
        for j, their in enumerate(theirs, 1):
            if part == "*" or their == "*":
                reachable[j] = before[j] or reachable[j - 1]
            else:
                reachable[j] = before[j - 1] and (
                    part == their or len(part) > 1 or len(their) > 1 or "?" in (part, their)
                )
    return reachable[-1]


def covers(wide: str, narrow: str) -> bool:
    """Whether surely every name that matches ``narrow`` matches ``wide``: only ``*`` in ``wide`` is understood."""
    return not any(c in wide for c in "?[") and matches(narrow, wide)
