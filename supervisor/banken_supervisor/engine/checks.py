"""Checks: conditions of an owner that a process of the supervisor's own looks at, each with a watchdog of its own.

The watchdog of a check bears a name below its owner's (``redis/check``), and has what every watchdog has:
incidents, the owner's ladder, a row in ``status``. Nothing feeds it but results (``Kind.RESULT``), and those count
only from the process that runs the checks. A result says nothing of the owner, which is judged by its own feeds
alone; but a step of a check's ladder acts on the owner's process.

Its verdict, cause ``check``: ``fails`` failures in a row, or no result in its timeout. Until it has passed once,
failures count only when the grace is over. *The silence of the process that runs the checks convicts nobody*: a
missing result is judged only when that process was heard after the result was due. What is new to it (the check, or
its program's process, or all of them, when it was started or stood still) is not judged before it has it, and has a
whole timeout from then: its questions (``asked``) show when. When that process says that it could not run a check
yet, the check has a whole timeout from then, too. A check of a program is not judged while that is not running.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import chain
from math import inf

from banken.protocol.incidents import Cause
from banken.protocol.messages import Message, ProcessIdentity
from banken_supervisor.engine.allowance import Allowance
from banken_supervisor.engine.check_state import CheckCounts, CheckState, Result
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.lifecycle import MAINTENANCE, Lifecycle
from banken_supervisor.engine.occurrence import Occurrence
from banken_supervisor.engine.on_purpose import OnPurpose
from banken_supervisor.engine.policy import CheckRule
from banken_supervisor.engine.principal import AnyPrincipal, Principal, Refusal
from banken_supervisor.engine.record import Record
from banken_supervisor.engine.states import PASSED, State, Trigger
from banken_supervisor.engine.table import Table

RUNNER = "banken-checks"
"""The program that runs the checks, and its watchdog."""

LOOK_AGAIN_S = 0.25
"""Seconds until a check is looked at again that has no result, while its process is not heard either."""

WARN_EVERY_S = 600.0
"""Seconds between two warnings that checks are run late."""

START_S = 2.0
"""Seconds that the first run of a check may begin late, once the process that runs the checks has it."""

STILL_S = 0.5
"""Seconds between two questions of the process that runs the checks after which it has stood still."""


@dataclass(eq=False)
class Checks:
    """Times are deadline time, seconds."""

    _table: Table
    _lifecycle: Lifecycle
    _on_purpose: OnPurpose
    _is_program: Callable[[str], bool] = lambda name: False
    runner: Callable[[], ProcessIdentity | None] = lambda: None
    """the process that runs the checks, as far as it is known; its random part does not count"""
    passed: Callable[[str, float, float, list[Effect]], None] = lambda owner, began, now, out: None
    """is told that the readiness of this program was seen by a run that began at this time"""
    counts: CheckCounts = field(default_factory=CheckCounts)
    _warn_at: float = 0.0
    _last_runner: ProcessIdentity | None = None
    _asked_at: float = -inf
    _untold: set[str] = field(default_factory=set)
    """owners of whom something is new, which the process that runs the checks was not told"""
    _told: set[str] = field(default_factory=set)
    """owners of whom the answer to its last question told it; its next one shows that it has heard it"""

    def set(self, names: Collection[str]) -> list[str]:
        """The checks that there are, by the operator's config; their policies are in force already. Those that are
        new. One that has changed has a whole timeout from when it can be run: its last result came as often as it
        was asked for then."""
        found: dict[str, list[str]] = {}
        before = {name for names in self._table.checks_of.values() for name in names}
        for name in names:
            record = self._table.by_name.get(name)
            if record is not None and (rule := rule_of(record)) is not None:
                state = record.detailed().check
                if state is None or state.rule != rule:
                    self._untold.add(rule.of)
                self._table.forget_frames(record)
                if record.owner is not None:  # a worker had the name, before the config gave it to a check
                    self._table.set_owner(record, None, [])
                self._table.arm(record)
                found.setdefault(rule.of, []).append(name)
        self._table.checks_of = {owner: tuple(names) for owner, names in found.items()}
        self._untold.intersection_update(found)
        return [name for name in names if name not in before]

    def join_pauses(self, names: Collection[str], now: float, out: list[Effect]) -> None:
        """These checks are new: a pause of the owner is one of theirs, too."""
        for record in map(self._table.by_name.get, names):
            rule = None if record is None else rule_of(record)
            owner = None if rule is None else self._table.by_name.get(rule.of)
            if record is None or owner is None or owner.state is not State.PAUSED or record.state is State.PAUSED:
                continue
            until, is_windows = owner.detailed().paused_until, owner.detailed().maintained
            seconds = None if until == inf else max(0.0, until - now)
            by = MAINTENANCE if is_windows else None
            self._lifecycle.apply(record, Occurrence(Trigger.PAUSE, until=until, seconds=seconds, by=by), now, out)

    # -- results --------------------------------------------------------------------------------------

    def take(
        self, record: Record | None, message: Message, by: AnyPrincipal, now: float, out: list[Effect]
    ) -> Refusal | None:
        """A result of a run."""
        rule = None if record is None else rule_of(record)
        who, runner = message.identity, self.runner()
        last = self._last_runner = runner or self._last_runner
        if record is None or rule is None:
            is_runners = by is Principal.LOCAL and who is not None and last is not None and who[:3] == last[:3]
            if record is None and is_runners:
                return None  # of a check that a reload has removed a moment ago: the runner still had it
            return Refusal("unknown", f"no check is called {message.name!r}")
        if by is not Principal.LOCAL or who is None or runner is None or who[:3] != runner[:3]:
            text = f"results of {message.name!r} come from the process {RUNNER} alone"
            return Refusal("check", text)
        passed, text, took, until_next, is_certain, process, is_provisional = message.args
        details, state = record.detailed(), self._state_of(record)
        state.heard_at = now
        if passed is None:
            self._delay(record, rule, state, text, now, out)
            return None
        state.delayed = None
        result = Result(now, passed, text, took)
        self.counts.add(result)
        state.process = None if process is None else who._replace(pid=process[0], start=process[1], nonce=bytes(4))
        state.results.append(result)
        state.number += 1
        state.next_at = now + until_next
        if not record.awaited or (record.stopped_with is not None and details.back_by is None):
            return None  # its program, or one that it depends on, is not running
        if record.stopped_with is not None:  # that runs again: the check has a grace from now on
            self._start(record, now, out)
        if rule.is_readiness:
            self._note_readiness(record, rule, result, now, out)
            return None
        if passed and now - took < state.began_at:
            return None  # it has seen the process before this one
        if is_provisional and record.is_down:
            return None  # it passes because there is nothing to compare with yet
        self._table.end_extension(record)
        if passed:
            state.failed = 0
            self._lifecycle.apply(record, Occurrence(Trigger.FEED, how=PASSED), now, out)
        elif record.is_judged:
            counts = record.state is State.ALIVE or now >= record.fed_at + record.declaration.grace
            state.failed = state.failed + 1 if counts else 0
            if state.failed >= (1 if is_certain else rule.fails):
                self._convict(record, rule, state, now, now, out)
            else:
                self._table.arm(record)
        else:
            state.failed = 0 if record.state is State.PAUSED else state.failed + 1
        return None

    def _delay(
        self, record: Record, rule: CheckRule, state: CheckState, why: str, now: float, out: list[Effect]
    ) -> None:
        """It could not be run yet: it has a whole timeout from now on."""
        if state.delayed is None:
            state.delayed_since = now
        state.delayed = why
        self._table.arm(record)
        self._postpone_readiness(rule, now, f"{rule.label}: {why}")
        if now - state.delayed_since >= rule.every and now >= self._warn_at:
            self._warn_at = now + WARN_EVERY_S
            text = f"{record.name} {why}; a check is not judged before it was run"
            out.append(Event(EventType.RESOURCES, None, {"what": "checks", "state": "short", "text": text}))

    def _postpone_readiness(self, rule: CheckRule, now: float, seen: str | None = None) -> None:
        """The check was not run yet: an owner that waits for it to be ready has a whole timeout from now on."""
        owner = self._table.by_name.get(rule.of) if rule.is_readiness else None
        if owner is None or (demand := owner.detailed().demand) is None or demand.alone:
            return
        due = max(demand.due, now + rule.every * (rule.fails + 1))
        owner.detailed().demand = demand._replace(due=due, seen=demand.seen if seen is None else seen)
        self._table.arm(owner)

    def _note_readiness(
        self, record: Record, rule: CheckRule, result: Result, now: float, out: list[Effect]
    ) -> None:
        """It tells of its owner, which has an incident if that is not ready in time."""
        if result.passed:
            self.passed(rule.of, now - result.took, now, out)
            self._lifecycle.apply(record, Occurrence(Trigger.FEED, how=PASSED), now, out)
            return
        owner = self._table.by_name.get(rule.of)
        if owner is not None and owner.details is not None and (demand := owner.details.demand) is not None:
            owner.details.demand = demand._replace(seen=f"{rule.label}: {result.text}")

    def judge(self, record: Record, due: float, now: float, out: list[Effect]) -> None:
        """No result came in its time."""
        rule = rule_of(record)
        assert rule is not None
        runner = self._table.by_name.get(RUNNER)
        is_heard = runner is not None and runner.state is State.ALIVE and min(runner.fed_at, self._asked_at) >= due
        if not is_heard or self._is_new(rule.of):
            self._table.deadlines.arm(record, now + LOOK_AGAIN_S)  # nobody is convicted by that one's silence
        else:
            self._convict(record, rule, self._state_of(record), due, now, out)

    def _convict(
        self, record: Record, rule: CheckRule, state: CheckState, due: float, now: float, out: list[Effect]
    ) -> None:
        if due == now and state.failed:
            times = f" {state.failed} times in a row" if state.failed > 1 else ""
            reason = f"{rule.label} failed{times}: {state.results[-1].text}"
        else:
            reason = f"{rule.label} gave no result in {record.declaration.timeout:g} s"
        if self._on_purpose.excuses(record, now, out):
            return
        what = Occurrence(Trigger.DEADLINE, due=due, cause=Cause.CHECK, reason=reason)
        self._lifecycle.apply(record, what, now, out)

    # -- what becomes of owners and of the process that runs them ----------------------------------------

    def owner_started(self, owner: str, now: float, out: list[Effect], *, anew: bool = True) -> None:
        """This program runs. ``anew``: with a new process, and each of its checks has a grace from now on."""
        for record in self._of(owner):
            if anew or not record.awaited:
                self._start(record, now, out)
            if anew:
                self._state_of(record).began_at = now

    def owner_ended(self, owner: str, now: float, out: list[Effect], *, stays_down: bool) -> None:
        """This program is not running: its checks are not judged. ``stays_down``: it does not come up by itself,
        and their incidents end with it."""
        for record in self._of(owner):
            if record.is_judged or (stays_down and record.state is not State.PAUSED):
                self._lifecycle.await_feed(record, "stopped", now, out)
            elif record.state is State.PAUSED:
                record.detailed().dormant = True

    def settle(self, is_running: Callable[[str], bool], now: float, out: list[Effect]) -> None:
        """Bring the checks of all programs into line with what is running: after a start, or a reload."""
        for owner in list(self._table.checks_of):
            if not self._is_program(owner):
                continue
            if not is_running(owner):
                self.owner_ended(owner, now, out, stays_down=False)
                continue
            for record in self._of(owner):
                if not record.awaited:
                    self._start(record, now, out)

    def runner_started(self) -> None:
        """Another process runs the checks, or the same after it stood still: all is new to it."""
        self._untold, self._told = set(self._table.checks_of), set()

    def asked(self, told: Collection[str], now: float) -> None:
        """The process that runs the checks asks for its work, and has all checks of the config in force. It is told
        now which processes these owners have."""
        if now - self._asked_at > STILL_S:
            self.runner_started()
        heard, self._told = self._told, self._untold.intersection(told)
        self._untold -= self._told
        self._asked_at = now
        for record in chain.from_iterable(map(self._of, heard)):
            if (rule := rule_of(record)) is not None and record.is_judged:
                record.detailed().allowed = Allowance(now + START_S + record.declaration.timeout)
                self._table.arm(record)
                self._postpone_readiness(rule, now)

    def is_unseen(self, record: Record, due: float) -> bool:
        """Whether this program is to be ready by a check that nobody could run yet."""
        demand = None if record.details is None else record.details.demand
        if demand is None or demand.alone or demand.seen or demand.due > due or not self._is_new(record.name):
            return False
        return any(rule is not None and rule.is_readiness for rule in map(rule_of, self._of(record.name)))

    def _is_new(self, owner: str) -> bool:
        """Whether the process that runs the checks may not know all of this owner yet."""
        return owner in self._untold or owner in self._told

    def _start(self, record: Record, now: float, out: list[Effect]) -> None:
        if (rule := rule_of(record)) is not None:
            self._untold.add(rule.of)
            self._told.discard(rule.of)
        if (state := record.detailed().check) is not None:
            state.failed, state.delayed = 0, None
        self._table.await_feeds(record)
        self._lifecycle.apply(record, Occurrence(Trigger.REBORN), now, out)

    def _state_of(self, record: Record) -> CheckState:
        """What this check has shown; another one that has its name now has shown nothing."""
        details, rule = record.detailed(), rule_of(record)
        if details.check is None or details.check.rule != rule:
            details.check = CheckState(rule=rule)
        return details.check

    def _of(self, owner: str) -> list[Record]:
        found = map(self._table.by_name.get, self._table.checks_of.get(owner, ()))
        return [record for record in found if record is not None]


def rule_of(record: Record) -> CheckRule | None:
    """Of which check this is the watchdog; None: of none."""
    return None if record.policy is None else record.policy.check
