"""Words that a worker says again, for a supervisor that may not have heard them: each is heard once.

A pause, the end of one, an extension and a failure have a number, which grows from word to word of one process. The
highest one that was heard of each process is kept with the watchdog, over restarts, too. What is said again
(docs/wire.md) and was heard does nothing: what others said since, an operator for instance, stays.

A new supervisor hears a new word at once, and only then what is said again. So each matter has its own highest
number: that of a later extension does not say that an earlier failure was heard. In one matter the later word makes
the earlier one out of date.
"""

from __future__ import annotations

from banken.protocol.messages import Kind, Message
from banken_supervisor.engine.record import Record

MATTERS = {Kind.PAUSE: Kind.PAUSE, Kind.RESUME: Kind.PAUSE, Kind.EXTEND: Kind.EXTEND, Kind.FAIL: Kind.FAIL}
"""What a word is about; the end of a pause is about the pause."""

HEARD_MAX = 64
"""Numbers that are kept of one watchdog, one for each process and matter; what was said longest ago gives way."""


def is_again(message: Message) -> bool:
    """Whether this is said again."""
    return message.number is not None and message.number < 0


def was_heard(record: Record, message: Message) -> bool:
    """Whether this is said again, and was heard. So is what names no process: it cannot be known by its number."""
    if message.number is None or message.number > 0:
        return False
    if message.identity is None:
        return True
    heard = None if record.details is None else record.details.heard
    return heard is not None and heard.get((message.identity, MATTERS[message.kind]), 0) >= -message.number


def note(record: Record, message: Message) -> bool:
    """This word is heard. Whether its number is to be kept."""
    if message.number is None or message.identity is None:
        return False
    details = record.detailed()
    heard, which = dict(details.heard or {}), (message.identity, MATTERS[message.kind])
    highest = max(abs(message.number), heard.pop(which, 0))
    details.heard = dict([*heard.items(), (which, highest)][-HEARD_MAX:])
    return True
