"""Checks that need the whole file: names without a declaration, steps that can never act, contradictions."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

from banken.errors import Refused
from banken.protocol.limits import NAME_MAX
from banken_supervisor.actions.options import Source
from banken_supervisor.checks.output import Output
from banken_supervisor.config import cron
from banken_supervisor.config.checks import as_tuple, parse_checks
from banken_supervisor.config.faults import KeyPath, Problem, dotted
from banken_supervisor.config.ladders import LadderOwner, StepNames, give_up, ladder, unbound
from banken_supervisor.config.models import GroupTable, ProgramTable, WatchdogTable, WatchFields
from banken_supervisor.config.names import Names, covers, matches, numbered, overlap
from banken_supervisor.config.numbering import PLACE, filled, filled_whole, numbers_in, texts_in
from banken_supervisor.config.parsing import Parsed
from banken_supervisor.config.readiness import ReadyTable
from banken_supervisor.config.start_order import order_problems
from banken_supervisor.config.steps import ACTIONS
from banken_supervisor.engine.checks import RUNNER
from banken_supervisor.engine.patterns import is_pattern
from banken_supervisor.text.durations import format_s
from banken_supervisor.text.quoting import quoted

CHECKS_MAX = 10_000
"""Checks of all names together."""

PATTERNS_MAX = 1_000
"""[[watchdog]] tables with a pattern: each new name is held against all of them."""

_NOT_A_PROGRAM = "this watchdog is not a [[program]], so the supervisor cannot start it"
_REMOTE = (
    "its workers come over tcp, and a process that is not known for certain to be on this host is never touched"
)
_GROUP = "a group is no process; put it into the ladders of its members"
_GROUP_RESTART = "a group is no [[program]]; put it into the ladders of its members"


def problems(parsed: Parsed, callbacks: Collection[str] = ()) -> Iterator[Problem]:
    """All that is wrong between the tables. ``callbacks``: names that the caller binds besides [callbacks]."""
    names = Names(parsed)
    known = StepNames(parsed, callbacks)
    if len(names.patterns) > PATTERNS_MAX:
        yield Problem(("watchdog",), f"{len(names.patterns):,} patterns; at most {PATTERNS_MAX:,} are allowed")
    yield from _twice(parsed)
    yield from _shadowed(names)
    yield from _checks(parsed, names)
    for name in parsed.actions.keys() & ACTIONS.keys():
        yield Problem(("actions", name), f"{quoted(name)} is an action of banken's own; choose another name")
    remote = _REMOTE if (parsed.supervisor.address or "").startswith("tcp://") else None
    for path, table in parsed.watchdogs:
        yield from _expected(path, table)
        yield from _notified(path, table)
        if table.scope is not None and not parsed.has_cluster:
            yield Problem((*path, "scope"), "has no meaning without [cluster]")
        programs = any(each in names.programs for each in names.matched([table.name])[0])
        owner = LadderOwner(None, None, True) if programs else LadderOwner(_NOT_A_PROGRAM, remote)
        yield from _watch(path, table, owner, parsed, names, known)
    program = LadderOwner(None, None, gives_up=True)
    for path, own in parsed.programs:
        yield from _watch(path, own, program, parsed, names, known)
    yield from _cycles(names)
    yield from _programs(parsed)
    yield from order_problems(parsed)
    for path, group in parsed.groups:
        yield from _group(path, group, names, known)
    yield from _in_two_groups(parsed, names)


def doubts(parsed: Parsed) -> Iterator[Problem]:
    """What is allowed, and may not be meant: ``{i}`` where nobody has said how many processes there are."""
    for path, table in parsed.programs:
        if "numprocs" in table.model_fields_set:
            continue
        texts = {
            "name": [table.name],
            "command": table.command,
            "env": table.environment.values(),
            "env_file": [table.env_file or ""],
            "cwd": [table.directory or ""],
            "log": [table.log or ""],
            "check": texts_in(parsed.raw_checks.get(path)),
        }
        for key, each in texts.items():
            if any(map(numbers_in, each)):
                text = (
                    f"{PLACE} becomes 0, for there is no numprocs; if the text itself is meant, write {{{PLACE}}}"
                )
                yield Problem((*path, key), text + ", else numprocs = 1")


def _twice(parsed: Parsed) -> Iterator[Problem]:
    """Watchdogs, programs and groups share one space of names, for incidents have these names."""
    first: dict[str, KeyPath] = {}
    declared: list[tuple[str, KeyPath]] = []
    for path, program in parsed.programs:
        declared.extend((name, path) for _, name in numbered(program))
    declared += [(table.name, path) for path, table in parsed.watchdogs]
    declared += [(table.name, path) for path, table in parsed.groups]
    for name, path in declared:
        earlier = first.setdefault(name, path)
        if earlier is path:  # also where a program's name lacks {i}, which _programs reports
            continue
        hint = ""
        if (earlier[0], path[0]) == ("program", "watchdog"):
            hint = "; a program's own table takes the fields of its watchdog"
        yield Problem((*path, "name"), f"{quoted(name)} is declared already, by {dotted(earlier)}{hint}")


def _checks(parsed: Parsed, names: Names) -> Iterator[Problem]:
    """Names of checks: those that are taken, too long, or not known."""
    if len(names.checks) > CHECKS_MAX:
        yield Problem(("watchdog",), f"{len(names.checks):,} checks; at most {CHECKS_MAX:,} are allowed")
    for path, table in parsed.watchdogs:
        if table.check is not None and is_pattern(table.name):
            text = f"needs one name: nobody can say which of {quoted(table.name)} there are"
            yield Problem((*path, "check"), text)
        if any(isinstance(each, Output) and each.log is None for each in as_tuple(table.check)):
            yield Problem((*path, "check"), "output needs log here, the file to read: only a program has its own")
    taken = {*names.exact, *names.programs, *names.groups}
    for name, path in names.checks.items():
        if name in taken:
            text = f"its watchdog would be called {quoted(name)}, which is declared already"
            yield Problem((*path, "check"), text)
        elif len(name) > NAME_MAX:
            text = f"is too long for its check: {quoted(name, 200)} has more than {NAME_MAX} characters"
            yield Problem((*path, "name"), text)
    if names.checks and RUNNER in taken:
        path = next(iter(names.checks.values()))
        text = f"is run by a program that is called {RUNNER}: nothing else may have that name"
        yield Problem((*path, "check"), text)
    for path, program in parsed.programs:
        raw = parsed.raw_checks.get(path, [])
        for number in range(1, program.numprocs if any(map(numbers_in, texts_in(raw))) else 1):
            try:
                parse_checks(filled_whole(raw, number), Source(parsed.directory))
            except Refused as fault:
                yield Problem((*path, "check"), f"with {number} in place of {PLACE}: {fault}")
                break


def _shadowed(names: Names) -> Iterator[Problem]:
    for place, (pattern, path, _) in enumerate(names.patterns[:PATTERNS_MAX]):
        for wide, above, _ in names.patterns[:place]:
            if wide != pattern and covers(wide, pattern):
                yield Problem(
                    (*path, "name"),
                    f"{quoted(pattern)} never counts: {quoted(wide)} ({dotted(above)}) stands above it and matches "
                    "all that it matches; put the narrower one first",
                )
                break


def _watch(
    path: KeyPath, table: WatchFields, owner: LadderOwner, parsed: Parsed, names: Names, known: StepNames
) -> Iterator[Problem]:
    yield from _times(path, table, parsed)
    if table.callback is not None and table.callback not in known.callbacks:
        yield Problem((*path, "callback"), unbound(table.callback, known.callbacks, "callbacks"))
    yield from ladder((*path, "ladder"), table.ladder, owner, known)
    yield from give_up((*path, "on_give_up"), table.last_steps, table.ladder, owner, known)
    for place, name in enumerate(table.depends_on):
        if not names.known(name):
            yield Problem((*path, "depends_on", place), f"{quoted(name)} is declared nowhere in this file")
    for place, window in enumerate(table.maintenance):
        try:
            cron.check(window.cron, window.seconds)
        except ValueError as fault:
            yield Problem((*path, "maintenance", place, "cron"), f"{quoted(window.cron)} {fault}")
        if window.timezone is not None:
            try:
                cron.check_zone(window.timezone)
            except ValueError as fault:
                yield Problem((*path, "maintenance", place, "timezone"), f"{quoted(window.timezone)} {fault}")


def _expected(path: KeyPath, table: WatchdogTable) -> Iterator[Problem]:
    if table.expect and is_pattern(table.name):
        text = f"needs one name: nobody can say which of {quoted(table.name)} are to be there"
        yield Problem((*path, "expect"), text)
    elif table.expect and table.timeout is None:
        yield Problem((*path, "expect"), "has no meaning without a timeout: its silence is not judged")


def _notified(path: KeyPath, table: WatchdogTable) -> Iterator[Problem]:
    if table.notify and is_pattern(table.name):
        yield Problem(
            (*path, "notify"), f"needs one name: the socket is the name, and {quoted(table.name)} is many"
        )


def _times(path: KeyPath, table: WatchFields, parsed: Parsed) -> Iterator[Problem]:
    if table.timeout == "auto" and table.auto is None:
        yield Problem((*path, "timeout"), '"auto" needs its bounds: auto = { least = "5s", most = "5m" }')
        return
    if table.auto is not None and table.timeout != "auto":
        yield Problem((*path, "auto"), 'has no meaning without timeout = "auto"')
        return
    shortest = table.auto.least if table.auto is not None else table.timeout or parsed.supervisor.defaults.timeout
    assert not isinstance(shortest, str)
    if table.min_interval is not None and table.min_interval >= shortest:
        yield Problem(
            (*path, "min_interval"),
            f"{format_s(table.min_interval)} must be less than the timeout of {format_s(shortest)}: "
            "no worker could keep to both",
        )


def _cycles(names: Names) -> Iterator[Problem]:
    """Names that depend on each other in a circle. A name that a pattern declares depends as the pattern says.

    A group depends on its members: a watchdog that waits for a group of which it is one would never be helped.
    """
    done: set[str] = set()
    starts = [*names.exact, *(name for _, _, table in names.patterns for name in table.depends_on)]
    for start in starts:
        way: list[str] = []
        pending = [(start, 0)]  # a name, and how many lie on the way to it
        while pending:
            name, depth = pending.pop()
            done.update(way[depth:])
            del way[depth:]
            if name in way:
                circle = [*way[way.index(name) :], name]
                found = next(filter(None, map(names.policy, reversed(circle[:-1]))))  # a group depends on nothing
                yield Problem((*found[0], "depends_on"), f"goes round in a circle: {' -> '.join(circle[:20])}")
                continue
            if name in done or not (others := names.depends(name)):
                continue
            way.append(name)
            pending.extend((other, depth + 1) for other in others)
        done.update(way)


def _ready_when_ended(path: KeyPath, table: ProgramTable) -> Iterator[Problem]:
    if table.restart == "always" and isinstance(table.ready, ReadyTable) and table.ready.ended:
        text = "with ready = { ended = true } is for ever: what has ended starts again; on-failure or never ends it"
        yield Problem((*path, "restart"), f'"always" {text}')


def _programs(parsed: Parsed) -> Iterator[Problem]:
    logs: dict[str, KeyPath] = {}
    for path, program in parsed.programs:
        yield from _ready_when_ended(path, program)
        for key, value, what in (("name", program.name, "name"), ("log", program.log, "file")):
            if program.numprocs > 1 and value is not None and filled(value, 0) == filled(value, 1):
                text = f"{program.numprocs} processes need a {what} each: put {PLACE} where the number goes"
                yield Problem((*path, key), text)
        if program.log is None:
            continue
        earlier = logs.setdefault(os.path.normpath(program.log), path)
        if earlier is not path:
            yield Problem((*path, "log"), f"is the log of {dotted(earlier)} already; each program needs its own")


def _group(path: KeyPath, group: GroupTable, names: Names, known: StepNames) -> Iterator[Problem]:
    unknown = not group.members  # they had a fault
    for place, member in enumerate(group.members):
        found, more = names.matched([member])
        if member in names.groups and member not in names.exact:
            unknown = True
            yield Problem(
                (*path, "members", place), f"{quoted(member)} is a group; a group has no groups within it"
            )
        elif not more and not any(map(names.known, found)):
            unknown = True
            what = "matches nothing" if is_pattern(member) else "is declared nowhere"
            checks = [each for each in names.checks if is_pattern(member) and matches(each, member)]
            but = f"; a pattern takes no checks: write {quoted(checks[0])}" if checks else ""
            yield Problem((*path, "members", place), f"{quoted(member)} {what} in this file{but}")
    members, more = names.matched(group.members)
    outsiders = sorted(members - names.programs.keys())
    all_programs = not more and not outsiders
    if group.at_least is not None and not more and not unknown and group.at_least > len(members):
        yield Problem((*path, "at_least"), f"{group.at_least} is more than the {len(members)} members there are")
    doubtful = unknown or any(overlap(member, each) for member in group.members for each in names.broken)
    if group.strategy is not None and not all_programs and not doubtful:
        which = f"{outsiders[0]} is" if outsiders else "what the patterns of [[watchdog]] match is"
        yield Problem((*path, "strategy"), f"is for groups of programs, and {which} no [[program]]")
    if group.budget is not None and group.strategy is None:
        yield Problem((*path, "budget"), "has no meaning without strategy: it counts restarts of the whole group")
    if group.ladder and group.at_least is None:
        yield Problem((*path, "ladder"), "can never act: an incident of a group opens only where at_least is given")
    yield from ladder((*path, "ladder"), group.ladder, LadderOwner(_GROUP_RESTART, _GROUP), known)


def _in_two_groups(parsed: Parsed, names: Names) -> Iterator[Problem]:
    """A program that two strategies would both restart."""
    first: dict[str, KeyPath] = {}
    for path, group in parsed.groups:
        if group.strategy is None:
            continue
        for name in sorted(names.matched(group.members)[0]):
            earlier = first.setdefault(name, path)
            if earlier is not path:
                yield Problem(
                    (*path, "members"),
                    f"{name} is in {dotted(earlier)} too, which has a strategy; one strategy for each program",
                )
