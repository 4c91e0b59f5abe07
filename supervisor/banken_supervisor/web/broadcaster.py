"""The open streams: each has a bounded queue, of bytes that all of them share."""

from __future__ import annotations

import asyncio
from collections import deque

SUBSCRIBERS_MAX = 200

QUEUE_BYTES_MAX = 4 * 1024 * 1024
"""Bytes that may wait for one reader. A slower reader's stream is ended."""

PIECE_BYTES = 65_536
"""About how many bytes are written to the socket at once."""

GATHER_S = 0.04
"""What is sent within this many seconds reaches each subscriber in one piece."""


class Subscriber:
    """One stream's queue."""

    def __init__(self) -> None:
        self.ended = False
        """the stream is to end: its reader is too slow, or the process ends"""
        self.restart = False
        """the stream is to begin again: another supervisor runs, or events were lost"""
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()

    @property
    def steady(self) -> bool:
        """Whether the stream simply goes on."""
        return not (self.ended or self.restart)

    def offer(self, piece: bytes) -> None:
        """Queue ``piece``; where it does not fit, end the stream."""
        if self._bytes + len(piece) > QUEUE_BYTES_MAX:
            self.end()
        elif not self.ended:
            self._pieces.append(piece)
            self._bytes += len(piece)
            self._wake.set()

    def end(self) -> None:
        """End the stream and drop its queue."""
        self.ended = True
        self._pieces.clear()
        self._bytes = 0
        self._wake.set()

    def begin_again(self) -> None:
        self.restart = True
        self._wake.set()

    def take(self) -> bytes:
        """About ``PIECE_BYTES`` of the queue; empty if the queue is."""
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
        """Wait until there is something to take, or the stream is no longer steady."""
        await self._wake.wait()


class Broadcaster:
    """All subscribers, and what is sent to them."""

    def __init__(self) -> None:
        self.subscribers: set[Subscriber] = set()
        self._gathered: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._flushed = 0.0

    def subscribe(self) -> Subscriber | None:
        """A new subscriber; None: there are ``SUBSCRIBERS_MAX`` already."""
        if len(self.subscribers) >= SUBSCRIBERS_MAX:
            return None
        subscriber = Subscriber()
        self.subscribers.add(subscriber)
        return subscriber

    def send(self, event: str, data: str, identity: str | None = None) -> None:
        """Send to all, at once or within ``GATHER_S``."""
        if not self.subscribers:
            return
        self._gathered.append(sse(event, data, identity))
        if self._timer is None:
            loop = asyncio.get_running_loop()
            wait = max(0.0, self._flushed + GATHER_S - loop.time())
            self._timer = loop.call_later(wait, self._flush)

    def restart_all(self) -> None:
        """Have all streams begin again, after what was sent before."""
        self._flush()
        for subscriber in self.subscribers:
            subscriber.begin_again()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for subscriber in self.subscribers:
            subscriber.end()

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._flushed = asyncio.get_running_loop().time()
        if not self._gathered:
            return
        piece = b"".join(self._gathered)
        self._gathered.clear()
        for subscriber in self.subscribers:
            subscriber.offer(piece)


def sse(event: str, data: str, identity: str | None = None) -> bytes:
    """One server-sent event. ``data`` is JSON from ``to_json``: one line, ASCII."""
    head = f"id: {identity}\n" if identity is not None else ""
    return f"{head}event: {event}\ndata: {data}\n\n".encode("ascii")
