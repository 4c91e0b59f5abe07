"""A program that is being taken down is no incident: neither while it takes its time, nor when it never came up."""

from __future__ import annotations

from pathlib import Path

import pytest

from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity
from banken_supervisor.engine.effects import Effect, Event
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.policy import Policy, ProgramSpec, Restart
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.states import State
from banken_supervisor.programs.engine.effects import ProgramEffect, ProgramEvent, ProgramEventType
from banken_supervisor.programs.engine.programs import Programs
from banken_supervisor.programs.program_watchdogs import ProgramWatchdogs

TEN = Policy(Declaration(10.0, 1000.0, 20.0))


class Bench:
    """An engine, a program's life as its engine decides it, and the programs that tells the one of the other."""

    def __init__(self, place: Path, **more: object) -> None:
        self.now = 100.0
        self.out: list[Effect] = []
        self.engine = Engine(Rules(TEN.declaration), "run", b"token", lambda: 0.5)
        self.programs = Programs()
        self.watchdogs = ProgramWatchdogs(str(place), lambda message: None)
        spec = ProgramSpec("p", ("x",), **more)  # type: ignore[arg-type]
        self.watchdogs.set([spec], [], {"p": TEN})
        self.programs.apply([spec], [], self.now)

    def told(self, effects: list[ProgramEffect]) -> None:
        events = [each for each in effects if isinstance(each, ProgramEvent)]
        self.watchdogs._handle_events(events, self.engine, self.now, self.out)

    def types(self) -> list[str]:
        return [each.type.value for each in self.out if isinstance(each, Event) and each.type.value != "program"]

    def state(self) -> State | None:
        record = self.engine.get("p")
        return None if record is None else record.state

    def judge(self, after: float) -> None:
        self.now += after
        if self.engine.verdicts.sweep(self.now, self.out):
            self.engine.verdicts.judge(self.now, self.now, self.out)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_program_that_is_asked_to_stop_while_its_spawn_fails_leaves_no_incident(bench: Bench) -> None:
    """Nobody wants it any more. That it failed is told all the same; the incident of a former attempt is closed."""
    bench.told(bench.programs.start("p", bench.now))
    bench.told(bench.programs.stop("p", bench.now))
    bench.told(bench.programs.failed("p", "no such file", bench.now, 0.5))
    assert bench.types() == []
    assert bench.state() is None
    whats = [each.data["what"] for each in bench.out if isinstance(each, Event)]
    assert whats == ["program-failed", "program-stopped"]


def test_a_failed_attempt_is_an_incident_until_the_program_is_stopped(bench: Bench) -> None:
    """The first spawn fails; during the second it is asked to stop, and that fails too."""
    bench.told(bench.programs.start("p", bench.now))
    bench.told(bench.programs.failed("p", "no such file", bench.now, 0.5))
    assert bench.state() is State.EXPIRED
    bench.now += 60.0
    bench.told(bench.programs.due(bench.now))
    bench.told(bench.programs.stop("p", bench.now))
    bench.told(bench.programs.failed("p", "no such file", bench.now, 0.5))
    assert bench.state() is None
    assert bench.types()[-2:] == ["closed", "released"]


def test_what_is_not_to_be_started_again_keeps_the_incident_of_its_failure(tmp_path: Path) -> None:
    """Its policy is never: it is down, but nobody had asked it to be."""
    bench = Bench(tmp_path, restart=Restart.NEVER)
    bench.told(bench.programs.start("p", bench.now))
    bench.told(bench.programs.failed("p", "no such file", bench.now, 0.5))
    assert bench.state() is State.EXPIRED


def test_a_start_that_fails_in_a_pause_is_an_incident_when_that_is_over(tmp_path: Path) -> None:
    """Nobody would hear of it else; unless the next attempt starts it."""
    for starts in (False, True):
        bench = Bench(tmp_path, restart=Restart.ALWAYS)
        bench.told(bench.programs.start("p", bench.now))
        bench.told(bench.programs.started("p", 7, bench.now))
        bench.engine.take(encode(Message(Kind.PAUSE, "p", None, 0.0, None, (300.0,))), bench.now, bench.out)
        bench.told(bench.programs.exited("p", 1, bench.now, 0.5))
        bench.now += 60.0
        bench.told(bench.programs.due(bench.now))
        bench.told(bench.programs.failed("p", "no such file", bench.now, 0.5))
        assert bench.state() is State.PAUSED
        if starts:
            bench.now += 60.0
            bench.told(bench.programs.due(bench.now))
            bench.told(bench.programs.started("p", 8, bench.now))
        bench.judge(301.0)
        bench.judge(0.1)
        assert bench.state() is (State.WAITING if starts else State.EXPIRED)
        reasons = [e.data["reason"] for e in bench.out if isinstance(e, Event) and e.type.value == "expired"]
        assert reasons == ([] if starts else ["it could not be started: no such file"])


