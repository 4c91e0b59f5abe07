"""Programs, decided: what is asked, what ended, what is due, and what follows from it. No process, no clock."""

from __future__ import annotations

import signal
from itertools import product
from typing import Any

import pytest

from banken_supervisor.engine.ladder import Backoff, Budget
from banken_supervisor.engine.policy import Group, ProcessAttributes, ProgramSpec, Restart, Strategy
from banken_supervisor.programs.engine.effects import SendSignal
from banken_supervisor.programs.engine.programs import UnknownProgram
from banken_supervisor.programs.engine.record import signal_number
from banken_supervisor.programs.engine.sequencer import KILL_PATIENCE, SPAWN_PATIENCE
from banken_supervisor.programs.engine.states import (
    PROGRAM_TRANSITIONS,
    IllegalProgramTransition,
    ProgramState,
    ProgramTrigger,
    next_state,
)
from program_bench import Bench, spec

# -- the table ---------------------------------------------------------------------------------------


def test_what_is_not_in_the_table_is_a_named_error() -> None:
    """Every pair either leads to a state or raises IllegalProgramTransition that names the state."""
    for state, trigger in product(ProgramState, ProgramTrigger):
        if (state, trigger) in PROGRAM_TRANSITIONS:
            assert isinstance(next_state(state, trigger), ProgramState)
        else:
            with pytest.raises(IllegalProgramTransition, match=state.value):
                next_state(state, trigger)


def test_everything_can_be_reached_started_and_stopped() -> None:
    """From STOPPED every state can be reached; each takes a request to start, and one to stop."""
    reached = {ProgramState.STOPPED}
    for _ in ProgramState:
        reached |= {new for (old, _), new in PROGRAM_TRANSITIONS.items() if old in reached}
    assert reached == set(ProgramState)
    for state in ProgramState:
        assert next_state(state, ProgramTrigger.START) not in (ProgramState.STOPPED, ProgramState.GIVEN_UP)
        assert next_state(state, ProgramTrigger.STOP) in (ProgramState.STOPPED, ProgramState.STOPPING)


def test_what_the_shell_cannot_have_meant_is_an_error() -> None:
    """An exit without a process, a start that nobody asked for, a failed spawn of what runs."""
    bench = Bench(spec("a"))
    with pytest.raises(IllegalProgramTransition):
        bench.started("a")
    with pytest.raises(IllegalProgramTransition, match="there is a process"):
        bench.failed("a")
    bench.exited("a")
    with pytest.raises(IllegalProgramTransition, match="there is no process"):
        bench.exited("a")


# -- restarts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "status", "again"),
    [
        (Restart.ALWAYS, 0, True),
        (Restart.ALWAYS, 1, True),
        (Restart.ON_FAILURE, 0, False),
        (Restart.ON_FAILURE, 1, True),
        (Restart.ON_FAILURE, -15, True),
        (Restart.ON_FAILURE, None, True),
        (Restart.NEVER, 0, False),
        (Restart.NEVER, 1, False),
    ],
)
def test_the_policy_decides_whether_it_starts_again(policy: Restart, status: int | None, again: bool) -> None:
    """By the exit status; an unknown one counts as a failure: a service that is down is worse than one too many."""
    bench = Bench(spec("a", restart=policy))
    bench.exited("a", status)
    assert bench.state("a") == ("backoff" if again else "stopped")
    assert bool(bench.wait(100)) is again


def test_the_backoff_doubles_within_its_bounds() -> None:
    """1, then up to 2, 4, 8 and 8 seconds, by the random number; and anew after a stable run."""
    bench = Bench(spec("a", budget=Budget(100, 60.0)))
    for longest in (1.0, 2.0, 4.0, 8.0, 8.0):
        for random in (0.0, 0.5):
            expected = 1.0 + random * (longest - 1.0)
            program = bench.core.get("a")
            assert program is not None
            failures = program.failures
            bench.exited("a", random=random)
            assert bench.until_due() == (expected, ["spawn a"])
            bench.started("a")
            if random == 0.0:
                program.failures = failures
    bench.wait(8.0)
    bench.exited("a", random=0.9)
    assert bench.until_due()[0] == 1.0
    assert bench.told("program-backoff")[-1] == {"seconds": 1.0, "attempt": 1}


