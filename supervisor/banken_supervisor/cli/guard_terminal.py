"""The controlling terminal of ``banken guard``: the command can use it, as under a shell.

The command is a process group of its own in our session, so that it can be signalled whole. One group of a session
is in the foreground: it reads the terminal, and gets Ctrl-C, Ctrl-Z and SIGWINCH. That is ours at first, and we
pass them on. When the command reads the terminal or changes its modes, the kernel stops it; then it is put into the
foreground and continued: an editor or a prompt gets the keys itself. A command that does not, leaves the terminal
to others in a pipe (``less``).

When Ctrl-Z stops the command, we stop, too, so that the shell comes back; ``fg`` and ``bg`` continue both.
"""

from __future__ import annotations

import contextlib
import os
import signal
import termios
import time
from collections.abc import Callable, Iterator
from types import FrameType

Handler = Callable[[int, FrameType | None], object]

STOP_S = 0.3
"""Seconds within which a stop that we send to ourselves takes effect, if the kernel stops us at all: another thread
may get the signal, a moment later."""


class Terminal:
    """For the main thread. ``post`` makes the loop, on the same thread, call a function: not within a handler."""

    def __init__(self, post: Callable[[Callable[[], None]], None]) -> None:
        self._post = post
        self._fd = -1
        self._group = 0
        """the command's; 0: it does not run"""
        self._uses_it = False
        """whether the command has read the terminal, or changed its modes"""
        self._lent = False
        """whether it was given the terminal, and nobody has taken it since. It may not be in the foreground all the
        same: a shell puts its jobs there, which are groups of their own, and may die before it takes that back"""
        self._before: dict[signal.Signals, object] = {}
        """the handlers that were in place"""
        self._children_watched = self._was_continued = self._was_resized = False
        with contextlib.suppress(OSError):
            self._fd = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
        if self._fd >= 0:
            self._modes = termios.tcgetattr(self._fd)

    @property
    def there(self) -> bool:
        """Whether this process has a controlling terminal."""
        return self._fd >= 0

    def opened(self) -> None:
        """From here on Ctrl-Z is passed on to the command."""
        if self.there:
            self._set(signal.SIGTSTP, self._suspend)
            self._set(signal.SIGWINCH, self._pass_on)
            self._set(signal.SIGCONT, self._continued)

    def started(self, group: int) -> None:
        """The command runs as this process group."""
        if not self.there:
            return
        self._group, self._uses_it = group, False
        if not self._children_watched:  # not earlier: `Orphans` watches them, too
            self._children_watched = True
            self._set(signal.SIGCHLD, self._child)
        if self._was_resized:
            self._signal(signal.SIGWINCH)
        self._look()

    def ended(self) -> bool:
        """The command has ended: the terminal is ours again, in the modes it had. Whether the command had it."""
        group, self._group = self._group, 0
        lent, self._lent = self._lent, False
        had = False
        if group:
            with contextlib.suppress(OSError, termios.error), _no_stop():
                had = os.tcgetpgrp(self._fd) == group
                if had or lent:
                    os.tcsetpgrp(self._fd, os.getpgrp())
                if os.tcgetpgrp(self._fd) == os.getpgrp():
                    # Now: that all is written may never be, after Ctrl-S.
                    termios.tcsetattr(self._fd, termios.TCSANOW, self._modes)
        return had

    def close(self) -> None:
        """Give it back."""
        self.ended()
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() has returned
        self._before.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    # -- signal handlers ----------------------------------------------------------------------------

    def _set(self, number: signal.Signals, handler: Handler) -> None:
        self._before[number] = signal.getsignal(number)  # first: the handler may run at once, and look there
        signal.signal(number, handler)

    def _child(self, number: int, frame: FrameType | None) -> None:
        former = self._before[signal.SIGCHLD]
        if callable(former):
            former(number, frame)
        self._post(self._look)

    def _suspend(self, number: int, frame: FrameType | None) -> None:
        if self._group:
            self._signal(number)  # SIGCHLD follows, and we stop, too
        else:
            self._post(self._stop)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        """We are in the foreground: the command shares the terminal all the same."""
        self._was_resized = True  # it may have started, and we not have heard of it yet
        self._signal(number)

    def _continued(self, number: int, frame: FrameType | None) -> None:
        self._was_continued = True
        self._post(self._resume)

    # -- on the loop's thread -----------------------------------------------------------------------

    def _look(self) -> None:
        """What to do if the command was stopped by the terminal."""
        why = self._stopped_by()
        if why in (signal.SIGTTIN, signal.SIGTTOU):
            if self._hand_over():
                self._signal(signal.SIGCONT)
            else:  # we are in the background ourselves: wait for `fg`
                self._stop()
        elif why == signal.SIGTSTP:
            self._stop()

    def _stopped_by(self) -> int:
        """The signal that stopped the command since the last call; 0: none did."""
        if self._group:
            with contextlib.suppress(OSError):
                found = os.waitid(os.P_PID, self._group, os.WSTOPPED | os.WNOHANG)
                return 0 if found is None else found.si_status
        return 0

    def _stop(self) -> None:
        """Stop our own group, as the terminal does, until `fg` or `bg`."""
        former = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        self._was_continued = self._lent = False  # our shell takes it
        with contextlib.suppress(OSError):
            os.killpg(0, signal.SIGTSTP)
        until = time.monotonic() + STOP_S
        while not self._was_continued and time.monotonic() < until:
            time.sleep(0.005)
        signal.signal(signal.SIGTSTP, former)
        if not self._was_continued:  # no shell can continue it, so the kernel did not stop us
            self._resume()

    def _resume(self) -> None:
        """After `fg` or `bg`."""
        self._lent = False
        if self._group:
            if self._uses_it:  # after `bg` the terminal is not ours to give
                self._hand_over()
            self._signal(signal.SIGCONT)

    def _hand_over(self) -> bool:
        """Put the command into the foreground, if we or it are there; whether it is."""
        with contextlib.suppress(OSError), _no_stop():
            self._uses_it = True
            if os.tcgetpgrp(self._fd) == os.getpgrp():
                os.tcsetpgrp(self._fd, self._group)
            self._lent = os.tcgetpgrp(self._fd) == self._group
            return self._lent
        return False

    def _signal(self, number: int) -> None:
        if self._group:
            with contextlib.suppress(OSError):
                os.killpg(self._group, number)


@contextlib.contextmanager
def _no_stop() -> Iterator[None]:
    """The kernel stops who changes the terminal from the background, unless SIGTTOU is blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
