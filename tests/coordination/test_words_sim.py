"""What operators say to a simulated cluster, whose hosts' clocks differ, whose members stop and begin again."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any
from unittest import mock

import pytest

from banken.protocol.messages import Kind, Message
from banken_supervisor.engine.states import State
from banken_supervisor.runtime.cluster import Cluster

from .cluster_sim import Machine, World

SETTLED_S = 6.0
"""Seconds after which a member that began has read what the others know."""


class AfterPause(Cluster):
    """Of members that have begun, their journals have a pause of ``paused``."""

    paused: str | None = None

    def start(self) -> None:
        if self.paused is not None:
            driver = self._driver
            driver.engine.tell(Message(Kind.PAUSE, self.paused, None, 0.0, None, (0.0,)), driver.now, driver.out)
        super().start()


@pytest.fixture
def world() -> Iterator[World]:
    made = World(5, cluster=AfterPause)
    for machine, skew in zip(made.machines, (0.0, 3600.0, -3600.0), strict=True):
        machine.skew = skew
    with made.clocks(), mock.patch.object(AfterPause, "paused", None):
        made.begin()
        made.run(4.0 * made.ttl)
        yield made
    assert made.findings == []


def say(world: World, machine: Machine, kind: Kind, name: str, *args: Any) -> None:
    world.on(machine, partial(machine.cluster.words.say, Message(kind, name, None, 0.0, None, args)))
    world.run(2.0)


def states(world: World, name: str) -> set[State | None]:
    found = (each.driver.engine.get(name) for each in world.machines)
    return {None if record is None else record.state for record in found}


def begins_again(world: World, machine: Machine) -> None:
    world.kill(machine)
    world.run(0.5)
    world.start(machine)
    world.run(SETTLED_S)


def left(machine: Machine, name: str) -> float:
    record = machine.driver.engine.get(name)
    assert record is not None
    return record.detailed().paused_until - machine.driver.now


def test_a_pause_lasts_as_long_with_all(world: World) -> None:
    """One of them is an hour ahead, one an hour behind."""
    for machine in world.machines:
        say(world, machine, Kind.PAUSE, "w-0", 60.0)
        assert states(world, "w-0") == {State.PAUSED}
        for each in world.machines:
            assert left(each, "w-0") == pytest.approx(57.0, abs=world.ttl + 1.0), (machine.name, each.name)
    world.run(62.0)
    assert states(world, "w-0") == {State.ALIVE}


def test_a_pause_that_is_read_late_is_not_longer(world: World) -> None:
    """Its clock is an hour behind."""
    say(world, world.machines[0], Kind.PAUSE, "w-0", 60.0)
    world.run(30.0)
    last = world.machines[2]
    last.cluster.words._known.clear()
    world.on(last, last.cluster.words.read)
    world.run(2.0)
    assert left(last, "w-0") == pytest.approx(26.0, abs=world.ttl + 1.0)


def test_who_stood_still_pauses_only_for_what_is_left(world: World) -> None:
    """Its own timers know nothing of the time that it stood still."""
    last = world.machines[2]
    world.stop(last)
    say(world, world.machines[0], Kind.PAUSE, "w-0", 60.0)
    world.run(30.0)
    world.go_on(last)
    last.skew = 0.0  # its clock is right
    world.run(2.0)
    assert left(last, "w-0") == pytest.approx(26.0, abs=world.ttl + 1.0)


def test_a_pause_that_ended_with_its_worker_is_not_the_next_ones(world: World) -> None:
    guest = "g-0"
    world.guests.come(guest)
    world.run(2.0)
    say(world, world.machines[0], Kind.PAUSE, guest, 0.0)
    assert states(world, guest) == {State.PAUSED}
    world.guests.go(guest)
    world.run(2.0)
    assert states(world, guest) == {None}
    world.guests.come(guest)
    world.run(2.0)
    begins_again(world, world.machines[2])
    assert states(world, guest) == {State.ALIVE}
    world.deaf.add((guest, world.machines[1].name))  # it learns of it by the others
    begins_again(world, world.machines[1])
    assert states(world, guest) == {State.ALIVE}
    world.deaf.clear()
    world.guests.go(guest)
    world.run(2.0)
    for machine in world.machines:  # while nobody has that name
        begins_again(world, machine)
        world.run(3.0 * world.ttl)
    world.guests.come(guest)
    world.run(2.0)
    assert states(world, guest) == {State.ALIVE}


def test_what_was_resumed_while_a_member_was_down_is_resumed(world: World) -> None:
    """And what is still paused stays so."""
    last = world.machines[2]
    for name in ("w-0", "w-1"):
        say(world, world.machines[0], Kind.PAUSE, name, 0.0)
    world.kill(last)
    say(world, world.machines[0], Kind.RESUME, "w-0")
    with mock.patch.object(AfterPause, "paused", "w-0"):
        world.start(last)
    world.run(SETTLED_S)
    assert (states(world, "w-0"), states(world, "w-1")) == ({State.ALIVE}, {State.PAUSED})


def test_a_new_word_is_not_ended_by_who_has_not_read_it(world: World) -> None:
    last = world.machines[2]
    with mock.patch.object(AfterPause, "paused", "w-0"):
        world.kill(last)
        world.start(last)
        for each in world.machines[:2]:
            world.engine.cut_off.add(each.name)
        world.run(0.5)
        world.on(last, partial(last.cluster.words.say, Message(Kind.PAUSE, "w-0", None, 0.0, None, (0.0,))))
        world.run(0.4)
    assert not last.driver.engine.registry.unproved
    world.engine.cut_off.clear()
    world.run(SETTLED_S)
    assert states(world, "w-0") == {State.PAUSED}
