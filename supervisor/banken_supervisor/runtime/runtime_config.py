"""A config in force: what it names is looked up, and what it says is handed to whom it concerns."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from banken.calling import Callback, wants_incident
from banken.errors import Refused
from banken_supervisor.actions.registry import build
from banken_supervisor.engine.policy import Policy

if TYPE_CHECKING:
    from banken_supervisor.actions.callbacks import Callbacks
    from banken_supervisor.config import Config
    from banken_supervisor.runtime.loop import Loop


class RuntimeConfig:
    """One config with everything that had to be imported for it. Making it touches the disk: never on the loop.

    Refused if a callback or an action of it cannot be had; nothing is changed then.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        if config.directory not in sys.path:
            sys.path.append(config.directory)
        self.callbacks = {name: _function(name, target) for name, target in config.callbacks}
        self.actions = dict(config.actions)
        self.targets = {name: tuple(url.reveal() for url in urls) for name, urls in config.notify}
        programs = {spec.name for spec in config.programs}
        self.programs: dict[str, Policy] = {n: policy for n, policy in config.policies if n in programs}
        self.exact = [n for n, _ in config.policies if n not in programs and not any(c in n for c in "*?[")]
        ladders = [policy.ladder for _, policy in config.policies] + [group.ladder for group in config.groups]
        for ladder in ladders:
            for step in (*ladder.steps, *ladder.on_give_up):
                build(step.do, dict(step.options), self.actions)

    def prepare(self, loop: Loop, callbacks: Callbacks) -> None:
        """Before the loop's first turn."""
        self._hand_over(loop, callbacks)
        loop.programs.set(self.config.programs, self.config.groups, self.programs)
        self._expect(loop)
        self._conditions(loop)

    def replace(self, former: RuntimeConfig | None, loop: Loop, callbacks: Callbacks) -> None:
        """In place of a former one, on the loop's thread. No timer is lost; ValueError: nothing was changed."""
        driver = loop.driver
        programs = loop.programs
        before = programs.specs, programs.groups, programs.policies
        programs.set(self.config.programs, self.config.groups, self.programs)
        try:
            programs.apply(driver.engine, driver.now, driver.out)
        except ValueError:
            programs.set(*before)
            raise
        for name in callbacks.names() - self.callbacks.keys():
            if former is not None and name in former.callbacks:
                callbacks.name(name, None)
        self._hand_over(loop, callbacks)
        for name in former.exact if former is not None else ():
            if name not in self.exact:
                driver.engine.forget(name, driver.now, driver.out)
        programs.obey(driver.engine, driver.now, driver.out)  # the new patterns may speak for programs
        driver.engine.reconsider()
        self._expect(loop)
        self._conditions(loop)

    def _hand_over(self, loop: Loop, callbacks: Callbacks) -> None:
        for name, function in self.callbacks.items():
            callbacks.name(name, function)
        loop.dispatcher.named = self.actions
        loop.dispatcher.world.targets = self.targets
        loop.dispatcher.page = self.config.settings.url
        loop.dispatcher.notices.limits = self.config.settings.fold
        rules = loop.driver.engine.rules
        rules.replace_patterns(self.config.policies)
        rules.defaults = self.config.settings.defaults

    def _conditions(self, loop: Loop) -> None:
        """Groups and maintenance. Who is in a window that is open is paused as soon as the clock was looked at."""
        driver, config = loop.driver, self.config
        driver.engine.quorums.set(config.groups, config.settings.declaration, driver.now, driver.out)
        loop.maintenance.set(window for _, policy in config.policies for window in policy.maintenance)

    def _expect(self, loop: Loop) -> None:
        for name in self.exact:
            loop.driver.engine.expect(name, loop.driver.now, loop.driver.out)


def _function(name: str, target: str) -> Callback:
    module, _, path = target.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
        wants_incident(found)
    except Exception as fault:
        raise Refused(f"callback {name!r}: {target} cannot be had: {type(fault).__name__}: {fault}") from fault
    return found  # type: ignore[no-any-return]  # wants_incident has seen that it can be called
