"""Each table of the file checked by itself; all that is wrong, in words that name the key and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from banken.protocol.limits import NAME_MAX
from banken_supervisor.config import actions, fields
from banken_supervisor.config.faults import KeyPath, Problem, quoted
from banken_supervisor.config.models import (
    STEP,
    TAG,
    File,
    GroupTable,
    NotifyTable,
    ProgramTable,
    SupervisorTable,
    WatchdogTable,
)

TABLES_MAX = 10_000
"""[[watchdog]], [[group]] and [[program]] tables, each."""

PROCESSES_MAX = 10_000
"""Processes of all programs together."""

T = TypeVar("T", bound=BaseModel)
V = TypeVar("V")


@dataclass
class Parsed:
    """The tables, each with its place in the file; of those with a fault what is well."""

    supervisor: SupervisorTable
    watchdogs: list[tuple[KeyPath, WatchdogTable]] = field(default_factory=list)
    groups: list[tuple[KeyPath, GroupTable]] = field(default_factory=list)
    programs: list[tuple[KeyPath, ProgramTable]] = field(default_factory=list)
    callbacks: dict[str, str] = field(default_factory=dict)
    actions: dict[str, str] = field(default_factory=dict)
    notify: dict[str, NotifyTable] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    """names of tables with a fault of their own: that what they declare is missing is no second fault"""
    bound: dict[str, set[str]] = field(default_factory=dict)
    """likewise, the names in [callbacks], [actions] and [notify]"""


def parse(data: Mapping[str, Any]) -> tuple[Parsed, list[Problem]]:
    """Check all tables; what has a fault is left out of what is returned."""
    allowed = list(File.model_fields)
    problems = [Problem((key,), unknown_key(key, allowed)) for key in data if key not in allowed]
    supervisor = _model(SupervisorTable, data.get("supervisor", {}), ("supervisor",), problems)
    parsed = Parsed(supervisor or SupervisorTable.model_validate({}))
    parsed.watchdogs = list(_tables(WatchdogTable, data, "watchdog", parsed, problems))
    parsed.groups = list(_tables(GroupTable, data, "group", parsed, problems))
    parsed.programs = _bounded(list(_tables(ProgramTable, data, "program", parsed, problems)), problems)
    parsed.callbacks = dict(_items(data, "callbacks", _target, parsed, problems))
    parsed.actions = dict(_items(data, "actions", _target, parsed, problems))
    parsed.notify = dict(_items(data, "notify", _notify, parsed, problems))
    return parsed, problems


def _bounded(
    programs: list[tuple[KeyPath, ProgramTable]], problems: list[Problem]
) -> list[tuple[KeyPath, ProgramTable]]:
    """Those programs that keep within PROCESSES_MAX: what comes after this makes one record for each process."""
    total = 0
    for place, (path, program) in enumerate(programs):
        total += program.numprocs
        if total > PROCESSES_MAX:
            problems.append(Problem(path, f"with this, there are more than {PROCESSES_MAX:,} processes in all"))
            return programs[:place]
    return programs


def unknown_key(key: str, allowed: list[str]) -> str:
    """What is said of a key that nobody knows."""
    near = difflib.get_close_matches(key, allowed, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown key; {hint}allowed: {', '.join(sorted(allowed))}"


def _salvaged(model: type[T], table: dict[str, Any], path: KeyPath, problems: list[Problem]) -> T | None:
    """A checked table; of one with faults what is well, so that what only the whole can tell is told too.

    A step with a fault becomes None. None instead of a table: nothing can be made of it.
    """
    before = len(problems)
    made = _model(model, table, path, problems)
    if made is not None:
        return made
    wrong = {problem.path[len(path)] for problem in problems[before:] if len(problem.path) > len(path)}
    for together in _TOGETHER.get(model, ()):
        if not wrong.isdisjoint(together):
            wrong |= together
    kept = {key: value for key, value in table.items() if key not in wrong}
    instead: dict[str, Any] = {}
    for key in wrong & _REQUIRED.keys() & model.model_fields.keys():
        kept[str(key)], instead[str(key)] = _REQUIRED[str(key)], []
    if "ladder" in wrong and model is not GroupTable:
        instead["ladder"] = _steps(table.get("ladder"))
    if "on_give_up" in wrong:
        instead["on_give_up"] = _steps(table.get("on_give_up"))
    try:
        return model.model_validate(kept).model_copy(update=instead)
    except ValidationError:
        return None


_REQUIRED: dict[str, Any] = {"command": ["true"], "members": ["none"]}
"""Stand in for a required key with a fault while its table is checked; then it is empty."""

_TOGETHER: dict[type[BaseModel], tuple[set[str | int], ...]] = {
    WatchdogTable: ({"timeout", "auto", "min_interval"},),
    ProgramTable: ({"timeout", "auto", "min_interval"},),
    GroupTable: ({"at_least", "ladder"}, {"strategy", "budget"}),
}
"""Keys that mean nothing without each other: where one has a fault, no more is said of the others."""


def _steps(value: object) -> list[Any]:
    """The steps that are well, each in its place, and None for the others. Their faults are told already."""
    found = []
    for step in value if isinstance(value, list) else [value]:
        try:
            found.append(STEP.validate_python(step))
        except ValidationError:
            found.append(None)
    return found


def _tables(
    model: type[T], data: Mapping[str, Any], key: str, parsed: Parsed, problems: list[Problem]
) -> Iterator[tuple[KeyPath, T]]:
    tables = data.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        problems.append(Problem((key,), f"must be an array of tables: write [[{key}]], not {fields.told(tables)}"))
        return
    if len(tables) > TABLES_MAX:
        problems.append(Problem((key,), f"{len(tables):,} tables; at most {TABLES_MAX:,} are allowed"))
        return
    for place, table in enumerate(tables):
        before = len(problems)
        made = _salvaged(model, table, (key, place), problems)
        name = table.get("name")
        if len(problems) > before and isinstance(name, str) and len(name) <= 2 * NAME_MAX:
            parsed.named.add(name.replace("{i}", "*"))
        if made is not None:
            yield (key, place), made


def _items(
    data: Mapping[str, Any],
    key: str,
    check: Callable[[object, KeyPath, list[Problem]], V | None],
    parsed: Parsed,
    problems: list[Problem],
) -> Iterator[tuple[str, V]]:
    table = data.get(key, {})
    parsed.bound[key] = set()
    if not isinstance(table, dict):
        problems.append(Problem((key,), f"must be a table, not {fields.told(table)}"))
        return
    for name, value in table.items():
        parsed.bound[key].add(name)
        try:
            fields.name(name)
        except ValueError as fault:
            problems.append(Problem((key, name), str(fault)))
            continue
        made = check(value, (key, name), problems)
        if made is not None:
            yield name, made


def _target(value: object, path: KeyPath, problems: list[Problem]) -> str | None:
    try:
        return fields.target(value)
    except ValueError as fault:
        problems.append(Problem(path, str(fault)))
        return None


def _notify(value: object, path: KeyPath, problems: list[Problem]) -> NotifyTable | None:
    return _model(NotifyTable, value, path, problems)


def _model(model: type[T], value: object, path: KeyPath, problems: list[Problem]) -> T | None:
    try:
        return model.model_validate(value)
    except ValidationError as faults:
        for fault in faults.errors(include_url=False):
            place = path + tuple(part for part in fault["loc"] if not str(part).startswith(TAG))
            problems.append(Problem(place, _words(model, fault, path)))
        return None


def _words(model: type[BaseModel], fault: Mapping[str, Any], path: KeyPath) -> str:
    """One fault of pydantic's in our own words. Never the value of a secret."""
    kind, value, limits = fault["type"], fault["input"], fault.get("ctx", {})
    secret = any(part in actions.SECRET_OPTIONS for part in fault["loc"])
    if kind == "value_error":
        return str(limits["error"])
    if kind == "missing":
        allowed = f"; allowed: {', '.join(sorted(actions.STEPS))}" if fault["loc"][-1] == "do" else ""
        return f"is required and missing{allowed}"
    if kind == "extra_forbidden":
        return unknown_key(str(fault["loc"][-1]), _allowed(model, fault["loc"][:-1]))
    if kind == "literal_error":
        allowed = str(limits["expected"]).replace(" or ", ", ").replace("'", '"')
        return f"{quoted(value)} is not allowed; allowed: {allowed}"
    if kind in _RANGES:
        return f"{quoted(value)} is not allowed; {_RANGES[kind].format(**limits)}"
    if kind in _LENGTHS:
        return _LENGTHS[kind].format(**limits)
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}, not {'a value of another type' if secret else fields.told(value)}"
    return str(fault["msg"])