def test_what_ends_at_once_is_started_ten_times_a_second_at_most() -> None:
    """However short its backoff; a spawn that fails likewise. One that ran longer waits for its backoff only."""
    bench = Bench(spec("a", budget=Budget(100_000, 60.0), backoff=Backoff(0.001, 0.001)))
    bench.wait(100.0)
    bench.exited("a")
    assert bench.until_due() == (0.001, ["spawn a"])
    bench.started("a")
    for _ in range(3):
        bench.exited("a")
        assert bench.until_due() == (0.1, ["spawn a"])
        bench.started("a")
    bench.wait(0.04)
    bench.exited("a")
    assert bench.until_due() == (pytest.approx(0.06), ["spawn a"])
    bench.failed("a")
    assert bench.until_due() == (pytest.approx(0.1), ["spawn a"])


def test_one_restart_more_than_the_budget_is_not_made() -> None:
    """Three within a minute; at the fourth it is given up, once; a request starts it with a clean sheet."""
    bench = Bench(spec("a"))
    for _ in range(3):
        bench.exited("a")
        assert bench.until_due()[1] == ["spawn a"]
        bench.started("a")
    bench.exited("a")
    assert bench.state("a") == "given-up"
    assert bench.told("program-gave-up") == [{"of": "a", "count": 3, "period": 60.0}]
    assert bench.wait(1000) == []
    assert bench.core.next_due() is None
    assert bench.ask("start", "a") == ["spawn a"]
    bench.started("a")
    bench.exited("a")
    assert bench.state("a") == "backoff"


def test_what_the_system_has_no_room_for_is_tried_until_it_has() -> None:
    """However often, every five seconds at least, also with its budget used up."""
    bench = Bench(spec("a", backoff=Backoff(1.0, 100.0)))
    for _ in range(2):
        bench.exited("a")
        bench.until_due()
        bench.started("a")
    bench.exited("a")
    assert bench.until_due()[1] == ["spawn a"], "the third"
    for _ in range(8):
        bench.failed("a", random=0.99, shortage=True)
        waited, did = bench.until_due()
        assert waited <= 5.0
        assert did == ["spawn a"]
    bench.started("a")
    assert bench.told("program-gave-up") == []
    bench.exited("a")
    assert bench.told("program-gave-up") == [{"of": "a", "count": 3, "period": 60.0}]


def test_a_start_that_the_system_had_no_room_for_is_not_charged() -> None:
    """Three restarts are left after it, as before."""
    bench = Bench(spec("a"))
    bench.exited("a")
    bench.until_due()
    for _ in range(5):
        bench.failed("a", shortage=True)
        bench.until_due()
    bench.started("a")
    for _ in range(2):
        bench.exited("a")
        bench.until_due()
        bench.started("a")
    assert bench.told("program-gave-up") == []


def test_restarts_that_lie_a_period_back_are_forgotten() -> None:
    """Three in a minute, a pause of more than a minute, three more."""
    bench = Bench(spec("a"))
    for _ in range(4):
        for _ in range(3):
            bench.exited("a")
            bench.until_due()
            bench.started("a")
        bench.wait(61.0)
    assert bench.told("program-gave-up") == []


def test_a_program_that_cannot_be_started_spends_its_budget_too() -> None:
    """A missing command is tried again as often as the budget says."""
    bench = Bench(spec("a", restart=Restart.ON_FAILURE), start=False)
    bench.ask("start", "a")
    for _ in range(3):
        assert bench.failed("a") == []
        assert bench.until_due()[1] == ["spawn a"]
    bench.failed("a")
    assert bench.state("a") == "given-up"
    assert bench.told("program-failed") == [{"reason": "no such file"}] * 4


def test_what_was_asked_for_is_never_counted() -> None:
    """Fifty restarts by request, and then three more by itself."""
    bench = Bench(spec("a"))
    for _ in range(50):
        assert bench.ask("restart", "a") == ["15 a"]
        assert bench.exited("a", -15) == ["spawn a"]
        bench.started("a")
    for _ in range(3):
        bench.exited("a")
        bench.until_due()
        bench.started("a")
    assert bench.told("program-gave-up") == []


# -- stopping ----------------------------------------------------------------------------------------


