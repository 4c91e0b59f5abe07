"""Handlers of signals for as long as something runs."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from types import FrameType


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
