"""One run of one action, and what is told of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from banken.clock import wall
from banken_supervisor.actions import sanitize
from banken_supervisor.actions.base import Action, Subject


class What(StrEnum):
    """What became of one run."""

    DONE = "action-done"
    FAILED = "action-failed"
    STUCK = "action-stuck"
    SKIPPED = "action-skipped"
    """not begun: the text says why"""
    DROPPED = "action-dropped"
    """not begun, because its incident ended before"""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one action, for one incident."""

    type: What
    name: str
    incident: str
    action: str
    step: int
    run: int
    level: str | None
    recovered: bool
    text: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    started: float | None = None
    """wall clock, seconds since 1970; None: it was not begun"""
    seconds: float = 0.0
    late: bool = False
    """True: it had been reported as stuck before"""


class Run:
    """One run of one action."""

    __slots__ = ("action", "ended", "over", "started_at", "subject")

    def __init__(self, action: Action, subject: Subject) -> None:
        self.action = action
        self.subject = subject
        self.started_at: float | None = None
        """wall clock"""
        self.over = False
        self.ended: threading.Event | None = None
        """None: not begun. To make 10,000 events when all fall silent would take long"""

    def begin(self) -> threading.Event:
        """It has a thread now. What is given is set when its incident ends."""
        self.started_at = wall()
        ended = self.ended = threading.Event()
        if self.over:  # ``end`` came between
            ended.set()
        return ended

    def end(self) -> None:
        """Its incident has ended, or the supervisor stops."""
        self.over = True
        if self.ended is not None:
            self.ended.set()

    def belongs(self, incident: str | None) -> bool:
        """Whether the end of ``incident`` (None: of any) ends it. The news of an end is not ended by it, nor is a
        message that tells of others too."""
        if self.subject.others:
            return False
        return not self.subject.recovered and incident in (None, self.subject.incident.id)

    def report(
        self,
        kind: What,
        text: str,
        data: dict[str, Any] | None = None,
        seconds: float = 0.0,
        *,
        late: bool = False,
    ) -> Report:
        """What became of it, without what its action wants hidden."""
        subject, hidden = self.subject, self.action.hidden
        return Report(
            type=kind,
            name=subject.incident.name,
            incident=subject.incident.id,
            action=self.action.name,
            step=subject.step,
            run=subject.run,
            level=subject.level,
            recovered=subject.recovered,
            # First hidden, then cut: half a secret would not be found.
            text=sanitize.text(sanitize.redact(text, hidden), keep_end=kind is What.FAILED),
            data=sanitize.redact(data or {}, hidden),
            started=None if kind is What.SKIPPED else self.started_at,
            seconds=seconds,
            late=late,
        )


def for_each(report: Report, subject: Subject) -> list[Report]:
    """One report for each incident that the run was about."""
    if not subject.others:
        return [report]
    count = len(subject.others)
    text = f"{report.text}; in one message with {count} other{'' if count == 1 else 's'}"
    return [
        replace(
            report,
            name=each.incident.name,
            incident=each.incident.id,
            step=each.step,
            run=each.run,
            level=each.level,
            text=text,
        )
        for each in (subject, *subject.others)
    ]