def test_a_stop_that_takes_too_long_becomes_a_kill_and_then_is_told() -> None:
    """The signal, two seconds, SIGKILL, five seconds, unkillable; and when it goes after all it is stopped."""
    bench = Bench(spec("a", stop_signal="SIGINT"))
    assert bench.ask("stop", "a") == ["2 a"]
    assert bench.until_due() == (2.0, ["kill a"])
    assert bench.until_due() == (KILL_PATIENCE, [])
    assert len(bench.told("program-unkillable")) == 1
    assert bench.core.next_due() is None
    assert bench.state("a") == "stopping"
    bench.exited("a", -9)
    assert bench.state("a") == "stopped"
    assert bench.told("program-exited") == []


def test_a_stopped_process_is_continued_before_it_is_told_to_end() -> None:
    """SIGCONT, then the stop signal."""
    bench = Bench(spec("a"))
    numbers = [each.number for each in bench.core.stop("a", bench.now) if isinstance(each, SendSignal)]
    assert numbers == [signal.SIGCONT, signal.SIGTERM]


def test_a_stop_while_it_is_being_spawned_ends_it_when_it_is_there() -> None:
    """No process is left over whose start was under way; also when the spawn fails, and when it is slow."""
    bench = Bench(spec("a"), start=False)
    bench.ask("start", "a")
    assert bench.ask("stop", "a") == []
    assert bench.started("a") == ["15 a"]
    bench.exited("a", -15)
    assert bench.state("a") == "stopped"
    bench.ask("start", "a")
    bench.ask("stop", "a")
    bench.failed("a")
    assert bench.state("a") == "stopped"
    bench.ask("start", "a")
    bench.ask("stop", "a")
    bench.wait(SPAWN_PATIENCE)
    assert len(bench.told("program-slow")) == 1
    assert bench.started("a") == ["15 a"]


def test_a_start_during_a_stop_comes_after_it() -> None:
    """Never two at once; and a stop after that takes the start back."""
    bench = Bench(spec("a"))
    bench.ask("stop", "a")
    assert bench.ask("start", "a") == []
    assert bench.exited("a", 0) == ["spawn a"]
    bench.started("a")
    bench.ask("stop", "a")
    bench.ask("start", "a")
    bench.ask("stop", "a")
    assert bench.exited("a", 0) == []
    assert bench.state("a") == "stopped"


def test_a_stop_during_the_backoff_ends_the_wait() -> None:
    """It is stopped at once, and stays so; a start instead does not wait."""
    bench = Bench(spec("a"))
    bench.exited("a")
    bench.ask("stop", "a")
    assert bench.state("a") == "stopped"
    assert bench.wait(100) == []
    bench.ask("start", "a")
    bench.started("a")
    bench.exited("a")
    assert bench.ask("start", "a") == ["spawn a"]


@pytest.mark.parametrize("restart", list(Restart))
@pytest.mark.parametrize("again", [True, False])
def test_a_stop_waits_for_what_its_last_process_left(restart: Restart, again: bool) -> None:
    """Whether it was to start again or stays down: stopped when all is gone, and started then if asked to."""
    bench = Bench(spec("a", restart=restart, budget=Budget(1, 60.0)), spec("b", order=-1))
    bench.words(bench.core.exited("a", 1, bench.now, 0.0, leftovers=True))
    assert bench.state("a") == ("stopped" if restart is Restart.NEVER else "backoff")
    assert bench.ask("stop", ["a", "b"]) == []
    assert [bench.state("a"), bench.state("b")] == ["stopping", "stopping"]
    program = bench.core.get("a")
    assert program is not None
    assert program.may_end
    assert bench.wait(100.0) == []
    if again:
        bench.ask("start", "a")
    assert bench.words(bench.core.cleared("a", bench.now)) == (["15 b", "spawn a"] if again else ["15 b"])
    assert bench.state("a") == ("starting" if again else "stopped")
    assert bench.told("program-stopped")[-1]["again"] is again


