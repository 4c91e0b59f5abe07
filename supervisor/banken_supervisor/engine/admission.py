"""Which messages are taken: names that are watched, and the process that a name belongs to.

What a principal may say at all is asked before (principal.py).
"""

from __future__ import annotations

from banken.protocol.messages import Feeders, Kind, Message
from banken_supervisor.engine import ownership
from banken_supervisor.engine.descriptions import declared_event
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.feed_history import FeedHistory
from banken_supervisor.engine.feed_observer import FeedObserver
from banken_supervisor.engine.maintenance import Maintenance
from banken_supervisor.engine.process_lifecycle import ProcessLifecycle
from banken_supervisor.engine.quorum import Quorums
from banken_supervisor.engine.record import Record
from banken_supervisor.engine.refusals import Refusal, Refusals
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.table import Table

WATCHDOGS_MAX = 2_000_000
"""Names watched at once; the next one is refused."""

_FEEDS = (Kind.FEED, Kind.NOTE)


class Admission:
    """Makes records for new names, refuses what is not to be taken, and counts the refusals."""

    def __init__(
        self,
        table: Table,
        rules: Rules,
        history: FeedHistory,
        quorums: Quorums,
        maintenance: Maintenance,
        observer: FeedObserver,
        processes: ProcessLifecycle,
    ) -> None:
        self.refusals = Refusals()
        self._table = table
        self._rules = rules
        self._history = history
        self._quorums = quorums
        self._maintenance = maintenance
        self._observer = observer
        self._processes = processes

    def admit(self, message: Message, now: float, out: list[Effect]) -> Record | Refusal:
        """A record for a name that is not watched yet."""
        name = message.name
        if message.kind in (Kind.RELEASE, Kind.RESUME):
            return Refusal("unknown", f"no watchdog is called {name!r}")
        policy = self._rules.policy_of(name)
        operator = policy is not None and not policy.worker_declares
        operators = None if policy is None else policy.declaration
        declaration = (operators if operator else message.declaration or operators) or self._rules.defaults
        if declaration is None:
            return Refusal("undeclared", f"nobody declared {name!r}, and undeclared names are refused here")
        table = self._table
        if len(table) >= WATCHDOGS_MAX:
            return Refusal("full", f"{WATCHDOGS_MAX} watchdogs are kept already")
        record = Record(name, declaration, message.resolution, now, operator=operator)
        record.policy = policy
        table.add(record)
        self._history.resize()
        self._quorums.enroll(record)
        table.set_owner(record, message.identity, out)
        table.arm(record)
        by = "operator" if operators is declaration else "worker" if message.declaration else "defaults"
        out.append(declared_event(record, by))
        self._maintenance.apply_to_new(record, now, out)
        return record

    def check_owner(self, record: Record, message: Message, now: float, out: list[Effect]) -> Refusal | None:
        """Whether the sender may speak in this name. A newer process takes the name over."""
        process = message.identity
        if record.declaration.feeders is Feeders.ANY or process is None:
            return None
        claim = ownership.claim(record, process)
        if claim is ownership.Claim.OWNER:
            return None
        if claim is ownership.Claim.NEWCOMER:
            had_owner = record.owner is not None
            if record.owner is not None:
                ownership.displace(record, record.owner)
            self._table.mark_changed(record)
            self._table.set_owner(record, process, out)
            self._observer.new_feeder(record)
            if record.details is not None:
                record.details.exited_at = None  # it is another process that has ended
            if had_owner:
                self._table.forget_frames(record)
                if message.kind is Kind.DECLARE:
                    self._processes.reborn(record, now, out)
            return None
        ownership.displace(record, process)
        if record.owner is None:
            text = f"the process {process.pid} of {record.name!r} was taken down; its late messages are refused"
            return self.refuse(Refusal("contest", text), now, [], record.name)
        details = record.detailed()
        if not details.contest_reported and message.kind in _FEEDS:
            details.contest_reported = True
            data = {"pid": record.owner.pid, "refused_pid": process.pid}
            out.append(Event(EventType.CONTEST, record.name, data))
        text = (
            f"{record.name!r} belongs to the newer process {record.owner.pid}; "
            f"declare feeders='any' to let several processes feed it"
        )
        return self.refuse(Refusal("contest", text), now, out, record.name)

    def refuse(self, refusal: Refusal, now: float, out: list[Effect], name: str | None = None) -> Refusal:
        """Count a refusal, and report it if it is time to."""
        event = self.refusals.note(refusal, now, name)
        if event is not None:
            out.append(event)
        return refusal
