"""How the end of a program that nobody had asked for is judged: by ``exit`` and ``clean``, and by what ended it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from banken.protocol.messages import CLEAN, Declaration, Exit, Kind
from banken_supervisor.engine.exit_status import exit_text
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import Policy, Restart
from banken_supervisor.engine.states import State
from banken_supervisor.processes.scan import search
from engine_kit import Bench, opened, told
from program_bench import Bench as Programs
from program_bench import spec


def up(exit_: Exit = Exit.UNCLEAN, clean: tuple[int, ...] = CLEAN, do: str = "log") -> Bench:
    """A program that has been fed, with a timeout of 1 s and one step."""
    bench = Bench()
    declaration = Declaration(1.0, 1.0, 1.0, exit=exit_, clean=clean)
    bench.engine.processes.is_program = lambda name: name == "w"
    bench.engine.declare("w", Policy(declaration, Ladder((Step(do),))), bench.now, bench.out)
    bench.feed()
    bench.out.clear()
    return bench


def end(bench: Bench, status: int | None) -> bool:
    """It ends by itself; whether ``on-failure`` starts it again."""
    processes = bench.engine.processes
    again = processes.is_failure("w", status)
    if not processes.ended_well("w", status, bench.now, bench.out):
        processes.program_ended("w", "unknown" if status is None else exit_text(status), bench.now)
    bench.jump(0.0)
    return again


@pytest.mark.parametrize(
    ("exit_", "clean", "status", "incidents", "again"),
    [
        (Exit.UNCLEAN, CLEAN, 0, 0, False),
        (Exit.UNCLEAN, CLEAN, 3, 1, True),
        (Exit.UNCLEAN, CLEAN, -15, 0, True),
        (Exit.UNCLEAN, CLEAN, -9, 1, True),
        (Exit.UNCLEAN, CLEAN, None, 1, True),
        (Exit.UNCLEAN, (0, 7), 7, 0, False),
        (Exit.UNCLEAN, (7,), 0, 1, True),
        (Exit.UNCLEAN, (0, -10), -10, 0, True),
        (Exit.INCIDENT, CLEAN, 0, 1, False),
        (Exit.NEVER, CLEAN, 9, 0, True),
        (Exit.NEVER, CLEAN, None, 0, True),
    ],
)
def test_the_declaration_says_which_ends_are_incidents(
    exit_: Exit, clean: tuple[int, ...], status: int | None, incidents: int, again: bool
) -> None:
    """What a signal ended is started again, incident or not."""
    bench = up(exit_, clean)
    assert end(bench, status) is again
    assert len(opened(bench)) == incidents
    assert (bench.state() is None) is (incidents == 0)
    assert len(told(bench, "ended")) == 1 - incidents


@pytest.mark.parametrize("do", ["kill", "signal"])
def test_what_its_ladder_ended_did_not_end_well(do: str) -> None:
    """A daemon that ends in order on SIGTERM: its incident stays open until its next process, which is started."""
    bench = up(do=do)
    bench.jump(1.5)
    assert end(bench, 0)
    assert bench.state() is State.EXPIRED
    assert not told(bench, "closed")
    bench.engine.processes.restarted("w", bench.now, bench.out)
    assert [each["how"] for each in told(bench, "closed")] == ["reborn"]


def test_what_finished_late_has_finished() -> None:
    """It hung and was only told of; then it ended well by itself: over, and not started again."""
    bench = up()
    bench.jump(1.5)
    assert not end(bench, 0)
    assert bench.state() is None
    assert [each["how"] for each in told(bench, "closed")] == ["ended"]


def test_what_a_person_killed_while_it_hung_has_its_incident_until_it_is_back() -> None:
    bench = up()
    bench.jump(1.5)
    assert end(bench, -15)
    assert bench.state() is State.EXPIRED


def test_a_pause_does_not_outlive_a_good_end() -> None:
    bench = up()
    bench.say(Kind.PAUSE, "w", 0.0)
    assert not end(bench, 0)
    assert bench.state() is None


@pytest.mark.parametrize(
    ("policy", "failed", "again"),
    [
        (Restart.ON_FAILURE, False, False),
        (Restart.ON_FAILURE, True, True),
        (Restart.ALWAYS, False, True),
        (Restart.NEVER, True, False),
    ],
)
def test_the_policy_goes_by_what_counts_as_a_failure(policy: Restart, failed: bool, again: bool) -> None:
    """Whatever the status."""
    bench = Programs(spec("a", restart=policy))
    bench.words(bench.core.exited("a", 0 if failed else 7, bench.now, 0.0, failed=failed))
    program = bench.core.get("a")
    assert program is not None
    assert program.wanted is again


def test_what_is_down_says_why() -> None:
    """``banken status`` shows it: a program that ended by itself looks like one that was stopped."""
    bench = Programs(spec("a", restart=Restart.ON_FAILURE), spec("b"))
    bench.exited("a", 0)
    bench.ask("stop", "b", why="requested by a command")
    bench.exited("b", 0)
    assert [each.why for each in bench.core.all()] == ["exit status 0", "requested by a command"]


def test_a_host_without_proc_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox that mounts nothing there: no program is started, and not by a traceback."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    with pytest.raises(OSError, match="is it mounted"):
        search()
