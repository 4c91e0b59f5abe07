"""The engine: what arrives changes watchdogs, what is due becomes a verdict, and both become effects.

The way of a feed: ``intake`` looks its bytes up in ``Table.by_frame`` and stores the time. That is all, because
``by_frame`` holds only the plain feeds of watchdogs that are ALIVE and need nothing else. Whatever is not known
(the first feed, a feed that ends an incident, every other message) is decoded and goes to ``tell``.

The way of a verdict: ``Verdicts.sweep`` takes what has come up in the queue and arms again what was fed; the rest
are suspects. ``Verdicts.judge`` makes verdicts of them when barrier.py says that this may be done. Each verdict is
a transition: states.py has the table, lifecycle.py carries it out.

The engine is pure: time is an argument, and what is to be done comes back as effects. It is composed of parts, each
of which owns its data and knows only the parts before it:

    Table > FeedHistory > Incidents > Lifecycle > Quorums, Maintenance > OnPurpose > ProcessLifecycle, Checks
    > Declarations > FeedObserver > Admission > Registry, Verdicts > MessageKinds > Engine
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from banken.errors import WireError
from banken.protocol.codec import decode
from banken.protocol.messages import Declaration, Feeders, Kind, Message
from banken_supervisor.engine import members, numbered_words
from banken_supervisor.engine.admission import Admission
from banken_supervisor.engine.checks import Checks
from banken_supervisor.engine.declarations import Declarations, decoded_always
from banken_supervisor.engine.effects import Effect
from banken_supervisor.engine.feed_history import FeedHistory
from banken_supervisor.engine.feed_observer import FeedObserver
from banken_supervisor.engine.incidents import Incidents
from banken_supervisor.engine.known_feeds import KnownFeeds, mark_of
from banken_supervisor.engine.last_feeds import LastFeeds
from banken_supervisor.engine.lifecycle import Lifecycle
from banken_supervisor.engine.maintenance import Maintenance
from banken_supervisor.engine.message_kinds import MessageKinds
from banken_supervisor.engine.notified import Notified
from banken_supervisor.engine.occurrence import Occurrence
from banken_supervisor.engine.on_purpose import OnPurpose
from banken_supervisor.engine.policy import By, Policy, Quotas
from banken_supervisor.engine.principal import AnyPrincipal, KeyHolder, Principal, Refusal, authorize, may_use
from banken_supervisor.engine.process_lifecycle import ProcessLifecycle
from banken_supervisor.engine.quorum import Quorums
from banken_supervisor.engine.record import Record
from banken_supervisor.engine.registry import Registry
from banken_supervisor.engine.restore import Restore
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.shedding import names_to_release
from banken_supervisor.engine.snapshot import Snapshot
from banken_supervisor.engine.states import State, Trigger
from banken_supervisor.engine.succession import Succession
from banken_supervisor.engine.table import Table
from banken_supervisor.engine.verdicts import Verdicts
from banken_supervisor.engine.waiting import Waiting, name_in, source_of


class Engine:
    """Every watchdog of one supervisor. ``now`` is deadline time, in seconds, and never goes back.

    ``run_id`` makes incident ids unique among all runs of all supervisors; ``probe_token`` marks the supervisor's
    own probes; ``jitter`` gives numbers in [0, 1) for backoff. Effects are appended to the caller's ``out``.
    """

    def __init__(
        self, rules: Rules, run_id: str, probe_token: bytes = b"", jitter: Callable[[], float] = lambda: 0.5
    ) -> None:
        self.rules = rules
        self.decoded_bytes = 0
        """bytes of all messages that were decoded as they were read"""
        self.waiting = Waiting(Quotas())
        self.probes_seen: list[int] = []
        """numbers of the probes that came back; the caller takes them out"""
        self._probe_token = probe_token
        self.table = Table()
        self.history = FeedHistory(self.table)
        self.incidents = Incidents(self.table, self.history, run_id, jitter)
        self._lifecycle = Lifecycle(self.table, self.history, self.incidents)
        self.succession = Succession(self.table, self.incidents, self._lifecycle, self._restore)
        self.quorums = Quorums(self.table, self._lifecycle, self.incidents)
        self.on_purpose = OnPurpose(self.table, rules, self._lifecycle, self.quorums)
        self.processes = ProcessLifecycle(self.table, self._lifecycle, self.on_purpose)
        self.checks = Checks(
            self.table, self._lifecycle, self.on_purpose, lambda name: self.processes.is_program(name)
        )
        self.maintenance = Maintenance(self.table, self._lifecycle)
        self._declarations = Declarations(self.table, rules, self.incidents, self.maintenance)
        self.observer = FeedObserver(self.table, self.history, self._declarations)
        self.last_feeds = LastFeeds(self.table)
        self.notified = Notified(self.table, self._lifecycle, self.get, self.observer.keeps_incident)
        self._known_feeds = KnownFeeds(self.table, self.history)
        self.admission = Admission(
            self.table, rules, self.history, self.quorums, self.maintenance, self.observer, self.processes
        )
        self.registry = Registry(
            self.table, rules, self.admission, self._declarations, self.maintenance, self._lifecycle,
            self.succession,
        )  # fmt: skip
        self.verdicts = Verdicts(
            self.table, self.observer, self._lifecycle, self.processes, self.on_purpose, self.quorums, self.waiting,
            self.checks,
        )  # fmt: skip
        self._messages = MessageKinds(
            self.table, self._lifecycle, self.on_purpose, self.processes, self._declarations, self.observer,
            self.last_feeds, self.admission,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.table)

    def get(self, name: str) -> Record | None:
        """The record of one name; to be read only."""
        return self.table.by_name.get(name)

    # -- what arrives -------------------------------------------------------------------------------

    def intake(
        self, frames: Iterator[bytes], now: float, out: list[Effect], principal: AnyPrincipal = Principal.LOCAL
    ) -> None:
        """Take every frame of ``frames``, all counted as arriving ``now``; what needs work may wait (waiting.py).

        An exception that ``frames`` raises passes through; what came before it has been taken.
        """
        for frame in self._known_feeds.take(frames, now, principal):
            if principal is Principal.SUPERVISOR or (self._probe_token and self._probe_token in frame):
                # What this process says keeps its order with what its threads say in other ways.
                self.decoded_bytes += len(frame)
                self.take(frame, now, out, principal)
            elif self.waiting.at_once > 0 and self.waiting.is_calm:
                self.waiting.at_once -= 1
                self.decoded_bytes += len(frame)
                self._take_charged(frame, principal, self.waiting.speaker(), now, out)
            elif (refused := self.waiting.put(frame, principal)) is not None:
                self.admission.refused[refused] += 1
            elif (record := self.get(name_in(frame))) is not None and may_use(principal, record.name):
                self.table.forget_frames(record)  # its feeds wait behind this message

    def take_waiting(self, now: float, out: list[Effect], more: Callable[[], bool] = lambda: True) -> None:
        """Take what waits, from each source in turn, as long as ``more`` says so."""
        self.waiting.wake(now)
        while more() and (found := self.waiting.take()) is not None:
            self._take_charged(*found, now, out)
        out += self.waiting.flood(now)

    def _take_charged(self, frame: bytes, by: AnyPrincipal, pid: int, now: float, to: list[Effect]) -> None:
        before = len(to)
        self.take(frame, now, to, by, pid)
        if len(to) > before:
            self.waiting.charge(source_of(frame, by, pid), len(to) - before, now)

    def take(
        self, frame: bytes, now: float, out: list[Effect], by: AnyPrincipal = Principal.LOCAL, pid: int = 0
    ) -> Refusal | None:
        """Decode and take one frame; the refusal, if there is one, is counted. ``pid``: as for ``source_of``."""
        try:
            message = decode(frame)
        except WireError as fault:
            return self.admission.refuse(Refusal(fault.reason, str(fault)), now, out)
        if message.kind is Kind.PROBE and message.args[0] == self._probe_token:
            by = Principal.SUPERVISOR
        share, process = self.table.share, self.admission.process_of(message, by, pid, now, out)
        is_own = process == message.identity or isinstance(by, KeyHolder)
        known = mark_of(by) + frame if is_own else None  # to its own process the same bytes mean more
        message = message._replace(
            identity=share(process),
            resolution=share(message.resolution),
            declaration=share(message.declaration),
        )
        is_new = message.name not in self.table.by_name
        refused = self.tell(message, now, out, by, known)
        speaker = by.key_part if isinstance(by, KeyHolder) else pid
        self.table.turns.heard(message.name, message.identity, speaker, is_new=is_new)
        return refused

    def tell(
        self,
        message: Message,
        now: float,
        out: list[Effect],
        principal: AnyPrincipal = Principal.OPERATOR,
        frame: bytes | None = None,
    ) -> Refusal | None:
        """Take one message; the refusal, if it was refused (it is counted already). ``frame``: by which the next
        one like it can be known."""
        kind = message.kind
        record = self.table.by_name.get(message.name)
        is_group, is_check = record is not None and record.is_group, record is not None and record.is_check
        refusal = authorize(principal, kind, message.name, is_group=is_group, is_check=is_check)
        if refusal is None and kind is Kind.RESULT:
            refusal = self.checks.take(record, message, principal, now, out)
            if refusal is None:
                return None
        if refusal is not None:
            return self.admission.refuse(refusal, now, out, None if record is None else record.name)
        if kind is Kind.PROBE:
            self.probes_seen.append(message.args[1])
            return None
        if record is None:
            is_released = message.name in self.table.released  # since then
            if numbered_words.is_again(message) and (is_released or message.identity is None):
                return None
            admitted = self.admission.admit(message, now, out, principal=principal)
            if isinstance(admitted, Refusal):
                # To release or resume what is not watched asks for what is so already: no event.
                quiet = kind in (Kind.RELEASE, Kind.LEAVING, Kind.RESUME)
                return self.admission.refuse(admitted, now, [] if quiet else out, message.name)
            record = admitted
        refusal = self.admission.check_owner(record, message, now, out)
        if refusal is not None or numbered_words.was_heard(record, message):
            return refusal
        if numbered_words.note(record, message):
            self.table.mark_changed(record)
        member = members.member_of(record, message.identity)
        extended = None if member is None else member.extended_until
        held = self._lifecycle.gate.held.get(record.name)
        cause = None if held is None else held.what.cause
        is_aside = members.is_aside(record, member, message, cause)
        if is_aside and members.keep_aside(record, member, message, now):
            if member is not None and member.extended_until != extended:
                self.table.mark_changed(record)
            if kind is Kind.NOTE:
                self._messages.take_progress(record, message, now)
            return None
        grace, feeders = record.declaration.grace, record.declaration.feeders
        is_news = record.by is By.NOBODY or not record.awaited or record.stopped_with is not None
        unannounced = kind is Kind.DECLARE and is_news
        theirs = message.identity is None or message.identity == record.owner or member is not None
        if theirs and (message.declaration is not None or message.identity is not None):
            self._declarations.update(record, message, out)
        if record.declaration.feeders is not feeders:  # whether it may feed was asked by the former word
            frame, member = None, members.member_of(record, message.identity)
        former, was_down = record.owner, record.is_down and record.declaration.feeders is not Feeders.LATEST
        if member is not None and record.declaration.feeders is Feeders.EACH:
            if kind in members.PROOFS or not record.is_down:
                members.show(record, member)
        elif member is not None and (kind in members.PROOFS or (kind is Kind.FAIL and not record.is_down)):
            record.owner = member.process  # it is looked at after a verdict
        is_left = former is not None and former != record.owner and members.member_of(record, former) is None
        if record.state is State.WAITING and record.declaration.grace != grace:
            # Another grace counts from its own declaration, or from where a restart has it begin. It is armed.
            record.fed_at = max(record.fed_at, now)
            if member is not None:
                member.fed_at = record.fed_at
        if kind is not Kind.DECLARE:  # the watchdog is known by now; a declaration is no feed
            self._messages.take(record, message, now, out)
            if was_down and record.is_down and kind in members.PROOFS:
                if member is not None:
                    members.keep(record, member)
                record.owner, is_left = former, False  # its incident goes on
        elif unannounced and (record.state is State.WAITING or record.state is State.PAUSED):
            self.processes.reborn(record, now, out)  # its grace begins now
        if is_left and former is not None:  # it was none of the members any more
            self.table.lose(former)
        alone = member is None or record.declaration.feeders is not Feeders.EACH
        if kind is Kind.FEED and frame is not None and record.state is State.ALIVE and not decoded_always(record):
            if alone:
                self.table.know_frame(record, frame)
            elif member is not None and member.joined:
                self.table.know_frame(record, frame, member)
        is_each = record.declaration.feeders is Feeders.EACH
        if is_each and record.state in (State.ALIVE, State.PAUSED):
            if member is not None and record.owner == member.process:
                members.keep(record, member)
            members.show_first(record)
            self.table.arm(record)
        return None

    def set_quotas(self, quotas: Quotas) -> None:
        """How much one process may ask for. What there is stays."""
        self.admission.quotas = self.waiting.quotas = quotas

    # -- what the operator and the programs say -------------------------------------------------------

    def declare(self, name: str, policy: Declaration | Policy, now: float, out: list[Effect]) -> None:
        """The operator's policy for one name, in force at once and over every worker's. It is to be fed, unless a
        process of its program has released it."""
        self.rules.declare(name, policy)
        record = self.get(name)
        if record is not None:
            self._declarations.follow_rules(record)
        self.watch(name, now, out, awaited=record is None or not record.has_released)

    def watch(self, name: str, now: float, out: list[Effect], *, awaited: bool) -> None:
        """Watch this name by the rules from now on. ``awaited``: it is to be fed within its grace from now on, or
        its incident is that it never was; else its worker is waited for first. The incident that it has, or the end
        of its process that is not judged yet, is not over by that."""
        record = self.get(name)
        if record is None:
            message = Message(Kind.DECLARE, name, None, 0.0, None)
            admitted = self.admission.admit(message, now, out, is_operators=True, awaited=awaited)
            if isinstance(admitted, Refusal):
                self.admission.refuse(admitted, now, out, name)
        elif awaited and not (record.awaited or record.is_down or record.exited):
            self.processes.reborn(record, now, out)

    def reconsider(self) -> None:
        """The rules have changed: apply them to every watchdog there is. No timer is lost."""
        for record in self.table:
            if (
                record.by is not By.WORKER
                or record.policy is not None
                or self.rules.policy_of(record.name) is not None
            ):
                self._declarations.follow_rules(record)

    def forget(self, name: str, now: float, out: list[Effect], how: str = "released") -> None:
        """Watch this one no longer, and take back the operator's policy. ``how``: what ends its incident."""
        self.rules.forget(name)
        if (record := self.get(name)) is not None:
            self._lifecycle.apply(record, Occurrence(Trigger.RELEASE, how=how), now, out)

    def shed(self, count: int, now: float, out: list[Effect]) -> list[str]:
        """Release ``count`` names of processes that have many, see shedding.py. They are refused while
        ``admission.short_of_memory``. Their names, the newest first."""
        shed = names_to_release(reversed(self.table.by_name.values()), count)
        for record in shed:
            self._lifecycle.apply(record, Occurrence(Trigger.RELEASE), now, out)
        return [record.name for record in shed]

    def undeclare(self, name: str, now: float, out: list[Effect]) -> None:
        """The operator declares this name no longer. It is watched no longer, unless a pattern fits it or a process
        owns it: then it goes on under that policy, and its incident, if it has one, stays open. Not so a check:
        nothing would feed it."""
        self.rules.forget(name)
        record = self.get(name)
        if record is None:
            return
        if record.is_check or (self.rules.policy_of(name) is None and record.owner is None):
            self.forget(name, now, out)
        else:
            self._declarations.follow_rules(record)

    # -- over a restart -------------------------------------------------------------------------------

    def restore(self, left: Snapshot, now: float, out: list[Effect]) -> tuple[int, int]:
        """Bring back what a former supervisor left: how many watchdogs, and how many open incidents."""
        return self._restore().run(left, now, out)

    def _restore(self) -> Restore:
        return Restore(
            self.table, self.rules, self.admission, self._declarations, self.incidents, self.processes.is_program,
            self.on_purpose,
        )  # fmt: skip
