"""What operators say to a simulated cluster, whose hosts' clocks differ, whose members stop and begin again."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from banken.protocol.codec import encode
from banken.protocol.messages import Kind, Message
from banken_supervisor.control.control_api import OPS
from banken_supervisor.engine.states import State
from banken_supervisor.runtime.cluster import Cluster
from banken_supervisor.runtime.registry_reading import EVERY_S

from .cluster_sim import TIMEOUT, Machine, World

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


@pytest.mark.parametrize("missed", ["stood still", "word too", "cut off", "deaf"])
def test_a_pause_ends_with_its_worker_with_who_missed_that(world: World, missed: str) -> None:
    """It stood still over the release and the next worker's first feeds, over the pause as well, did not reach the
    store meanwhile, or did not hear the release alone."""
    guest, last = "g-0", world.machines[2]
    world.guests.come(guest)
    world.run(2.0)
    if missed == "word too":
        world.stop(last)
    elif missed == "cut off":
        world.run(EVERY_S / 2)
        cut_off(world, last)
    say(world, world.machines[0], Kind.PAUSE, guest, 0.0)
    if missed == "stood still":
        world.stop(last)
    if missed != "cut off":
        world.deaf.add((guest, last.name))
    world.guests.go(guest)
    world.run(2.0)
    world.guests.come(guest)
    world.run(2.0)
    world.deaf.clear()
    if missed == "deaf":
        world.run(EVERY_S)
    elif missed == "cut off":
        world.run(3.0 * world.ttl)
        world.engine.cut_off.clear()
    else:
        world.run(2.0)
        world.go_on(last)
    world.run(SETTLED_S)
    assert states(world, guest) == {State.ALIVE}
    world.guests.die(guest)
    world.run(2 * TIMEOUT)
    assert guest in last.driver.engine.succession.gate.held or last.driver.engine.table.by_name[guest].is_down


def test_a_pause_that_others_have_too_stays_with_who_stood_still(world: World) -> None:
    last = world.machines[2]
    say(world, world.machines[0], Kind.PAUSE, "w-0", 0.0)
    world.stop(last)
    world.run(5.0)
    world.go_on(last)
    for _ in range(2):
        world.run(EVERY_S)
        assert states(world, "w-0") == {State.PAUSED}


def cut_off(world: World, machine: Machine) -> None:
    world.engine.cut_off.add(machine.name)
    world.run(2.0)


def test_a_pause_whose_end_a_member_has_not_read_is_not_taken_from_it(world: World) -> None:
    """It does not reach the store; the others reach it, and have been silent towards all since."""
    first, second, last = world.machines
    say(world, first, Kind.PAUSE, "w-0", 0.0)
    cut_off(world, last)
    say(world, first, Kind.RESUME, "w-0")
    for each in (first, second):
        world.engine.cut_off.add(each.name)  # nobody can open an incident
    world.hung["w-0"] = world.now
    world.run(2.0 * EVERY_S)
    for each in (first, second):
        record = each.driver.engine.get("w-0")
        assert record is not None
        assert record.state is State.ALIVE, each.name
    world.engine.cut_off.clear()
    world.run(SETTLED_S)
    assert world.leader().driver.engine.table.by_name["w-0"].is_down
    world.hung.clear()
    world.run(SETTLED_S)


def test_a_pause_that_a_member_has_not_read_is_not_ended_by_it(world: World) -> None:
    """Who begins has it from the store, and asks that one alone."""
    first, second, last = world.machines
    cut_off(world, last)
    say(world, first, Kind.PAUSE, "w-0", 0.0)
    world.kill(second)
    world.parted.add(frozenset((first.name, second.name)))
    world.start(second)
    world.run(2.0 * SETTLED_S)
    record = second.driver.engine.get("w-0")
    assert record is not None
    assert record.state is State.PAUSED
    world.parted.clear()
    world.engine.cut_off.clear()
    world.run(EVERY_S)
    assert states(world, "w-0") == {State.PAUSED}


@pytest.mark.parametrize("kind", [Kind.PAUSE, Kind.RESUME])
def test_what_is_said_to_one_member_alone_stays_with_it(world: World, kind: Kind) -> None:
    """Whether the others have a pause or not, and the worker is silent or not, and who begins again meanwhile."""
    first, second, last = world.machines
    if kind is Kind.RESUME:
        say(world, first, Kind.PAUSE, "w-0", 0.0)
    message = Message(kind, "w-0", None, 0.0, None, (0.0,) if kind is Kind.PAUSE else ())
    view: Any = SimpleNamespace(driver=last.driver, cluster=lambda: last.cluster)
    world.on(last, partial(OPS["tell"], view, {"frame": encode(message), "here": True}))
    others, here = (State.ALIVE, State.PAUSED) if kind is Kind.PAUSE else (State.PAUSED, State.ALIVE)
    for each in (None, second):
        if each is not None:
            begins_again(world, each)
        world.run(1.5 * EVERY_S)
        found = [machine.driver.engine.table.by_name["w-0"].state for machine in world.machines]
        assert found == [others, others, here], each
    if kind is Kind.PAUSE:
        say(world, first, Kind.RESUME, "w-0")
    else:
        say(world, first, Kind.PAUSE, "w-0", 0.0)
    assert states(world, "w-0") == {others}


def test_who_has_it_paused_hears_its_worker(world: World) -> None:
    """The pause is over, and a member that does not reach the store does not know that. It alone hears the
    worker."""
    first = world.machines[0]
    last = next(each for each in world.machines if each is not world.leader())
    say(world, first, Kind.PAUSE, "w-0", 0.0)
    cut_off(world, last)
    say(world, next(each for each in world.machines if each is not last), Kind.RESUME, "w-0")
    world.deaf |= {("w-0", each.name) for each in world.machines if each is not last}
    world.run(4.0 * TIMEOUT)
    assert world.verdicts == 0
    assert last.driver.engine.table.by_name["w-0"].state is State.PAUSED
    world.hung["w-0"] = world.now
    world.run(4.0 * TIMEOUT)
    assert world.verdicts == 1


def test_a_pause_that_was_read_late_and_ended_too_early_ends_with_no_other(world: World) -> None:
    """Its clock is an hour ahead: it takes the pause for as old as it can be."""
    last = world.machines[1]
    assert last.skew == 3600.0
    world.stop(last)
    world.run(10.0 * world.ttl)
    say(world, world.machines[0], Kind.PAUSE, "w-0", 60.0)
    world.go_on(last)
    world.run(30.0)
    assert last.driver.engine.table.by_name["w-0"].state is State.ALIVE
    for each in world.machines:
        if each is not last:
            world.on(each, each.cluster.registries.read_soon)
    world.run(SETTLED_S)
    found = [each.driver.engine.table.by_name["w-0"].state for each in world.machines if each is not last]
    assert found == [State.PAUSED, State.PAUSED]


@pytest.mark.parametrize("missed", ["cut off", "stood still"])
@pytest.mark.parametrize("how", ["it had died", "it ended in order later", "it was paused", "it was not heard"])
@pytest.mark.parametrize("skew", [-3600.0, 0.0, 3600.0])
@pytest.mark.parametrize("next_dies", [False, True])
def test_a_release_that_is_read_late_is_not_the_next_workers(
    world: World, missed: str, how: str, skew: float, next_dies: bool
) -> None:
    """The next worker of that name is watched on by who reads it then, and is not paused as the former one was."""
    guest, first, last = "g-0", world.machines[0], world.machines[2]
    last.skew = skew
    if how != "it was not heard":
        world.guests.come(guest)
        world.run(2.0)
    if how == "it was paused":
        say(world, first, Kind.PAUSE, guest, 0.0)
    if missed == "cut off":
        cut_off(world, last)
    else:
        world.run(2.0)
        world.stop(last)
    if how == "it was not heard":
        world.deaf.add((guest, last.name))
        world.guests.come(guest)
        world.run(2.0)
    if how != "it ended in order later":
        world.guests.die(guest)
        world.run(1.0)
    say(world, first, Kind.RELEASE, guest)
    if how == "it ended in order later":
        world.guests.go(guest)
        world.run(1.0)
    world.deaf.clear()
    world.guests.come(guest)
    world.run(1.0)
    with mock.patch.object(last.cluster.words, "_apply"):
        if missed == "stood still":
            world.go_on(last)
        world.run(1.0)
    record = last.driver.engine.get(guest)
    assert record is not None
    if next_dies:
        world.guests.die(guest)
        world.run(4.0)
    world.engine.cut_off.clear()
    world.on(last, last.cluster.words.read)
    world.run(SETTLED_S)
    assert last.driver.engine.get(guest) is record
    if next_dies:
        assert world.leader().driver.engine.table.by_name[guest].is_down
    else:
        assert states(world, guest) == {State.ALIVE}


@pytest.mark.parametrize("skew", [-3600.0, 0.0, 3600.0])
@pytest.mark.parametrize("lives", [True, False])
@pytest.mark.parametrize("is_late", [True, False])
def test_a_release_of_who_is_still_there_is_done_by_all(
    world: World, skew: float, lives: bool, is_late: bool
) -> None:
    """Whether it is read late or at once, and whatever the clocks say. Who lives is watched again with its next
    feed."""
    guest, first, last = "g-0", world.machines[0], world.machines[2]
    last.skew = skew
    world.guests.come(guest)
    world.run(2.0)
    before = [each.driver.engine.get(guest) for each in world.machines]
    if is_late:
        cut_off(world, last)
    if not lives:
        world.guests.die(guest)
        world.run(0.5)
    say(world, first, Kind.RELEASE, guest)
    if is_late:
        world.run(3.0 * world.ttl)
    world.engine.cut_off.clear()
    world.run(SETTLED_S)
    assert states(world, guest) == ({State.ALIVE} if lives else {None})
    assert all(each.driver.engine.get(guest) is not old for each, old in zip(world.machines, before, strict=True))
