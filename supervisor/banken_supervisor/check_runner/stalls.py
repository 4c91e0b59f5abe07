"""When this process itself stood still: what timed out then says nothing of what was looked at."""

from __future__ import annotations

import asyncio

TICK_S = 0.05
"""Seconds between two looks at the clock."""

STALL_S = 0.25
"""Seconds that a look may be late; more, and the process was stopped, starved, or held by one of its own calls."""


class Stalls:
    """``watch`` runs beside the checks, on the same loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ticked = self._loop.time()
        self._ended = float("-inf")
        self.count = 0
        """how often it stood still"""

    async def watch(self) -> None:
        """Look at the clock again and again."""
        while True:
            await asyncio.sleep(TICK_S)
            self.note(self._loop.time())

    def note(self, now: float) -> None:
        """Look at the clock."""
        if now - self._ticked > TICK_S + STALL_S:
            self._ended = now
            self.count += 1
        self._ticked = now

    def since(self, began: float) -> bool:
        """Whether it stood still at any time since ``began``, as the loop counts time."""
        now = self._loop.time()
        if now - self._ticked > TICK_S + STALL_S:  # the watch has not had its turn yet
            self.note(now)
        return self._ended >= began
