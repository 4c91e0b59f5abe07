"""What is judged at all: silence only where somebody gave a timeout, and not before a worker is heard of. Pure."""

from __future__ import annotations

import pytest

from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration, Kind
from banken_supervisor.control.control_api import row
from banken_supervisor.engine.effects import Event, EventType, RunCallback
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import EXIT_ONLY, NEVER, UNDECLARED, By, Group, Policy
from banken_supervisor.engine.snapshot import RETURN_S
from banken_supervisor.engine.states import State
from banken_supervisor.text.reasons import unjudged
from engine_kit import ALICE, BOB, TEN, Bench, counted_bench
from restart_kit import House, said

DAY = 86_400.0
LADDER = Policy(UNDECLARED, Ladder((Step("log"),)), worker_declares=True)
"""A table of the config with a ladder and no timeout."""
FIVE = Declaration(5.0, 3.0, 7.0)


def watched(policy: Policy, *, awaited: bool = False) -> Bench:
    """One watchdog ``w`` that the config names."""
    bench = Bench()
    bench.engine.rules.declare("w", policy)
    bench.engine.watch("w", bench.now, bench.out, awaited=awaited)
    return bench


def timeout(bench: Bench) -> tuple[float, By]:
    record = bench.engine.get("w")
    assert record is not None
    return record.declaration.timeout, record.by


def causes(bench: Bench) -> list[Cause]:
    return [effect.cause for effect in bench.out if isinstance(effect, RunCallback)]


@pytest.mark.parametrize("policy", [EXIT_ONLY, LADDER, LADDER._replace(depends_on=("db",))])
def test_no_timeout_no_silence(policy: Policy) -> None:
    """A program with a ladder, or that depends on another, is silent for a day: nothing. Its end is an incident."""
    bench = watched(policy, awaited=True)
    bench.jump(DAY)
    assert causes(bench) == []
    assert bench.state() is State.WAITING
    bench.engine.processes.program_ended("w", "SIGKILL", bench.now)
    bench.jump(0.001)
    assert causes(bench) == [Cause.EXITED]


@pytest.mark.parametrize("kind", [Kind.DECLARE, Kind.PAUSE, Kind.EXTEND])
def test_what_is_no_feed_starts_no_default_timeout(kind: Kind) -> None:
    """A name that nobody declared, told of by a word that is no feed, is not judged before it is fed."""
    bench = Bench()
    bench.say(kind, "w", *([1000] if kind in (Kind.PAUSE, Kind.EXTEND) else []))
    bench.jump(DAY)
    assert causes(bench) == []
    bench.feed()
    bench.jump(10.1)
    assert causes(bench) == [Cause.TIMEOUT]


def test_the_default_holds_from_the_first_feed_without_a_timeout() -> None:
    """It is told as such, once; the ladder is the config's, and the next feed does not change it."""
    bench = watched(LADDER, awaited=True)
    bench.jump(DAY)
    bench.out.clear()
    bench.feed()
    declared = [e.data for e in bench.out if isinstance(e, Event) and e.type is EventType.DECLARED]
    assert [(data["by"], data["timeout"]) for data in declared] == [("default", 10.0)]
    assert timeout(bench) == (10.0, By.DEFAULT)
    bench.out.clear()
    for _ in range(3):
        bench.jump(9.0)
        bench.feed()
    assert bench.said() == []
    bench.jump(10.1)
    assert bench.said() == ["expired", "action"]


def test_a_worker_that_declares_one_later_is_judged_by_that() -> None:
    """Neither the config nor its first feed gave one; its declaration does, and what the config did give stays."""
    operator = LADDER._replace(declaration=LADDER.declaration._replace(interval=1.0), written=("interval",))
    bench = watched(operator, awaited=True)
    bench.feed()
    bench.feed(declaration=FIVE)
    record = bench.engine.get("w")
    assert record is not None
    assert record.declaration == FIVE._replace(interval=1.0)
    bench.feed()
    assert timeout(bench) == (5.0, By.WORKER)


def test_work_counts_as_the_first_feed() -> None:
    """A worker that only tells of its work is known from then on: idle, then late, then alive without a limit."""
    bench = watched(LADDER)
    bench.say(Kind.WORK, "w", None, None)
    bench.jump(DAY)
    assert causes(bench) == []
    assert timeout(bench) == (10.0, By.DEFAULT)
    bench.say(Kind.WORK, "w", 2.0, None)
    bench.jump(2.1)
    assert causes(bench) == [Cause.TIMEOUT]


def test_the_grace_of_a_late_declaration_begins_with_it() -> None:
    """The program ran for a minute before its worker declared 7 s of grace: they are not over at once."""
    bench = watched(EXIT_ONLY, awaited=True)
    bench.jump(60.0)
    bench.say(Kind.DECLARE, declaration=FIVE)
    bench.jump(6.9)
    assert causes(bench) == []
    bench.jump(0.2)
    assert causes(bench) == [Cause.GRACE]


