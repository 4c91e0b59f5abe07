"""The cluster has its turn after the loop has carried out effects: what comes of it waits for nothing else."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from banken.client import Client
from banken.control import Events
from banken.protocol.incidents import Cause, Incident
from banken.protocol.messages import Declaration
from banken_supervisor import Supervisor
from banken_supervisor.actions import Action, ActionContext, Outcome
from banken_supervisor.actions.target import ActionReport, ActionTarget
from banken_supervisor.coordination.records import CLAIMS, Begun, Claim, unpack_claim
from banken_supervisor.engine.digest import Limits
from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import Policy
from banken_supervisor.runtime.mailbox import ActionReported
from process.kit import until

from .cluster_sim import World

SOON_S = 0.3
"""Without anything else to do, the loop waits for a second."""

OF_NOBODY = SimpleNamespace(begin=lambda: None, is_awaited=lambda: False)
"""The orderly end of a member that has no step of the leader's."""


@pytest.mark.process
def test_what_the_cluster_decides_is_carried_out_at_once(address: str) -> None:
    """An incident whose claim is written is opened, and so its first step is due, in that turn."""
    supervisor, wanted = Supervisor(address), list[Event]()

    def turn() -> None:
        supervisor._loop.driver.out.extend(wanted)  # type: ignore[union-attr]
        wanted.clear()

    with supervisor, Events(address) as events:
        until(lambda: _declared(supervisor) or events.next(0.05), "events are heard")
        loop: Any = supervisor._loop
        loop.cluster = SimpleNamespace(
            turn=turn, look=lambda: None, patience=lambda: None, state=lambda: None, words=None,
            close=lambda wait: True, end=OF_NOBODY,
        )  # fmt: skip
        took = []
        for _ in range(5):
            while events.next(0.2):
                pass
            supervisor._mailbox.post(lambda: wanted.append(Event(EventType.ADDRESS, None, {"text": "decided"})))
            began = time.monotonic()
            until(lambda: (found := events.next(0.05)) and found["type"] == "address", "it is told")
            took.append(time.monotonic() - began)
        assert sorted(took)[2] < SOON_S, took


@pytest.mark.process
def test_who_leads_is_known_before_what_has_come_is_read(address: str) -> None:
    """A leader that stood still finds feeds of all that time, and is one no longer: it tells nothing of them."""
    supervisor, order = Supervisor(address), list[str]()

    with supervisor, closing(Client(address)) as client:
        _declared(supervisor)
        loop: Any = supervisor._loop
        read = loop.driver.read

        def reads(*args: Any) -> None:
            order.append("read")
            read(*args)

        loop.driver.read = reads
        loop.cluster = SimpleNamespace(
            start=lambda: None, turn=lambda: None, look=lambda: order.append("look"), patience=lambda: None,
            state=lambda: None, words=None, close=lambda wait: True, end=OF_NOBODY,
        )  # fmt: skip
        client.feed("w")
        until(lambda: "read" in order, "it is read")
    assert order[order.index("read") - 1] == "look"


def _in_a_cluster(loop: Any, order: list[str]) -> None:
    """A stand-in of a leader's cluster, which notes what it is told of actions, and when it is closed."""

    def close(wait: float) -> bool:
        order.append("close")
        return True

    loop.messages.cluster = SimpleNamespace(
        for_leader=SimpleNamespace(takes=lambda report: False),
        steps=SimpleNamespace(acted=lambda report: order.append(report.type)),
    )
    loop.cluster = SimpleNamespace(
        start=lambda: None, turn=lambda: None, look=lambda: None, patience=lambda: None, state=lambda: None,
        words=None, close=close, end=OF_NOBODY,
    )  # fmt: skip


@pytest.mark.process
def test_what_was_dropped_is_known_before_another_one_leads(address: str) -> None:
    """The leader drops what waits, writes that, and then lets another one lead."""
    supervisor, order = Supervisor(address), list[str]()
    target = ActionTarget(Incident("i-1", "w", Cause.TIMEOUT, 1000.0, 5.5, 5.0))
    with supervisor:
        _declared(supervisor)
        loop: Any = supervisor._loop
        _in_a_cluster(loop, order)
        stop = loop.dispatcher.executor.stop

        def drops() -> None:
            if not order:
                report = ActionReport(EventType.ACTION_DROPPED, "exec", target)
                supervisor._mailbox.post(ActionReported(report))
            stop()

        loop.dispatcher.executor.stop = drops
    assert order == [EventType.ACTION_DROPPED, "close"]