def test_what_is_left_is_no_matter_once_another_process_is_asked_for() -> None:
    """The spawn waits for it anyway, and its report says enough; a late word of it changes nothing."""
    bench = Bench(spec("a"))
    bench.words(bench.core.exited("a", 1, bench.now, 0.0, leftovers=True))
    assert bench.until_due()[1] == ["spawn a"]
    bench.ask("stop", "a")
    bench.words(bench.core.cleared("a", bench.now))
    assert bench.state("a") == "stopping"
    assert bench.started("a") == ["15 a"]
    bench.exited("a")
    assert bench.state("a") == "stopped"
    bench.words(bench.core.cleared("a", bench.now))
    bench.words(bench.core.cleared("no-more", bench.now))
    assert bench.state("a") == "stopped"


# -- order -------------------------------------------------------------------------------------------


def test_lower_orders_start_first_and_stop_last() -> None:
    """A level starts when the one before is spawned or has failed, and stops when the one after is gone."""
    bench = Bench(spec("b1", order=1), spec("a1"), spec("c", order=7), spec("a2"), spec("b2", order=1), start=False)
    every = ["b1", "a1", "c", "a2", "b2"]
    assert sorted(bench.ask("start", every)) == ["spawn a1", "spawn a2"]
    assert bench.started("a1") == []
    assert sorted(bench.failed("a2")) == ["spawn b1", "spawn b2"]
    assert bench.started("b1", "b2") == ["spawn c"]
    bench.started("c")
    assert bench.ask("stop", every) == ["15 c"]
    assert sorted(bench.exited("c", 0)) == ["15 b1", "15 b2"]
    bench.wait(2.0)
    bench.exited("b1", -9)
    bench.wait(KILL_PATIENCE)  # b2 is unkillable, and holds up nobody
    assert bench.state("a1") == "stopping"
    assert bench.exited("a1", 0) == []


def test_a_slow_spawn_holds_up_the_others_for_a_while_only() -> None:
    """After ten seconds the next level starts all the same, and the slow one is told."""
    bench = Bench(spec("a"), spec("b", order=1), start=False)
    bench.ask("start", ["a", "b"])
    assert bench.until_due() == (SPAWN_PATIENCE, ["spawn b"])
    assert bench.told("program-slow") == [{"after": SPAWN_PATIENCE}]
    assert bench.started("a") == []
    assert bench.state("a") == "running"


def hanging(*specs: ProgramSpec, groups: tuple[Group, ...] = ()) -> Bench:
    """``a`` runs; the spawn of ``b`` hangs, and that was told."""
    bench = Bench(*specs, groups=groups, start=False)
    bench.ask("start", ["a", "b"])
    bench.started("a")
    bench.wait(SPAWN_PATIENCE)
    assert len(bench.told("program-slow")) == 1
    return bench


@pytest.mark.parametrize("comes", [True, False])
def test_the_restart_of_a_group_waits_no_longer_for_a_spawn_that_hangs(comes: bool) -> None:
    """``a`` has crashed: it starts again, and ``b`` when its spawn has come to an end."""
    groups = (Group("g", ("a", "b"), strategy=Strategy.ONE_FOR_ALL),)
    bench = hanging(spec("a"), spec("b"), groups=groups)
    assert bench.exited("a") == []
    assert bench.until_due() == (1.0, ["spawn a"])
    bench.started("a")
    if not comes:
        assert bench.failed("b") == ["spawn b"]
        return
    assert bench.started("b") == ["15 b"]
    assert bench.exited("b", -15) == ["spawn b"]


def test_a_stop_of_all_waits_no_longer_for_a_spawn_that_hangs() -> None:
    """Nor does a supervisor that ends. A process that comes of it after all is ended."""
    bench = hanging(spec("a", order=1), spec("b", order=2))
    assert bench.ask("stop", ["a", "b"]) == ["15 a"]
    b = bench.core.get("b")
    assert b is not None
    assert not b.may_end
    assert bench.started("b") == ["15 b"]
    assert b.may_end
    assert bench.until_due() == (2.0, ["kill a", "kill b"])
    assert len(bench.told("program-slow")) == 1


def test_a_stop_of_all_waits_no_longer_for_what_outlived_a_kill() -> None:
    """It was told that it is unkillable, and then all are stopped."""
    bench = Bench(spec("a", order=2), spec("b", order=1))
    bench.ask("stop", "a")
    assert bench.until_due() == (2.0, ["kill a"])
    assert bench.until_due() == (KILL_PATIENCE, [])
    assert bench.ask("stop", ["a", "b"]) == ["15 b"]
    bench.exited("b", -15)
    assert bench.exited("a", -9) == []
    assert (bench.state("a"), bench.state("b")) == ("stopped", "stopped")
    assert len(bench.told("program-unkillable")) == 1


