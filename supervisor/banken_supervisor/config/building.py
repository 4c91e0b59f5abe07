"""From checked tables to the engine's data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from banken.protocol.messages import Declaration, Feeders
from banken_supervisor.config.models import GroupTable, ProgramTable, WatchFields
from banken_supervisor.config.names import PLACE, numbered, watched
from banken_supervisor.config.parsing import Parsed
from banken_supervisor.config.settings import Config, Retention, Settings
from banken_supervisor.config.steps import STEP_KEYS, StepFields
from banken_supervisor.engine.digest import Limits
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import Auto, Group, Policy, ProgramSpec, Restart, Strategy, Window

_SPEC = ProgramSpec("", ())
"""For its defaults."""


def build(source: Path, parsed: Parsed) -> Config:
    """The whole. ``source``: the file's absolute path."""
    settings = _settings(parsed)
    placed: list[tuple[str, WatchFields]] = [(table.name, table) for _, table in parsed.watchdogs]
    placed += [(name, table) for _, table in parsed.programs if watched(table) for _, name in numbered(table)]
    return Config(
        source,
        settings,
        tuple((name, _policy(table, settings)) for name, table in placed),
        tuple(_group(table) for _, table in parsed.groups),
        tuple(_program(table, number, name) for _, table in parsed.programs for number, name in numbered(table)),
        tuple(parsed.callbacks.items()),
        tuple(parsed.actions.items()),
        tuple((name, (*table.urls, *(table.urls_file or ()))) for name, table in parsed.notify.items()),
    )


def _settings(parsed: Parsed) -> Settings:
    table = parsed.supervisor
    defaults = table.defaults
    grace = defaults.timeout if defaults.grace is None else defaults.grace
    return Settings(
        table.address,
        table.callback_limit,
        table.callback_threads,
        table.stop_timeout,
        table.undeclared == "refuse",
        Declaration(_ms(defaults.timeout), _ms(defaults.interval), _ms(grace)),
        table.journal,
        Retention(table.retention.age, table.retention.size),
        table.url,
        Limits(table.fold.window, table.fold.most),
    )


def _policy(table: WatchFields, settings: Settings) -> Policy:
    auto = None if table.auto is None else Auto(table.auto.least, table.auto.most, table.auto.warm_up)
    given_up = table.on_give_up
    return Policy(
        _declaration(table, auto, settings.declaration),
        Ladder(
            _steps(table.ladder),
            _steps(given_up if isinstance(given_up, list) else [given_up]),
            table.observe,
        ),
        table.min_interval,
        auto,
        tuple(table.depends_on),
        tuple(Window(window.cron, window.seconds) for window in table.maintenance),
    )


def _steps(steps: Sequence[StepFields | None]) -> tuple[Step, ...]:
    return tuple(_step(step) for step in steps if step)


def _step(step: StepFields) -> Step:
    """With the options that the file gives; the action has the defaults."""
    chosen: Any = step
    options: dict[str, Any] = dict(step.model_extra or {})
    options |= {key: getattr(step, key) for key in step.model_fields_set - STEP_KEYS}
    return Step(
        chosen.do, step.after, step.level, step.repeat, step.budget, step.backoff, tuple(sorted(options.items()))
    )


def _group(table: GroupTable) -> Group:
    return Group(
        table.name,
        tuple(table.members),
        table.at_least,
        None if table.strategy is None else Strategy(table.strategy),
        table.budget,
        Ladder(_steps(table.ladder)),
    )


def _program(table: ProgramTable, number: int, name: str) -> ProgramSpec:
    def filled(text: str) -> str:
        return text.replace(PLACE, str(number))

    return ProgramSpec(
        name=name,
        command=tuple(map(filled, table.command)),
        environment=tuple((key, filled(value)) for key, value in table.env.items()),
        directory=None if table.cwd is None else filled(table.cwd),
        user=table.user,
        order=table.order,
        autostart=table.autostart,
        stop_signal=table.stop_signal,
        stop_timeout=table.stop_timeout,
        restart=Restart(table.restart),
        budget=table.budget or _SPEC.budget,
        backoff=table.backoff or _SPEC.backoff,
        log=None if table.log is None else filled(table.log),
        log_bytes_max=table.log_size,
        log_files_max=table.log_files,
        dies_with_supervisor=table.dies_with_supervisor,
    )


def _declaration(table: WatchFields, auto: Auto | None, defaults: Declaration) -> Declaration:
    """What a table declares; what it leaves out is as the defaults say."""
    if auto is not None:
        timeout = auto.most  # until enough was seen
    else:
        timeout = table.timeout if isinstance(table.timeout, float) else defaults.timeout
    given = table.timeout is not None
    # With a timeout of an hour, a default grace of a minute would be too short.
    grace = table.grace if table.grace is not None else timeout if given else defaults.grace
    return Declaration(
        _ms(timeout),
        _ms(table.interval if table.interval is not None else defaults.interval),
        _ms(grace),
        Feeders(table.feeders),
        table.callback,
        None if table.progress_timeout is None else _ms(table.progress_timeout),
    )


def _ms(seconds: float) -> float:
    """Durations of declarations are whole milliseconds, as on the wire."""
    return round(seconds, 3)
