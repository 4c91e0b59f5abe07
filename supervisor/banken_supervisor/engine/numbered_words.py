"""Words that a worker says again, for a supervisor that may not have heard them: each is heard once.

A pause, the end of one, an extension and a failure have a number, which grows from word to word of one process. The
highest one that was heard of each process is kept with the watchdog, over restarts, too. What is said again
(docs/wire.md) and was heard does nothing: what others said since, an operator for instance, stays.
"""

from __future__ import annotations

from banken.protocol.messages import Message
from banken_supervisor.engine.record import Record

HEARD_MAX = 8
"""Processes of one watchdog whose numbers are kept; the one that spoke longest ago gives way."""


def was_heard(record: Record, message: Message) -> bool:
    """Whether this is said again, and was heard. So is what names no process: it cannot be known by its number."""
    if message.number is None or message.number > 0:
        return False
    heard = None if record.details is None else record.details.heard
    process = message.identity
    return process is None or (heard is not None and heard.get(process, 0) >= -message.number)


def note(record: Record, message: Message) -> bool:
    """This word is heard. Whether its number is to be kept."""
    process, number = message.identity, message.number
    if number is None or process is None:
        return False
    details = record.detailed()
    heard = details.heard or {}
    highest = max(abs(number), heard.get(process, 0))
    others = [(each, said) for each, said in heard.items() if each != process]
    details.heard = dict([*others, (process, highest)][-HEARD_MAX:])
    return True
