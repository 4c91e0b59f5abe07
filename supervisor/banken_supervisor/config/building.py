"""From checked tables to the engine's data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from banken.errors import Refused
from banken.protocol.messages import CLEAN, Declaration, Exit, Feeders
from banken_supervisor.actions.options import Source
from banken_supervisor.checks.base import CheckFields
from banken_supervisor.checks.output import Output
from banken_supervisor.config.checks import as_tuple, parse_checks
from banken_supervisor.config.faults import KeyPath
from banken_supervisor.config.models import GroupTable, ProgramTable, WatchdogTable, WatchFields, milliseconds
from banken_supervisor.config.names import numbered, watched
from banken_supervisor.config.numbering import filled, filled_whole
from banken_supervisor.config.parsing import Parsed
from banken_supervisor.config.placed_checks import PlacedCheck, check_name, policy_of_check, policy_of_readiness
from banken_supervisor.config.readiness import raw_check, readiness_of
from banken_supervisor.config.settings import Config
from banken_supervisor.config.start_order import started_after
from banken_supervisor.config.steps import STEP_KEYS, StepFields
from banken_supervisor.engine.ladder import RESTARTS, Ladder, Step
from banken_supervisor.engine.policy import (
    NEVER,
    Auto,
    Group,
    Policy,
    ProcessAttributes,
    ProgramSpec,
    Restart,
    Strategy,
    Window,
)
from banken_supervisor.processes.child_environment import LOGIN


def build(source: Path, parsed: Parsed, *, empty: bool) -> Config:
    """The whole. ``source``: the file's absolute path."""
    defaults = parsed.supervisor.declaration
    placed: list[tuple[str, WatchFields]] = [(table.name, table) for _, table in parsed.watchdogs]
    placed += [(name, table) for _, table in parsed.programs if watched(table) for _, name in numbered(table)]
    withheld = tuple(sorted(parsed.variables - LOGIN))
    every = [name for _, table in parsed.programs for _, name in numbered(table)]
    checks = (*_checks(Source(parsed.directory), parsed, defaults), *_readiness(Source(parsed.directory), parsed))
    return Config(
        source,
        parsed.supervisor,
        (
            *((check.name, policy) for check, policy in checks),  # no pattern fits them
            *((name, _policy(table, defaults)) for name, table in placed),
        ),
        tuple(_group(table) for _, table in parsed.groups),
        tuple(
            _program(table, number, name, withheld, every)
            for _, table in parsed.programs
            for number, name in numbered(table)
        ),
        tuple(parsed.callbacks.items()),
        tuple(parsed.actions.items()),
        tuple((name, (*table.urls, *(table.urls_file or ()))) for name, table in parsed.notify.items()),
        tuple((table.name, table.notify_access) for _, table in parsed.watchdogs if table.notify),
        withheld,
        empty,
        None if parsed.cluster is None else parsed.cluster.settings,
        None if parsed.upward is None else parsed.upward.settings,
        checks=tuple(check for check, _ in checks),
    )


def _checks(source: Source, parsed: Parsed, defaults: Declaration) -> Iterator[tuple[PlacedCheck, Policy]]:
    """Each check of each process, and the policy of its watchdog."""
    tables: list[tuple[KeyPath, WatchdogTable | ProgramTable]] = [*parsed.watchdogs, *parsed.programs]
    for path, table in tables:
        raw = parsed.raw_checks.get(path)
        if table.check is None or raw is None:
            continue
        owner, grace = _policy(table, defaults), milliseconds(table.grace or defaults.grace)
        programs = isinstance(table, ProgramTable)
        names = list(numbered(table)) if isinstance(table, ProgramTable) else [(0, table.name)]
        for number, name in names:
            texts = filled_whole(raw, number) if programs else raw
            try:
                made = parse_checks(texts, source) if number else as_tuple(table.check)
            except Refused:  # a fault, which semantics has found
                continue
            for place, (check, text) in enumerate(zip(made, texts, strict=True)):
                placed = PlacedCheck(
                    check_name(name, place), name, programs, json.dumps(text, sort_keys=True), check.label,
                    check.every, check.limit, check.fails,
                )  # fmt: skip
                yield placed, policy_of_check(placed, owner, grace)


