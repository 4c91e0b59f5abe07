"""Planted faults: each is one plausible mistake in the core, and the simulation has to notice every one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from banken.clock import CreditedClock
from banken.wire import Kind, Message
from banken_supervisor.engine import engine as kennel_module
from banken_supervisor.engine import incidents, ownership
from banken_supervisor.engine.effects import Effect, EventType
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.record import Record, deadline
from banken_supervisor.engine.snapshot import Snapshot
from banken_supervisor.engine.states import State, Trigger

from .world import Parts, World

LIMIT = 1000


@dataclass(frozen=True)
class Fault:
    """A mistake, and by which counts it may be noticed."""

    name: str
    says: str
    counts: tuple[str, ...]
    parts: Parts = field(default_factory=Parts)
    world: type[World] = World
    patched: dict[str, object] = field(default_factory=dict)
    """attributes of the engine's modules"""
    actions: dict[Kind, Callable[..., None]] = field(default_factory=dict)
    """what the engine does with messages of one kind"""

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The fault is in force inside."""
        with ExitStack() as stack:
            for name, stand_in in self.patched.items():
                for floor in (kennel_module, incidents, restoring, roll):
                    if hasattr(floor, name):
                        stack.enter_context(patch.object(floor, name, stand_in))
            stack.enter_context(patch.dict(kennel_module._ACTIONS, self.actions))
            yield


class JudgeBeforeDrain(Watch):
    def wake(self, real: float, asked: float) -> float:
        now = super().wake(real, asked)
        if self.engine.verdicts.sweep(now, self.out):
            self.engine.verdicts.judge(now, now, self.out, LIMIT)
        return now


class NoProbe(Watch):
    def decide(self) -> int | None:
        if self.engine.verdicts.sweep(self.now, self.out):
            self.engine.verdicts.judge(self.now, self.now, self.out, LIMIT)
        return None


class NoCredit(Watch):
    def wake(self, real: float, asked: float) -> float:
        return super().wake(real, 1e9)


class ImpatientClock(CreditedClock):
    def credit(self, real: float, asked: float, share: float = 1.0) -> float:
        before = self.now
        self.now = before + 1.05 * (super().credit(real, asked, share) - before)
        return self.now


class FastClock(Watch):
    def __init__(self, engine: Engine, real: float) -> None:
        super().__init__(engine, real)
        self.clock = ImpatientClock(real)


class Sleepy(Watch):
    def patience(self) -> float:
        wait = super().patience()
        return wait if wait == 0.0 else min(1.0, wait + 0.02)


class WallClock(World):
    def reading(self) -> float:
        return super().reading() + self.wall_offset


class StaleEntry(Engine):
    def sweep(self, now: float) -> bool:
        self._suspects.extend(record for record in self._deadlines.pop_due(now) if deadline(record) is not None)
        return bool(self._suspects)

    def judge(self, horizon: float, now: float, out: list[Effect], limit: int = LIMIT) -> bool:
        while self._suspects:
            record = self._suspects.popleft()
            due = deadline(record)
            if due is not None and record.state is State.PAUSED:
                self._resume(record, Trigger.DEADLINE, now, out)
            elif due is not None:
                self._verdict(record, due, now, out)
        return False


class NeverLookedAt(Engine):
    def sweep(self, now: float) -> bool:
        for record in self._deadlines.pop_due(now):
            due = deadline(record)
            if due is not None and due > now:
                continue  # it was fed, and nobody arms it again
            self._suspects.append(record)
        return bool(self._suspects)


class KnownThoughExpired(Engine):
    def _open(self, record: Record, *rest: Any) -> None:
        frame = record.frame
        super()._open(record, *rest)
        if frame is not None:
            self._learn(record, frame)


class TwiceTold(Engine):
    def _step(self, record: Record, due: float, now: float, out: list[Effect]) -> None:
        start = len(out)
        super()._step(record, due, now, out)
        assert record.details is not None
        assert record.details.incident is not None
        out[start:] = []
        self._open(record, record.details.incident.cause, due, now, out, None)


class SameIds(Engine):
    def __init__(self, rules: Any, run_id: str, probe_token: bytes = b"") -> None:
        super().__init__(rules, "run", probe_token)


class InstantRestart(Engine):
    def _admit(self, message: Message, now: float, out: list[Effect]) -> Any:
        return super()._admit(message, now - 0.9 * 20.0, out)


class ForgetsIncidents(Engine):
    def restore(self, left: Snapshot, *more: Any) -> tuple[int, int]:
        return super().restore(replace(left, open=()), *more)


class ForgetsPauses(Engine):
    def restore(self, left: Snapshot, *more: Any) -> tuple[int, int]:
        known = [
            each._replace(state=State.ALIVE, left=None) if each.state is State.PAUSED else each
            for each in left.watchdogs
        ]
        return super().restore(replace(left, watchdogs=known), *more)


class ForgetsExtensions(Engine):
    def restore(self, left: Snapshot, *more: Any) -> tuple[int, int]:
        known = [each if each.state is State.PAUSED else each._replace(left=None) for each in left.watchdogs]
        return super().restore(replace(left, watchdogs=known), *more)


class AnnouncesAgain(Engine):
    def restore(self, left: Snapshot, now: float, out: list[Effect], *more: Any) -> tuple[int, int]:
        counts = super().restore(left, now, out, *more)
        out.extend(event for each in left.open if (event := self.replay(each.name, now)) is not None)
        return counts


class ResumeKeepsTime(Engine):
    def _resume(self, record: Record, trigger: Trigger, now: float, out: list[Effect]) -> None:
        fed_at = record.fed_at
        super()._resume(record, trigger, now, out)
        record.fed_at = fed_at
        self._arm(record)


class StepTooSoon(Engine):
    def _step(self, record: Record, due: float, now: float, out: list[Effect]) -> None:
        super()._step(record, due - record.declaration.interval / 10, now, out)
        self._arm(record)


class StepNotArmed(Engine):
    def _step(self, record: Record, due: float, now: float, out: list[Effect]) -> None:
        super()._step(record, due, now, out)
        self._deadlines.disarm(record)


class NoReborn(Engine):
    def _reborn(self, record: Record, now: float, out: list[Effect]) -> None:
        pass


class OneTimeout(Engine):
    def _redeclare(self, record: Record, declaration: Any, resolution: float) -> None:
        record.declaration, record.resolution = declaration, resolution


def without_resolution(record: Record) -> float | None:
    due = deadline(record)
    return due - record.resolution if due is not None and record.state is State.ALIVE else due


def nothing(engine: Engine, record: Record, message: Message, now: float, out: list[Effect]) -> None:
    pass


def close_only(engine: Engine, record: Record, message: Message, now: float, out: list[Effect]) -> None:
    engine._close(record, now, out, EventType.CLOSED, "released")


def note_is_progress(engine: Engine, record: Record, message: Message, now: float, out: list[Effect]) -> None:
    Engine._note(engine, record, message, now, out)
    if record.details is not None and record.details.progress_at is not None:
        record.details.progress_at = now


def extension_for_ever(engine: Engine, record: Record, message: Message, now: float, out: list[Effect]) -> None:
    until = None if record.details is None else record.details.extended_until
    Engine._feed(engine, record, message, now, out)
    if record.details is not None:
        record.details.extended_until = until


def anybody(record: Record, who: Any) -> ownership.Claim:
    return ownership.Claim.OWNER


class OpenOwnership:
    Claim, take_over, displace = ownership.Claim, ownership.take_over, ownership.displace
    claim = staticmethod(anybody)


FAULTS = (
    Fault(
        "judge before drain",
        "Verdicts fall before the feeds are read.",
        ("false",),
        Parts(JudgeBeforeDrain),
    ),
    Fault("no probe", "Verdicts fall when the queue looks empty.", ("false",), Parts(NoProbe)),
    Fault("no credit", "The time of a stall is held against everyone.", ("false",), Parts(NoCredit)),
    Fault("fast clock", "The clock runs five percent fast.", ("false",), Parts(FastClock)),
    Fault("sleepy", "The loop sleeps 20 ms past each deadline.", ("missed",), Parts(Sleepy)),
    Fault("wall clock", "The loop reads the wall clock.", ("false", "missed"), world=WallClock),
    Fault("stale entry", "A queue entry is a verdict, fed or not.", ("false",), Parts(engine=StaleEntry)),
    Fault(
        "not armed again",
        "Who was fed is never looked at again.",
        ("missed",),
        Parts(engine=NeverLookedAt),
    ),
    Fault(
        "no resolution",
        "The sender's resolution is not added.",
        ("false",),
        patched={"deadline": without_resolution},
    ),
    Fault(
        "recovery unseen",
        "A feed does not end an incident.",
        ("missed",),
        Parts(engine=KnownThoughExpired),
    ),
    Fault("verdict twice", "Every further run is a new verdict.", ("doubled",), Parts(engine=TwiceTold)),
    Fault("same ids", "A new run counts its incidents from one.", ("doubled",), Parts(engine=SameIds)),
    Fault("pause ignored", "A pause does not stop the judge.", ("false",), actions={Kind.PAUSE: nothing}),
    Fault("resume keeps time", "A pause counts as silence.", ("false",), Parts(engine=ResumeKeepsTime)),
    Fault(
        "left armed",
        "A released watchdog is still judged.",
        ("false",),
        actions={Kind.RELEASE: close_only},
    ),
    Fault("instant restart", "Who is new has little time left.", ("false",), Parts(engine=InstantRestart)),
    Fault("incidents forgotten", "A restart forgets what is open.", ("missed",), Parts(engine=ForgetsIncidents)),
    Fault("pauses forgotten", "A restart ends every pause.", ("false",), Parts(engine=ForgetsPauses)),
    Fault("extensions forgotten", "A restart ends every extension.", ("false",), Parts(engine=ForgetsExtensions)),
    Fault("announced again", "A restart tells of open incidents anew.", ("doubled",), Parts(engine=AnnouncesAgain)),
    Fault(
        "no time to return",
        "After a restart workers have no time to find the new supervisor.",
        ("false",),
        patched={"RETURN_S": 0.0},
    ),
    Fault("extension ignored", "An extension changes nothing.", ("false",), actions={Kind.EXTEND: nothing}),
    Fault(
        "extension for ever",
        "A feed does not end an extension.",
        ("missed",),
        actions={Kind.FEED: extension_for_ever},
    ),
    Fault("step not armed", "The callback runs twice and no more.", ("missed",), Parts(engine=StepNotArmed)),
    Fault("step too soon", "The interval is a tenth short.", ("doubled",), Parts(engine=StepTooSoon)),
    Fault(
        "any incarnation",
        "An older process may still feed.",
        ("missed", "doubled"),
        patched={"ownership": OpenOwnership},
    ),
    Fault(
        "no new life",
        "A new process finds the old one's incident.",
        ("missed", "false"),
        Parts(engine=NoReborn),
    ),
    Fault("old timeout", "A new declaration does not re-arm.", ("missed",), Parts(engine=OneTimeout)),
    Fault(
        "beating is progress",
        "Every note counts as progress.",
        ("missed",),
        actions={Kind.NOTE: note_is_progress},
    ),
)
