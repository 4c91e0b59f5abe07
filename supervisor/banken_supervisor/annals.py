"""What the loop remembers, and when it may be told: events go to the journal first and are announced when they are
on disk.

A verdict that anybody heard of is in the journal, whatever becomes of the supervisor then. The wait is a commit's,
about a millisecond. An action waits, too, until it is on record that it is begun: so the next supervisor never does
it once more. Callbacks do not wait. While the journal cannot be written, nothing waits for it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from banken.model import Cause
from banken_supervisor.core.effects import Event, EventType
from banken_supervisor.journal import (
    Condition,
    Entry,
    EventSeen,
    EvidenceTaken,
    IncidentClosed,
    IncidentOpened,
    Journal,
    Limits,
    Restored,
    RungRun,
    restore,
)
from banken_supervisor.recovery import bounds
from banken_supervisor.recovery.jobs import Report, What

PATIENCE = 2.0
"""Seconds that an announcement waits for the disk at the most. A commit takes about a millisecond; on an overloaded
machine it may take hundreds, and it is still worth waiting for."""

OPEN_WAIT = 10.0
"""Seconds that the start waits for the journal to be open at the most."""

_LOOK_EVERY = 0.002

OUTPUT_MAX = 4096
"""Characters of a command's output that are kept with its incident: the end of it."""

_UNKEPT = {EventType.DECLARED, EventType.FIRST_FED, EventType.CALLBACK_DONE, EventType.REFUSED}
"""Too many, and of too little worth later on."""

_CLOSING = {EventType.RECOVERED: None, EventType.CLOSED: None, EventType.GIVEN_UP: "given-up"}
"""Events that close an incident, and how, where the event does not say it itself."""


@dataclass(frozen=True, slots=True)
class Committed:
    """Letter: everything up to this ticket is on disk."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Conditioned:
    """Letter: the journal's condition has changed."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Held:
    """An announcement that waits for its ticket."""

    ticket: int
    since: float
    announce: Callable[[], None]


class Annals:
    """One run's journal, as the loop uses it. ``post``: leaves the loop a letter, from any thread.

    ``path``: the journal's file. ``left`` is what a former supervisor left there, until it is taken (register.py).
    ``registered`` gives the entry of a watchdog that an event is about, if it has changed.
    """

    def __init__(self, path: str, run_id: str, post: Callable[[Any], None], limits: Limits | None = None) -> None:
        self.left: Restored | None = restore(path)
        self.problems = self.left.problems
        self.registered: Callable[[str], Entry | None] = lambda name: None
        self.journal = Journal(
            path,
            run_id,
            committed=lambda ticket: post(Committed(ticket)),
            changed=lambda condition: post(Conditioned(condition)),
            limits=limits,
        )
        # A verdict that falls while the file is still being opened and checked could not be kept in time.
        give_over = time.monotonic() + OPEN_WAIT
        while self.journal.condition.state == "opening" and time.monotonic() < give_over:
            time.sleep(_LOOK_EVERY)
        self._held: deque[Held] = deque()

    def keep(self, event: Event, seq: int, at: float, announce: Callable[[], None]) -> None:
        """Remember one event, and announce it as soon as that is safe, in the order of the calls."""
        ticket = None
        entries = _entries(event, seq, at)
        if entries and event.name is not None:
            # With it and not after it: who is announced as paused or released is not found watched after a crash.
            changed = self.registered(event.name)
            if changed is not None:
                entries.append(changed)
        for entry in entries:
            ticket = self.journal.record(entry) or ticket
        if ticket is not None and self.journal.condition.keeps:
            self._held.append(Held(ticket, time.monotonic(), announce))
        elif self._held:
            self._held.append(Held(0, time.monotonic(), announce))
        else:
            announce()

    def then(self, do: Callable[[], None]) -> None:
        """Do this when all that was kept so far is on disk: at once, if nothing waits."""
        if self._held:
            self._held.append(Held(0, time.monotonic(), do))
        else:
            do()

    def state(self) -> dict[str, Any]:
        """What ``status`` shows of the journal; ``problems``: what could not be read when this run began."""
        return {**self.journal.state(), "problems": self.problems}

    def report(self, report: Report) -> None:
        """Remember what became of an action, and the evidence that it took."""
        ok = {What.DONE: True, What.FAILED: False, What.STUCK: False}.get(report.type)
        if report.started is not None and not report.recovered:
            text, output = report.text, report.data.get("output")
            if isinstance(output, str) and output.strip():
                text = f"{text}\n{bounds.text(output.rstrip(), OUTPUT_MAX, keep_end=True)}"
            self.journal.record(
                RungRun(report.incident, report.rung, report.run, report.action, report.started, ok, text)
            )

    def evidence(self, incident: str, blob: bytes) -> None:
        """Remember evidence, as ``squeeze`` made it on the thread that took it."""
        self.journal.record(EvidenceTaken(incident, time.time(), blob))

    def committed(self, ticket: int) -> None:
        """Announce what waited for this."""
        while self._held and self._held[0].ticket <= ticket:
            self._held.popleft().announce()

    def patience(self) -> float | None:
        """Seconds until ``impatient`` has something to do; None: nothing waits."""
        return None if not self._held else max(0.0, self._held[0].since + PATIENCE - time.monotonic())

    def impatient(self) -> None:
        """Announce what has waited for too long: the disk is in trouble, which ``status`` shows."""
        now = time.monotonic()
        while self._held and now - self._held[0].since >= PATIENCE:
            self._held.popleft().announce()

    def close(self, wait: float) -> None:
        """Write what is left, at most for ``wait`` seconds, and announce it."""
        self.journal.close(wait)
        while self._held:
            self._held.popleft().announce()


def _entries(event: Event, seq: int, at: float) -> list[Entry]:
    """What the journal keeps of one event."""
    data = event.data
    entries: list[Entry] = []
    if event.type is EventType.EXPIRED and "replay" not in data:
        entries.append(
            IncidentOpened(
                data["incident"],
                event.name or "",
                Cause(data["cause"]),
                at - data["age"],
                data["silence"],
                data["timeout"],
                data.get("reason"),
                data.get("status"),
                data.get("progress"),
                data.get("pid"),
            )
        )
    elif event.type in _CLOSING:
        how = _CLOSING[event.type] or data["how"]
        entries.append(IncidentClosed(data["incident"], at, how, data["runs"]))
    elif event.type is EventType.ACTION:
        entries.append(RungRun(data["incident"], data["rung"], data["run"], data["do"], at))
    if event.type not in _UNKEPT and "replay" not in data:
        entries.append(EventSeen(seq, at, event.type.value, event.name, dict(data)))
    return entries
