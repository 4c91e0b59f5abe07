"""One guard round everything that the loop does: a fault ends what it struck, and nothing else.

An exception that nobody expected is counted by place, logged with its traceback and told as an event
(``internal-error``); then the loop turns on. What raised it, one message, message or effect, is dropped and not
tried again. Faults of one place and kind are logged and told once in ``TELL_EVERY`` seconds, and counted always.
"""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from time import monotonic, sleep
from typing import Any, ParamSpec, TypeVar

from banken_supervisor.engine.effects import Event, EventType

P = ParamSpec("P")
T = TypeVar("T")

TELL_EVERY = 10.0
"""Seconds between two log lines, and two events, about the same kind of fault at the same place."""

KINDS_MAX = 1000
"""Kinds of faults whose last telling is remembered."""

FRAMES_MAX = 20
TRACE_MAX = 16_384
"""Frames and characters of one traceback in the log."""

TEXT_MAX = 500
"""Characters of the last line of a traceback in the event."""

REST_S = 0.001
"""Seconds that the loop rests after a turn with a fault: one that comes again in each turn must not take a core."""


class Place(StrEnum):
    """Where a fault may strike. Every one has a guard of its own, and a test that plants a fault there."""

    START = "start"
    """what a former supervisor left: its watchdogs, its programs"""
    WAIT = "wait"
    CLOCK = "clock"
    FEED = "feed"
    """one message of a worker"""
    SUBSCRIPTION = "subscription"
    MESSAGE = "message"
    """one message of another thread of the supervisor; a reload among them"""
    EXIT = "exit"
    """the end of one worker"""
    PROGRAMS = "programs"
    REQUEST = "request"
    VERDICT = "verdict"
    """one watchdog that is due"""
    JUDGE = "judge"
    """all that are due"""
    PROBE = "probe"
    EFFECT = "effect"
    """one thing to be done: a callback, an event, an action"""
    NOTIFICATIONS = "notifications"
    ACTIONS = "actions"
    TIME_LIMITS = "time-limits"
    """of callbacks and actions"""
    JOURNAL = "journal"
    """one entry"""
    ANNOUNCE = "announce"
    """one event to listeners and log"""
    REGISTRY = "registry"
    """what the next supervisor is to find"""
    MAINTENANCE = "maintenance"
    """the thread that looks when windows open"""
    ADDRESS = "address"
    """the thread that looks whether the address is still ours"""
    LOG = "log"
    """the thread that writes the log"""
    TURN = "turn"
    """anywhere else"""


class Guard:
    """``tell`` takes the event, ``log`` (level, text, fields) the line. Belongs to the loop's thread."""

    def __init__(self, tell: Callable[[Event], None], log: Callable[[int, str, dict[str, Any]], None]) -> None:
        self.counts: Counter[str] = Counter()
        """faults by place"""
        self._tell = tell
        self._log = log
        self._told: dict[tuple[str, str], tuple[float, int]] = {}
        """by place and type: when it was told last, and how many have come since"""
        self._struck = False

    def run(self, place: Place, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What ``do`` returns; None if it raised, which is taken care of."""
        try:
            return do(*args, **kwargs)
        except Exception as fault:  # noqa: BLE001  # whatever it is, the others are still watched
            self.fault(place, fault)
            return None

    def fault(self, place: Place, fault: Exception, what: str = "") -> None:
        """Take care of an exception that was caught. ``what``: which of many, for people to read. Never raises."""
        self.counts[place.value] += 1
        self._struck = True
        kind = place.value, type(fault).__name__
        now = monotonic()
        at, count = self._told.get(kind, (-TELL_EVERY, 0))
        count += 1
        if now - at < TELL_EVERY:
            self._told[kind] = at, count
            return
        if len(self._told) >= KINDS_MAX:
            self._told.clear()
        self._told[kind] = now, 0
        try:
            self._report(place, fault, what, count)
        except Exception:  # noqa: BLE001  # no memory for the traceback, for instance: it is counted
            self._told[kind] = now, count

    def rest(self) -> None:
        """Between two turns: a short sleep, if the last one had a fault."""
        if self._struck:
            self._struck = False
            sleep(REST_S)

    def _report(self, place: Place, fault: Exception, what: str, count: int) -> None:
        text = "".join(traceback.format_exception_only(fault)).strip().rpartition("\n")[2][:TEXT_MAX]
        data: dict[str, Any] = {
            "place": place.value, "text": text, "count": count, "total": self.counts[place.value]
        }  # fmt: skip
        if what:
            data["what"] = what
        whole = "".join(traceback.format_exception(fault, limit=-FRAMES_MAX))[-TRACE_MAX:].rstrip()
        where = f"{place.value} ({what})" if what else place.value
        line = f"internal error at {where}, {count} since the last line about it; the supervisor goes on\n{whole}"
        self._log(logging.ERROR, line, data)
        self._tell(Event(EventType.INTERNAL_ERROR, None, data))
