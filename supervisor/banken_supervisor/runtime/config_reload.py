"""Reading the config file again while the supervisor runs: on a thread, and put in force by the loop.

The outcome is an event, and is kept under its number for an asker that may have missed the event.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count

from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.runtime.runtime_config import ConfigTargets, RuntimeConfig

TEXT_MAX = 8192
"""Characters of what is wrong with a file."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one reading: ``text`` is the file that is in force, or what is wrong with it."""

    number: int
    ok: bool
    text: str


class ConfigReload:
    """The config in force, and how the next one comes.

    ``load``: reads the file; what it raises keeps the old config in force. ``post``: has the loop call a function
    on its thread.
    """

    def __init__(self, load: Callable[[], RuntimeConfig], post: Callable[[Callable[[], None]], object]) -> None:
        self.in_force = load()
        self.last: Outcome | None = None
        """of the newest reading that is over; written by the loop"""
        self._load = load
        self._post = post
        self._numbers = count(1)

    def bind(
        self, targets: ConfigTargets, publish: Callable[[Event], None], start: Callable[[Callable[[], None]], None]
    ) -> None:
        """Before the loop's first turn: put the config in force.

        ``start``: has a function run on a thread after those that were given before, now or when there is a thread.
        """
        self._targets, self._publish, self._start = targets, publish, start
        self.in_force.prepare(targets)

    def ask(self) -> int:
        """Begin to read the file again. Returns at once: the number of this reading."""
        number = next(self._numbers)
        self._start(partial(self._read, number))
        return number

    def begin(self) -> None:
        """``ask``, where the number is not needed."""
        self.ask()

    def _read(self, number: int) -> None:
        try:
            config = self._load()
        except Exception as fault:  # noqa: BLE001  # whatever is wrong with the file, the old one stays
            self._post(partial(self._refused, number, str(fault)))
        else:
            self._post(partial(self._replace, number, config))

    def _replace(self, number: int, config: RuntimeConfig) -> None:
        try:
            config.replace(self.in_force, self._targets)
        except ValueError as fault:
            self._refused(number, str(fault))
        except Exception as fault:
            self._refused(number, f"an internal error of the supervisor: {type(fault).__name__}: {fault}")
            raise
        else:
            self.in_force = config
            source = os.fspath(config.config.source)
            self._over(Outcome(number, True, source))
            self._publish(Event(EventType.RELOADED, None, {"file": source}))

    def _refused(self, number: int, text: str) -> None:
        self._over(Outcome(number, False, text[:TEXT_MAX]))
        self._publish(Event(EventType.RELOAD_FAILED, None, {"text": text[:TEXT_MAX]}))

    def _over(self, outcome: Outcome) -> None:
        if self.last is None or self.last.number < outcome.number:
            self.last = outcome
