"""Starting threads on a host that may have none left to give."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

NO_THREAD = "the system gives no thread now (limits: ulimit -u, pids.max of the cgroup, memory)"
"""What is said of work that lacks one."""


def start_daemon(work: Callable[..., Any], name: str, *args: Any) -> threading.Thread | None:
    """Run ``work(*args)`` on a daemon thread of this name; None: the system gives no thread now.

    Such a refusal is the state of a sick host and passes: the caller says so and tries again later.
    """
    thread = threading.Thread(target=work, args=args, name=name, daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError):  # "can't start new thread"; its stack could not be had
        return None
    return thread
