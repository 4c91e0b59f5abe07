"""What is kept of an output that may have no end: its beginning and its end."""

from __future__ import annotations


class Kept:
    """At most ``limit`` bytes: the first half and the last."""

    def __init__(self, limit: int) -> None:
        self.total = 0
        """bytes that were given"""
        self._head_max = limit // 2
        self._tail_max = limit - self._head_max
        self._head = bytearray()
        self._tail = bytearray()

    def add(self, some: bytes) -> None:
        """Take the next bytes."""
        self.total += len(some)
        room = self._head_max - len(self._head)
        if room > 0:
            self._head += some[:room]
            some = some[room:]
        self._tail += some
        if len(self._tail) > 2 * self._tail_max:
            self._trim()

    def text(self) -> str:
        """What was kept; where something is missing, a line says how much."""
        self._trim()
        missing = self.total - len(self._head) - len(self._tail)
        gap = b"\n[%d bytes left out]\n" % missing if missing else b""
        return (bytes(self._head) + gap + bytes(self._tail)).decode("utf-8", "backslashreplace")

    def _trim(self) -> None:
        del self._tail[: max(0, len(self._tail) - self._tail_max)]
