"""For the tests of programs that feed: record what would have been sent, with no supervisor and no socket.

from banken import client
from banken.testing import recording

def test_the_worker_feeds_once_per_item():
    with recording() as sent:
        work(["a", "b"])          # calls client.feed("worker-3")
    assert sent.fed("worker-3") == 2
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

from banken import client
from banken.client.base_client import BaseClient
from banken.protocol.codec import decode
from banken.protocol.feed_state import FeedState
from banken.protocol.messages import Kind, Message

if TYPE_CHECKING:
    from banken.watchdog.callback_invocation import Callback


class Recorder(BaseClient):
    """A client that keeps every message. ``reachable=False`` behaves as if no supervisor were there."""

    def __init__(self, *, reachable: bool = True) -> None:
        super().__init__()
        self.messages: list[Message] = []
        self.callbacks: dict[str, Callback] = {}
        self.reachable = reachable

    def fed(self, name: str) -> int:
        """How often ``name`` was fed, coalesced feeds included."""
        state = self._states.get(name)
        return 0 if state is None else state.sent + state.coalesced + state.dropped

    def line(self, name: str) -> FeedState | None:
        """The counts of one name: ``sent``, ``coalesced``, ``dropped``."""
        return self._states.get(name)

    def kinds(self, name: str) -> list[Kind]:
        """The kinds of the messages about ``name``, in order."""
        return [message.kind for message in self.messages if message.name == name]

    def _deliver(self, frame: bytes, wait: float = 0.0) -> bool:
        if self.reachable:
            self.messages.append(decode(frame))
        return self.reachable

    def _bind(self, name: str, callback: Callback | None) -> None:
        if callback is None:
            self.callbacks.pop(name, None)
        else:
            self.callbacks[name] = callback


@contextmanager
def recording(*, reachable: bool = True) -> Iterator[Recorder]:
    """While the block runs, ``client.feed`` and its siblings go to the Recorder that it yields."""
    recorder = Recorder(reachable=reachable)
    words = (
        "feed",
        "fail",
        "release",
        "leave",
        "pause",
        "resume",
        "extend",
        "watchdog",
        "section",
        "busy",
        "idle",
        "watched",
    )
    with patch.multiple(client, **{word: getattr(recorder, word) for word in words}):
        yield recorder
