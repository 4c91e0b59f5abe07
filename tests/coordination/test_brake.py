"""The brake: where most workers fall silent at once, actions on them wait, once, and keep their distances."""

from __future__ import annotations

import pytest

from banken.protocol.messages import Declaration, Kind
from banken_supervisor.engine.claim_gate import Role
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.states import State
from banken_supervisor.runtime import brake as brake_module
from banken_supervisor.runtime.brake import COUNT_S, Brake
from engine_kit import Bench

BRAKE_S, WITHIN_S = 30.0, 5.0


class Leader(Bench):
    """A leader with ``count`` workers that live."""

    def __init__(self, count: int = 20, seconds: float = BRAKE_S) -> None:
        super().__init__()
        self.gate = self.engine.succession.gate
        self.gate.role = Role.LEADER
        self.real = 50.0
        self.told: list[str] = []
        self.done: list[str] = []
        self.brake = Brake(seconds, WITHIN_S, self.engine.table, self.gate, self.told.append)
        self.names = [f"w-{number}" for number in range(count)]
        for name in self.names:
            self.engine.declare(name, Policy(Declaration(10.0)), self.now, self.out)
            self.feed(name)

    def open(self, *names: str) -> None:
        """Their incidents are opened."""
        for name in names:
            self.brake.note(name)
        for name in names:
            self.brake.opened(f"i-{name}")

    def due(self, name: str, action: str = "exec") -> bool:
        """An action is due. Whether it waits."""
        return self.brake.delays(f"i-{name}", action, lambda: self.done.append(name))

    def wait(self, seconds: float) -> None:
        self.real += seconds
        self.brake.turn(self.real)


@pytest.fixture
def leader(monkeypatch: pytest.MonkeyPatch) -> Leader:
    made = Leader()
    monkeypatch.setattr(brake_module, "monotonic", lambda: made.real)
    return made


def test_half_of_them_is_not_most(leader: Leader) -> None:
    leader.open(*leader.names[:10])
    assert leader.brake.left is None
    assert not leader.due("w-0")
    leader.open("w-10")
    assert leader.brake.left == BRAKE_S
    assert leader.told == ["more than half of the workers are silent: actions on them wait for 30 s"]


def test_whoever_is_down_by_now_had_lived(leader: Leader) -> None:
    """Ten of twenty fall silent, and are down when those that live are counted again."""
    leader.open(*leader.names[:9])
    for name in leader.names[:9]:
        leader.engine.table.move(leader.engine.table.by_name[name], State.EXPIRED)
    leader.wait(COUNT_S)
    leader.open("w-9")
    assert leader.brake.left is None
    leader.open("w-10")
    assert leader.brake.left == BRAKE_S


def test_whoever_is_to_be_fed_and_was_not_yet_is_counted(leader: Leader) -> None:
    """Of twenty that live and twenty that were declared these are never fed. What nobody awaits is not counted."""
    for number in range(20):
        leader.say(Kind.DECLARE, f"new-{number}")
    for number in range(50):
        leader.engine.declare(f"later-{number}", Policy(Declaration(10.0)), leader.now, leader.out)
        leader.engine.table.by_name[f"later-{number}"].detailed().dormant = True
    leader.open(*(f"new-{number}" for number in range(20)))
    assert leader.brake.left is None
    leader.open("w-0")
    assert leader.brake.left == BRAKE_S


def test_few_are_never_most(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Leader(9)
    monkeypatch.setattr(brake_module, "monotonic", lambda: made.real)
    made.open(*made.names)
    assert made.brake.left is None


def test_those_that_fall_silent_one_after_the_other_are_no_reason(leader: Leader) -> None:
    for name in leader.names:
        leader.open(name)
        leader.wait(WITHIN_S / 5)
    assert leader.told == []


def test_what_acts_waits_and_what_tells_does_not(leader: Leader) -> None:
    leader.open(*leader.names[:12])
    for action in ("log", "notify", "webhook", "dump"):
        assert not leader.due("w-0", action)
    for action in ("exec", "callback", "signal", "kill", "restart", "my.actions:Own"):
        assert leader.due("w-0", action)
    assert leader.brake.held == 6
    assert not leader.due("other")  # it was opened before, or has another cause


def test_what_has_recovered_is_not_counted_as_waiting(leader: Leader) -> None:
    leader.open(*leader.names[:12])
    for name in leader.names[:12]:
        assert leader.due(name)
    assert leader.brake.held == 12
    leader.brake.ended("i-w-3")
    assert leader.brake.held == 11


def test_each_waits_once_and_the_distances_stay(leader: Leader) -> None:
    leader.open(*leader.names[:12])
    assert leader.due("w-0", "signal")
    leader.wait(5.0)
    assert leader.due("w-0", "kill")
    leader.wait(24.9)
    assert leader.done == []
    assert leader.brake.patience(leader.real) == pytest.approx(0.1)
    leader.wait(0.2)
    assert leader.done == ["w-0"]
    assert leader.brake.left == pytest.approx(4.9)
    leader.wait(5.0)
    assert leader.done == ["w-0", "w-0"]
    assert leader.brake.left is None
    leader.open("w-13")
    assert not leader.due("w-13")


def test_who_is_heard_again_is_left_alone(leader: Leader) -> None:
    leader.open(*leader.names[:12])
    assert leader.due("w-0")
    assert leader.due("w-1")
    leader.brake.ended("i-w-0")
    leader.wait(BRAKE_S)
    assert leader.done == ["w-1"]


def test_a_new_leader_goes_on_braking(leader: Leader) -> None:
    """For as long as is left; what is old is no reason."""
    old = [(f"i-{name}", name, BRAKE_S + WITHIN_S + 1.0) for name in leader.names[:15]]
    leader.brake.goes_on(old)
    assert leader.brake.left is None
    leader.brake.goes_on([(incident, name, 4.0) for incident, name, _ in old])
    assert leader.brake.left == BRAKE_S - 4.0
    assert leader.due("w-0")
    leader.brake.stop()
    leader.wait(2 * BRAKE_S)
    assert leader.done == []
    assert leader.brake.left is None


def test_what_is_this_host_s_alone_is_not_counted(leader: Leader) -> None:
    leader.gate.is_local = lambda record: record.name not in leader.names[:18]
    leader.wait(COUNT_S)
    leader.open(*leader.names[:10])
    assert leader.brake.left == BRAKE_S


def test_without_a_time_there_is_no_brake(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Leader(seconds=0.0)
    monkeypatch.setattr(brake_module, "monotonic", lambda: made.real)
    made.open(*made.names)
    assert not made.due("w-0")
