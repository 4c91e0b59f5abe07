"""``depends_on``: what hangs on one that is down is marked and not climbed, and judged when that is back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration, Kind
from banken_supervisor.engine.effects import Event, EventType, RunCallback, RunStep
from banken_supervisor.engine.incidents import RECHECK_S as RECHECK
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import EXIT_ONLY, Group, Policy
from banken_supervisor.engine.snapshot import PastIncident, PastRun
from banken_supervisor.engine.states import State
from engine_kit import Bench

TEN = Declaration(10.0, 4.0, 20.0)
LADDER = Ladder((Step("log"), Step("notify", 6.0)))


def family(**parents: tuple[str, ...]) -> Bench:
    """A bench with watchdogs that depend on others, each with a ladder."""
    bench = Bench()
    for name, above in parents.items():
        bench.engine.declare(name, Policy(TEN, LADDER, depends_on=above), bench.now, bench.out)
        bench.feed(name)
    bench.out.clear()
    return bench


def acted(bench: Bench) -> list[tuple[str, str]]:
    """Callbacks and steps since the last look, by watchdog."""
    found = [
        (e.name, "callback") if isinstance(e, RunCallback) else (e.about.name, e.step.do)
        for e in bench.out
        if isinstance(e, RunCallback | RunStep)
    ]
    bench.out.clear()
    return found


def told(bench: Bench, name: str) -> list[tuple[str, Any]]:
    """Events of one watchdog: type, and whom it blames."""
    return [(e.type.value, e.data.get("blamed")) for e in bench.out if isinstance(e, Event) and e.name == name]


@pytest.mark.parametrize("order", [("db", "web"), ("web", "db")])
def test_those_that_fall_together_are_one_alarm(order: tuple[str, str]) -> None:
    """Parent and child due at one moment, in either order: only the parent acts, the child is marked."""
    bench = family(**{name: ("db",) if name == "web" else () for name in order})
    bench.jump(10.0)
    assert told(bench, "web") == [("expired", "db")]
    assert acted(bench) == [("db", "callback"), ("db", "log")]
    for _ in range(10):
        bench.jump(4.0)
    assert {name for name, _ in acted(bench)} == {"db"}
    event = bench.engine.incidents.replay("web", bench.now)
    assert event is not None
    assert event.data["blamed"] == "db", "a listener that comes late must not run its callback for it"


def test_a_child_has_a_whole_timeout_after_its_parent_is_back() -> None:
    """Back in time: nothing was done. Not back: its callback as run 1, and its climb from the beginning."""
    for back in (True, False):
        bench = family(db=(), web=("db",))
        bench.jump(10.0)
        bench.jump(60.0)
        bench.feed("db")
        acted(bench)
        bench.jump(9.0)
        bench.feed("db")
        assert acted(bench) == []
        if back:
            bench.feed("web")
            assert told(bench, "web") == [("recovered", None)]
            continue
        bench.jump(1.1)
        runs = [e.run for e in bench.out if isinstance(e, RunCallback)]
        assert runs == [1]
        assert acted(bench) == [("web", "callback"), ("web", "log")]
        bench.jump(5.8)
        assert ("web", "notify") not in acted(bench), "6 s after the climb began, not after the verdict"
        bench.jump(0.3)
        assert ("web", "notify") in acted(bench)


def mark(bench: Bench, name: str = "web") -> str | None:
    """Whom its open incident is blamed on."""
    record = bench.engine.get(name)
    assert record is not None
    assert record.incident is not None
    return record.incident.blamed


def test_the_mark_ends_when_the_other_is_back() -> None:
    """At once, however it came back; not when it is given up. Of two that are down, the second is blamed then."""
    for back in ("feed", "pause", "release", "reborn"):
        bench = family(db=(), web=("db",))
        bench.jump(10.0)
        assert mark(bench) == "db"
        if back == "feed":
            bench.feed("db")
        elif back == "reborn":
            bench.engine.processes.restarted("db", bench.now, bench.out)
        else:
            bench.say(Kind.PAUSE if back == "pause" else Kind.RELEASE, "db", *([0.0] if back == "pause" else []))
        assert mark(bench) is None
        assert bench.engine.incidents.replay("web", bench.now) is None, "its callback has not run"
    two = family(db=(), disk=(), web=("db", "disk"))
    two.jump(10.0)
    db = two.engine.get("db")
    assert db is not None
    two.engine.processes.abandon("db", "it does not start", two.now, two.out)
    assert mark(two) == "db"
    two.feed("db")
    assert mark(two) == "disk"
    two.feed("disk")
    assert mark(two) is None


def test_one_that_falls_again_before_the_other_could_follow_is_blamed_again() -> None:
    """It has not been held against the child yet, so it is not now."""
    bench = family(db=(), web=("db",))
    bench.jump(10.0)
    bench.feed("db")
    assert mark(bench) is None
    bench.say(Kind.FAIL, "db", "again")
    acted(bench)
    bench.jump(10.1)
    assert mark(bench) == "db"
    bench.feed("db")
    bench.jump(9.9)
    bench.feed("db")
    assert {name for name, _ in acted(bench)} <= {"db"}
    bench.jump(0.2)
    assert acted(bench) == [("web", "callback"), ("web", "log")]


def test_what_began_before_the_other_fell_is_its_own() -> None:
    """The child fell first: its ladder goes on while the parent is down, and it is never marked."""
    bench = family(db=(), web=("db",))
    bench.jump(5.0)
    bench.feed("db")
    bench.jump(5.0)
    assert acted(bench) == [("web", "callback"), ("web", "log")]
    bench.jump(5.0)
    bench.jump(2.0)
    assert bench.state("db") is State.EXPIRED
    assert ("web", "notify") in acted(bench)
    assert mark(bench) is None


def test_a_parent_that_only_seemed_to_fall_excuses_for_a_moment() -> None:
    """Due, and its feed was still unread: the child is its own fault half a second later."""
    bench = family(web=("db",), db=())
    bench.now += 10.0
    assert bench.engine.verdicts.sweep(bench.now, bench.out)
    bench.engine.verdicts.judge(bench.now, bench.now, bench.out, 1)
    assert told(bench, "web") == [("expired", "db")]
    bench.feed("db")
    bench.engine.verdicts.judge(bench.now, bench.now, bench.out)
    assert bench.state("db") is State.ALIVE
    assert acted(bench) == []
    bench.jump(RECHECK)
    assert acted(bench) == [("web", "callback"), ("web", "log")]


def test_a_chain_blames_the_nearest_and_a_circle_does_not_silence_everybody() -> None:
    """Three in a row: the top acts. Two in a circle, which only code can declare: one of them acts."""
    bench = family(top=(), middle=("top",), low=("middle",))
    bench.jump(10.0)
    assert (told(bench, "middle"), told(bench, "low")) == ([("expired", "top")], [("expired", "middle")])
    assert {name for name, _ in acted(bench)} == {"top"}
    circle = family(a=("b",), b=("a",))
    circle.jump(10.0)
    for _ in range(5):
        circle.jump(4.0)
    assert len({name for name, _ in acted(circle)}) == 1


def test_a_failure_under_a_fallen_parent_and_a_parent_that_was_given_up() -> None:
    """The worker's own word is marked too; a parent that was given up is as down as it was."""
    bench = family(db=(), web=("db",))
    bench.say(Kind.FAIL, "db", "disk on fire")
    bench.say(Kind.FAIL, "web", "no database")
    assert told(bench, "web") == [("expired", "db")]
    db = bench.engine.get("db")
    assert db is not None
    bench.engine.processes.abandon("db", "it does not start", bench.now, bench.out)
    acted(bench)
    for _ in range(5):
        bench.jump(4.0)
    assert acted(bench) == []


