"""A ladder that is replaced while it is climbed: the climb goes on at its step, wherever that stands now."""

from __future__ import annotations

import pytest

from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message
from banken_supervisor.engine.effects import Effect, RunStep
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.ladder import Backoff, Ladder, NextStep, Step, step_after_reload
from banken_supervisor.engine.policy import Group, Policy
from banken_supervisor.engine.rules import Rules

A, B, C = Step("log"), Step("dump", after=10.0), Step("restart", after=20.0)
X, Y = Step("exec", after=5.0), Step("webhook", after=15.0)


@pytest.mark.parametrize(
    ("after", "place", "when"),
    [
        ((A, B, C), 1, 10.5),  # as it was
        ((X, A, B, C), 2, 10.5),  # one in front
        ((A, X, B, C), 2, 10.5),  # one between what was done and what is next
        ((B, C), 0, 10.5),  # what was done is gone
        ((A, B._replace(after=12.0, level="critical"), C), 1, 10.5),  # another time, the same step
        ((A, C), 1, 20.0),  # it is gone: the next after it
        ((A, Y, C), 1, 15.0),  # another in its place
        ((X, A, Y, C), 2, 15.0),
        ((C,), 0, 20.0),  # nothing of what was before it is left
        ((A,), None, None),  # it was the last
        ((), None, None),
    ],
)
def test_where_a_climb_goes_on(after: tuple[Step, ...], place: int | None, when: float | None) -> None:
    """The first step was done; the second is next, half a second late by a backoff."""
    found = step_after_reload(Ladder((A, B, C)), Ladder(after), NextStep(10.5, 1), 0.0)
    assert found == (None if place is None or when is None else NextStep(when, place))


def test_of_equal_steps_the_same_one_is_next() -> None:
    """They are told by their order."""
    before, after = Ladder((A, A, B, A)), Ladder((X, A, A, B, A))
    assert step_after_reload(before, after, NextStep(30.0, 3), 0.0) == NextStep(30.0, 4)
    assert step_after_reload(before, after, NextStep(30.0, 1), 0.0) == NextStep(30.0, 2)


class Bench:
    """One watchdog ``w``, member of the group ``g``, silent from the start."""

    def __init__(self) -> None:
        self.now, self.out = 1000.0, list[Effect]()
        self.engine = Engine(Rules(Declaration(10.0, 1000.0, 20.0)), "run", b"token", lambda: 0.5)

    def declare(self, *steps: Step) -> None:
        self.engine.declare("w", Policy(Declaration(10.0, 1000.0, 20.0), Ladder(steps)), self.now, self.out)

    def group(self, *steps: Step) -> None:
        group = Group("g", ("w",), at_least=1, ladder=Ladder(steps))
        self.engine.quorums.set([group], Declaration(10.0, 1000.0, 20.0), self.now, self.out)

    def run(self, seconds: float) -> list[str]:
        """What was done in that time."""
        begin, until = len(self.out), self.now + seconds
        while self.now < until:
            self.now += 0.5
            if self.engine.verdicts.sweep(self.now, self.out):
                self.engine.verdicts.judge(self.now, self.now, self.out)
        return [each.step.do for each in self.out[begin:] if isinstance(each, RunStep)]


def test_a_reload_during_a_climb_neither_repeats_nor_leaves_out_a_step() -> None:
    """A step is put in front after the first two were done: the third comes next, and at its time."""
    bench = Bench()
    bench.declare(A, B, C)
    assert bench.run(35.0) == ["log", "dump"]
    bench.declare(X, A, B, C)
    assert bench.run(2.0) == []
    assert bench.run(100.0) == ["restart"]


def test_a_groups_ladder_is_found_again_too() -> None:
    """The same for the watchdog of a group."""
    bench = Bench()
    bench.group(A, B, C)
    bench.declare()
    assert bench.run(35.0) == ["log", "dump"]
    bench.group(X, A, B, C)
    assert bench.run(100.0) == ["restart"]


def test_the_backoff_of_a_step_that_is_gone_is_not_taken_for_anothers() -> None:
    """Its wait had begun; the one that comes in its place waits itself."""
    bench = Bench()
    bench.declare(Step("restart", backoff=Backoff(50.0, 50.0)))
    assert bench.run(30.0) == []
    bench.declare(Step("kill", backoff=Backoff(50.0, 50.0)))
    assert bench.run(45.0) == []
    assert bench.run(10.0) == ["kill"]


def test_a_repetition_goes_on_where_the_step_stands_now() -> None:
    """It beats on, and the step that was put in front of it is not done."""
    bench = Bench()
    bench.declare(Step("log", repeat=10.0))
    assert bench.run(35.0) == ["log", "log"]
    bench.engine.take(encode(Message(Kind.NOTE, "x", None, 0.0, None, (None, "hello"))), bench.now, bench.out)
    bench.declare(A._replace(do="dump"), Step("log", repeat=10.0))
    assert bench.run(20.0) == ["log", "log"]
