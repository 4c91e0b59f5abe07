"""Reloads of the rights of the keys, for a supervisor without a config file."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.runtime.runtime_config import TEXT_MAX, wait_until_written


class KeysReload:
    """As ``ConfigReload``, without a config. ``read`` reads the rights of the keys in the file ``source``, and
    returns what puts them into force; where it raises, the old ones stay. ``post`` makes the loop call a function,
    ``start`` a background thread.
    """

    def __init__(
        self,
        source: Path,
        read: Callable[[], Callable[[], None]],
        post: Callable[[Callable[[], None]], object],
        publish: Callable[[Event], None],
        start: Callable[[Callable[[], None]], None],
    ) -> None:
        self.last: dict[str, Any] = {"number": 0, "ok": True, "text": ""}
        self._source, self._rights = source, read
        self._post, self._publish, self._start = post, publish, start
        self.asked = 0
        """how often a reload was asked for"""
        self._numbers = count(1)
        self._newest = 0
        self._waiting = 0
        """the number of a reload that has not begun to read; 0: there is none"""

    @property
    def is_pending(self) -> bool:
        """Whether one that was asked for has not ended."""
        return bool(self.last["number"] != self._newest)

    def ask(self, allow_empty: bool = False) -> int:
        """Start a reload. Returns its number at once: that of one that has not begun, if there is one."""
        self.asked += 1
        if number := self._waiting:
            return number
        number = self._waiting = self._newest = next(self._numbers)
        self._start(partial(self._read, number))  # which may have begun before this returns
        return number

    def _read(self, number: int) -> None:
        self._waiting = 0
        try:
            wait_until_written(self._source)
            apply = self._rights()
        except Exception as fault:  # noqa: BLE001  # on any error the old rights stay
            self._post(partial(self._finish, number, str(fault)))
        else:
            self._post(partial(self._apply, number, apply))

    def _apply(self, number: int, apply: Callable[[], None]) -> None:
        apply()
        self._finish(number)

    def _finish(self, number: int, fault: str | None = None) -> None:
        source = os.fspath(self._source)
        self.last = {"number": number, "ok": fault is None, "text": source if fault is None else fault[:TEXT_MAX]}
        if fault is None:
            self._publish(Event(EventType.RELOADED, None, {"file": source}))
        else:
            self._publish(Event(EventType.RELOAD_FAILED, None, {"text": fault[:TEXT_MAX]}))
