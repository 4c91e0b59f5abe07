"""A source of messages: watchdogs in the supervisor's own process, and their callbacks."""

from __future__ import annotations

from banken.calling import Callback
from banken.errors import Refused
from banken.model import Declaration
from banken.port import Line, Port
from banken.wire import Kind, decode
from banken_supervisor.actions.callbacks import Callbacks
from banken_supervisor.runtime.loop_messages import Declare, Feeds, Forget
from banken_supervisor.runtime.mailbox import MESSAGES_MAX, Mailbox


class InProcessSource(Port):
    """Passes messages of watchdogs in this process to the loop, from any thread.

    Refused: the mailbox is full.
    """

    def __init__(self, mailbox: Mailbox, callbacks: Callbacks) -> None:
        super().__init__(anonymous=True)  # these feeds do not claim ownership of a name
        self._mailbox = mailbox
        self._callbacks = callbacks
        self._carry = mailbox.feed

    def release(self, name: str) -> bool:
        self._lines.pop(name, None)
        self._callbacks.bind(name, None)  # else it would run for another process that uses the name later
        return self._mailbox.try_post(Forget(name))

    def _declare(self, name: str, declaration: Declaration, resolution: float | None) -> Line:
        line = self._lines[name] = Line(name, declaration, resolution or 0.0)
        require_room(self._mailbox.try_post(Declare(name, declaration)))
        return line

    def _deliver(self, frame: bytes, wait: float = 0.0) -> bool:
        if wait:  # it must arrive, in order
            return self._mailbox.try_post(Feeds([frame]))
        message = decode(frame)
        if message.kind is not Kind.NOTE:
            return self._mailbox.feed(frame)
        present = tuple(each is not None for each in message.args)
        return self._mailbox.feed(frame, (message.name, *present))

    def _bind(self, name: str, callback: Callback | None) -> None:
        self._callbacks.bind(name, callback)


def require_room(taken: bool) -> None:
    """Raise Refused if the mailbox was full."""
    if not taken:
        raise Refused(f"{MESSAGES_MAX} messages wait already for the supervisor; try again when it has read them")
