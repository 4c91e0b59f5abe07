"""Checks each table of the file by itself; every fault names the key and what is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from banken_supervisor.actions.options import Source, fault_text, name
from banken_supervisor.checks.base import CheckFields
from banken_supervisor.config import fields
from banken_supervisor.config.checks import model_at
from banken_supervisor.config.cluster import ClusterTable
from banken_supervisor.config.faults import KeyPath, Problem
from banken_supervisor.config.models import (
    STEP,
    File,
    GroupTable,
    NotifyTable,
    ProgramTable,
    SupervisorTable,
    WatchdogTable,
)
from banken_supervisor.config.steps import STEPS
from banken_supervisor.config.tags import TAG
from banken_supervisor.config.upward import UpwardTable
from banken_supervisor.text.quoting import kind_of, unknown_key

TABLES_MAX = 10_000
"""[[watchdog]], [[group]] and [[program]] tables, each."""

PROCESSES_MAX = 10_000
"""Processes of all programs together."""

T = TypeVar("T", bound=BaseModel)


@dataclass
class Parsed:
    """The tables, each with its place in the file; of those with a fault the valid part."""

    supervisor: SupervisorTable
    directory: str = ""
    """of the file"""
    cluster: ClusterTable | None = None
    has_cluster: bool = False
    """also one with a fault"""
    upward: UpwardTable | None = None
    watchdogs: list[tuple[KeyPath, WatchdogTable]] = field(default_factory=list)
    groups: list[tuple[KeyPath, GroupTable]] = field(default_factory=list)
    programs: list[tuple[KeyPath, ProgramTable]] = field(default_factory=list)
    callbacks: dict[str, str] = field(default_factory=dict)
    actions: dict[str, str] = field(default_factory=dict)
    notify: dict[str, NotifyTable] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    """names of tables with a fault of their own (a pattern for all, if one has no usable name): a reference to one
    of them is no second fault"""
    raw_checks: dict[KeyPath, list[Any]] = field(default_factory=dict)
    """by table: its checks as the file has them, secrets not expanded; of those without a fault"""
    raw_ready: dict[KeyPath, dict[str, Any]] = field(default_factory=dict)
    """likewise, the check in ``ready``"""
    variables: set[str] = field(default_factory=set)
    """of the environment, that secrets were read from"""
    bound: dict[str, set[str]] = field(default_factory=dict)
    """likewise, the names in [callbacks], [actions] and [notify]"""


def parse(data: Mapping[str, Any], directory: str) -> tuple[Parsed, list[Problem]]:
    """Check all tables of a file that lies in ``directory``; what has a fault is left out of what is returned."""
    variables: set[str] = set()
    parser = _Parser(Source(directory, variables=variables), data)
    parser.parsed.variables, parser.parsed.directory = variables, directory
    return parser.parsed, parser.problems


_REQUIRED: dict[str, Any] = {"command": ["true"], "members": ["none"]}
"""Stand in for a required key with a fault while its table is checked; then it is empty."""

_TOGETHER: dict[type[BaseModel], tuple[set[str | int], ...]] = {
    WatchdogTable: ({"timeout", "auto", "min_interval", "expect"},),
    ProgramTable: ({"timeout", "auto", "min_interval"},),
    GroupTable: ({"at_least", "ladder"}, {"strategy", "budget"}),
}
"""Keys that mean nothing without each other: a fault in one silences further faults about the others."""


class _Parser:
    """Fills ``parsed`` and ``problems`` from the tables of a file."""

    def __init__(self, context: Source, data: Mapping[str, Any]) -> None:
        self._context = context
        self._data = data
        allowed = list(File.model_fields)
        self.problems = [Problem((key,), unknown_key(key, allowed)) for key in data if key not in allowed]
        supervisor = self._model(SupervisorTable, data.get("supervisor", {}), ("supervisor",))
        parsed = self.parsed = Parsed(supervisor or SupervisorTable.model_validate({}))
        parsed.has_cluster = "cluster" in data
        if parsed.has_cluster:
            parsed.cluster = self._model(ClusterTable, data["cluster"], ("cluster",))
        if "upward" in data:
            parsed.upward = self._model(UpwardTable, data["upward"], ("upward",))
        parsed.watchdogs = list(self._tables(WatchdogTable, "watchdog"))
        parsed.groups = list(self._tables(GroupTable, "group"))
        parsed.programs = self._limited(list(self._tables(ProgramTable, "program")))
        parsed.callbacks = dict(self._targets("callbacks"))
        parsed.actions = dict(self._targets("actions"))
        for path, value in self._items("notify"):
            if (made := self._model(NotifyTable, value, path)) is not None:
                parsed.notify[path[1]] = made

    def _limited(self, programs: list[tuple[KeyPath, ProgramTable]]) -> list[tuple[KeyPath, ProgramTable]]:
        """Those programs that keep within PROCESSES_MAX: the next stage makes one record for each process."""
        total = 0
        for place, (path, program) in enumerate(programs):
            total += program.numprocs
            if total > PROCESSES_MAX:
                text = f"with this, there are more than {PROCESSES_MAX:,} processes in all"
                self.problems.append(Problem(path, text))
                return programs[:place]
        return programs

    def _tables(self, model: type[T], key: str) -> Iterator[tuple[KeyPath, T]]:
        tables = self._data.get(key, [])
        if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
            text = f"must be an array of tables: write [[{key}]], not {kind_of(tables)}"
            self.problems.append(Problem((key,), text))
            return
        if len(tables) > TABLES_MAX:
            text = f"{len(tables):,} tables; at most {TABLES_MAX:,} are allowed"
            self.problems.append(Problem((key,), text))
            return
        for place, table in enumerate(tables):
            before = len(self.problems)
            made = self._valid_part(model, table, (key, place))
            given = table.get("name")
            if faults := self.problems[before:]:
                unnamed = not isinstance(given, str) or any(each.path[2:3] == ("name",) for each in faults)
                self.parsed.named.add("*" if unnamed else given.replace("{i}", "*"))
            if made is not None:
                if getattr(made, "check", None) is not None:
                    self.parsed.raw_checks[key, place] = (
                        table["check"] if isinstance(table["check"], list) else [table["check"]]
                    )
                if isinstance(getattr(made, "ready", None), CheckFields):
                    self.parsed.raw_ready[key, place] = table["ready"]
                yield (key, place), made

    def _valid_part(self, model: type[T], table: dict[str, Any], path: KeyPath) -> T | None:
        """A checked table; of one with faults the valid keys, so that ``semantics`` can check those too.

        A step with a fault becomes None. None instead of a table: nothing can be made of it.
        """
        before = len(self.problems)
        made = self._model(model, table, path)
        if made is not None:
            return made
        wrong = {problem.path[len(path)] for problem in self.problems[before:] if len(problem.path) > len(path)}
        for together in _TOGETHER.get(model, ()):
            if not wrong.isdisjoint(together):
                wrong |= together
        valid = {key: value for key, value in table.items() if key not in wrong}
        instead: dict[str, Any] = {}
        for key in wrong & _REQUIRED.keys() & model.model_fields.keys():
            valid[str(key)], instead[str(key)] = _REQUIRED[str(key)], ()
        for key in ("ladder", "on_give_up"):
            if key in wrong and model is not GroupTable:
                instead[key] = self._steps(table.get(key))
        try:
            return model.model_validate(valid, context=self._context).model_copy(update=instead)
        except ValidationError:
            return None

    def _steps(self, value: object) -> list[Any]:
        """The valid steps, each in its place, and None for the others. Their faults are reported already."""
        found = []
        for step in value if isinstance(value, list) else [value]:
            try:
                found.append(STEP.validate_python(step, context=self._context))
            except ValidationError:
                found.append(None)
        return found

    def _items(self, key: str) -> Iterator[tuple[tuple[str, str], Any]]:
        """The path and value of each key of a table of names."""
        table = self._data.get(key, {})
        self.parsed.bound[key] = set()
        if not isinstance(table, dict):
            self.problems.append(Problem((key,), f"must be a table, not {kind_of(table)}"))
            return
        for given, value in table.items():
            self.parsed.bound[key].add(given)
            try:
                name(given)
            except ValueError as fault:
                self.problems.append(Problem((key, given), str(fault)))
            else:
                yield (key, given), value

    def _targets(self, key: str) -> Iterator[tuple[str, str]]:
        for path, value in self._items(key):
            try:
                yield path[1], fields.target(value)
            except ValueError as fault:
                self.problems.append(Problem(path, str(fault)))

    def _model(self, model: type[T], value: object, path: KeyPath) -> T | None:
        try:
            return model.model_validate(value, context=self._context)
        except ValidationError as faults:
            for fault in faults.errors(include_url=False):
                place = path + tuple(part for part in fault["loc"] if not str(part).startswith(TAG))
                self.problems.append(Problem(place, _fault_text(model, fault)))
            return None


def _fault_text(model: type[BaseModel], fault: Mapping[str, Any]) -> str:
    """One fault of pydantic's in our own words."""
    place = fault["loc"]
    if fault["type"] == "missing" and place[-1] == "do":
        return f"is required and missing; allowed: {', '.join(sorted(STEPS))}"
    return fault_text(fault, lambda: _allowed(model, place[:-1]))


def _allowed(model: type[BaseModel], place: tuple[str | int, ...]) -> list[str]:
    """The keys of the table at ``place`` in ``model``."""
    for part in place:
        if isinstance(part, str):
            step = STEPS.get(part.removeprefix(TAG)) or model_at(part) or model
            model = step if part.startswith(TAG) else _inner(model, part)
    return [info.alias or key for key, info in model.model_fields.items()]


def _inner(model: type[BaseModel], key: str) -> type[BaseModel]:
    """The model of the tables below ``key``."""
    pending: list[Any] = [model.model_fields[key].annotation]
    while pending:
        kind = pending.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
        pending.extend(getattr(kind, "__args__", ()))
    raise AssertionError(f"{key} of {model.__name__} has no table")
