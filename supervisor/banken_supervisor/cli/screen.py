"""A whole terminal for ``status --watch``: all restored on every way out. Main thread only."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.group import Failure

if TYPE_CHECKING:
    from rich.console import RenderableType

KEYS = {0x03: "interrupt", 0x1A: "suspend", 0x71: "q"}


def need_terminal(what: str, instead: str, *, stderr: bool = False) -> None:
    """A Failure unless stdin and stdout, and with ``stderr`` that as well, are a terminal that can be drawn on."""
    streams = [(sys.stdin, "stdin"), (sys.stdout, "stdout"), *([(sys.stderr, "stderr")] if stderr else [])]
    for stream, name in streams:
        if stream is None or not stream.isatty():
            raise Failure(
                f"{what} needs a terminal, and {name} is none; in a script use {instead}", exit_codes.NOT_SO
            )
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        raise Failure(
            f"{what} cannot draw on this terminal (TERM is dumb or not set); use {instead}", exit_codes.NOT_SO
        )


class Screen:
    """The terminal while it is ours. A context manager; ``need_terminal`` first.

    Ctrl-C ends ``wait`` with KeyboardInterrupt, SIGTERM and a lost terminal with SystemExit: between two drawings.
    """

    def __init__(self) -> None:
        from rich.console import Console

        # The size is the terminal's own, at each drawing: COLUMNS and LINES, where a shell exports them, stay as
        # they were.
        environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
        self.console = Console(highlight=False, _environ=environment)
        self._in = sys.stdin.fileno()
        self._live: Any = None
        self._ended: BaseException | None = None
        self._former: dict[int, Any] = {}

    @property
    def size(self) -> tuple[int, int]:
        """(columns, lines), as they are now."""
        return self.console.size.width, self.console.size.height

    def show(self, what: RenderableType) -> None:
        """Draw it, in place of what was there."""
        try:
            self._live.update(what, refresh=True)
        except OSError:
            if os.isatty(self._in):
                raise
            raise SystemExit(128 + signal.SIGHUP) from None  # the terminal has gone

    def wake(self) -> None:
        """End the ``wait`` that goes on, or the next one. From any thread, and from a signal handler."""
        try:
            os.write(self._bell[1], b"!")
        except OSError:  # full: it is awake already; closed: nobody waits
            return

    def wait(self, seconds: float) -> list[str]:
        """Keys of ``KEYS``, at once; none after ``seconds``, a ``wake``, or another size of the terminal."""
        ready, _, _ = select.select([self._in, self._bell[0]], [], [], seconds)
        if self._bell[0] in ready:
            os.read(self._bell[0], 4096)
        if self._ended is not None:
            raise self._ended
        if self._in not in ready:
            return []
        try:
            some = os.read(self._in, 4096)
        except OSError:
            some = b""
        if not some:
            raise SystemExit(128 + signal.SIGHUP)  # the terminal has gone
        keys = [KEYS[each] for each in some if each in KEYS]
        if "interrupt" in keys:
            raise KeyboardInterrupt
        return keys

    def suspend(self) -> None:
        """Ctrl-Z: give the terminal back, stop, and take it again when the shell lets us go on."""
        self._leave()
        try:
            os.kill(os.getpid(), signal.SIGTSTP)  # stops here; in a session without a shell it does nothing
            time.sleep(0)
        finally:
            self._enter()

    def __enter__(self) -> Screen:
        self._bell = os.pipe()
        os.set_blocking(self._bell[1], False)
        for number in (signal.SIGWINCH, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            self._former[number] = signal.signal(number, self._on_signal)
        try:
            self._enter()
        except BaseException:
            self._restore_signals()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        import termios

        try:
            self._leave()
        except (OSError, termios.error):
            if os.isatty(self._in):
                raise
            # The terminal has gone (its window was closed): there is nothing to be restored.
        finally:
            self._restore_signals()
            for end in self._bell:
                os.close(end)

    def _enter(self) -> None:
        import termios

        from rich.live import Live

        self._termios = termios.tcgetattr(self._in)
        mode = termios.tcgetattr(self._in)
        mode[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        mode[6][termios.VSUSP] = b"\0"  # Ctrl-Z comes as a key: a stop in the midst of drawing would leave a mess
        termios.tcsetattr(self._in, termios.TCSADRAIN, mode)
        try:
            self._live = Live(
                console=self.console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
        except BaseException:
            termios.tcsetattr(self._in, termios.TCSADRAIN, self._termios)
            raise

    def _leave(self) -> None:
        import termios

        try:
            self._live.stop()
        finally:
            termios.tcsetattr(self._in, termios.TCSAFLUSH, self._termios)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self._ended = KeyboardInterrupt()
        elif number != signal.SIGWINCH:
            self._ended = SystemExit(128 + number)
        self.wake()

    def _restore_signals(self) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)
