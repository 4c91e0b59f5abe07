"""Groups with ``at_least``: an incident of the group's own when too few of its members are alive."""

from __future__ import annotations

import pytest

from banken.protocol.incidents import Cause
from banken.protocol.messages import Kind, ProcessIdentity
from banken_supervisor.engine.effects import Event, RunCallback, RunStep
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import Group
from banken_supervisor.engine.quorum_state import QuorumState
from banken_supervisor.engine.states import State
from engine_kit import TEN, Bench

POOL = Group("pool", ("a", "b", "w-*"), at_least=2)


@pytest.mark.parametrize(
    ("state", "alive", "starting", "expected"),
    [
        (State.ALIVE, 2, 0, None),
        (State.ALIVE, 1, 1, None),  # one may still come: not down yet
        (State.ALIVE, 1, 0, False),
        (State.ALIVE, 0, 1, False),
        (State.WAITING, 1, 1, None),
        (State.WAITING, 2, 0, True),
        (State.EXPIRED, 1, 5, None),  # none of them has proved it
        (State.EXPIRED, 2, 0, True),
        (State.GIVEN_UP, 2, 0, True),
        (State.GIVEN_UP, 1, 1, None),
        (State.PAUSED, 0, 0, None),
    ],
)
def test_a_table_of_quorum_states(state: State, alive: int, starting: int, expected: bool | None) -> None:
    """Of a group that wants two: does it change?"""
    assert QuorumState(2, alive=alive, starting=starting).verdict(state) is expected


def grouped(*groups: Group) -> Bench:
    bench = Bench()
    bench.engine.quorums.set(groups or (POOL,), TEN, bench.now, bench.out)
    return bench


def of_group(bench: Bench, name: str = "pool") -> list[str]:
    """What was told of the group since the last look."""
    found = [e.type.value for e in bench.out if isinstance(e, Event) and e.name == name]
    bench.out.clear()
    return found


def test_too_few_alive_opens_one_incident_and_enough_closes_it() -> None:
    """Two of three fall together: one incident of the group with its reason; the second feed ends it."""
    bench = grouped()
    for name in ("a", "b", "w-1"):
        bench.feed(name)
    bench.jump(0.0)
    assert bench.state("pool") is State.ALIVE
    bench.jump(5.0)
    bench.feed("a")
    bench.jump(5.5)
    bench.jump(0.0)
    assert bench.state("b") is State.EXPIRED
    (run,) = [effect for effect in bench.out if isinstance(effect, RunCallback) and effect.name == "pool"]
    assert run.cause is Cause.TOO_FEW
    assert run.reason == "1 alive, at least 2 wanted; down: b, w-1"
    assert of_group(bench) == ["declared", "expired"]
    bench.feed("w-1")
    assert bench.state("pool") is State.EXPIRED, "it is closed by the sweep, not by the feed"
    bench.jump(0.0)
    assert of_group(bench) == ["recovered"]
    assert bench.state("pool") is State.ALIVE


def test_feeds_of_members_stay_known_by_their_bytes() -> None:
    """A group costs nothing per feed."""
    bench = grouped()
    bench.feed("a")
    decoded = bench.engine.decoded_bytes
    for _ in range(100):
        bench.feed("a")
    assert bench.engine.decoded_bytes == decoded


def test_before_all_was_ever_well_a_group_has_a_grace() -> None:
    """Nobody comes: the verdict after 20 s. Enough come in time: none."""
    bench = grouped()
    bench.jump(19.9)
    assert bench.state("pool") is State.WAITING
    bench.jump(0.2)
    assert bench.state("pool") is State.EXPIRED
    good = grouped()
    good.jump(15.0)
    good.feed("a")
    good.feed("b")
    good.jump(6.0)
    assert good.state("pool") is State.ALIVE
    coming = grouped()
    coming.jump(15.0)
    coming.feed("a")
    coming.say(Kind.DECLARE, "b", declaration=TEN)
    coming.jump(5.1)
    assert coming.state("pool") is State.ALIVE, "b has a grace of its own"
    coming.jump(14.0)
    coming.feed("a")
    coming.jump(1.1)
    coming.jump(0.0)
    assert coming.state("pool") is State.EXPIRED


def released_before_the_verdict(bench: Bench) -> None:
    """``a`` and ``b`` are alive when the group is swept, and ``a`` is not any more when it is judged."""
    bench.feed("a")
    bench.feed("b")
    assert bench.engine.verdicts.sweep(bench.now, bench.out)
    bench.say(Kind.RELEASE, "a")
    bench.engine.verdicts.judge(bench.now, bench.now, bench.out)
    bench.jump(0.0)


def test_one_that_goes_as_the_group_first_has_enough_does_not_end_its_grace() -> None:
    """It has its grace for the next one to come; the verdict is at its end."""
    bench = grouped()
    bench.jump(1.0)
    released_before_the_verdict(bench)
    assert bench.state("pool") is State.WAITING
    assert of_group(bench) == ["declared"]
    for _ in range(3):
        bench.jump(6.0)
        bench.feed("b")
    assert bench.state("pool") is State.WAITING
    bench.jump(1.1)
    assert of_group(bench) == ["expired"]


