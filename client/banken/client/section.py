"""A deadline for one stretch of work: ``with client.section("load", timeout=30):``."""

from __future__ import annotations

from typing import Protocol

from banken.protocol.feed_state import FeedState
from banken.protocol.messages import Declaration


class SectionClient(Protocol):
    """What a section uses of a client (client/base_client.py)."""

    _past: FeedState

    def _declare(self, name: str, declaration: Declaration, resolution: float | None) -> FeedState: ...
    def _release(self, name: str) -> bool: ...
    def _forget(self, name: str) -> FeedState | None: ...
    def extend(self, name: str, seconds: float) -> bool: ...


class Section:
    """A deadline for one stretch of work; a context manager, made by ``section``.

    It is a watchdog of its own, ``NAME@PID.NUMBER``, that exists while the block runs.
    """

    def __init__(self, client: SectionClient, name: str, timeout: float) -> None:
        self.name = name
        self._client = client
        self._timeout = timeout
        self._state: FeedState | None = None

    def __enter__(self) -> Section:
        declaration = Declaration(self._timeout, self._timeout, self._timeout)
        self._state = self._client._declare(self.name, declaration, 0.0)
        self._state.dropped = int(not self._state.declared_here)
        return self

    def __exit__(self, *_: object) -> None:
        # In a child that was forked inside the block it is the parent's; and no supervisor may know of it.
        client = self._client
        if self._state is not None and self._state.is_own and not client._release(self.name):
            client._past.dropped += 1
        client._forget(self.name)

    def extend(self, seconds: float) -> bool:
        """The block may take until ``seconds`` from now."""
        return self._client.extend(self.name, seconds)