def test_a_start_that_failed_before_a_pause_is_an_incident_again_when_that_is_over(tmp_path: Path) -> None:
    """It is not to be started again, and has no timeout: nobody would hear of it else."""
    bench = Bench(tmp_path, restart=Restart.NEVER)
    bench.told(bench.programs.start("p", bench.now))
    bench.told(bench.programs.failed("p", "no such file", bench.now, 0.5))
    bench.engine.take(encode(Message(Kind.PAUSE, "p", None, 0.0, None, (300.0,))), bench.now, bench.out)
    assert bench.state() is State.PAUSED
    bench.judge(301.0)
    bench.judge(0.1)
    assert bench.state() is State.EXPIRED
    reasons = [e.data["reason"] for e in bench.out if isinstance(e, Event) and e.type.value == "expired"]
    assert reasons == ["it could not be started: no such file"] * 2


@pytest.mark.parametrize("has_ended", [False, True])
def test_one_that_ended_in_a_pause_is_an_incident_although_the_supervisor_was_restarted(
    tmp_path: Path, has_ended: bool
) -> None:
    """The process is known that had fed it; unless that lives, and is none of the program's."""
    bench = Bench(tmp_path, restart=Restart.NEVER)
    bench.watchdogs.manager.programs.apply(bench.watchdogs.specs, [], bench.now)
    bench.watchdogs.manager.had_ended = lambda name: True  # type: ignore[method-assign]
    bench.engine.processes.has_ended = lambda process: has_ended
    who = ProcessIdentity(b"bootboot", 7, 70, b"aaaa")
    bench.engine.take(encode(Message(Kind.FEED, "p", who, 0.0, None)), bench.now, bench.out)
    bench.engine.take(encode(Message(Kind.PAUSE, "p", None, 0.0, None, (300.0,))), bench.now, bench.out)
    bench.watchdogs._forget_those_down(bench.engine, bench.now, bench.out)
    bench.judge(301.0)
    bench.judge(0.1)
    assert bench.state() is (State.EXPIRED if has_ended else State.ALIVE)


def test_a_stop_that_takes_longer_than_the_timeout_is_no_incident(bench: Bench) -> None:
    """Silent for minutes while it is taken down; judged again when it is up again."""
    who = ProcessIdentity(b"bootboot", 7, 70, b"aaaa")
    bench.engine.on_purpose.is_stopping = lambda name: name == "p"
    bench.told(bench.programs.start("p", bench.now))
    bench.told(bench.programs.started("p", 7, bench.now))
    bench.engine.intake(iter([encode(Message(Kind.FEED, "p", who, 0.0, None))]), bench.now, bench.out)
    for _ in range(100):
        bench.judge(1.0)
    assert "expired" not in bench.types()
    bench.engine.on_purpose.is_stopping = lambda name: False
    bench.engine.processes.restarted("p", bench.now, bench.out)
    for _ in range(21):
        bench.judge(1.0)
    assert bench.types()[-1] == "expired"


@pytest.mark.parametrize("given_up", [False, True])
def test_a_stop_of_what_has_ended_already_closes_its_incident(tmp_path: Path, given_up: bool) -> None:
    """Nobody waits for it any more: the incident is over, told as stopped, and never told of again."""
    bench = Bench(tmp_path, restart=Restart.NEVER, autostart=False)
    bench.watchdogs.open(bench.engine, bench.now, bench.out)
    try:
        failed = ProgramEvent(ProgramEventType.FAILED, "p", {"reason": "no such file"})
        bench.watchdogs._handle_events([failed], bench.engine, bench.now, bench.out)
        if given_up:
            bench.engine.processes.abandon("p", "why", bench.now, bench.out)
        assert bench.state() is (State.GIVEN_UP if given_up else State.EXPIRED)
        bench.watchdogs.command("stop", "p", bench.engine, bench.now, bench.out, "asked to")
        assert bench.state() is None
        assert bench.types()[-2:] == ["closed", "released"]
        assert [each.data["how"] for each in bench.out if isinstance(each, Event) and "how" in each.data] == [
            "stopped"
        ]
    finally:
        bench.watchdogs.close()
