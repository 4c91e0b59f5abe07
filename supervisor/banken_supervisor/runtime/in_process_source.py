"""A source of messages: watchdogs that live in the supervisor's own process, and callbacks bound to them."""

from __future__ import annotations

from banken.calling import Callback
from banken.errors import Refused
from banken.model import Declaration
from banken.port import Line, Port
from banken.wire import Kind, decode
from banken_supervisor.actions.callbacks import Callbacks
from banken_supervisor.runtime.loop_messages import Declare, Feeds, Forget
from banken_supervisor.runtime.mailbox import SAID_MAX, Mailbox


class InProcessSource(Port):
    """Takes messages of watchdogs in the supervisor's own process to its loop, from any thread.

    Refused: so many messages wait already that no further one is taken.
    """

    def __init__(self, mailbox: Mailbox, callbacks: Callbacks) -> None:
        super().__init__(anonymous=True)  # what feeds here contests no name
        self._mailbox = mailbox
        self._callbacks = callbacks
        self._carry = mailbox.feed

    def release(self, name: str) -> bool:
        self._lines.pop(name, None)
        self._callbacks.bind(name, None)  # else it would run for another process that takes the name
        return self._mailbox.say(Forget(name))

    def _declare(self, name: str, declaration: Declaration, resolution: float | None) -> Line:
        line = self._lines[name] = Line(name, declaration, resolution or 0.0)
        insist(self._mailbox.say(Declare(name, declaration)))
        return line

    def _deliver(self, frame: bytes, wait: float = 0.0) -> bool:
        if wait:  # it must arrive, in its place among the others
            return self._mailbox.say(Feeds([frame]))
        message = decode(frame)
        if message.kind is not Kind.NOTE:
            return self._mailbox.feed(frame)
        told = tuple(each is not None for each in message.args)
        return self._mailbox.feed(frame, (message.name, *told))

    def _bind(self, name: str, callback: Callback | None) -> None:
        self._callbacks.bind(name, callback)


def insist(taken: bool) -> None:
    """Refused where the mailbox has not taken a message."""
    if not taken:
        raise Refused(f"{SAID_MAX} messages wait for the supervisor already; try again when it has read them")
