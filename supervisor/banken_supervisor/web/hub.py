"""Who listens to the stream: each with a bounded queue of its own, of bytes that all of them share."""

from __future__ import annotations

import asyncio
from collections import deque

from banken_supervisor.web.texts import sse

LISTENERS_MAX = 200

QUEUE_BYTES_MAX = 4 * 1024 * 1024
"""What may wait for one reader; beyond it the reader is too slow, and its stream is ended."""

PIECE_BYTES = 65_536
"""About how much is handed to the socket at once."""

GATHER_S = 0.04
"""What is said within this many seconds goes to each listener in one piece."""


class Listener:
    """One stream's queue."""

    def __init__(self) -> None:
        self.ended = False
        """it is to end: too slow, or the process ends"""
        self.anew = False
        """it is to be greeted again: the supervisor is another one, or events were lost"""
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()

    @property
    def steady(self) -> bool:
        """Whether it simply goes on."""
        return not (self.ended or self.anew)

    def offer(self, piece: bytes) -> None:
        """Queue it; a queue that is full ends the stream."""
        if self._bytes + len(piece) > QUEUE_BYTES_MAX:
            self.end()
        elif not self.ended:
            self._pieces.append(piece)
            self._bytes += len(piece)
            self._wake.set()

    def end(self) -> None:
        """End the stream, and drop what waits."""
        self.ended = True
        self._pieces.clear()
        self._bytes = 0
        self._wake.set()

    def renew(self) -> None:
        """Have it greeted again."""
        self.anew = True
        self._wake.set()

    def take(self) -> bytes:
        """What waits, or a part of it of about ``PIECE_BYTES``; empty if nothing does."""
        taken: list[bytes] = []
        size = 0
        while self._pieces and size < PIECE_BYTES:
            taken.append(self._pieces.popleft())
            size += len(taken[-1])
        self._bytes -= size
        if not self._pieces and self.steady:
            self._wake.clear()
        return b"".join(taken)

    async def wait(self) -> None:
        """Until there is something to take, or to do."""
        await self._wake.wait()


class Hub:
    """All listeners, and what is said to them."""

    def __init__(self) -> None:
        self.listeners: set[Listener] = set()
        self.dropped = 0
        """streams ended because their readers were too slow"""
        self._gathered: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._flushed = 0.0

    def join(self) -> Listener | None:
        """A new listener; None: there are as many as there may be."""
        if len(self.listeners) >= LISTENERS_MAX:
            return None
        listener = Listener()
        self.listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """It listens no longer."""
        self.listeners.discard(listener)

    def say(self, event: str, data: str, identity: str | None = None) -> None:
        """Tell all, at once or within ``GATHER_S``."""
        if not self.listeners:
            return
        self._gathered.append(sse(event, data, identity))
        if self._timer is None:
            loop = asyncio.get_running_loop()
            wait = max(0.0, self._flushed + GATHER_S - loop.time())
            self._timer = loop.call_later(wait, self._flush)

    def renew(self) -> None:
        """Have all greeted again, after what was said before."""
        self._flush()
        for listener in self.listeners:
            listener.renew()

    def close(self) -> None:
        """End all streams."""
        if self._timer is not None:
            self._timer.cancel()
        for listener in self.listeners:
            listener.end()

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._flushed = asyncio.get_running_loop().time()
        if not self._gathered:
            return
        piece = b"".join(self._gathered)
        self._gathered.clear()
        for listener in self.listeners:
            if not listener.ended:
                listener.offer(piece)
                self.dropped += listener.ended