def _readiness(source: Source, parsed: Parsed) -> Iterator[tuple[PlacedCheck, Policy]]:
    """The checks by which programs are ready."""
    for path, table in parsed.programs:
        raw = parsed.raw_ready.get(path)
        if raw is None or not isinstance(table.ready, CheckFields):
            continue
        for number, name in numbered(table):
            text = filled_whole(raw_check(table.ready, raw), number)
            try:
                (check,) = parse_checks([text], source)
            except Refused:  # a fault of one number, which semantics has found
                continue
            placed = PlacedCheck(
                f"{name}/ready", name, True, json.dumps(text, sort_keys=True), check.label, check.every,
                check.limit, check.fails, is_readiness=True,
            )  # fmt: skip
            yield placed, policy_of_readiness(placed)


def _policy(table: WatchFields, defaults: Declaration) -> Policy:
    auto = None if table.auto is None else Auto(**dict(table.auto))
    expect = isinstance(table, ProgramTable) or (isinstance(table, WatchdogTable) and table.expect)
    written = {*Declaration._fields} & table.model_fields_set - {"timeout"}
    return Policy(
        _declaration(table, auto, defaults, expect=expect),
        Ladder(_steps(table.ladder), _steps(table.last_steps), table.observe),
        table.min_interval,
        auto,
        tuple(table.depends_on),
        tuple(Window(**dict(window)) for window in table.maintenance),
        count_host_off=table.count_host_off,
        worker_declares=table.timeout is None,
        written=tuple(sorted(written)) if table.timeout is None else (),
        expect=expect,
        is_local=None if _scope(table) is None else _scope(table) == "local",
    )


def _scope(table: WatchFields) -> str | None:
    return table.scope if isinstance(table, WatchdogTable) else None


def _steps(steps: Sequence[StepFields | None]) -> tuple[Step, ...]:
    return tuple(_step(step) for step in steps if step)


def _step(step: StepFields) -> Step:
    """With the options that the file gives; the action has the defaults."""
    chosen: Any = step
    options: dict[str, Any] = dict(step.model_extra or {})
    options |= {key: getattr(step, key) for key in step.model_fields_set - STEP_KEYS}
    every = {key: getattr(step, key) for key in StepFields.model_fields}
    if chosen.do == "restart" and step.budget is None:
        every["budget"] = RESTARTS  # else what never comes up would be restarted for ever
    return Step(chosen.do, **every, options=tuple(sorted(options.items())))


def _group(table: GroupTable) -> Group:
    return Group(
        table.name,
        tuple(table.members),
        table.at_least,
        None if table.strategy is None else Strategy(table.strategy),
        table.budget,
        Ladder(_steps(table.ladder)),
    )


def _program(
    table: ProgramTable, number: int, name: str, withheld: tuple[str, ...], every: Sequence[str]
) -> ProgramSpec:
    """With what the file gives; the spec has the defaults. ``every``: the names of all programs."""

    given = {key: getattr(table, key) for key in table.model_fields_set.intersection(ProgramSpec._fields)}
    given |= {key: filled(given[key], number) for key in ("directory", "log", "env_file") if key in given}
    given.setdefault("env_clear", table.user is not None)
    given["command"] = tuple(filled(word, number) for word in table.command)
    given["after"] = started_after(table, number, name, every)
    given["ready"] = readiness_of(table.ready)
    # What Python writes is to be seen when it is written, and not when a buffer is full.
    more = (
        {"PYTHONUNBUFFERED": "1"}
        if any(isinstance(each, Output) for each in (*as_tuple(table.check), table.ready))
        else {}
    )
    given["environment"] = tuple((key, filled(value, number)) for key, value in (more | table.environment).items())
    asked = table.model_fields_set.intersection(ProcessAttributes._fields)
    given["attributes"] = ProcessAttributes(**{key: getattr(table, key) for key in asked})
    return ProgramSpec(**given | {"name": name, "withheld": withheld, "restart": Restart(table.restart)})


def _declaration(table: WatchFields, auto: Auto | None, defaults: Declaration, *, expect: bool) -> Declaration:
    """What a table declares; what it leaves out is as the defaults say. Without a timeout its silence is not
    judged, but for what the worker declares."""
    timeout = table.timeout if isinstance(table.timeout, float) else NEVER
    if auto is not None:
        timeout = auto.most  # until enough was seen
    # What is expected, fed or not, has the time to start. With a timeout of an hour a minute would be too short.
    grace = table.grace or (max(timeout, defaults.grace) if expect else timeout)
    return Declaration(
        milliseconds(timeout),
        milliseconds(table.interval or defaults.interval),
        milliseconds(grace),
        Feeders(table.feeders),
        table.callback,
        None if table.progress_timeout is None else milliseconds(table.progress_timeout),
        Exit(table.exit),
        CLEAN if table.clean is None else table.clean,
    )