def test_a_named_watchdog_waits_for_its_worker() -> None:
    """Not judged before its first feed; a feed starts its timeout, a declaration its grace."""
    for word, due in ((Kind.FEED, 10.0), (Kind.DECLARE, 20.0)):
        bench = watched(Policy(TEN))
        record = bench.engine.get("w")
        assert record is not None
        bench.jump(DAY)
        assert unjudged(row(record, bench.now)) == "not judged before its first feed"
        bench.say(word)
        assert unjudged(row(record, bench.now)) is None
        bench.jump(due - 0.1)
        assert causes(bench) == []
        bench.jump(0.2)
        assert len(causes(bench)) == 1


def test_a_named_watchdog_says_itself_that_it_failed() -> None:
    """Its first word may be that."""
    bench = watched(Policy(TEN))
    bench.say(Kind.FAIL, "w", "no disk")
    assert causes(bench) == [Cause.FAILED]


def test_a_pause_is_no_first_feed() -> None:
    """A maintenance window, or an operator, pauses what was never fed: after it, it is still not judged."""
    for ends in ("resume", "time"):
        with counted_bench() as bench:
            bench.engine.rules.declare("w", Policy(TEN))
            bench.engine.watch("w", bench.now, bench.out, awaited=False)
            bench.say(Kind.PAUSE, "w", 0 if ends == "resume" else 1, who=None)
            bench.jump(2.0)
            if ends == "resume":
                bench.say(Kind.RESUME, who=None)
            assert bench.state() is State.WAITING
            bench.jump(DAY)
            assert causes(bench) == []
            assert bench.said()[-2:] == ["paused", "resumed"]


def test_fed_while_it_is_paused_it_is_judged_after_the_pause() -> None:
    """That was its first feed."""
    bench = watched(Policy(TEN))
    bench.say(Kind.PAUSE, "w", 0, who=None)
    bench.feed()
    bench.say(Kind.RESUME, who=None)
    bench.jump(10.1)
    assert causes(bench) == [Cause.TIMEOUT]


def test_a_reload_may_expect_it_or_take_its_timeout_away() -> None:
    """Expected from now on, it has its grace from the reload. Without a timeout its next feed decides."""
    bench = watched(Policy(TEN))
    bench.jump(DAY)
    bench.engine.watch("w", bench.now, bench.out, awaited=True)
    bench.jump(19.9)
    assert causes(bench) == []
    bench.feed()
    bench.engine.rules.declare("w", LADDER)
    bench.engine.reconsider()
    assert timeout(bench) == (10.0, By.NOBODY)  # no hang is missed until it says more
    bench.feed(declaration=FIVE)
    assert timeout(bench) == (5.0, By.WORKER)
    bench.engine.rules.times = Declaration(30.0)
    fed = watched(LADDER)
    fed.feed()
    fed.engine.rules.times = Declaration(30.0)
    fed.engine.reconsider()
    assert timeout(fed) == (30.0, By.DEFAULT)


def test_another_process_starts_anew_under_the_default() -> None:
    """The default is the name's, not the process's."""
    bench = watched(LADDER)
    bench.feed(who=ALICE)
    bench.say(Kind.DECLARE, who=BOB)
    bench.jump(19.9)
    assert causes(bench) == []
    bench.jump(0.2)
    assert causes(bench) == [Cause.GRACE]


def test_a_group_does_not_count_whom_nobody_has_seen() -> None:
    """Of three, two are wanted: one alive, one never there, one a program without a timeout. That ends: too few."""
    bench = Bench()
    bench.engine.quorums.set([Group("g", ("a", "b", "p"), at_least=2)], TEN, bench.now, bench.out)
    for name, policy in (("a", Policy(TEN)), ("b", Policy(TEN)), ("p", EXIT_ONLY)):
        bench.engine.rules.declare(name, policy)
        bench.engine.watch(name, bench.now, bench.out, awaited=name == "p")
    bench.feed("a")
    bench.jump(0.0)
    assert bench.state("g") is State.ALIVE
    bench.engine.processes.program_ended("p", "SIGKILL", bench.now)
    for _ in range(2):
        bench.jump(0.001)
    assert bench.state("g") is State.EXPIRED
    bench.engine.processes.restarted("p", bench.now, bench.out)
    bench.jump(0.001)
    assert bench.state("g") is State.ALIVE
    bench.engine.on_purpose.program_down("p", bench.now, bench.out, again=True, removed=False)
    bench.jump(0.001)
    assert bench.state("g") is State.ALIVE, "it comes up again"


def test_a_restart_of_the_supervisor_keeps_what_was_known() -> None:
    """Never fed, it is still waited for, also when paused. What its worker declared holds on, or the default."""
    house = House()
    house.operators = {"none": LADDER, "worker": LADDER, "fed": LADDER, "never": Policy(TEN), "paused": Policy(TEN)}
    house.not_awaited = set(house.operators)
    house.crash(0.0)
    house.feed("worker", declared=FIVE)
    house.feed("fed", declared=None)
    house.say(Kind.PAUSE, "paused", 1, who=None)
    house.crash()
    by = {record.name: (record.by, record.declaration.timeout) for record in house.engine.table}
    assert by == {
        "none": (By.NOBODY, NEVER),
        "worker": (By.WORKER, 5.0),
        "fed": (By.DEFAULT, 10.0),
        "never": (By.OPERATOR, 10.0),
        "paused": (By.OPERATOR, 10.0),
    }
    verdicts = said(house.run(RETURN_S + 15.0 + 60.0))
    assert {name for what, name in verdicts if what == "expired"} == {"worker", "fed"}
