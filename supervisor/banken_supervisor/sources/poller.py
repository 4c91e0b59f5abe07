"""What waits for many descriptors: epoll where the system has it, else what the system has in its place."""

from __future__ import annotations

import contextlib
import select
import selectors
from collections.abc import Callable
from typing import Protocol

POLLIN, POLLOUT, POLLHUP = select.POLLIN, select.POLLOUT, select.POLLHUP


class Poller(Protocol):
    """As ``select.epoll``. ``poll`` waits at most ``timeout`` seconds and gives at most about ``maxevents``."""

    def fileno(self) -> int: ...
    def register(self, fd: int, eventmask: int, /) -> None: ...
    def modify(self, fd: int, eventmask: int, /) -> None: ...
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
        self._selector.register(fd, _events(eventmask))

    def modify(self, fd: int, eventmask: int) -> None:
        """Wait for something else, or for nothing (0)."""
        self.unregister(fd)
        if eventmask:
            self.register(fd, eventmask)

    def unregister(self, fd: int) -> None:
        """Wait for it no longer."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(fd)

    def poll(self, timeout: float, maxevents: int) -> list[tuple[int, int]]:
        """(descriptor, mask) of what can be read."""
        return [
            (
                key.fd,
                (POLLIN if events & selectors.EVENT_READ else 0)
                | (POLLOUT if events & selectors.EVENT_WRITE else 0),
            )
            for key, events in self._selector.select(timeout)
        ]


def _events(mask: int) -> int:
    return (selectors.EVENT_READ if mask & POLLIN else 0) | (selectors.EVENT_WRITE if mask & POLLOUT else 0)


def make_poller() -> Poller:
    """A new one."""
    if hasattr(select, "epoll"):
        return select.epoll()
    return OtherPoller()
