"""A loaded config: resolves its names and passes its settings to the parts of the supervisor; and its reloads.

A thread reads the file, and the loop applies the config. The outcome is published as an event. It is also stored
with its number, for a client that missed the event.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from banken.clock import wall
from banken.errors import Refused
from banken.watchdog.callback_invocation import Callback, taking_incident
from banken_supervisor.actions.callback_processes import CallbackProcesses
from banken_supervisor.actions.callbacks import Callbacks
from banken_supervisor.actions.dispatcher import Dispatcher
from banken_supervisor.actions.own_action import OwnActions, made_of
from banken_supervisor.actions.registry import build
from banken_supervisor.control.checks_in_force import ChecksInForce
from banken_supervisor.engine.digest import Limits
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.engine.policy import Policy
from banken_supervisor.programs.program_watchdogs import ProgramWatchdogs
from banken_supervisor.runtime.maintenance_clock import MaintenanceClock
from banken_supervisor.runtime.outer_watchdogs import OuterWatchdogs

if TYPE_CHECKING:  # pydantic is not imported where there is no config file
    from banken_supervisor.config import Config


_log = logging.getLogger("banken.config")

QUIET_S, WRITTEN_S = 0.1, 2.0
"""Seconds without a change after which a config file counts as written, and how long a reload waits for that."""

TEXT_MAX = 8192
"""Characters of an error text."""


@dataclass(frozen=True, slots=True)
class ConfigTargets:
    """The parts that get the settings of a config. All belong to the loop's thread."""

    driver: Driver
    programs: ProgramWatchdogs
    dispatcher: Dispatcher
    callbacks: Callbacks
    maintenance: MaintenanceClock
    checks: ChecksInForce
    outer: OuterWatchdogs
    notify: Callable[[Mapping[str, str]], None] = lambda outsiders: None
    """is told the names that are no programs and speak by sd_notify, each with its ``notify_access``"""


