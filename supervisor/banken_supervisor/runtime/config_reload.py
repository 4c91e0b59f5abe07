"""Config reloads: a thread reads the file, and the loop applies the config.

The outcome is published as an event. It is also stored with its number, for a client that missed the event.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.runtime.runtime_config import ConfigTargets, RuntimeConfig

TEXT_MAX = 8192
"""Characters of an error text."""


class ConfigReload:
    """The current config, and reloads of it.

    ``load`` reads the file; if it raises, the old config stays. ``post`` makes the loop call a function on its
    thread.
    """

    def __init__(self, load: Callable[[], RuntimeConfig], post: Callable[[Callable[[], None]], object]) -> None:
        self.current = load()
        self.last: dict[str, Any] = {"number": 0}
        """of the last finished reload: its ``number``, ``ok``, and as ``text`` the file, or its errors"""
        self._load = load
        self._post = post
        self._numbers = count(1)

    def bind(
        self, targets: ConfigTargets, publish: Callable[[Event], None], start: Callable[[Callable[[], None]], None]
    ) -> None:
        """Apply the config, before the loop's first turn.

        ``start``: queues a function for a background thread; functions run in order.
        """
        self._targets, self._publish, self._start = targets, publish, start
        self.current.prepare(targets)

    def ask(self) -> int:
        """Start a reload. Returns its number at once."""
        number = next(self._numbers)
        self._start(partial(self._read, number))
        return number

    def _read(self, number: int) -> None:
        try:
            config = self._load()
        except Exception as fault:  # noqa: BLE001  # on any error the old config stays
            self._post(partial(self._refused, number, str(fault)))
        else:
            self._post(partial(self._replace, number, config))

    def _replace(self, number: int, config: RuntimeConfig) -> None:
        try:
            config.replace(self.current, self._targets)
        except ValueError as fault:
            self._refused(number, str(fault))
        except Exception as fault:
            self._refused(number, f"an internal error of the supervisor: {type(fault).__name__}: {fault}")
            raise
        else:
            self.current = config
            source = os.fspath(config.config.source)
            self._finish(number, True, source)
            self._publish(Event(EventType.RELOADED, None, {"file": source}))

    def _refused(self, number: int, text: str) -> None:
        self._finish(number, False, text[:TEXT_MAX])
        self._publish(Event(EventType.RELOAD_FAILED, None, {"text": text[:TEXT_MAX]}))

    def _finish(self, number: int, ok: bool, text: str) -> None:
        if self.last["number"] < number:
            self.last = {"number": number, "ok": ok, "text": text}
