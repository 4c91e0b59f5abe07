"""Planted faults: each is one plausible mistake in the engine, and the simulation has to notice every one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from banken.clock import CreditedClock
from banken.protocol.messages import Message
from banken_supervisor.engine import record, restore, table, verdicts
from banken_supervisor.engine.admission import Admission
from banken_supervisor.engine.declarations import Declarations
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.effects import Effect
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.incidents import Incidents
from banken_supervisor.engine.lifecycle import Lifecycle
from banken_supervisor.engine.message_kinds import MessageKinds
from banken_supervisor.engine.occurrence import Occurrence
from banken_supervisor.engine.process_lifecycle import ProcessLifecycle
from banken_supervisor.engine.record import Record, deadline
from banken_supervisor.engine.snapshot import Snapshot
from banken_supervisor.engine.states import State
from banken_supervisor.engine.verdicts import Verdicts
from banken_supervisor.engine.waiting import Waiting

from .simulated_host import Parts, SimulatedHost

LIMIT = 1000


@dataclass(frozen=True)
class Fault:
    """A mistake, and by which counts it may be noticed."""

    name: str
    says: str
    counts: tuple[str, ...]
    parts: Parts = field(default_factory=Parts)
    host: type[SimulatedHost] = SimulatedHost
    patched: dict[str, object] = field(default_factory=dict)
    """names in the engine's modules"""
    methods: tuple[tuple[type, Callable[..., Any]], ...] = ()
    """in place of the method of that name of one of the engine's parts; the first argument is the original"""

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The fault is in force inside."""
        with ExitStack() as stack:
            for name, stand_in in self.patched.items():
                places = [module for module in (record, restore, table, verdicts) if hasattr(module, name)]
                assert places, name
                for module in places:
                    stack.enter_context(patch.object(module, name, stand_in))
            for part, mistake in self.methods:
                stack.enter_context(patch.object(part, mistake.__name__, _instead(part, mistake)))
            yield


def _instead(part: type, mistake: Callable[..., Any]) -> Callable[..., Any]:
    original = getattr(part, mistake.__name__)

    def method(*args: Any, **more: Any) -> Any:
        return mistake(original, *args, **more)

    return method


class JudgeBeforeDrain(Driver):
    def wake(self, real: float, asked: float) -> float:
        now = super().wake(real, asked)
        if self.engine.verdicts.sweep(now, self.out):
            self.engine.verdicts.judge(now, now, self.out, LIMIT)
        return now


class NoProbe(Driver):
    def decide(self) -> int | None:
        if self.engine.verdicts.sweep(self.now, self.out):
            self.engine.verdicts.judge(self.now, self.now, self.out, LIMIT)
        return None


class NoCredit(Driver):
    def wake(self, real: float, asked: float) -> float:
        return super().wake(real, 1e9)


class ImpatientClock(CreditedClock):
    def credit(self, real: float, asked: float, share: float = 1.0) -> float:
        before = self.now
        self.now = before + 1.05 * (super().credit(real, asked, share) - before)
        return self.now


class FastClock(Driver):
    def __init__(self, engine: Engine, real: float) -> None:
        super().__init__(engine, real)
        self.clock = ImpatientClock(real)


class Sleepy(Driver):
    def patience(self) -> float:
        wait = super().patience()
        return wait if wait == 0.0 else min(1.0, wait + 0.02)


class WallClock(SimulatedHost):
    def reading(self) -> float:
        return super().reading() + self.wall_offset


# -- mistakes in parts of the engine: the original method comes first ------------------------------------


class StaleEntry:
    @staticmethod
    def _look_at(original: Any, self: Any, record: Record, now: float) -> None:
        if deadline(record) is not None:
            self._suspects.put(record.name, record)

    @staticmethod
    def _judge_one(original: Any, self: Any, record: Record, horizon: float, now: float, out: Any) -> None:
        original(self, record, float("inf"), now, out)


def _look_at(original: Any, self: Any, record: Record, now: float) -> None:
    due = deadline(record)
    if due is None or due > now:
        return  # it was fed, and is never armed again
    self._suspects.put(record.name, record)


def forget_frames(original: Any, self: Any, record: Record) -> None:
    """Known though expired: the bytes stay known."""


def escalate_anew(original: Any, self: Any, record: Record, due: float, now: float, out: list[Effect]) -> bool:
    original(self, record, due, now, [])
    assert record.incident is not None
    return self.open(record, record.incident.cause, due, now, out, None)  # type: ignore[no-any-return]


escalate_anew.__name__ = "escalate"


def admit(original: Any, self: Any, message: Message, now: float, out: list[Effect], **more: Any) -> Any:
    return original(self, message, now - 0.9 * 20.0, out, **more)


class SameIds(Engine):
    def __init__(self, rules: Any, run_id: str, probe_token: bytes = b"") -> None:
        super().__init__(rules, "run", probe_token)


class ForgetsIncidents(Engine):
    def restore(self, left: Snapshot, *more: Any) -> tuple[int, int]:
        return super().restore(replace(left, open=()), *more)


class ForgetsPauses(Engine):
    def restore(self, left: Snapshot, *more: Any) -> tuple[int, int]:
        watchdogs = [
            each._replace(state=State.ALIVE, left=None) if each.state is State.PAUSED else each
            for each in left.watchdogs
        ]
        return super().restore(replace(left, watchdogs=watchdogs), *more)


class ForgetsExtensions(Engine):
    def restore(self, left: Snapshot, *more: Any) -> tuple[int, int]:
        watchdogs = [each if each.state is State.PAUSED else each._replace(left=None) for each in left.watchdogs]
        return super().restore(replace(left, watchdogs=watchdogs), *more)


class AnnouncesAgain(Engine):
    def restore(self, left: Snapshot, now: float, out: list[Effect], *more: Any) -> tuple[int, int]:
        counts = super().restore(left, now, out, *more)
        out.extend(event for each in left.open if (event := self.incidents.replay(each.name, now)) is not None)
        return counts


def _judge_again(original: Any, self: Any, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
    fed_at = record.fed_at
    original(self, record, what, now, out)
    record.fed_at = fed_at
    self._table.arm(record)


def _escalate(original: Any, self: Any, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
    original(self, record, what, now, out)
    self._table.deadlines.disarm(record)


def escalate_too_soon(original: Any, self: Any, record: Record, due: float, now: float, out: list[Effect]) -> Any:
    return original(self, record, due - record.declaration.interval / 10, now, out)


escalate_too_soon.__name__ = "escalate"


def reborn(original: Any, self: Any, record: Record, now: float, out: list[Effect]) -> None:
    pass


def _replace(original: Any, self: Any, record: Record, declaration: Any, resolution: float) -> None:
    record.declaration, record.resolution = declaration, resolution


def without_resolution(record: Record) -> float | None:
    due = deadline(record)
    return due - record.resolution if due is not None and record.state is State.ALIVE else due


def ignored(name: str) -> Callable[..., None]:
    def nothing(original: Any, *args: Any) -> None:
        pass

    nothing.__name__ = name
    return nothing


def _remove(original: Any, self: Any, record: Record, what: Occurrence, now: float, out: list[Effect]) -> None:
    """The incident is closed, and the record stays as it was."""
    self._table.move(record, State.ALIVE)
    self._table.arm(record)


def _note(original: Any, self: Any, record: Record, message: Message, now: float, out: list[Effect]) -> None:
    original(self, record, message, now, out)
    if record.details is not None and record.details.progress_at is not None:
        record.details.progress_at = now


def _feed(original: Any, self: Any, record: Record, message: Message, now: float, out: list[Effect]) -> None:
    until = None if record.details is None else record.details.extended_until
    original(self, record, message, now, out)
    if record.details is not None:
        record.details.extended_until = until


def take(original: Any, self: Any) -> Any:
    for lane in self._ready.values():
        lane.frames.rotate(1)
    return original(self)


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
    Fault("wall clock", "The loop reads the wall clock.", ("false", "missed"), host=WallClock),
    Fault(
        "stale entry",
        "A queue entry is a verdict, fed or not.",
        ("false",),
        methods=((Verdicts, StaleEntry._look_at), (Verdicts, StaleEntry._judge_one)),
    ),
    Fault(
        "not armed again",
        "Who was fed is never looked at again.",
        ("missed",),
        methods=((Verdicts, _look_at),),
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
        methods=((table.Table, forget_frames),),
    ),
    Fault(
        "verdict twice", "Every further run is a new verdict.", ("doubled",), methods=((Incidents, escalate_anew),)
    ),
    Fault("same ids", "A new run counts its incidents from one.", ("doubled",), Parts(engine=SameIds)),
    Fault(
        "pause ignored",
        "A pause does not stop the judge.",
        ("false",),
        methods=((MessageKinds, ignored("_pause")),),
    ),
    Fault("resume keeps time", "A pause counts as silence.", ("false",), methods=((Lifecycle, _judge_again),)),
    Fault(
        "left armed",
        "A released watchdog is still judged.",
        ("false",),
        methods=((Lifecycle, _remove),),
    ),
    Fault("instant restart", "Who is new has little time left.", ("false",), methods=((Admission, admit),)),
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
    Fault(
        "extension ignored",
        "An extension changes nothing.",
        ("false",),
        methods=((MessageKinds, ignored("_extend")),),
    ),
    Fault(
        "extension for ever",
        "A feed does not end an extension.",
        ("missed",),
        methods=((MessageKinds, _feed),),
    ),
    Fault("step not armed", "The callback runs twice and no more.", ("missed",), methods=((Lifecycle, _escalate),)),
    Fault(
        "step too soon", "The interval is a tenth short.", ("doubled",), methods=((Incidents, escalate_too_soon),)
    ),
    Fault("last first", "What waits is taken in any order.", ("broken",), methods=((Waiting, take),)),
    Fault(
        "any identity",
        "An older process may still feed.",
        ("missed", "doubled"),
        methods=((Admission, ignored("check_owner")),),
    ),
    Fault(
        "no new life",
        "A new process finds the old one's incident.",
        ("missed", "false"),
        methods=((ProcessLifecycle, reborn),),
    ),
    Fault("old timeout", "A new declaration does not re-arm.", ("missed",), methods=((Declarations, _replace),)),
    Fault(
        "beating is progress",
        "Every note counts as progress.",
        ("missed",),
        methods=((MessageKinds, _note),),
    ),
)
