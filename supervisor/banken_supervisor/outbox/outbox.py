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

from banken.clock import wall
from banken.protocol.incidents import Cause
from banken_supervisor.actions.reports import ActionReport, What
from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.journal import (
    Condition,
    Entry,
    EventSeen,
    EvidenceTaken,
    IncidentClosed,
    IncidentRecord,
    Journal,
    Limits,
    Restored,
    StepRun,
    restore,
)
from banken_supervisor.text import sanitize

PATIENCE = 2.0
"""Seconds that an announcement waits for the disk at the most. A commit takes about a millisecond; on an overloaded
machine it may take hundreds, and it is still worth waiting for."""

OPEN_WAIT = 10.0
"""Seconds that the start waits for the journal to be open at the most."""

PORTION_S = 0.02
"""Seconds of one turn of the loop that announcing may take; the rest follows in the next turns."""

PORTION_BUSY_S = 0.004
"""The same while verdicts are waiting: that they are on disk comes before that they are told."""

_LOOK_EVERY = 0.002

OUTPUT_MAX = 4096
"""Characters of a command's output that are kept with its incident: the end of it."""

_UNKEPT = {EventType.DECLARED, EventType.FIRST_FED, EventType.CALLBACK_DONE, EventType.REFUSED}
"""Too many, and of too little worth later on."""

_CLOSING = {EventType.RECOVERED: None, EventType.CLOSED: None, EventType.GIVEN_UP: "given-up"}
"""Events that close an incident, and how, where the event does not say it itself."""


@dataclass(frozen=True, slots=True)
class Committed:
    """Message: everything up to this ticket is on disk."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Conditioned:
    """Message: the journal's condition has changed."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Held:
    """An announcement that waits for its ticket."""

    ticket: int
    since: float
    announce: Callable[[], None]


class Outbox:
    """One run's journal, as the loop uses it. ``post``: leaves the loop a message, from any thread.

    ``path``: the journal's file. ``left`` is what a former supervisor left there, until it is taken (register.py).
    ``registered`` gives the entry of a watchdog that an event is about, if it has changed; ``last_words`` records
    what else of the registry has changed, when the journal is closed.
    """

    def __init__(self, path: str, run_id: str, post: Callable[[Any], None], limits: Limits | None = None) -> None:
        self.left: Restored | None = restore(path)
        self.problems = self.left.problems
        self.registered: Callable[[str], Entry | None] = lambda name: None
        self.last_words: Callable[[float], None] = lambda until: None
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
        self._durable = 0
        """ticket up to which all is on disk"""

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

    def report(self, report: ActionReport) -> None:
        """Remember what became of an action, and the evidence that it took."""
        ok = {What.DONE: True, What.FAILED: False, What.STUCK: False}.get(report.type)
        if report.started is not None and not report.recovered:
            text, output = report.text, report.data.get("output")
            if isinstance(output, str) and output.strip():
                text = f"{text}\n{sanitize.text(output.rstrip(), OUTPUT_MAX, keep_end=True)}"
            self.journal.record(
                StepRun(report.incident, report.step, report.run, report.action, report.started, ok, text)
            )

    def evidence(self, incident: str, blob: bytes) -> None:
        """Remember evidence, as ``squeeze`` made it on the thread that took it."""
        self.journal.record(EvidenceTaken(incident, wall(), blob))

    def committed(self, ticket: int) -> None:
        """What waited for this may be announced."""
        self._durable = max(self._durable, ticket)

    def patience(self) -> float | None:
        """Seconds until ``turn`` has something to do; None: nothing waits."""
        if not self._held:
            return None
        first = self._held[0]
        return 0.0 if first.ticket <= self._durable else max(0.0, first.since + PATIENCE - time.monotonic())

    def turn(self, *, busy: bool = False) -> None:
        """Announce what is on disk, a portion of it, and what has waited for too long: then the disk is in trouble,
        which ``status`` shows. ``busy``: verdicts are waiting."""
        now = time.monotonic()
        until = now + (PORTION_BUSY_S if busy else PORTION_S)
        while self._held and (self._held[0].ticket <= self._durable or now - self._held[0].since >= PATIENCE):
            self._held.popleft().announce()
            if time.monotonic() >= until:
                return

    def close(self, wait: float) -> None:
        """Write what is left, at most for ``wait`` seconds, and announce it. To be called when nothing reports an
        outcome any more: what comes later is not written, and is counted as dropped."""
        until = time.monotonic() + wait
        self.last_words(until)
        self.journal.close(max(0.0, until - time.monotonic()))
        while self._held:
            self._held.popleft().announce()


def _entries(event: Event, seq: int, at: float) -> list[Entry]:
    """What the journal keeps of one event."""
    data = event.data
    entries: list[Entry] = []
    if event.type is EventType.EXPIRED and "replay" not in data:
        entries.append(
            IncidentRecord(
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
        entries.append(StepRun(data["incident"], data["step"], data["run"], data["do"], at))
    if event.type not in _UNKEPT and "replay" not in data:
        entries.append(EventSeen(seq, at, event.type.value, event.name, dict(data)))
    return entries