class RuntimeConfig:
    """A config with everything that it imports. Creating it reads the disk, so it must not happen on the loop's
    thread. ``setup``: what a process of callbacks calls first, see ``CallbackProcesses``.

    Refused: a callback or an action cannot be imported; nothing has changed then.
    """

    def __init__(self, config: Config, setup: tuple[str, Mapping[str, Any]] | None = None) -> None:
        self.config = config
        if config.directory not in sys.path:
            sys.path.append(config.directory)
        self.actions = dict(config.actions)
        self.targets = {name: tuple(url.reveal() for url in urls) for name, urls in config.notify}
        programs = {spec.name for spec in config.programs}
        self.specs = (*config.programs, *(spec for spec, _ in config.own_programs))
        self.programs: dict[str, Policy] = {n: policy for n, policy in config.policies if n in programs}
        self.programs |= {spec.name: policy for spec, policy in config.own_programs}
        self.exact = {n: p for n, p in config.policies if n not in programs and not any(c in n for c in "*?[")}
        ladders = [policy.ladder for _, policy in config.policies] + [group.ladder for group in config.groups]
        steps = [step for ladder in ladders for step in (*ladder.steps, *ladder.on_give_up)]
        made = [made_of(build(step.do, dict(step.options), self.actions)) for step in steps]
        actions = sorted({each.target for each in made if each is not None})
        self._processes: CallbackProcesses | None = None
        """None: callbacks and the user's own actions run in this process, or there are none"""
        if config.settings.callback_process and (config.callbacks or actions):
            self._processes = CallbackProcesses(dict(config.callbacks), config.directory, setup, actions)
            for name, why in self._processes.start().items():
                self.close()
                target = dict(config.callbacks).get(name)
                raise Refused(f"{name} {why}" if target is None else f"callback {name!r}: {target} {why}")
            self.callbacks = {name: self._processes.function(name) for name, _ in config.callbacks}
        else:
            self.callbacks = {name: _function(name, target) for name, target in config.callbacks}

    def close(self, kill_within: float | None = None) -> None:
        """It is in force no longer: end its processes, when their callbacks have ended, or within these seconds."""
        if self._processes is not None and kill_within is None:
            self._processes.retire()
        elif self._processes is not None and kill_within is not None:
            self._processes.kill(kill_within)

    def warn(self) -> None:
        """Log what is allowed in the file and may not be meant; not on the loop's thread."""
        for warning in self.config.warnings:
            _log.warning("%s", warning)

    def prepare(self, targets: ConfigTargets) -> None:
        """Apply this config, before the loop's first turn."""
        self._pass_settings(targets)
        targets.programs.set(self.specs, self.config.groups, self.programs)
        self._conditions(targets, {})

    def replace(self, former: RuntimeConfig, targets: ConfigTargets) -> None:
        """Replace an earlier config, on the loop's thread. No timer is lost. ValueError: nothing has changed."""
        driver, programs, callbacks = targets.driver, targets.programs, targets.callbacks
        before = programs.specs, programs.groups, programs.policies
        programs.set(self.specs, self.config.groups, self.programs)
        try:
            programs.apply(driver.engine, driver.now, driver.out)
        except ValueError:
            programs.set(*before)
            raise
        for name in former.callbacks.keys() - self.callbacks.keys():
            callbacks.name(name, None)
        self._pass_settings(targets)
        for name in former.exact:
            if name not in self.exact:
                driver.engine.undeclare(name, driver.now, driver.out)
        programs.update_declarations(driver.engine, driver.now, driver.out)  # new patterns may match programs
        driver.engine.reconsider()
        self._conditions(targets, former.exact)

    def _pass_settings(self, targets: ConfigTargets) -> None:
        for name, function in self.callbacks.items():
            targets.callbacks.name(name, function)
        dispatcher, settings = targets.dispatcher, self.config.settings
        dispatcher.named = self.actions
        dispatcher.executor.elsewhere = None if self._processes is None else OwnActions(self._processes)
        dispatcher.context.targets = self.targets
        dispatcher.context.withheld = self.config.withheld
        dispatcher.page = settings.url
        dispatcher.notices.limits = Limits(settings.fold.window, settings.fold.most)
        targets.outer.configure(settings.deadman_settings, settings.hardware_watchdog)
        targets.driver.engine.set_quotas(settings.quotas)
        rules = targets.driver.engine.rules
        rules.replace_patterns(self.config.policies)
        rules.defaults = settings.for_undeclared
        rules.times = settings.declaration

    def _conditions(self, targets: ConfigTargets, former: Mapping[str, Policy]) -> None:
        """Apply names, groups and maintenance. A watchdog in an open window is paused at the next check of the
        clock. ``former``: what the config named before; what was expected then may have ended well since."""
        driver, config = targets.driver, self.config
        engine, now, out = driver.engine, driver.now, driver.out
        # First, for what was a group's name may be a watchdog's now.
        engine.quorums.set(config.groups, config.settings.declaration, now, out)
        targets.programs.others = self.exact
        for name, policy in self.exact.items():
            was_expected = name in former and former[name].expect
            engine.watch(name, now, out, awaited=policy.expect and not was_expected)
        new = engine.checks.set([check.name for check in config.checks])
        targets.checks.set(config.checks, config.directory, config.settings.checks_at_once)
        targets.programs.settle_checks(engine, now, out)
        engine.checks.join_pauses(new, now, out)
        targets.maintenance.set(engine.rules.windows())
        targets.notify(dict(config.outsiders))


