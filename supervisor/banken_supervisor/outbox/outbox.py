"""The outbox: an event goes to the journal first, and is published when it is on disk.

So every published verdict is in the journal, even if the supervisor dies right after. The wait is one commit, about
a millisecond. An action also waits until its start is on disk, so that the next supervisor does not run it again.
Callbacks do not wait. While the journal cannot be written, nothing waits for it.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from banken.clock import wall
from banken.protocol.incidents import Cause
from banken_supervisor.actions.target import ActionReport
from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.journal import (
    GIVEN_UP,
    Condition,
    Entry,
    EventSeen,
    EvidenceTaken,
    IncidentClosed,
    IncidentRecord,
    Journal,
    JournalSettings,
    Released,
    Restored,
    StepNotBegun,
    StepRun,
)
from banken_supervisor.journal.journal_process import place_of
from banken_supervisor.text import sanitize
from banken_supervisor.text.event_text import is_repeat

COMMIT_WAIT_S = 2.0
"""Seconds that an event waits for the disk at most. A commit takes about a millisecond; on an overloaded machine it
may take hundreds, and waiting is still right."""

WRITING_S, FOLLOWING_S = 0.02, 0.005
"""Seconds for which an event that waits for the disk, and one that was just announced, come before what can wait:
the threads that write it, and that begin an action then, need the interpreter lock many times."""

HELD_UP_MAX_S = 0.05
"""Seconds for which what can wait has to, at most: then it has a turn, though event follows event."""

OPEN_WAIT = 10.0
"""Seconds that the start waits for the journal to open, at most."""

PORTION_S = 0.005
"""Seconds of one turn of the loop for publishing; the rest follows in the next turns."""

_POLL_S = 0.002

OUTPUT_MAX = 4096
"""Characters of a command's output that are stored with its incident; the end is kept."""

NOBODY = ""
"""No watchdog has this name."""

_NOT_JOURNALED = {EventType.DECLARED, EventType.FIRST_FED, EventType.CALLBACK_DONE, EventType.REFUSED}
"""Events that are too frequent, and too unimportant later, for the journal."""

_CLOSING = {EventType.RECOVERED, EventType.CLOSED}
"""Events that close an incident."""


class Pending(NamedTuple):
    """Something to do when its ticket is on disk."""

    ticket: int
    since: float
    announce: Callable[[], None]
    is_work: bool
    """no event, but something for the dispatcher"""