@pytest.mark.parametrize("swapped", [{"a": 2, "b": 1, "c": 3}, {"a": 3, "b": 2, "c": 1}, {"a": 1, "b": 1, "c": 1}])
def test_a_reload_between_two_stops_makes_no_circle_of_what_waits(swapped: dict[str, int]) -> None:
    """A restart of all, which a reload gives other places, and a stop of all: each ends, as the restart began."""
    bench = Bench(spec("a", order=1), spec("b", order=2), spec("c", order=3))
    assert bench.ask("restart", ["a", "b", "c"]) == ["15 c"]
    bench.words(bench.core.apply([spec(name, order=order) for name, order in swapped.items()], (), bench.now))
    bench.ask("stop", ["a", "b", "c"])
    assert bench.exited("c", -15) == ["15 b"]
    assert bench.exited("b", -15) == ["15 a"]
    assert bench.exited("a", -15) == []
    bench.ask("start", ["a", "b", "c"])
    for _ in range(3):
        bench.started(*[name for name in "abc" if bench.state(name) == "starting"])
    last = max(swapped.values())
    words = [f"15 {name}" for name, order in swapped.items() if order == last]
    assert bench.ask("stop", ["a", "b", "c"]) == words, "the next stop is by the new places"


# -- the operator's word -----------------------------------------------------------------------------


def test_a_changed_configuration_changes_what_it_must_and_no_more() -> None:
    """Another command restarts, another budget does not; what is gone is forgotten; what is new waits."""
    bench = Bench(spec("a"), spec("b"), spec("c"), spec("d"))
    bench.exited("d")
    changed = [spec("a")._replace(command=("y",)), spec("b", budget=Budget(0, 1.0)), spec("e")]
    words = bench.words(bench.core.apply(changed, (), bench.now))
    assert sorted(words) == ["15 a", "15 c"]
    assert [bench.state(name) for name in "abcde"] == ["stopping", "running", "stopping", "unknown", "stopped"]
    assert bench.exited("a", 0) == ["spawn a"]
    assert bench.exited("c", 0) == []
    assert bench.state("c") == "unknown"
    bench.exited("b")
    assert bench.state("b") == "given-up"


@pytest.mark.parametrize(
    "field",
    [{"attributes": ProcessAttributes(nice=1)}, {"env_clear": True}, {"env_file": "/x"}, {"withheld": ("X",)}],
)
def test_other_attributes_are_another_process(field: dict[str, Any]) -> None:
    """But which secrets the supervisor reads for itself is no matter of a program's."""
    bench = Bench(spec("a"))
    words = bench.words(bench.core.apply([spec("a")._replace(**field)], (), bench.now))
    assert words == ([] if "withheld" in field else ["15 a"])


def test_one_that_comes_back_while_it_goes_is_kept() -> None:
    """A reload that takes back what the reload before it did."""
    bench = Bench(spec("a"))
    bench.core.apply((), (), bench.now)
    bench.core.apply([spec("a")], (), bench.now)
    assert bench.exited("a", 0) == ["spawn a"]


def test_what_cannot_be_is_refused_whole() -> None:
    """A signal that does not exist; a name that nobody knows."""
    bench = Bench(spec("a"))
    with pytest.raises(ValueError, match="'SIGNONE' is no signal here"):
        bench.core.apply([spec("a", stop_signal="SIGNONE"), spec("b")], (), bench.now)
    assert bench.state("b") == "unknown"
    with pytest.raises(UnknownProgram, match="no program is called 'zz'; there are: a"):
        bench.core.stop(["a", "zz"], bench.now)
    assert bench.state("a") == "running"
    assert signal_number("TERM") == signal_number("SIGTERM") == 15


def test_an_adopted_one_is_like_any_other() -> None:
    """It is running without a spawn; its end is acted upon."""
    bench = Bench(spec("a"), start=False)
    assert bench.words(bench.core.started("a", 7, bench.now, adopted=True)) == []
    assert bench.state("a") == "running"
    bench.exited("a", None)
    assert bench.until_due() == (1.0, ["spawn a"])
