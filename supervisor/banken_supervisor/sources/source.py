"""What a source of one-way messages is. The loop reads it before anything is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from banken_supervisor.engine.principal import Principal

Read = Callable[[Iterator[bytes], Principal], None]
"""Takes messages of one principal: all that the iterator gives."""


class Source(Protocol):
    """Messages of one kind of principal."""

    principal: Principal
    """who speaks here, by the source's own knowledge and not by what a message claims"""

    def drain(
        self, read: Read, limit: int, seconds: float, fault: Callable[[Exception], None] | None = None
    ) -> tuple[int, bool]:
        """Let ``read`` take at most ``limit`` messages, and no more after ``seconds``. How many there were, and
        whether they were all.

        ``fault`` gets what ``read`` raises; the message that did it is lost, and those behind it are read.
        """

    def send_barrier(self, frame: bytes) -> None:
        """Send the loop a message the way that this source's messages go. When it comes back, all that the kernel
        had before has been read (engine/barrier.py)."""
