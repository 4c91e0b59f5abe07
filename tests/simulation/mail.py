"""The things and words that pass between the simulated host and its oracle. Times are microseconds."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from banken.protocol.messages import Message

SECOND = 1_000_000
"""Microseconds in one second: the unit of every time in the simulation."""


class Mail:
    """One message on its way, or ``copies`` of it that travel together."""

    __slots__ = ("arrived", "frame", "left", "message", "size", "start", "stop")

    def __init__(self, message: Message, frame: bytes, copies: int = 1) -> None:
        self.message = message
        self.frame = frame
        self.size = len(frame) + 2  # ZMTP puts flags and a length before each short frame
        self.left = copies
        """copies that the loop has not read yet"""
        self.arrived = -1
        """when the kernel of the supervisor's host had it; -1: on its way"""
        self.start: int | None = None
        """oracle's: the earliest credited moment that it may count from"""
        self.stop: int | None = None
        """oracle's: the latest credited moment at which it can be said to have been missing"""


class Connection:
    """One worker's way to the supervisor."""

    __slots__ = ("bytes", "kernel", "queue", "queued", "ready")

    def __init__(self) -> None:
        self.kernel: deque[list[Any]] = deque()
        """[mail, copies] that the I/O thread has not moved yet"""
        self.bytes = 0
        self.queue: deque[list[Any]] = deque()
        self.queued = 0
        self.ready = False
        """whether it waits for its turn with the I/O thread"""


class Told(NamedTuple):
    """One effect of the core, in words that the oracle need not import from the core."""

    what: str
    """the value of the event's type, or ``run`` for a callback to be run"""
    name: str
    incident: str | None
    cause: str | None
    run: int | None


class Pass(NamedTuple):
    """One pass of the loop as the host saw it. Microseconds."""

    woke: int
    """when the wait was over"""
    asked: int
    """what the loop asked to wait"""
    excused: int
    """how much of the time since the last waking the supervisor, or its I/O thread alone, did not run"""
    crowded: bool
    """whether more was under way than one read of the I/O thread brings: the judge may take its time"""


class Finding(NamedTuple):
    """One fault that the oracle found."""

    kind: str
    """false, missed, doubled or broken"""
    at: int
    name: str
    why: str