class Outbox:
    """The journal of one run, as the loop uses it. ``ask`` has something done on the loop's thread, from any.

    ``left``: the state that an earlier supervisor left there, until ``Checkpoints``
    takes it. ``clock``: seconds, by which an event waits for the disk: the loop's deadline time, for while this
    process is stopped its writer is, too. ``checkpoint_of`` returns the registry entry of a watchdog, if it has
    changed; ``flush_checkpoints`` writes the other changes when the journal is closed; ``journal_changed`` hears of
    the journal's condition.
    """

    def __init__(self, settings: JournalSettings, run_id: str, ask: Callable[[Callable[[], None]], None]) -> None:
        self.clock: Callable[[], float] = time.monotonic
        place = place_of(settings)
        self.checkpoint_of: Callable[[str], Entry | None] = lambda name: None
        self.flush_checkpoints: Callable[[float], None] = lambda until: None
        self.journal_changed: Callable[[Condition], None] = lambda condition: None
        self.find = partial(place.find, settings.path)
        """as ``reading.find``, without the path; for another thread"""
        self.journal = Journal(
            settings.path,
            run_id,
            committed=lambda ticket: ask(partial(self.committed, ticket)),
            changed=lambda condition: ask(lambda: self.journal_changed(condition)),
            limits=settings.limits,
            place=place,
            restores=True,
        )
        self.left: Restored | None = self.journal.left()
        self.problems = self.left.problems
        # A verdict during the opening of the file could not be written in time.
        deadline = time.monotonic() + OPEN_WAIT
        while self.journal.condition.state == "opening" and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        self._pending: deque[Pending] = deque()
        self._announced_at = self._free_at = -math.inf
        self._proof: int | None = None
        self._is_closed = False
        self._durable = 0
        """everything up to this ticket is on disk"""

    def __len__(self) -> int:
        """How much waits for the disk."""
        return len(self._pending)

    @property
    def first_for(self) -> float:
        """Seconds for which what can wait has to: an event is on its way to the disk, or what follows it has just
        begun. 0 or less: none."""
        if self._pending:
            return self._pending[0].since + WRITING_S - self.clock()
        return self._announced_at + FOLLOWING_S - self.clock()

    def holds_up(self) -> bool:
        """Whether what can wait has to now."""
        now = self.clock()
        is_first = self.first_for > 0.0 and now - self._free_at < HELD_UP_MAX_S
        if not is_first:
            self._free_at = now
        return is_first

    def record(self, event: Event, seq: int, at: float, announce: Callable[[], None]) -> None:
        """Write one event to the journal; call ``announce`` when it is on disk. Keeps the order of the calls."""
        ticket = None
        entries = _entries(event, seq, at)
        if entries and event.name is not None:
            # In the same commit: after a crash, a watchdog that was published as paused or released must be so.
            changed = self.checkpoint_of(event.name)
            if changed is not None:
                entries.append(changed)
        for entry in entries:
            ticket = self.journal.record(entry) or ticket
        self.after_commit(announce, ticket if ticket is not None and self.journal.condition.keeps else 0)

    def after_commit(self, do: Callable[[], None], ticket: int | None = None) -> None:
        """Call ``do`` when ``ticket`` and everything before is on disk; at once if nothing waits. ``ticket``: of an
        event; None: it is work for the dispatcher, see ``hand_over_work``."""
        if ticket or self._pending:
            self._pending.append(Pending(ticket or 0, self.clock(), do, is_work=ticket is None))
        else:
            do()

    def state(self) -> dict[str, Any]:
        """The state of the journal for ``status``; ``problems``: what could not be read at the start."""
        return {**self.journal.state(), "problems": self.problems}

    def report(self, report: ActionReport, evidence: bytes | None = None) -> None:
        """Write the result of an action to the journal. ``evidence``: of a dump, from ``squeeze`` on its thread."""
        target = report.target
        if report.type is EventType.ACTION_DROPPED and not target.recovered:
            self.journal.record(StepNotBegun(target.incident.id, target.step, target.run))
        if report.started is not None and not target.recovered:
            text, output = report.text, report.data.get("output")
            if isinstance(output, str) and output.strip():
                text = f"{text}\n{sanitize.text(output.rstrip(), OUTPUT_MAX, keep_end=True)}"
            ok = report.type is EventType.ACTION_DONE
            self.journal.record(
                StepRun(target.incident.id, target.step, target.run, report.action, report.started, ok, text)
            )
        if evidence is not None:
            self.keep_evidence(target.incident.id, evidence)

    def keep_evidence(self, incident: str, evidence: bytes) -> None:
        """Write evidence to the journal, from ``squeeze``."""
        self.journal.record(EvidenceTaken(incident, wall(), evidence))

    def prove(self) -> int | None:
        """Write an entry that changes nothing: its ticket, which is durable soon if the journal takes entries.

        While one waits it is that one's. None: it was not taken.
        """
        if self._proof is None or self._proof <= self.journal.durable:
            self._proof = self.journal.record(Released(NOBODY))
        return self._proof

    def committed(self, ticket: int) -> None:
        """Everything up to ``ticket`` is on disk: events that waited for it may be published."""
        self._durable = max(self._durable, ticket)

    def patience(self) -> float | None:
        """Seconds until ``turn`` has something to do; None: nothing waits."""
        first = self.first_for
        if not self._pending:
            return first if first > 0.0 else None
        if self._pending[0].ticket <= self._durable:
            return 0.0
        return first if first > 0.0 else max(0.0, self._pending[0].since + COMMIT_WAIT_S - self.clock())

    def turn(self) -> None:
        """Publish a portion of the events that are on disk, and those that waited ``COMMIT_WAIT_S``: then the disk
        is in trouble, which ``status`` shows."""
        now = self.clock()
        until = time.monotonic() + PORTION_S
        while self._pending and (
            self._pending[0].ticket <= self._durable or now - self._pending[0].since >= COMMIT_WAIT_S
        ):
            self._announced_at = now
            self._pending.popleft().announce()
            if time.monotonic() >= until:
                return

    def hand_over_work(self) -> None:
        """The loop has ended: the dispatcher gets its work, though it is not on disk yet. It begins none of it, and
        tells so while that can be written; the news of an end it keeps until ``settle`` has waited."""
        left, self._pending = self._pending, deque(each for each in self._pending if not each.is_work)
        for each in left:
            if each.is_work:
                each.announce()

    def settle(self, wait: float) -> None:
        """The loop has ended: publish what waits for the disk when it is there, for at most ``wait`` seconds."""
        until = time.monotonic() + wait
        while self._pending and time.monotonic() < until:
            self._durable = max(self._durable, self.journal.durable)
            self.turn()
            time.sleep(_POLL_S)

    def close(self, wait: float) -> None:
        """Write the rest, for at most ``wait`` seconds, and publish it. Call it when no more results can arrive:
        later entries are dropped and counted."""
        if self._is_closed:
            return  # what did not end in its time would be waited for once more
        self._is_closed = True
        until = time.monotonic() + wait
        self.flush_checkpoints(until)
        self.journal.close(max(0.0, until - time.monotonic()))
        while self._pending:
            self._pending.popleft().announce()


def _entries(event: Event, seq: int, at: float) -> list[Entry]:
    """The journal entries for one event."""
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
        entries.append(IncidentClosed(data["incident"], at, data["how"], data["runs"]))
    elif event.type is EventType.GIVEN_UP:
        entries.append(IncidentClosed(data["incident"], None, GIVEN_UP, data["runs"]))
    elif event.type is EventType.ACTION:
        entries.append(StepRun(data["incident"], data["step"], data["run"], data["do"], at))
    if event.type not in _NOT_JOURNALED and "replay" not in data and not is_repeat(event):
        entries.append(EventSeen(seq, at, event.type.value, event.name, dict(data)))
    return entries
