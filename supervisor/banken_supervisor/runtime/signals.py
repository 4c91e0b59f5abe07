"""Handlers of signals for as long as something runs, and what signals that end it ask for."""

from __future__ import annotations

import contextlib
import enum
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from types import FrameType

ONE_CAUSE_S = 0.2
"""Seconds from the first signal within which others have the same cause."""


class Wish(enum.Enum):
    """What a signal asks for."""

    END = enum.auto()
    END_AT_ONCE = enum.auto()
    NOTHING_NEW = enum.auto()


class EndSignals:
    """Signals that ask for the end: the first for an end in order, a further one for an end at once.

    One cause may send two: `timeout` signals us and then our group, what passes Ctrl-C on does so although the
    terminal has sent it, a session's end is SIGTERM and SIGHUP. And where a terminal closes, its shell sends
    SIGHUP, and the kernel another when the shell has ended, however much later.
    """

    def __init__(self) -> None:
        self._first: float | None = None

    def wish(self, number: int, now: float) -> Wish:
        """``now``: monotonic seconds."""
        if self._first is None:
            self._first = now
            return Wish.END
        if number == getattr(signal, "SIGHUP", None) or now - self._first < ONE_CAUSE_S:
            return Wish.NOTHING_NEW
        return Wish.END_AT_ONCE


@contextlib.contextmanager
def handled(
    names: Collection[str], handler: Callable[[int, FrameType | None], object], always: Collection[str] = ()
) -> Iterator[None]:
    """Handle these signals inside, of those that the system has; one that is ignored stays so, unless it is among
    ``always``. Only the main thread may set handlers; in another thread this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [(getattr(signal, name), name) for name in names if hasattr(signal, name)]
    heard = [each for each, name in ours if name in always or signal.getsignal(each) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
