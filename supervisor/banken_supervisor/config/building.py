"""From checked tables to the core's data. Here secrets are fetched, and relative paths made absolute."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

from banken import address
from banken.errors import AddressRefused
from banken.protocol.messages import Declaration, Feeders
from banken_supervisor.config import actions, secrets
from banken_supervisor.config.actions import StepFields
from banken_supervisor.config.faults import KeyPath, Problem
from banken_supervisor.config.models import GroupTable, NotifyTable, ProgramTable, WatchFields
from banken_supervisor.config.names import PLACE, numbered, watched
from banken_supervisor.config.parsing import Parsed
from banken_supervisor.config.secrets import Secret, SecretRefused
from banken_supervisor.config.settings import Config, Retention, Settings
from banken_supervisor.engine.digest import Limits
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import Auto, Group, Policy, ProgramSpec, Restart, Strategy, Window

_SPEC = ProgramSpec("", ())
"""For its defaults."""


class Builder:
    """Makes a Config; what goes wrong on the way is added to ``problems``."""

    def __init__(self, source: Path, parsed: Parsed) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._directory = os.path.abspath(source.parent)
        self._parsed = parsed

    def config(self) -> Config:
        """The whole."""
        parsed = self._parsed
        settings = self._settings()
        placed: list[tuple[KeyPath, str, WatchFields]] = [
            (path, table.name, table) for path, table in parsed.watchdogs
        ]
        placed += [(p, name, t) for p, t in parsed.programs if watched(t) for _, name in numbered(t)]
        return Config(
            Path(os.path.abspath(self._source)),
            settings,
            tuple((name, self._policy(path, table, settings)) for path, name, table in placed),
            tuple(self._group(path, table) for path, table in parsed.groups),
            tuple(self._program(t, number, name) for _, t in parsed.programs for number, name in numbered(t)),
            tuple(parsed.callbacks.items()),
            tuple(parsed.actions.items()),
            tuple((name, self._notify(("notify", name), table)) for name, table in parsed.notify.items()),
        )

    def place(self, path: str) -> str:
        """An absolute path, of one that begins at the file's directory."""
        return os.path.normpath(os.path.join(self._directory, path))

    def _settings(self) -> Settings:
        table = self._parsed.supervisor
        given = table.address
        if given is not None and "://" not in given:
            given = self.place(os.path.expanduser(given))
            try:
                address.resolve(given)
            except AddressRefused as fault:
                self.problems.append(Problem(("supervisor", "address"), str(fault)))
        defaults = table.defaults
        grace = defaults.timeout if defaults.grace is None else defaults.grace
        return Settings(
            given,
            table.callback_limit,
            table.callback_threads,
            table.stop_timeout,
            table.undeclared == "refuse",
            Declaration(_ms(defaults.timeout), _ms(defaults.interval), _ms(grace)),
            None if table.journal is None else self.place(table.journal),
            Retention(table.retention.age, table.retention.size),
            table.url,
            Limits(table.fold.window, table.fold.most),
        )

    def _policy(self, path: KeyPath, table: WatchFields, settings: Settings) -> Policy:
        auto = None if table.auto is None else Auto(table.auto.least, table.auto.most, table.auto.warm_up)
        given_up = table.on_give_up
        steps = list(given_up) if isinstance(given_up, list) else [given_up]
        return Policy(
            _declaration(table, auto, settings.declaration),
            Ladder(
                self._steps((*path, "ladder"), table.ladder),
                self._steps((*path, "on_give_up"), steps),
                table.observe,
            ),
            table.min_interval,
            auto,
            tuple(table.depends_on),
            tuple(Window(window.cron, window.seconds) for window in table.maintenance),
        )

    def _steps(self, path: KeyPath, steps: list[StepFields | None]) -> tuple[Step, ...]:
        return tuple(self._step((*path, place), step) for place, step in enumerate(steps) if step)

    def _step(self, path: KeyPath, step: StepFields) -> Step:
        chosen: Any = step
        options: dict[str, Any] = dict(step.model_extra or {})
        for key in type(step).model_fields.keys() - actions.STEP_KEYS:
            value = getattr(step, key)
            if value is not None:
                options[key] = tuple(value) if isinstance(value, list) else value
        if chosen.do == "webhook":
            self._webhook(path, options)
        return Step(
            chosen.do,
            step.after,
            step.level,
            step.repeat,
            step.budget,
            step.backoff,
            tuple(sorted(options.items())),
        )

    def _webhook(self, path: KeyPath, options: dict[str, Any]) -> None:
        """Its address and secret, looked at once they are known."""
        self._secret(options, "url", path, actions.check_url)
        self._secret(options, "secret", path, actions.check_webhook_secret)
        if "secret_file" in options:
            # Looked at now, and handed on as a path: it is read anew for each run, so that a secret can be changed.
            options["secret_file"] = self.place(options["secret_file"])
            try:
                actions.check_webhook_secret(secrets.from_file(options["secret_file"]).reveal())
            except ValueError as fault:
                self.problems.append(Problem((*path, "secret_file"), str(fault)))

        if "ca_file" in options:
            options["ca_file"] = self.place(options["ca_file"])
            try:
                ssl.create_default_context(cafile=options["ca_file"])
            except OSError as fault:
                why = "it holds no certificate in PEM" if isinstance(fault, ssl.SSLError) else fault.strerror
                self.problems.append(Problem((*path, "ca_file"), f"cannot be used: {why}"))

    def _secret(self, options: dict[str, Any], key: str, path: KeyPath, check: Any) -> None:
        if key in options:
            try:
                options[key] = secrets.expand(options[key])
                check(options[key].reveal())
            except ValueError as fault:
                options.pop(key)
                self.problems.append(Problem((*path, key), str(fault)))

    def _notify(self, path: KeyPath, table: NotifyTable) -> tuple[Secret, ...]:
        found = []
        for place, url in enumerate(table.urls):
            try:
                found.append(_notify_url(secrets.expand(url)))
            except ValueError as fault:
                self.problems.append(Problem((*path, "urls", place), str(fault)))
        if table.urls_file is not None:
            try:
                lines = secrets.from_file(self.place(table.urls_file)).reveal().splitlines()
                urls = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
                if not urls:
                    raise SecretRefused("the file holds no URL")
                found.extend(_notify_url(Secret(url)) for url in urls)
            except ValueError as fault:
                self.problems.append(Problem((*path, "urls_file"), str(fault)))
        return tuple(found)

    def _group(self, path: KeyPath, table: GroupTable) -> Group:
        return Group(
            table.name,
            tuple(table.members),
            table.at_least,
            None if table.strategy is None else Strategy(table.strategy),
            table.budget,
            Ladder(self._steps((*path, "ladder"), table.ladder)),
        )

    def _program(self, table: ProgramTable, number: int, name: str) -> ProgramSpec:
        def filled(text: str) -> str:
            return text.replace(PLACE, str(number))

        return ProgramSpec(
            name=name,
            command=tuple(map(filled, table.command)),
            environment=tuple((key, filled(value)) for key, value in table.env.items()),
            directory=None if table.cwd is None else self.place(filled(table.cwd)),
            user=table.user,
            order=table.order,
            autostart=table.autostart,
            stop_signal=table.stop_signal,
            stop_timeout=table.stop_timeout,
            restart=Restart(table.restart),
            budget=table.budget or _SPEC.budget,
            backoff=table.backoff or _SPEC.backoff,
            log=None if table.log is None else self.place(filled(table.log)),
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
    # Somebody who sets a timeout of an hour does not want the grace of a default of a minute.
    grace = table.grace if table.grace is not None else timeout if given else defaults.grace
    return Declaration(
        _ms(timeout),
        _ms(table.interval if table.interval is not None else defaults.interval),
        _ms(grace),
        Feeders(table.feeders),
        table.callback,
        None if table.progress_timeout is None else _ms(table.progress_timeout),
    )


def _notify_url(url: Secret) -> Secret:
    scheme, separator, rest = url.reveal().partition("://")
    if not separator or not rest or not scheme.replace("+", "").isalnum():
        raise SecretRefused("is no apprise URL; allowed is SCHEME://…, such as mailto://, slack://, json://")
    return url


def _ms(seconds: float) -> float:
    """Durations of declarations are whole milliseconds, as on the wire."""
    return round(seconds, 3)
