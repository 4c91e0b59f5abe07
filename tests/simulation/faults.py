"""Planted faults: each is one plausible mistake in the core, and the simulation has to notice every one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from banken.clock import CreditedClock
from banken.wire import Kind, Message
from banken_supervisor.core import incidents, ownership, restoring, roll
from banken_supervisor.core import kennel as kennel_module
from banken_supervisor.core.dog import Dog, deadline
from banken_supervisor.core.effects import Effect, EventType
from banken_supervisor.core.journaled import Remembered
from banken_supervisor.core.kennel import Kennel
from banken_supervisor.core.states import State, Trigger
from banken_supervisor.core.watch import Watch

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
    """attributes of the kennel's modules"""
    actions: dict[Kind, Callable[..., None]] = field(default_factory=dict)
    """what the kennel does with messages of one kind"""

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
        if self.kennel.sweep(now):
            self.kennel.judge(now, now, self.out, LIMIT)
        return now


class NoProbe(Watch):
    def decide(self) -> int | None:
        if self.kennel.sweep(self.now):
            self.kennel.judge(self.now, self.now, self.out, LIMIT)
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
    def __init__(self, kennel: Kennel, real: float) -> None:
        super().__init__(kennel, real)
        self.clock = ImpatientClock(real)


class Sleepy(Watch):
    def patience(self) -> float:
        wait = super().patience()
        return wait if wait == 0.0 else min(1.0, wait + 0.02)


class WallClock(World):
    def reading(self) -> float:
        return super().reading() + self.wall_offset


class StaleEntry(Kennel):
    def sweep(self, now: float) -> bool:
        self._suspects.extend(dog for dog in self._deadlines.pop_due(now) if deadline(dog) is not None)
        return bool(self._suspects)

    def judge(self, horizon: float, now: float, out: list[Effect], limit: int = LIMIT) -> bool:
        while self._suspects:
            dog = self._suspects.popleft()
            due = deadline(dog)
            if due is not None and dog.state is State.PAUSED:
                self._resume(dog, Trigger.DEADLINE, now, out)
            elif due is not None:
                self._verdict(dog, due, now, out)
        return False


class NeverLookedAt(Kennel):
    def sweep(self, now: float) -> bool:
        for dog in self._deadlines.pop_due(now):
            due = deadline(dog)
            if due is not None and due > now:
                continue  # it was fed, and nobody arms it again
            self._suspects.append(dog)
        return bool(self._suspects)


class KnownThoughExpired(Kennel):
    def _open(self, dog: Dog, *rest: Any) -> None:
        frame = dog.frame
        super()._open(dog, *rest)
        if frame is not None:
            self._learn(dog, frame)


class TwiceTold(Kennel):
    def _rung(self, dog: Dog, due: float, now: float, out: list[Effect]) -> None:
        start = len(out)
        super()._rung(dog, due, now, out)
        assert dog.rare is not None
        assert dog.rare.incident is not None
        out[start:] = []
        self._open(dog, dog.rare.incident.cause, due, now, out, None)


class SameIds(Kennel):
    def __init__(self, rules: Any, run_id: str, probe_token: bytes = b"") -> None:
        super().__init__(rules, "run", probe_token)


class InstantRestart(Kennel):
    def _admit(self, message: Message, now: float, out: list[Effect]) -> Any:
        return super()._admit(message, now - 0.9 * 20.0, out)


class ForgetsIncidents(Kennel):
    def restore(self, left: Remembered, *more: Any) -> tuple[int, int]:
        return super().restore(replace(left, open=()), *more)


class ForgetsPauses(Kennel):
    def restore(self, left: Remembered, *more: Any) -> tuple[int, int]:
        known = [
            each._replace(state=State.ALIVE, left=None) if each.state is State.PAUSED else each
            for each in left.watchdogs
        ]
        return super().restore(replace(left, watchdogs=known), *more)


class ForgetsExtensions(Kennel):
    def restore(self, left: Remembered, *more: Any) -> tuple[int, int]:
        known = [each if each.state is State.PAUSED else each._replace(left=None) for each in left.watchdogs]
        return super().restore(replace(left, watchdogs=known), *more)


class AnnouncesAgain(Kennel):
    def restore(self, left: Remembered, now: float, out: list[Effect], *more: Any) -> tuple[int, int]:
        counts = super().restore(left, now, out, *more)
        out.extend(event for each in left.open if (event := self.replay(each.name, now)) is not None)
        return counts


