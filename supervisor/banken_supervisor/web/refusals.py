"""What becomes of requests without a right token or key: wrong ones wait, and the log tells of them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from banken_supervisor.web.peers import Peer

WRONG_S = 1.0
"""Seconds that the answer to a wrong token or key waits."""

WAITING_MAX = 10
"""Such answers that wait for one client; its further ones are refused at once, and their connections closed."""

TELL_S = 60.0
"""Seconds between two lines of the log."""

log = logging.getLogger("banken.web")


class Refusals:
    """Lives in one event loop."""

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        """all requests that were not allowed, by reason"""
        self._waiting: Counter[str] = Counter()
        self._untold: Counter[str] = Counter()
        self._last = ""
        self._timer: asyncio.TimerHandle | None = None

    async def slow_down(self, peer: Peer) -> bool:
        """Wait before a wrong token or key is answered; False: too many of this client's wait already."""
        if self._waiting[peer.client] >= WAITING_MAX:
            return False
        self._waiting[peer.client] += 1
        try:
            await asyncio.sleep(WRONG_S)
        finally:
            self._waiting[peer.client] -= 1
            if not self._waiting[peer.client]:
                del self._waiting[peer.client]
        return True

    def count(self, what: str, peer: Peer) -> None:
        """``what`` was refused: the log tells of the first at once, of others every ``TELL_S`` seconds."""
        self._untold[what] += 1
        self._last = peer.client
        if self._timer is None:
            self._tell()

    def close(self) -> None:
        """Tell what has not been told."""
        if self._timer is not None:
            self._timer.cancel()
        self._write()

    def _tell(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TELL_S, self._tell) if self._untold else None
        self._write()

    def _write(self) -> None:
        if self._untold:
            counts = ", ".join(f"{count} with {what}" for what, count in self._untold.items())
            log.warning("requests were refused: %s; the last came from %s", counts, self._last)
            self._untold.clear()
