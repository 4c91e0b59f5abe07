"""What a check is about, and what it keeps from one run to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Subject:
    """One for each check of each name, kept as long as that check is in force. Close it after that."""

    def __init__(
        self, name: str, pid: int = 0, start: int = 0, *, run_now: Callable[[], None] = lambda: None
    ) -> None:
        """``run_now``: is called on the loop's thread when a process that the check holds has ended, and has the
        check run at once, or soon after the last such end. May be called several times for one end."""
        self.name = name
        self.pid = pid
        """of the program's (or watchdog's) process; 0: there is none. Set it when it changes"""
        self.start = start
        """ticks since boot"""
        self.run_now = run_now
        self.kept: Any = None
        """what the last run left for the next; has ``close()`` where it holds descriptors"""

    def close(self) -> None:
        """Give back what the check holds. May be called again."""
        kept, self.kept = self.kept, None
        if hasattr(kept, "close"):
            kept.close()
