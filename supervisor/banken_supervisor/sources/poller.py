"""What waits for many descriptors: epoll where the system has it, else what the system has in its place."""

from __future__ import annotations

import select
import selectors
from collections.abc import Callable
from typing import Protocol

POLLIN = select.POLLIN


class Poller(Protocol):
    """As ``select.epoll``. ``poll`` waits at most ``timeout`` seconds and gives at most about ``maxevents``."""

    def fileno(self) -> int: ...
    def register(self, fd: int, eventmask: int, /) -> None: ...
    def unregister(self, fd: int, /) -> None: ...
    def poll(self, timeout: float, maxevents: int, /) -> list[tuple[int, int]]: ...
    def close(self) -> None: ...


class OtherPoller:
    """The same, of what ``selectors`` chooses."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.fileno: Callable[[], int] = self._selector.fileno
        self.close = self._selector.close

    def register(self, fd: int, eventmask: int) -> None:
        """Wait for this one, too."""
        self._selector.register(fd, selectors.EVENT_READ)

    def unregister(self, fd: int) -> None:
        """Wait for it no longer. KeyError: it was not waited for."""
        self._selector.unregister(fd)

    def poll(self, timeout: float, maxevents: int) -> list[tuple[int, int]]:
        """(descriptor, mask) of what can be read."""
        return [(key.fd, POLLIN) for key, _ in self._selector.select(timeout)]


def make_poller() -> Poller:
    """A new one."""
    if hasattr(select, "epoll"):
        return select.epoll()
    return OtherPoller()