_TYPES = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "list_type": "an array",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "string_type": "a text",
    "union_tag_not_found": 'a table such as { do = "log" }',
    "union_tag_invalid": 'a table such as { do = "log" }',
}
_RANGES = {
    "greater_than_equal": "at least {ge} is allowed",
    "less_than_equal": "at most {le} is allowed",
}
_LENGTHS = {
    "too_short": "has too few elements: at least {min_length} is needed",
    "too_long": "has too many elements: at most {max_length} are allowed",
}


def _allowed(model: type[BaseModel], place: tuple[str | int, ...]) -> list[str]:
    """The keys of the table at ``place`` in ``model``."""
    action = str(place[-1]).removeprefix(TAG) if place and str(place[-1]).startswith(TAG) else ""
    found: type[BaseModel] = actions.STEPS.get(action, model)
    if found is model:
        for part in place:
            if isinstance(part, str) and not part.startswith(TAG):
                found = _inner(found, part)
    return [info.alias or key for key, info in found.model_fields.items()]


def _inner(model: type[BaseModel], key: str) -> type[BaseModel]:
    """The model of the tables below ``key``."""
    pending: list[Any] = [model.model_fields[key].annotation]
    while pending:
        kind = pending.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
        pending.extend(getattr(kind, "__args__", ()))
    raise AssertionError(f"{key} of {model.__name__} has no table")