class ResumeKeepsTime(Kennel):
    def _resume(self, dog: Dog, trigger: Trigger, now: float, out: list[Effect]) -> None:
        fed_at = dog.fed_at
        super()._resume(dog, trigger, now, out)
        dog.fed_at = fed_at
        self._arm(dog)


class RungTooSoon(Kennel):
    def _rung(self, dog: Dog, due: float, now: float, out: list[Effect]) -> None:
        super()._rung(dog, due - dog.declaration.interval / 10, now, out)
        self._arm(dog)


class RungNotArmed(Kennel):
    def _rung(self, dog: Dog, due: float, now: float, out: list[Effect]) -> None:
        super()._rung(dog, due, now, out)
        self._deadlines.disarm(dog)


class NoReborn(Kennel):
    def _reborn(self, dog: Dog, now: float, out: list[Effect]) -> None:
        pass


class OneTimeout(Kennel):
    def _redeclare(self, dog: Dog, declaration: Any, resolution: float) -> None:
        dog.declaration, dog.resolution = declaration, resolution


def without_resolution(dog: Dog) -> float | None:
    due = deadline(dog)
    return due - dog.resolution if due is not None and dog.state is State.ALIVE else due


def nothing(kennel: Kennel, dog: Dog, message: Message, now: float, out: list[Effect]) -> None:
    pass


def close_only(kennel: Kennel, dog: Dog, message: Message, now: float, out: list[Effect]) -> None:
    kennel._close(dog, now, out, EventType.CLOSED, "released")


def note_is_progress(kennel: Kennel, dog: Dog, message: Message, now: float, out: list[Effect]) -> None:
    Kennel._note(kennel, dog, message, now, out)
    if dog.rare is not None and dog.rare.progress_at is not None:
        dog.rare.progress_at = now


def extension_for_ever(kennel: Kennel, dog: Dog, message: Message, now: float, out: list[Effect]) -> None:
    until = None if dog.rare is None else dog.rare.extended_until
    Kennel._feed(kennel, dog, message, now, out)
    if dog.rare is not None:
        dog.rare.extended_until = until


def anybody(dog: Dog, who: Any) -> ownership.Claim:
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
    Fault("stale entry", "A queue entry is a verdict, fed or not.", ("false",), Parts(kennel=StaleEntry)),
    Fault(
        "not armed again",
        "Who was fed is never looked at again.",
        ("missed",),
        Parts(kennel=NeverLookedAt),
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
        Parts(kennel=KnownThoughExpired),
    ),
    Fault("verdict twice", "Every further run is a new verdict.", ("doubled",), Parts(kennel=TwiceTold)),
    Fault("same ids", "A new run counts its incidents from one.", ("doubled",), Parts(kennel=SameIds)),
    Fault("pause ignored", "A pause does not stop the judge.", ("false",), actions={Kind.PAUSE: nothing}),
    Fault("resume keeps time", "A pause counts as silence.", ("false",), Parts(kennel=ResumeKeepsTime)),
    Fault(
        "left armed",
        "A released watchdog is still judged.",
        ("false",),
        actions={Kind.RELEASE: close_only},
    ),
    Fault("instant restart", "Who is new has little time left.", ("false",), Parts(kennel=InstantRestart)),
    Fault("incidents forgotten", "A restart forgets what is open.", ("missed",), Parts(kennel=ForgetsIncidents)),
    Fault("pauses forgotten", "A restart ends every pause.", ("false",), Parts(kennel=ForgetsPauses)),
    Fault("extensions forgotten", "A restart ends every extension.", ("false",), Parts(kennel=ForgetsExtensions)),
    Fault("announced again", "A restart tells of open incidents anew.", ("doubled",), Parts(kennel=AnnouncesAgain)),
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
    Fault("rung not armed", "The callback runs twice and no more.", ("missed",), Parts(kennel=RungNotArmed)),
    Fault("rung too soon", "The interval is a tenth short.", ("doubled",), Parts(kennel=RungTooSoon)),
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
        Parts(kennel=NoReborn),
    ),
    Fault("old timeout", "A new declaration does not re-arm.", ("missed",), Parts(kennel=OneTimeout)),
    Fault(
        "beating is progress",
        "Every note counts as progress.",
        ("missed",),
        actions={Kind.NOTE: note_is_progress},
    ),
)
