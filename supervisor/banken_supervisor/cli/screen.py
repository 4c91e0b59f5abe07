"""A whole terminal for one command: its keys, its size, and all restored on every way out. Main thread only."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from banken_supervisor.cli import exits
from banken_supervisor.cli.group import Failure

if TYPE_CHECKING:
    from rich.console import RenderableType

ESCAPE_S = 0.05
"""Seconds after which an escape that nothing follows was the key itself."""

SEQUENCES = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"\x1b[B": "down", b"\x1bOB": "down", b"\x1b[C": "right", b"\x1bOC": "right",
    b"\x1b[D": "left", b"\x1bOD": "left", b"\x1b[5~": "pgup", b"\x1b[6~": "pgdn", b"\x1b[H": "home",
    b"\x1bOH": "home", b"\x1b[1~": "home", b"\x1b[F": "end", b"\x1bOF": "end", b"\x1b[4~": "end",
}  # fmt: skip
NAMED = {0x0D: "enter", 0x0A: "enter", 0x7F: "backspace", 0x08: "backspace", 0x1A: "suspend", 0x03: "interrupt"}


def parse(data: bytes, *, final: bool = False) -> tuple[list[str], bytes]:
    """Keys, and the rest that may be the beginning of one; ``final``: nothing follows. Others are left out."""
    keys: list[str] = []
    while data:
        if data[0] == 0x1B:
            if data[1:2] not in (b"[", b"O") and (len(data) > 1 or final):
                keys.append("escape")
                data = data[1:]
                continue
            end = 2
            if data[1:2] == b"O":
                end = 3
            else:
                while end < len(data) and not 0x40 <= data[end] <= 0x7E:
                    end += 1
                end += 1
            if len(data) < end:
                return keys, b"" if final else data
            if data[:end] in SEQUENCES:
                keys.append(SEQUENCES[data[:end]])
            data = data[end:]
            continue
        if data[0] in NAMED:
            keys.append(NAMED[data[0]])
            data = data[1:]
            continue
        size = 1 if data[0] < 0x80 else 2 if data[0] < 0xE0 else 3 if data[0] < 0xF0 else 4
        if len(data) < size and not final:
            return keys, data
        text = data[:size].decode(errors="ignore")
        if text.isprintable() and text:
            keys.append(text)
        data = data[size:]
    return keys, b""


def need_terminal(what: str, instead: str) -> None:
    """A Failure unless stdin and stdout are a terminal that can be drawn on."""
    for stream, name in ((sys.stdin, "stdin"), (sys.stdout, "stdout")):
        if stream is None or not stream.isatty():
            raise Failure(f"{what} needs a terminal, and {name} is none; in a script use {instead}", exits.NOT_SO)
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        raise Failure(f"{what} cannot draw on this terminal (TERM is dumb or not set); use {instead}", exits.NOT_SO)


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
        self._pending = b""
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
        """Keys, as soon as there are some; none after ``seconds``, a ``wake``, or another size of the terminal."""
        ready, _, _ = select.select([self._in, self._bell[0]], [], [], ESCAPE_S if self._pending else seconds)
        if self._bell[0] in ready:
            os.read(self._bell[0], 4096)
        if self._ended is not None:
            raise self._ended
        if self._in not in ready:
            keys, self._pending = parse(self._pending, final=bool(self._pending) and not ready)
            return keys
        try:
            some = os.read(self._in, 4096)
        except OSError:
            some = b""
        if not some:
            raise SystemExit(128 + signal.SIGHUP)  # the terminal has gone
        keys, self._pending = parse(self._pending + some)
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
