"""The guard around everything that the loop does: one fault drops one item, and the loop goes on.

An unexpected exception is counted by place, logged with its traceback and published as an event
(``internal-error``). The message or effect that raised it is dropped and not retried; a watchdog whose verdict
raised it is judged again a second later (engine/verdicts.py). Faults of the same place and
type are logged and published once per ``REPORT_EVERY_S`` seconds, but always counted.
"""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from time import monotonic, sleep
from typing import Any, ParamSpec, TypeVar

from banken_supervisor.engine.effects import Event, EventType

P = ParamSpec("P")
T = TypeVar("T")

REPORT_EVERY_S = 10.0
"""Seconds between two log lines, and two events, about the same type of fault at the same place."""

KINDS_MAX = 1000
"""Kinds of faults whose last report is remembered."""

FRAMES_MAX = 20
TRACE_MAX = 16_384
"""Frames and characters of one traceback in the log."""

TEXT_MAX = 500
"""Characters of the last line of a traceback in the event."""

REST_S = 0.001
"""Seconds that the loop sleeps after a turn with a fault: a fault in every turn must not use a whole core."""


class Place(StrEnum):
    """Where a fault may occur. Each place has its own guard, and a test that injects a fault there."""

    START = "start"
    """restoring watchdogs and programs of an earlier supervisor"""
    WAIT = "wait"
    CLOCK = "clock"
    FEED = "feed"
    """one message of a worker"""
    SUBSCRIPTION = "subscription"
    MESSAGE = "message"
    """one message of another thread of the supervisor, for example a reload"""
    EXIT = "exit"
    """the exit of one worker"""
    PROGRAMS = "programs"
    CLUSTER = "cluster"
    """what the cluster's store has answered, and what may be done"""
    UPWARD = "upward"
    """the thread that feeds other supervisors"""
    REQUEST = "request"
    VERDICT = "verdict"
    """judging one watchdog that is due"""
    JUDGE = "judge"
    """judging all that are due"""
    PROBE = "probe"
    EFFECT = "effect"
    """one effect: a callback, an event, an action"""
    NOTIFICATIONS = "notifications"
    ACTIONS = "actions"
    TIME_LIMITS = "time-limits"
    """of callbacks and actions"""
    JOURNAL = "journal"
    """one entry"""
    ANNOUNCE = "announce"
    """one event to listeners and log"""
    REGISTRY = "registry"
    """the checkpoints for the next supervisor"""
    MAINTENANCE = "maintenance"
    """the thread that watches the maintenance windows"""
    ADDRESS = "address"
    """the thread that checks that the address directory was not replaced"""
    LOG = "log"
    """the thread that writes the log"""
    RESOURCES = "resources"
    """looking after descriptors and memory"""
    OUTER_WATCHDOGS = "outer-watchdogs"
    """telling who watches the supervisor that it turns"""
    TURN = "turn"
    """anywhere else"""


class Guard:
    """``publish`` takes the event, ``log`` the line: (level, text, fields). Belongs to the loop's thread."""

    def __init__(self, publish: Callable[[Event], None], log: Callable[[int, str, dict[str, Any]], None]) -> None:
        self.memory_errors = 0
        """faults that were a lack of memory"""
        self.counts: Counter[str] = Counter()
        """faults by place"""
        self._publish = publish
        self._log = log
        self._reported: dict[tuple[str, str], tuple[float, int]] = {}
        """by place and type: (monotonic time of the last report, faults since then)"""
        self._faulted = False

    def run(self, place: Place, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Return what ``do`` returns; None if it raised: the fault is then counted and reported."""
        try:
            return do(*args, **kwargs)
        except Exception as fault:  # noqa: BLE001  # any fault: the other watchdogs are still watched
            self.fault(place, fault)
            return None

    def fault(self, place: Place, fault: Exception, what: str = "") -> None:
        """Count and report a caught exception. ``what``: the item, for people to read. Never raises."""
        self._faulted = True
        if isinstance(fault, MemoryError):
            self.memory_errors += 1
        with suppress(MemoryError):
            self._count(place, fault, what)

    def _count(self, place: Place, fault: Exception, what: str) -> None:
        self.counts[place.value] += 1
        kind = place.value, type(fault).__name__
        now = monotonic()
        at, count = self._reported.get(kind, (-REPORT_EVERY_S, 0))
        count += 1
        if now - at < REPORT_EVERY_S:
            self._reported[kind] = at, count
            return
        if len(self._reported) >= KINDS_MAX:
            self._reported.clear()
        self._reported[kind] = now, 0
        try:
            self._report(place, fault, what, count)
        except Exception:  # noqa: BLE001  # for example no memory for the traceback: it is counted
            self._reported[kind] = now, count

    def rest(self) -> None:
        """Sleep a little after a turn with a fault."""
        if self._faulted:
            self._faulted = False
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
        self._publish(Event(EventType.INTERNAL_ERROR, None, data))
