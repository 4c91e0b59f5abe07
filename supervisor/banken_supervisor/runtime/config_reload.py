"""Reading the config file again while the supervisor runs: in a thread of its own, put in force by the loop.

What became of it is told by an event, and kept under its number for whoever asked and might miss the event.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from banken_supervisor.engine.effects import Event, EventType

if TYPE_CHECKING:
    from banken_supervisor.actions.callbacks import Callbacks
    from banken_supervisor.runtime.loop import Loop
    from banken_supervisor.runtime.runtime_config import RuntimeConfig

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

    ``load``: reads the file; what it raises keeps the old config in force. ``post``: has the loop call a
    function on its thread. ``start``, set before the first ``ask``: has a function run on a thread after those that
    were given before, now or when there is a thread.
    """

    start: Callable[[Callable[[], None]], None]

    def __init__(
        self, load: Callable[[], RuntimeConfig], callbacks: Callbacks, post: Callable[[Callable[[Loop], None]], Any]
    ) -> None:
        self.setup = load()
        self.last: Outcome | None = None
        """of the newest reading that is over; written by the loop"""
        self._load = load
        self._callbacks = callbacks
        self._post = post
        self._numbers = count(1)

    def ask(self) -> int:
        """Begin to read the file again. Returns at once: the number of this reading."""
        number = next(self._numbers)
        self.start(partial(self._read, number))
        return number

    def begin(self) -> None:
        """``ask``, for whoever waits for nothing."""
        self.ask()

    def _read(self, number: int) -> None:
        try:
            setup = self._load()
        except Exception as fault:  # noqa: BLE001  # whatever is wrong with the file, the old one stays
            text = str(fault)
            self._post(lambda loop: self._refused(loop, number, text))
        else:
            self._post(lambda loop: self._replace(loop, number, setup))

    def _replace(self, loop: Loop, number: int, setup: RuntimeConfig) -> None:
        try:
            setup.replace(self.setup, loop, self._callbacks)
        except ValueError as fault:
            self._refused(loop, number, str(fault))
        except Exception as fault:
            self._refused(loop, number, f"an internal error of the supervisor: {type(fault).__name__}: {fault}")
            raise
        else:
            self.setup = setup
            source = os.fspath(setup.config.source)
            self._over(Outcome(number, True, source))
            loop.publish(Event(EventType.RELOADED, None, {"file": source}))

    def _refused(self, loop: Loop, number: int, text: str) -> None:
        self._over(Outcome(number, False, text[:TEXT_MAX]))
        loop.publish(Event(EventType.RELOAD_FAILED, None, {"text": text[:TEXT_MAX]}))

    def _over(self, outcome: Outcome) -> None:
        if self.last is None or self.last.number < outcome.number:
            self.last = outcome
