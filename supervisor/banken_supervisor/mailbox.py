"""What other threads say to the loop: a queue with a file descriptor that the loop polls."""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from typing import Any


class Mailbox:
    """Many threads post, one takes. Posting is safe in a signal handler."""

    def __init__(self) -> None:
        self._letters: deque[Any] = deque()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._rung = False

    def fileno(self) -> int:
        """Readable while there may be letters."""
        return self._reader.fileno()

    def post(self, letter: Any) -> None:
        """Leave a letter and wake the loop."""
        self._letters.append(letter)
        if not self._rung:
            self._rung = True
            with contextlib.suppress(OSError):  # full: it is readable already; closed: nobody is left to wake
                self._writer.send(b"!")

    def take(self) -> list[Any]:
        """All letters, oldest first."""
        # The bell before the flag, and the flag before the letters. A ring that came between a lowered flag and the
        # bell would be silenced with the flag up: nobody would ring again.
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)
        self._rung = False
        letters = []
        while self._letters:
            letters.append(self._letters.popleft())
        return letters

    def close(self) -> None:
        """Give the descriptors back."""
        self._reader.close()
        self._writer.close()
