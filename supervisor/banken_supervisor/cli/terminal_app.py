"""What both views that fill the terminal have in common: how they end."""

from __future__ import annotations

import asyncio
import os
import signal
import termios
from contextlib import suppress
from typing import Any

from textual import events, on
from textual.app import App

STDERR = 2
"""textual draws on it."""


class EndingApp(App[None]):
    """SIGTERM and SIGHUP end it: the terminal is given back, and the exit code is 128 and the signal's number.

    A terminal that is gone (the window was closed) takes nothing any more, and textual would wait for it for ever:
    the process then ends at once.
    """

    @on(events.Mount)
    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()

        def end(number: int, frame: Any) -> None:
            try:
                termios.tcgetattr(STDERR)
            except termios.error:
                os._exit(128 + number)
            loop.call_soon_threadsafe(self.exit, None, 128 + number)

        self._before = {}
        with suppress(ValueError):  # not on the main thread: in a test
            self._before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}

    @on(events.Unmount)
    def _give_signals_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
