"""Nights of a cluster in virtual time, and the faults that they must find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from unittest import mock

import pytest

from banken_supervisor.control.registry_page import PART_WATCHED
from banken_supervisor.coordination import leadership
from banken_supervisor.coordination.claims import Claims
from banken_supervisor.coordination.leadership_thread import View
from banken_supervisor.coordination.roles import Role
from banken_supervisor.engine import claim_gate
from banken_supervisor.engine.claim_gate import Gate
from banken_supervisor.engine.effects import Effect, RunStep
from banken_supervisor.engine.hearing import Heard, Timer
from banken_supervisor.engine.registry import Entry, Registry
from banken_supervisor.engine.snapshot import PastRun
from banken_supervisor.runtime import brake, members
from banken_supervisor.runtime.brake import Brake
from banken_supervisor.runtime.claimed_steps import ClaimedSteps
from banken_supervisor.runtime.incident_terms import Terms
from banken_supervisor.runtime.members import Members
from banken_supervisor.runtime.registry_reading import RegistryReading
from banken_supervisor.runtime.spent_budgets import SpentBudgets
from banken_supervisor.runtime.suspicions import Suspicions

from . import cluster_sim
from .cluster_sim import night


@pytest.mark.parametrize("seed", range(1, 7))
def test_a_night(seed: int) -> None:
    found = night(seed, 450.0, 2 + seed % 4)
    assert found.findings == []
    assert found.verdicts > 5


@pytest.mark.parametrize("seed", range(11, 14))
def test_a_night_in_which_members_end_in_order(seed: int) -> None:
    """What they drop then is done by the next leader, once."""
    assert night(seed, 450.0, 2 + seed % 4, orderly=True).findings == []


def test_what_is_written_does_not_depend_on_feeds() -> None:
    """The store has what leads, and what is wrong; a night without a fault writes the same, however much is fed."""
    puts = []
    for feed_s in (0.4, 0.05):
        with mock.patch.object(cluster_sim, "FEED_S", feed_s):
            world = cluster_sim.World(1)
            with world.clocks():
                world.begin()
                world.run(120.0)
            assert world.findings == []
            puts.append(world.engine.puts)
    assert puts[1] == pytest.approx(puts[0], rel=0.03)


# -- planted faults ------------------------------------------------------------------------------------


def _permit_all(self: Terms, incident: str) -> bool:
    return True


def _permit_or_drop(self: Terms, incident: str) -> bool:
    return _permit(self, incident) or False


_permit = Terms.permit


def _ever_alive(self: Members, number: int, member: str, found: dict[str, Heard] | None) -> None:
    ever = Timer(1.0, 1.0)
    _answered(self, number, member, {name: Heard(ever, ever) for name in found or {}})


_answered = Members._answered


def _asks_nobody(self: Members, name: str, cause: object, decide: Callable[[str, None], None]) -> None:
    decide("", None)


def _of_feeds(self: Heard, cause: object) -> Timer | None:
    return self.feed


def _never(*args: object) -> bool:
    return False


def _knows_nothing(self: Claims, known: object) -> dict[str, object]:
    return {}


def _believes_the_store(self: Claims, known: object) -> object:
    return self.open()


def _holds_nothing(self: Gate, *args: object) -> bool:
    return False


def _begins_without_a_claim(self: ClaimedSteps, effect: RunStep) -> bool:
    self._work.do(effect.about.name, effect.about.incident, partial(self._run_step, effect))
    return True


def _repeats_all(self: ClaimedSteps, effect: RunStep) -> None:
    self._work.do(effect.about.name, effect.about.incident, partial(self._run_step, effect))


def _always(self: View) -> bool:
    return self.term is not None


def _keeps_claims(self: ClaimedSteps, effect: object) -> None:
    pass


def _gives_back_all(self: ClaimedSteps) -> None:
    """Also what runs, or has ended."""
    if self._work.claims is not None:
        for name, claim in self._work.claims.open().items():
            self._work.note(name, claim._replace(begun=()))


FAULTS = {
    "nobody is asked": (Members, "ask", _asks_nobody),
    "a follower opens": (Gate, "holds", _holds_nothing),
    "steps begin without a claim": (ClaimedSteps, "take", _begins_without_a_claim),
    "an ended step is repeated": (ClaimedSteps, "ran", _repeats_all),
    "claims are kept for ever": (ClaimedSteps, "ended", _keeps_claims),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_planted_fault_is_found_in_some_night(what: str) -> None:
    where, name, fault = FAULTS[what]
    with mock.patch.object(where, name, fault):
        for seed in range(1, 30):
            if night(seed, 450.0, 2 + seed % 4).findings:
                return
    pytest.fail("no night shows it")


def test_a_leader_that_gives_back_what_it_has_done_is_found() -> None:
    """It ends in order, and the next one does it again."""
    with mock.patch.object(ClaimedSteps, "give_back", _gives_back_all):
        for seed in range(11, 30):
            if night(seed, 450.0, 2 + seed % 4, orderly=True).findings:
                return
    pytest.fail("no night shows it")


# -- what is too rare for a night ----------------------------------------------------------------------


@contextmanager
def calm() -> Iterator[cluster_sim.World]:
    """Three members of which one leads."""
    world = cluster_sim.World(1)
    with world.clocks():
        world.begin()
        world.run(8.0)
        yield world


def silence(world: cluster_sim.World) -> None:
    """One worker falls silent, and the first action has been handed over when this returns."""
    world.hung["w-0"] = world.now
    world.run(cluster_sim.TIMEOUT + 0.15)


def stopped_before_a_deed(world: cluster_sim.World) -> None:
    """And another one leads, when it goes on."""
    world.busy = 1.0
    leader = world.leader()
    silence(world)
    world.stop(leader)
    world.run(world.ttl + 2.0)
    world.go_on(leader)
    world.run(world.ttl)


def away_before_a_deed(world: cluster_sim.World) -> None:
    """The store is away for longer than its leader may act without it."""
    world.busy = world.ttl + 1.5
    silence(world)
    world.engine.is_down = True
    world.run(world.ttl + 3.0)
    world.engine.is_down = False
    world.run(cluster_sim.CALM_S)
    world.judge()


def silent_for_all(world: cluster_sim.World) -> None:
    """All members can be asked, and none hears the worker."""
    world.busy = 0.1
    silence(world)
    world.run(2.0)
    world.judge()


def not_answered(world: cluster_sim.World) -> None:
    """A member is cut off from the one that leads, and neither answers nor says so."""
    world.hung["w-0"] = world.now
    world.run(1.5)
    world.parted |= {frozenset((one.name, other.name)) for one in world.machines for other in world.machines}
    with mock.patch.object(world.random, "random", return_value=0.0):
        world.run(2.5)
    world.judge()


def stuck_while_it_feeds(world: cluster_sim.World) -> None:
    """The others do not answer, so that the claim comes later than the next feed."""
    world.parted |= {frozenset((one.name, other.name)) for one in world.machines for other in world.machines}
    world.stuck["w-3"] = world.now
    with mock.patch.object(cluster_sim, "FEED_S", 0.1), mock.patch.object(world.random, "random", return_value=0.9):
        for _ in range(int(50.0 * (cluster_sim.PROGRESS_S + 10.0))):
            world.run(0.02)
            for machine in world.machines:
                for link in machine.cluster.members.links.values():
                    link.is_up = True
    world.judge()


def deaf_to_progress(world: cluster_sim.World) -> None:
    """The leader alone: all that it can ask have seen progress."""
    leader = world.leader()
    deaf = {(name, leader.name) for name in cluster_sim.WORKING}
    world.deaf |= deaf
    world.run(3.0 * cluster_sim.PROGRESS_S)
    world.deaf -= deaf
    world.run(2.0)
    world.judge()


def stuck_for_all(world: cluster_sim.World) -> None:
    """Each member hears the worker, and none sees progress."""
    world.stuck["w-3"] = world.now
    world.run(cluster_sim.PROGRESS_S + 3.0)
    world.judge()


def released_while_it_is_told(world: cluster_sim.World) -> None:
    """A member begins, and is told of a guest that goes before the answer is there. Then it leads."""
    world.guests.come("g-0")
    world.run(2.0)
    one, third, leader = sorted(world.machines, key=lambda each: each is world.leader())
    world.slow_registries = 0.5
    world.kill(third)
    world.kill(one)
    world.start(one)
    world.run(0.0)
    reading = one.cluster.registries
    while not any(each.part == PART_WATCHED for each in reading._members.values()):
        world.run(0.01)
    world.run(0.05)
    world.guests.go("g-0")
    world.run(3.0)
    world.kill(leader)
    world.run(4.0 * world.ttl)


def silent_before_a_member_began(world: cluster_sim.World) -> None:
    """A guest dies, a member begins, and the others die before they could judge. That one leads, and judges."""
    world.guests.come("g-0")
    world.run(2.0)
    one, *others = sorted(world.machines, key=lambda each: each is world.leader())
    world.guests.die("g-0")
    world.kill(one)
    world.start(one)
    world.run(1.3)
    for each in others:
        world.kill(each)
    world.run(4.0 * world.ttl)
    record = one.driver.engine.get("g-0")
    if record is None or record.incident is None:
        world.findings.append("nobody knows the guest that has died")


def deaf_to_a_release(world: cluster_sim.World) -> None:
    """The leader does not hear that a guest goes, and the others do."""
    world.guests.come("g-0")
    world.run(2.0)
    world.deaf.add(("g-0", world.leader().name))
    world.guests.go("g-0")
    world.run(2.0)
    world.deaf.clear()
    world.run(6.0)


def spent_by_a_former_leader(world: cluster_sim.World) -> None:
    """A guest uses up the budget of a step, and does so again when another one leads."""
    world.busy = 0.1
    for _ in range(cluster_sim.BUDGET.runs):
        world.guests.come("g-0")
        world.run(2.0)
        world.guests.die("g-0")
        world.run(6.0)
    world.guests.come("g-0")
    world.run(2.0)
    leader = world.leader()
    world.kill(leader)
    world.run(3.0 * world.ttl)
    world.start(leader)
    world.guests.die("g-0")
    world.run(cluster_sim.CALM_S)
    world.judge()


def _nothing_is_spent(self: SpentBudgets) -> dict[str, list[PastRun]]:
    return {}


def _takes_all(self: Registry, told: Entry, asked: float, now: float, out: list[Effect], **more: bool) -> None:
    self._table.released.clear()
    _take(self, told, asked, now, out, **more)


_take = Registry.take


def _reads_nothing(self: RegistryReading, now: float, **_: object) -> None:
    pass


def _hears_no_release(self: Suspicions, name: str, age: float) -> None:
    pass


def lost_data(world: cluster_sim.World) -> None:
    """The store is empty, and later an old copy, between two steps of an incident; there is one incident, and each
    step is done once."""
    silence(world)
    world.run(0.3)
    world.lose_data()
    leader = world.leader()
    world.stop(leader)  # the others find it first
    world.run(0.5 * world.ttl)
    world.go_on(leader)
    world.run(0.2)
    old = dict(world.engine.items), world.engine.revision
    world.run(1.8)
    world.engine.replace(*old)
    world.run(2.0 * world.ttl)
    world.judge()
    deeds = [(each.incident, each.step) for each in world.deeds if each.name == "w-0"]
    if len({incident for incident, _ in deeds}) != 1:
        world.findings.append(f"more than one incident of one silence: {deeds}")


def lost_data_of_what_is_over(world: cluster_sim.World) -> None:
    """The old copy has an incident that has ended since, and its worker hangs again."""
    silence(world)
    world.run(0.3)
    world.copy = dict(world.engine.items), world.engine.revision
    world.run(2.0)
    world.hung.clear()
    world.run(2.0)
    silence(world)
    world.run(0.3)
    with mock.patch.object(world.random, "random", return_value=0.0):
        world.lose_data()
    world.run(2.0 * world.ttl)
    world.judge()
    if len({each.incident for each in world.deeds if each.name == "w-0"}) != 2:
        world.findings.append(f"two silences: {[each.incident for each in world.deeds]}")


def most_are_silent(world: cluster_sim.World) -> None:
    """All but one, and one of them is heard again. Meanwhile another one leads."""
    silent = sorted(cluster_sim.WORKERS)[:4]
    with mock.patch.object(brake, "SILENT_MIN", 3), mock.patch.object(world.random, "random", return_value=0.5):
        begun = world.now
        for name in silent:
            world.hung[name] = begun
        world.run(cluster_sim.TIMEOUT + 2.0)
        del world.hung["w-0"]
        world.kill(world.leader())
        world.run(cluster_sim.BRAKE_S - 2.5)
        early = [each for each in world.deeds if each.action == "exec"]
        if early:
            world.findings.append(f"done in the brake, which began at {begun:.1f}: {early}")
        for machine in world.machines:
            if not machine.alive:
                world.start(machine)
        world.run(cluster_sim.BRAKE_S + 15.0)
    if {each.name for each in world.deeds if each.action == "exec"} != set(silent) - {"w-0"}:
        world.findings.append(f"done after the brake: {world.deeds}")
    world.judge()


SCENES: dict[str, tuple[Callable[[cluster_sim.World], None], object, str, object]] = {
    "an old leader acts": (stopped_before_a_deed, Terms, "permit", _permit_all),
    "whoever led may act": (stopped_before_a_deed, View, "may_act", property(_always)),
    "what cannot be done now is dropped": (away_before_a_deed, Terms, "permit", _permit_or_drop),
    "an age above the timeout acquits": (silent_for_all, Members, "_answered", _ever_alive),
    "any feed takes back a verdict of no progress": (stuck_while_it_feeds, claim_gate, "stands_still", _never),
    "nobody is asked about progress": (deaf_to_progress, Members, "ask", _asks_nobody),
    "what the store has lost is not written again": (lost_data, Claims, "rewrite", _knows_nothing),
    "the others do not stand back": (lost_data, leadership, "UNLED_TTLS", 0.0),
    "what an old copy has is open": (lost_data_of_what_is_over, Claims, "rewrite", _believes_the_store),
    "there is no brake": (most_are_silent, Brake, "_is_most", _never),
    "what the brake holds is dropped": (most_are_silent, Brake, "turn", _keeps_claims),
    "a new leader knows of no brake": (most_are_silent, Brake, "goes_on", _keeps_claims),
    "any feed acquits": (stuck_for_all, Heard, "of", _of_feeds),
    "an answer is waited for without a limit": (not_answered, members, "ANSWER_S", 1e9),
    "a registry resurrects the released": (released_while_it_is_told, Registry, "take", _takes_all),
    "a new leader begins a budget anew": (spent_by_a_former_leader, SpentBudgets, "past", _nothing_is_spent),
    "no registry is read": (silent_before_a_member_began, RegistryReading, "turn", _reads_nothing),
    "the released are convicted": (deaf_to_a_release, Suspicions, "was_released", _hears_no_release),
}


@pytest.mark.parametrize("what", SCENES)
def test_a_planted_fault_is_found_in_its_scene(what: str) -> None:
    """And without it nothing is."""
    scene, where, name, fault = SCENES[what]
    with calm() as world:
        scene(world)
    assert world.findings == []
    with mock.patch.object(where, name, fault), calm() as world:
        scene(world)
    assert world.findings


def test_a_leader_that_had_not_read_the_claims_knows_nothing_better_than_an_old_copy() -> None:
    """The store dies between its takeover and its reading, and comes back as a copy of before."""
    with calm() as world:
        first = world.leader()
        silence(world)
        world.run(3.0)  # both steps are done
        copy = dict(world.engine.items), world.engine.revision
        world.kill(first)
        while not any(each.alive and each.cluster.view.role is Role.LEADER for each in world.machines):
            world.run(0.001)
        world.engine.is_down = True
        world.run(2.0)
        world.engine.replace(*copy)
        world.engine.identity, world.engine.is_down = "memory-copy", False
        world.lost_at, world.has_lost_data = world.now, True
        world.run(4.0 * world.ttl)
        assert [each.action for each in world.deeds if each.name == "w-0"] == ["log", "exec"]
        assert world.findings == []


def test_what_a_leader_knows_it_has_not_begun_is_begun_when_it_leads_again() -> None:
    """Its action was dropped while the store was away: that is known, though the store has lost its data since."""
    with calm() as world:
        world.busy = 0.0
        silence(world)
        world.run(0.5)
        world.busy = 4.2  # its lane is busy when 'exec' is handed over
        world.run(0.6)
        world.engine.is_down = True
        world.run(world.ttl + 1.0)
        world.lose_data()
        world.engine.is_down = False
        world.busy = 0.0
        world.run(3.0 * world.ttl)
        assert [each.action for each in world.deeds if each.name == "w-0"] == ["log", "exec"]
        assert world.findings == []
