"""The notice of an incident is told before that of its end, however long it waits for its message."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple, cast

import pytest

from banken.protocol.incidents import Cause, Incident
from banken_supervisor.actions import Action, ActionContext, ActionTarget, Outcome
from banken_supervisor.actions.notifications import Notifications
from banken_supervisor.engine.digest import Limits


class Teller(Action):
    name = "tell"

    def __init__(self, recipient: str) -> None:
        self.recipient = recipient

    def run(self, target: ActionTarget, context: ActionContext, ended: threading.Event) -> Outcome:
        raise NotImplementedError


class Told(NamedTuple):
    when: float
    recipient: str
    recovered: bool
    names: list[str]


class Bench:
    """What is handed out, and a clock that is set."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.notices = Notifications(cast(Any, self))
        self.notices.limits = limits or Limits()
        self.now = 100.0
        self.told: list[Told] = []

    def submit(self, actions: Iterable[Action], target: ActionTarget, lane: Hashable) -> None:
        [action] = actions
        names = [each.incident.name for each in (target, *target.others)]
        self.told.append(Told(self.now, cast(str, action.recipient), target.recovered, names))

    def add(self, name: str, *, recovered: bool = False, to: str = "ops") -> None:
        incident = Incident(name, name, Cause.TIMEOUT, 0.0, 1.0, 1.0)
        self.notices.add(Teller(to), ActionTarget(incident, recovered=recovered), self.now)

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while (patience := self.notices.patience(self.now)) is not None and self.now + patience <= end:
            self.now += patience
            self.notices.turn(self.now)
        self.now = end

    def after_a_storm(self) -> None:
        """The next notices of incidents wait for the end of the window, those of ends do not."""
        for number in range(12):
            self.add(f"w{number}")
        self.wait(2.0)
        assert [len(each.names) for each in self.told] == [12]
        self.told.clear()


def test_an_end_waits_for_the_notice_of_its_incident() -> None:
    """And no other one does: another incident's, or another recipient's."""
    bench = Bench()
    bench.after_a_storm()
    bench.add("x")
    bench.add("y", to="boss")
    bench.wait(0.5)
    bench.add("x", recovered=True)
    bench.add("x", recovered=True, to="boss")
    bench.add("w1", recovered=True)
    bench.wait(20.0)
    assert sorted(each[1:] for each in bench.told) == [
        ("boss", False, ["y"]),
        ("boss", True, ["x"]),
        ("ops", False, ["x"]),
        ("ops", True, ["w1"]),
        ("ops", True, ["x"]),
    ]
    when = {(each.recipient, each.recovered, each.names[0]): each.when for each in bench.told}
    assert when["ops", False, "x"] < when["ops", True, "x"]
    assert when["ops", True, "w1"] == when["boss", True, "x"] == 103.5
    assert bench.notices.patience(bench.now) is None


def test_many_ends_follow_in_one_message() -> None:
    bench = Bench()
    names = [f"x{number}" for number in range(30)]
    for name in names:
        bench.add(name)
    bench.wait(0.9)
    for name in names:
        bench.add(name, recovered=True)
    bench.wait(20.0)
    assert [each[2:] for each in bench.told] == [(False, names), (True, names)]


@pytest.mark.parametrize("limits", [Limits(), Limits(0.0, 10)])
def test_both_go_out_in_order_at_the_stop(limits: Limits) -> None:
    """Also what has waited longer than the other, and an incident of which nothing else waits."""
    bench = Bench(limits)
    bench.add("ended", recovered=True)
    bench.now += 0.1
    bench.add("x")
    bench.add("x", recovered=True)
    assert bench.notices.flush()
    assert [each[2:] for each in bench.told] == [(True, ["ended"]), (False, ["x"]), (True, ["x"])]
    assert not bench.notices.flush()
