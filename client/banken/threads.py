"""Starting threads in a process that may have no thread, or no descriptor, left to take; and waking them."""

from __future__ import annotations

import _thread
import contextlib
import os
import threading
import time
from collections.abc import Callable
from types import BuiltinFunctionType
from typing import Any

NO_THREAD = "the system gives no thread now (limits: ulimit -u, pids.max of the cgroup, memory)"
"""The reason given in messages when work waits for a thread."""

NO_DESCRIPTOR = "too many files are open in it (limit: ulimit -n)"
"""The same, where it waits for a descriptor."""

SETTLE_S = 0.001
"""Seconds that the kernel may still count a thread that was joined."""

ZMQ_THREADS = 4
"""What must be left to make a ZeroMQ context: twice the two that it starts."""


ZMQ_DESCRIPTORS = 8
"""What must be left to make one with three sockets."""

WAIT_MAX = 3600.0
"""Seconds; some systems cannot wait for longer than 49 days at once."""


class WakeUp:
    """Ends one thread's sleep, now or when it next sleeps.

    Like an Event, but without its lock: a signal handler that sets an Event may interrupt its own thread inside the
    lock, and would wait for ever.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def signal(self) -> None:
        """End the wait, or the next one if no thread waits now. Two signals before a wait are one."""
        try:
            self._lock.release()
        except RuntimeError:
            return  # it was signalled already

    def wait(self, seconds: float) -> bool:
        """Sleep for ``seconds``, however many; True, and at once, if it was signalled."""
        while seconds > WAIT_MAX:
            if self._lock.acquire(timeout=WAIT_MAX):
                return True
            seconds -= WAIT_MAX
        return self._lock.acquire(timeout=max(seconds, 0.0))


def are_green() -> bool:
    """Whether a thread that is started now is a greenlet (gevent, eventlet): what blocks in one blocks them all."""
    return not isinstance(_thread.start_new_thread, BuiltinFunctionType)


def start_daemon(work: Callable[..., Any], name: str, *args: Any) -> threading.Thread | None:
    """Run ``work(*args)`` on a daemon thread of this name; None: the system gives no thread now.

    A host short of resources refuses for a while: the caller reports it and tries again later.
    """
    thread = threading.Thread(target=work, args=args, name=name, daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError):  # "can't start new thread"; its stack could not be had
        return None
    return thread


def available(count: int) -> bool:
    """Whether the system gives so many threads now.

    To be asked before a ZeroMQ context is made: libzmq ends the process where it cannot have its own two.
    """
    gate = threading.Event()
    started: list[threading.Thread] = []
    try:
        while len(started) < count:
            thread = start_daemon(gate.wait, "banken-probe")
            if thread is None:
                return False
            started.append(thread)
    finally:
        gate.set()
        for thread in started:
            thread.join()
    time.sleep(SETTLE_S)
    return True


def descriptors_available(count: int) -> bool:
    """Whether this process may open so many more files now.

    To be asked before a ZeroMQ context is made: libzmq ends the process that gets some, but not all that it needs.
    """
    opened: list[int] = []
    try:
        while len(opened) < count:
            opened += os.pipe()
    except OSError:
        return False
    finally:
        for each in opened:
            with contextlib.suppress(OSError):
                os.close(each)
    return True
