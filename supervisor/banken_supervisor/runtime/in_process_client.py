"""The client of watchdogs that live in the supervisor's own process: its messages go to the mailbox."""

from __future__ import annotations

from banken.client.base_client import BaseClient
from banken.errors import Refused
from banken.protocol.codec import decode
from banken.protocol.feed_state import FeedState
from banken.protocol.messages import Declaration, Kind
from banken.watchdog.callback_invocation import Callback
from banken_supervisor.actions.callbacks import Callbacks
from banken_supervisor.runtime.mailbox import MESSAGES_MAX, Declare, Feeds, Forget, Mailbox


class InProcessClient(BaseClient):
    """Takes messages of watchdogs in the supervisor's own process to its loop, from any thread.

    Refused: the mailbox is full.
    """

    def __init__(self, mailbox: Mailbox, callbacks: Callbacks) -> None:
        super().__init__(anonymous=True)  # these feeds do not claim ownership of a name
        self._mailbox = mailbox
        self._callbacks = callbacks
        self._carry = mailbox.feed

    def _release(self, name: str) -> bool:
        self._end_work(name)
        self._forget(name)
        self._callbacks.bind(name, None)  # else it would run for another process that takes the name
        return self._mailbox.try_post(Forget(name))

    def _declare(self, name: str, declaration: Declaration, resolution: float | None) -> FeedState:
        state = self._states[name] = FeedState(name, declaration, resolution or 0.0)
        require_room(self._mailbox.try_post(Declare(name, declaration)))
        return state

    def _deliver(self, frame: bytes, wait: float = 0.0) -> bool:
        if wait:  # it must arrive, and in order
            return self._mailbox.try_post(Feeds([frame]))
        message = decode(frame)
        if message.kind is not Kind.NOTE:
            return self._mailbox.feed(frame)
        given = tuple(each is not None for each in message.args)
        return self._mailbox.feed(frame, (message.name, *given))

    def _bind(self, name: str, callback: Callback | None) -> None:
        self._callbacks.bind(name, callback)


def require_room(taken: bool) -> None:
    """Raise Refused if the mailbox was full."""
    if not taken:
        raise Refused(f"{MESSAGES_MAX} messages wait already for the supervisor; try again when it has read them")
