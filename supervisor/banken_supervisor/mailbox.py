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
        # First the bell is emptied, then the flag lowered: whoever posts after that rings again, and the letter of
        # whoever posted before is there. The other way round the ring of one who comes between would be swallowed,
        # its flag would stay up, and nobody would ring any more.
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