class ConfigReload:
    """The current config, and reloads of it.

    ``load`` reads the file; if it raises, the old config stays. ``post`` makes the loop call a function on its
    thread.
    """

    def __init__(self, load: Callable[[], RuntimeConfig], post: Callable[[Callable[[], None]], object]) -> None:
        self.current = load()
        self.also: Callable[[], Callable[[], None]] = lambda: lambda: None
        """reads what else is reloaded, on the background thread; what it returns puts it into force"""
        self.last: dict[str, Any] = {"number": 0, "ok": True, "text": ""}
        """of the last finished reload: its ``number``, ``ok``, and as ``text`` the file, or its errors; ``later``:
        what of it waits for the supervisor's next start"""
        self._first = self.current.config
        self._load = load
        self._post = post
        self.asked = 0
        """how often a reload was asked for"""
        self._numbers = count(1)
        self._newest = 0
        self._waiting: tuple[int, bool] | None = None
        """a reload that has not begun to read: its number, and ``allow_empty``"""

    def bind(
        self, targets: ConfigTargets, publish: Callable[[Event], None], start: Callable[[Callable[[], None]], None]
    ) -> None:
        """Apply the config, before the loop's first turn.

        ``start``: queues a function for a background thread; functions run in order.
        """
        self._targets, self._publish, self._start = targets, publish, start
        self.current.warn()
        self.current.prepare(targets)

    @property
    def is_pending(self) -> bool:
        """Whether one that was asked for has not ended."""
        return bool(self.last["number"] != self._newest)

    def ask(self, allow_empty: bool = False) -> int:
        """Start a reload. Returns its number at once. ``allow_empty``: take an empty file, too.

        Where one that was asked for before has not begun, it is that one: a storm of requests is read once.
        """
        self.asked += 1
        waiting = self._waiting
        if waiting is not None and waiting[1] == allow_empty:
            return waiting[0]
        number = self._newest = next(self._numbers)
        self._waiting = number, allow_empty
        self._start(partial(self._read, number, allow_empty))
        return number

    def _read(self, number: int, allow_empty: bool) -> None:
        self._waiting = None  # what is asked for from now on may concern a later change of the file
        try:
            wait_until_written(self.current.config.source)
            config = self._load()
            config.warn()
            if not (allow_empty or self.current.config.empty):
                config.config.refuse_empty()  # it has no callbacks, so no process is to be ended
            also = self._also_of(config)
        except Exception as fault:  # noqa: BLE001  # on any error the old config stays
            self._post(partial(self._refused, number, str(fault)))
        else:
            self._post(partial(self._replace, number, config, also))

    def _also_of(self, config: RuntimeConfig) -> Callable[[], None]:
        try:
            return self.also()
        except Exception:
            config.close()
            raise

    def _replace(self, number: int, config: RuntimeConfig, also: Callable[[], None]) -> None:
        from banken_supervisor.config.at_start import changed  # with it comes pydantic

        try:
            config.replace(self.current, self._targets)
            also()
        except ValueError as fault:
            config.close()
            self._refused(number, str(fault))
        except Exception as fault:  # some of it may be in force: its processes stay
            self._refused(number, f"an internal error of the supervisor: {type(fault).__name__}: {fault}")
            raise
        else:
            self.current.close()
            self.current = config
            source = os.fspath(config.config.source)
            later = changed(self._first, config.config)
            self._finish(number, True, source, later)
            self._publish(Event(EventType.RELOADED, None, {"file": source} | ({"later": later} if later else {})))

    def _refused(self, number: int, text: str) -> None:
        self._finish(number, False, text[:TEXT_MAX])
        self._publish(Event(EventType.RELOAD_FAILED, None, {"text": text[:TEXT_MAX]}))

    def _finish(self, number: int, ok: bool, text: str, later: Sequence[str] = ()) -> None:
        if self.last["number"] < number:
            self.last = {"number": number, "ok": ok, "text": text} | ({"later": list(later)} if later else {})


def wait_until_written(path: Path) -> None:
    """Wait until the file was not changed for ``QUIET_S``, at most ``WRITTEN_S``: half a file may be valid."""
    until = monotonic() + WRITTEN_S
    with contextlib.suppress(OSError):  # the error is found when it is read
        while monotonic() < until and 0.0 <= wall() - path.stat().st_mtime < QUIET_S:
            sleep(QUIET_S / 4)


def _function(name: str, target: str) -> Callback:
    module, _, path = target.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
        taking_incident(found)
    except Exception as fault:
        raise Refused(f"callback {name!r}: {target} cannot be imported: {type(fault).__name__}: {fault}") from fault
    return found  # type: ignore[no-any-return]  # taking_incident has checked that it is callable