@pytest.mark.process
@pytest.mark.parametrize("waits_for", ["the disk", "its turn"])
def test_a_step_that_is_decided_and_not_begun_is_dropped_before_another_one_leads(
    address: str, tmp_path: Path, waits_for: str
) -> None:
    """It waits for the journal, or in the dispatcher: it has surely not begun."""
    supervisor, order = Supervisor(address, journal=tmp_path / "j.db"), list[str]()
    with supervisor:
        _declared(supervisor)
        loop: Any = supervisor._loop
        if waits_for == "the disk":
            loop.outbox.committed = lambda ticket: None
        else:
            loop.dispatcher.turn = lambda: None
        supervisor.policy("w", Policy(Declaration(0.2, 60.0, 0.2), Ladder((Step("log"),))))
        until(
            lambda: loop.dispatcher.waiting or any(each.is_work for each in list(loop.outbox._pending)),
            f"the step waits for {waits_for}",
        )
        _in_a_cluster(loop, order)
    assert order == [EventType.ACTION_DROPPED, "close"]


class Teller(Action):
    """An action of the user's own that tells people."""

    name = "tell"
    recipient = "people"
    told: ClassVar[list[bool]] = []

    def run(self, target: ActionTarget, context: ActionContext, ended: threading.Event) -> Outcome:
        self.told.append(target.recovered)
        return Outcome(True, "told")


class Holder(Action):
    """What comes after it waits, until the supervisor stops."""

    name = "hold"

    def run(self, target: ActionTarget, context: ActionContext, ended: threading.Event) -> Outcome:
        return Outcome(ended.wait(20.0))


@pytest.mark.process
@pytest.mark.parametrize("waits_for", ["others", "its turn"])
@pytest.mark.parametrize("fence", [5, None])
def test_a_message_that_waits_is_the_next_leaders_to_send(
    address: str, tmp_path: Path, waits_for: str, fence: int | None
) -> None:
    """It is dropped before that one leads, and not after. Of this supervisor alone it is sent now."""
    supervisor, order = Supervisor(address, journal=tmp_path / "j.db"), list[Any]()
    Teller.told.clear()
    here = "coordination.test_cluster_turn"
    steps = (Step(f"{here}:Teller"),) if waits_for == "others" else (Step(f"{here}:Holder"), Step(f"{here}:Teller"))

    def acted(report: ActionReport) -> None:
        if report.action == "tell":
            order.append(report.type)

    def close(wait: float) -> bool:
        order.append("close")
        loop.dispatcher.executor.permits = lambda target: target.fence is None
        return True

    with supervisor:
        _declared(supervisor)
        loop: Any = supervisor._loop
        loop.dispatcher.fence_of = lambda incident: fence
        loop.dispatcher.notices.limits = Limits(window=60.0)
        supervisor.policy("w", Policy(Declaration(0.2, 60.0, 0.2), Ladder(steps)))
        if waits_for == "others":
            until(lambda: loop.dispatcher.notices.patience(0.0) is not None, "it waits for others")
        else:
            until(lambda: loop.dispatcher.executor.counts()["queued"], "it waits for its turn")
        loop.messages.cluster = SimpleNamespace(
            for_leader=SimpleNamespace(takes=lambda report: False), steps=SimpleNamespace(acted=acted)
        )
        loop.cluster = SimpleNamespace(
            start=lambda: None, turn=lambda: None, look=lambda: None, patience=lambda: None, state=lambda: None,
            words=None, close=close, end=OF_NOBODY,
        )  # fmt: skip
    if fence is None:
        assert (order, Teller.told) == (["close", EventType.ACTION_DONE], [False])
    else:
        assert (order, Teller.told) == ([EventType.ACTION_DROPPED, "close"], [])


def test_a_store_that_hangs_makes_the_end_no_longer() -> None:
    """What is not written by then is as it was: the next leader does not know whether it was done."""
    world = World(1)
    with world.clocks():
        world.begin()
        world.run(20.0)
        leader = next(each for each in world.machines if each.cluster.view.may_act)
        claim = Claim("i-1", "timeout", 1e9, 5.5, 5.0, leader.name, begun=(Begun(0, 1, "exec", 1e9),))
        work = leader.cluster.work
        work.note("w-9", claim)
        world.run(2.0)
        work.note("w-9", claim._replace(begun=()))
    work._may_act = lambda: True
    resigned_in: list[float] = []
    leader.cluster._thread.close = lambda wait: bool(resigned_in.append(wait))  # type: ignore[method-assign, func-returns-value]
    began = time.monotonic()
    leader.cluster.close(0.5)
    assert 0.2 < time.monotonic() - began < 0.5
    assert 0.0 < resigned_in[0] <= 0.3
    assert unpack_claim(world.engine.items[CLAIMS + "w-9"].value) == claim


def _declared(supervisor: Supervisor) -> None:
    supervisor.watchdog(f"w-{time.monotonic()}", 3600.0)