def test_one_that_goes_as_the_group_has_enough_again_does_not_run_its_callback_again() -> None:
    """That has its time, a step of the ladder too."""
    bench = grouped(POOL._replace(ladder=Ladder((Step("log", after=2.5),))))
    bench.jump(20.1)
    assert of_group(bench) == ["declared", "expired"]
    bench.jump(1.0)
    released_before_the_verdict(bench)
    assert of_group(bench) == []
    bench.jump(1.6)
    assert [each.step.do for each in bench.out if isinstance(each, RunStep)] == ["log"]
    bench.jump(0.5)
    assert of_group(bench) == ["callback-repeated"]


def test_a_restart_is_no_recovery_before_its_first_feed() -> None:
    """A program in a crash loop: one incident of the group, however often its process is new."""
    bench = grouped()
    bench.feed("a")
    bench.feed("b")
    bench.jump(0.0)
    of_group(bench)
    bench.engine.processes.program_ended("b", "exit status 1", bench.now)
    bench.jump(0.0)
    bench.jump(0.0)
    for number in range(5):
        bench.feed("a")
        bench.say(Kind.DECLARE, "b", who=ProcessIdentity(b"bootboot", 300 + number, 3000 + number, b"nnnn"))
        bench.jump(1.0)
        bench.engine.processes.program_ended("b", "exit status 1", bench.now)
        bench.jump(0.0)
        bench.jump(0.0)
    told = of_group(bench)
    assert told.count("expired") == 1
    assert "recovered" not in told


def test_a_paused_member_counts_and_a_released_one_does_not() -> None:
    """Maintenance of a member is no fall of the group; the normal end of one is."""
    bench = grouped()
    bench.feed("a")
    bench.feed("b")
    bench.jump(0.0)
    bench.say(Kind.PAUSE, "b", 0.0)
    bench.jump(0.0)
    assert bench.state("pool") is State.ALIVE
    bench.say(Kind.RELEASE, "b")
    bench.jump(0.0)
    assert bench.state("pool") is State.EXPIRED


def test_a_group_is_paused_and_resumed_and_takes_nothing_else() -> None:
    """Feeding a group is refused; a pause holds its verdict, and the end of the pause gives it."""
    bench = grouped()
    bench.feed("a")
    bench.feed("b")
    bench.jump(0.0)
    for kind, args in ((Kind.FEED, ()), (Kind.FAIL, ("no",)), (Kind.RELEASE, ()), (Kind.EXTEND, (5.0,))):
        refused = bench.say(kind, "pool", *args)
        assert refused is not None
        assert refused.reason == "group"
    assert bench.say(Kind.PAUSE, "pool", 0.0, who=None) is None
    bench.say(Kind.RELEASE, "a")
    bench.say(Kind.RELEASE, "b")
    bench.jump(100.0)
    assert bench.state("pool") is State.PAUSED
    assert bench.say(Kind.RESUME, "pool", who=None) is None
    bench.jump(0.0)
    assert bench.state("pool") is State.EXPIRED


def test_a_group_climbs_its_own_ladder_and_runs_its_callback_again() -> None:
    """A step at the verdict and one 2 s later; the callback every interval."""
    bench = grouped(Group("pool", ("a",), at_least=1, ladder=Ladder((Step("log"), Step("notify", 2.0)))))
    bench.feed("a")
    bench.jump(0.0)
    bench.say(Kind.RELEASE, "a")
    for _ in range(4):
        bench.jump(1.0)
    steps = [(e.about.name, e.step.do) for e in bench.out if isinstance(e, RunStep)]
    assert steps == [("pool", "log"), ("pool", "notify")]
    assert [e.run for e in bench.out if isinstance(e, RunCallback) and e.name == "pool"] == [1, 2]


def test_a_changed_config_keeps_what_remains() -> None:
    """The same group keeps its incident, a new one counts who is there, one that is gone is released."""
    bench = grouped()
    bench.feed("a")
    bench.feed("b")
    bench.jump(0.0)
    bench.say(Kind.RELEASE, "b")
    bench.jump(0.0)
    of_group(bench)
    bench.engine.quorums.set((POOL, Group("solo", ("a",), 1)), TEN, bench.now, bench.out)
    bench.engine.reconsider()
    bench.jump(0.0)
    assert (bench.state("pool"), bench.state("solo")) == (State.EXPIRED, State.ALIVE)
    assert of_group(bench) == []
    bench.engine.quorums.set((POOL._replace(at_least=1),), TEN, bench.now, bench.out)
    bench.jump(0.0)
    assert (bench.state("pool"), bench.state("solo")) == (State.ALIVE, None)
    bench.engine.quorums.set((), TEN, bench.now, bench.out)
    bench.jump(100.0)
    assert bench.state("pool") is None
    bench.feed("pool")
    bench.engine.quorums.set((POOL,), TEN, bench.now, bench.out)
    assert bench.state("pool") is State.WAITING, "a worker that had the name has it no longer"


def test_a_released_group_is_not_judged_any_more() -> None:
    """Taken away between suspicion and verdict."""
    bench = grouped()
    bench.feed("a")
    bench.feed("b")
    bench.jump(0.0)
    bench.say(Kind.RELEASE, "a")
    assert bench.engine.verdicts.sweep(bench.now, bench.out)
    bench.engine.quorums.set((), TEN, bench.now, bench.out)
    bench.engine.verdicts.judge(bench.now, bench.now, bench.out)
    assert bench.state("pool") is None
