"""How a process ended, in words."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from functools import lru_cache


def signal_name(number: int) -> str:
    """``SIGTERM``; ``signal 99`` for a number without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def ends_text(ends: Iterable[int]) -> str:
    """``0, 3, SIGTERM``: exit statuses and, negative, signals."""
    return ", ".join(
        str(end) if end >= 0 else signal_name(-end) for end in sorted(ends, key=lambda end: (end < 0, end))
    )


def exit_text(status: int) -> str:
    """``exit status 3``, or ``ended by SIGTERM`` for a negative status, which is the number of a signal."""
    return f"exit status {status}" if status >= 0 else f"ended by {signal_name(-status)}"


@lru_cache(128)
def end_text(status: int | None, pid: int) -> str:
    """How the process ended; None: that is not known. Its watchdogs, which may be thousands, share the text."""
    return f"pid {pid} ended; how is not known" if status is None else f"pid {pid}: {exit_text(status)}"