def test_a_child_may_depend_on_a_group() -> None:
    """Too few of the pool alive: what depends on the pool is marked."""
    bench = family(web=("pool",))
    bench.engine.quorums.set((Group("pool", ("p1",), 1),), TEN, bench.now, bench.out)
    bench.feed("p1")
    bench.jump(0.0)
    bench.say(Kind.RELEASE, "p1")
    bench.jump(0.0)
    bench.out.clear()
    bench.say(Kind.FAIL, "web", "no pool")
    assert told(bench, "web") == [("expired", "pool")]


def test_without_a_fallen_parent_nothing_is_excused() -> None:
    """Paused, waiting, unknown or well: the child acts."""
    bench = family(db=(), web=("db", "nobody"))
    bench.say(Kind.PAUSE, "db", 0.0)
    bench.jump(10.0)
    assert acted(bench) == [("web", "callback"), ("web", "log")]
    assert all(e.type is not EventType.CALLBACK_REPEATED for e in bench.out if isinstance(e, Event))


@pytest.mark.parametrize("kept", [range(1, 10), (9,)], ids=["all", "the last"])
@pytest.mark.parametrize("depends_on", [(), ("db",)])
def test_a_later_step_is_not_put_off_by_a_change_of_the_leader(
    depends_on: tuple[str, ...], kept: Iterable[int]
) -> None:
    """The ninth run of the first step was 480 s after the verdict, 10 s ago; ``kept``: those that are known."""
    steps = Step("log", repeat=60.0), Step("restart", after=600.0)
    bench = Bench()
    bench.engine.declare("db", EXIT_ONLY, bench.now, bench.out)
    bench.engine.declare("web", Policy(TEN, Ladder(steps), depends_on=depends_on), bench.now, bench.out)
    for name in ("db", "web"):
        bench.feed(name)
    bench.now += 500.0
    ran = tuple(PastRun(0, run, "log", 10.0 + 60.0 * (9 - run)) for run in kept)
    past = PastIncident("other-1", "web", Cause.TIMEOUT, 490.0, 10.0, 10.0, steps=ran)
    bench.engine.succession.lead([past], bench.now, bench.out)
    bench.out.clear()
    bench.jump(109.0)
    assert ("web", "restart") not in acted(bench)
    for _ in range(3):
        bench.jump(1.0)
    assert ("web", "restart") in acted(bench)
