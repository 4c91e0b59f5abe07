"""Collects orphans: processes whose parent has ended, and which the kernel then makes children of this process.

That happens to pid 1 of a container, and to a process that is a "child subreaper" (prctl(2)). What nobody collects
stays a zombie for ever.

Children that another thread has started are not touched, so that whoever waits for one still gets its status: the
kernel keeps a list of children for each thread, gives orphans to the main thread, and ``__WNOTHREAD`` (wait(2))
looks at the list of the calling thread only. A child of a thread that has ended moves to the main thread too; one
that is still waited for must be in ``own``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

_SET_CHILD_SUBREAPER = 36
_WNOTHREAD = 0x20000000
_PEEK = getattr(os, "WEXITED", 0) | os.WNOHANG | getattr(os, "WNOWAIT", 0) | _WNOTHREAD


class Orphans:
    """Does nothing until ``adopting`` is entered: a process that only embeds a supervisor keeps its children."""

    def __init__(self) -> None:
        self.own: set[int] = set()
        """pids of children that are collected elsewhere; add one on the thread that started it"""
        self.adopted = False
        """whether orphans come to this process"""
        self.sole_starter: Callable[[], bool] = lambda: False
        """whether only one program, and nothing else, has started processes here: an orphan is then its"""

    @contextlib.contextmanager
    def adopting(self) -> Iterator[None]:
        """Become a subreaper, and collect orphans as they end. For the main thread; elsewhere nothing happens."""
        if not sys.platform.startswith("linux") or threading.current_thread() is not threading.main_thread():
            yield
            return
        self.adopted = os.getpid() == 1 or _set_subreaper(True)
        # What this process starts itself, for its own use, is no program's: said by a mark that it inherits.
        os.environ.setdefault("BANKEN_RUN", "")
        before = signal.signal(signal.SIGCHLD, lambda number, frame: self.collect())
        self.collect()
        try:
            yield
        finally:
            signal.signal(signal.SIGCHLD, before if before is not None else signal.SIG_DFL)
            _set_subreaper(False)
            self.adopted = False

    def collect(self) -> None:
        """Collect the orphans that have ended. On the main thread; also to be called when a child of ``own`` was
        collected, which may have stood before others."""
        if not self.adopted:
            return
        with contextlib.suppress(OSError):  # ChildProcessError: there is no child at all
            while (ended := os.waitid(os.P_ALL, 0, _PEEK)) is not None and ended.si_pid not in self.own:
                os.waitid(os.P_PID, ended.si_pid, os.WEXITED | os.WNOHANG)


def _set_subreaper(on: bool) -> bool:
    result: int = ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)
    return result == 0
