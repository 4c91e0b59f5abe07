"""Leadership: never two, soon one again, and no time that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from banken_supervisor.coordination import leadership
from banken_supervisor.coordination.leadership import (
    BEATS,
    CALL_SHARE,
    READS,
    UNLED_TTLS,
    Glance,
    Leadership,
    Read,
    Write,
)
from banken_supervisor.coordination.records import BEAT, LEADER, pack, pack_leader
from banken_supervisor.coordination.records import Leader as LeaderRecord
from banken_supervisor.coordination.roles import TRANSITIONS, Role, Trigger
from banken_supervisor.coordination.store import Done, Item, Refused, Snapshot

from .leadership_sim import Member, Network, leads, trouble
from .memory_store import Fate

TTL = 5.0


def calm(seed: int = 1, members: int = 3) -> Network:
    """One that has a leader."""
    network = Network(seed, members, TTL)
    network.run(2 * TTL)
    leads(network)
    return network


def leader_of(network: Network) -> Member:
    run = leads(network)
    return next(each for each in network.members if each.leadership.run == run)


def takeover(network: Network, within: float = 4 * TTL) -> float:
    """Seconds until another one leads."""
    begun, before = network.now, network.led[-1][1]
    while network.led[-1][1] == before:
        assert network.now - begun < within, "nobody took over"
        network.run(0.01)
    return network.now - begun


# -- how long it takes ------------------------------------------------------------------------------


def test_a_new_cluster_has_a_leader_at_once() -> None:
    network = Network(1, 3, TTL)
    network.run(0.7)
    leads(network)


@pytest.mark.parametrize("seed", range(10))
def test_a_dead_leader_is_followed_within_ttl_and_half_a_second(seed: int) -> None:
    network = calm(seed)
    network.run(network.random.uniform(0.0, TTL))
    network.kill(leader_of(network))
    assert TTL * 0.7 < takeover(network) <= TTL + TTL / 10 + 0.1
    assert network.faults == []


@pytest.mark.parametrize("seed", range(5))
def test_the_longest_ttl_of_a_leader_and_its_follower_holds(seed: int) -> None:
    """A leader that was told a longer one goes on: it writes more rarely, and may act for longer."""
    network = calm(seed)
    for each in network.members:
        each.leadership.ttl = TTL if each is leader_of(network) else 1.0
    network.run(10 * TTL)
    assert len(network.led) == 1
    network.kill(leader_of(network))
    assert TTL * 0.7 < takeover(network) <= TTL + TTL / 10 + 0.1
    assert network.faults == []


@pytest.mark.parametrize("seed", range(5))
def test_one_that_steps_down_is_followed_within_a_tenth_of_ttl(seed: int) -> None:
    network = calm(seed)
    member = leader_of(network)
    network.resign(member)
    begun = network.now
    while not member.leadership.is_resigned:
        network.run(0.005)
    assert network.now - begun < 0.1
    assert takeover(network) <= TTL / 10 + 0.1
    assert member.leadership.role is Role.RESIGNED
    network.run(3 * TTL)
    assert member.leadership.role is Role.RESIGNED
    assert network.faults == []


@pytest.mark.parametrize("seed", range(5))
def test_one_that_was_stopped_is_deposed_when_it_goes_on(seed: int) -> None:
    """It may not act in between, whatever it does first."""
    network = calm(seed)
    member = leader_of(network)
    network.stop(member)
    takeover(network)
    network.run(2.0)
    assert not member.leadership.may_act(member.clock(network.now))
    network.go_on(member)
    network.run(1.0)
    assert member.leadership.role is Role.FOLLOWER
    assert network.faults == []


@pytest.mark.parametrize("away", [0.5 * TTL, 0.9 * TTL, 3 * TTL, 100 * TTL])
def test_the_leader_stays_while_the_store_is_away(away: float) -> None:
    """It stops acting in time, and is whole again soon after the return; nobody takes over."""
    network = calm()
    member = leader_of(network)
    term = member.leadership.term
    network.engine.is_down = True
    network.run(TTL)
    assert network.leaders() == []
    assert member.leadership.role is Role.LEADER
    network.run(away)
    network.engine.is_down = False
    network.run(TTL / 20 + TTL * CALL_SHARE + 0.1)
    assert network.leaders() == [member]
    network.run(3 * TTL)
    assert member.leadership.term == term
    assert len(network.led) == 1


@pytest.mark.parametrize("seed", range(20))
def test_a_beat_just_before_the_store_was_away_is_not_waited_for_anew(seed: int) -> None:
    """The leader and the store's own leader are gone at once, and the store answers again after a while."""
    network = calm(seed)
    network.engine.behind = lambda caller: 0
    network.run(network.random.uniform(0.0, TTL))
    network.kill(leader_of(network))
    network.engine.is_down = True
    begun = network.now
    network.run(TTL / 2)
    network.engine.is_down = False
    takeover(network)
    assert network.now - begun <= TTL + 2 * TTL / READS + 0.1
    assert network.faults == []


def test_a_leader_that_is_cut_off_is_followed_by_one_that_is_not() -> None:
    network = calm()
    member = leader_of(network)
    network.engine.cut_off.add(member.name)
    assert takeover(network) <= TTL + TTL / 10 + 0.1
    network.engine.cut_off.clear()
    network.run(TTL)
    assert member.leadership.role is Role.FOLLOWER
    assert network.faults == []


def test_who_has_just_started_leads_only_when_nobody_else_does() -> None:
    network = calm()
    leader = leader_of(network)
    for each in network.members:
        if each is not leader:
            network.restart(each, eligible=False)
    network.run(TTL)
    network.kill(leader)
    assert 2 * TTL * (1 - 1 / BEATS) <= takeover(network) < 2 * TTL + TTL / 10 + 0.1
    assert network.faults == []


def test_replaced_data_depose_the_leader() -> None:
    """Those of an old copy: whatever the leader wrote since may not be there."""
    network = calm()
    kept, revision = dict(network.engine.items), network.engine.revision
    network.run(TTL)
    network.engine.replace(kept, revision - 1)
    network.run(3 * TTL)
    assert sum(each.leadership.resets for each in network.members) == 3
    leads(network)
    assert network.faults == []


def lose_data(network: Network) -> None:
    network.engine.replace()
    network.engine.identity += "-lost"


@pytest.mark.parametrize("seed", range(5))
def test_who_led_when_the_store_lost_its_data_leads_again(seed: int) -> None:
    """At once, and the others stand back: also where it has its beat refused before it has read that."""
    network = calm(seed)
    for _ in range(3):
        member = leader_of(network)
        network.run(network.random.uniform(0.0, TTL))
        lose_data(network)
        network.run(TTL / READS + 0.1)
        assert network.leaders() == [member]
        assert member.leadership.regained
        network.run(3 * TTL)
        assert network.leaders() == [member]
    assert len(network.led) == 1
    assert network.faults == []


def test_a_term_that_followed_another_one_is_not_regained() -> None:
    network = calm()
    lose_data(network)
    network.run(TTL)
    member = leader_of(network)
    network.stop(member)
    takeover(network)
    network.go_on(member)
    network.run(TTL)
    assert not leader_of(network).leadership.regained


@pytest.mark.parametrize("seed", range(5))
def test_who_led_is_waited_for_when_the_data_are_lost_and_not_for_ever(seed: int) -> None:
    network = calm(seed)
    network.kill(leader_of(network))
    lose_data(network)
    assert UNLED_TTLS * TTL <= takeover(network) <= (UNLED_TTLS + 2 / READS) * TTL + 0.1
    assert not leader_of(network).leadership.regained
    assert network.faults == []


def test_who_led_and_may_have_been_replaced_waits_for_a_ttl() -> None:
    """The store was away for longer than it may act, and came back empty."""
    network = calm()
    member = leader_of(network)
    network.engine.is_down = True
    network.run(3 * TTL)
    lose_data(network)
    network.engine.is_down = False
    network.run(0.9 * TTL)
    assert network.leaders() == []
    network.run(0.5 * TTL)
    assert network.leaders() == [member]
    assert member.leadership.regained


def test_who_had_been_replaced_when_the_data_were_lost_does_not_lead_again() -> None:
    """It was cut off while another one led, and is back just then."""
    network = calm()
    former = leader_of(network)
    network.engine.cut_off.add(former.name)
    takeover(network)
    (member,) = network.leaders()
    network.run(TTL)
    network.engine.cut_off.clear()
    lose_data(network)
    network.run(3 * TTL)
    assert network.leaders() == [member]
    assert network.faults == []


@pytest.mark.parametrize("dies", [True, False])
def test_who_was_replaced_unseen_does_not_regain_what_its_successor_has(dies: bool) -> None:
    """It was cut off while another one led, and when that one regained the store's new data. It finds these, and
    does not take its own claims for the last ones, whether or not the other one still writes."""
    network = calm()
    former = leader_of(network)
    network.engine.cut_off.add(former.name)
    takeover(network)
    (member,) = network.leaders()
    lose_data(network)
    network.run(TTL)
    assert network.leaders() == [member]
    assert member.leadership.regained
    if dies:
        network.kill(member)
    network.engine.cut_off.clear()
    network.run(0.5 * TTL)
    network.kill(member)
    for each in network.members:
        if each is not former:
            network.kill(each)
    takeover(network)
    assert network.leaders() == [former]
    assert not former.leadership.regained


@pytest.mark.parametrize("steps_down", [False, True])
def test_who_led_before_nobody_remembered_a_number_is_no_last_leader(*, steps_down: bool) -> None:
    """The others were begun anew while the store had lost its data: by their numbers nobody has led yet, and it was
    the fourth that did."""
    network = calm()
    for _ in range(3):
        network.restart(leader_of(network))
        network.run(3 * TTL)
    former = leader_of(network)
    network.engine.cut_off.add(former.name)
    lose_data(network)
    for each in network.members:
        if each is not former:
            network.restart(each)
    network.run(4 * TTL)
    (second,) = network.leaders()
    if steps_down:
        network.resign(second)
        network.run(0.05)
    for each in network.members:
        if each is not former:
            network.kill(each)
    network.engine.cut_off.clear()
    network.run(4 * TTL)
    assert network.leaders() == [former]
    assert not former.leadership.regained


def test_an_old_copy_that_names_a_former_leader_does_not_make_it_one() -> None:
    network = calm()
    former = leader_of(network)
    kept = dict(network.engine.items), network.engine.revision
    network.resign(former)
    takeover(network)
    member = leader_of(network)
    network.run(TTL)
    network.engine.replace(*kept)
    network.run(3 * TTL)
    assert network.leaders() == [member]
    assert network.faults == []


def test_a_takeover_whose_answer_is_lost_after_a_loss_of_data_is_the_same_member_s() -> None:
    network = calm()
    member = leader_of(network)
    lost = iter([Fate.LOST_AFTER])
    network.engine.fate = lambda caller, call: next(lost, Fate.ANSWERED) if call == "transact" else Fate.ANSWERED
    lose_data(network)
    network.run(2 * TTL)
    assert network.leaders() == [member]
    assert member.leadership.regained


def test_a_term_of_other_data_with_the_same_number_is_another_one() -> None:
    """A leader that was stopped when the data were lost: what leads now has the revision that it led with."""
    network = calm()
    former = leader_of(network)
    network.stop(former)
    lose_data(network)
    takeover(network)
    network.engine.items[LEADER] = network.engine.items[LEADER]._replace(mod=former.leadership.term)
    (member,) = network.leaders()
    member.leadership.term = former.leadership.term
    puts = network.engine.puts
    network.engine.written = lambda caller, keys: written.append(caller)
    written: list[str] = []
    network.go_on(former)
    network.run(1.5 * TTL)
    assert set(written) == {member.name}
    assert network.engine.puts > puts
    assert former.leadership.role is Role.FOLLOWER


# -- never two ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_one_leads_and_never_two(seed: int) -> None:
    """A quarter of an hour of faults of every kind; then calm, and one leads."""
    network = Network(seed, 2 + seed % 4, (1.0, 3.0, 5.0)[seed % 3])
    trouble(network, 900.0)
    for each in network.members:
        if not each.alive:
            network.restart(each)
    network.run(6 * network.ttl)
    assert network.faults == []
    leads(network)
    assert len(network.led) > 4


class WithoutMargin(Leadership):
    """Acts for as long as others wait."""

    @property
    def margin(self) -> float:
        return -0.3 * self.ttl


class FromTheAnswer(Leadership):
    """Counts its time from the answer, and not from when it asked."""

    def was_written(self, write: Write, answer: Done | Refused, sent: float, now: float) -> None:
        super().was_written(write, answer, now, now)


class Hasty(Leadership):
    """Takes over after half the time."""

    def _may_take_over(self, now: float) -> bool:
        return now - self._seen_at >= self.ttl / 2 or super()._may_take_over(now)


class Shortsighted(Leadership):
    """Counts from a glance, whatever was read since."""

    def was_read(self, snapshot: Snapshot, now: float) -> None:
        super().was_read(snapshot, now)
        if self._glanced_at > 0.0:
            self._seen_at = min(self._seen_at, self._glanced_at)

    def was_glanced(self, snapshot: Snapshot, now: float) -> None:
        self._glanced_at = self._glanced_at if self._glanced_at > 0.0 else now


class Unconditional(Leadership):
    """Takes over whatever was written meanwhile."""

    def call(self, now: float, wall: float) -> Read | Write | None:
        call = super().call(now, wall)
        return call._replace(expect={}) if isinstance(call, Write) and call.what == "takeover" else call


class Believing(Leadership):
    """Goes on after its beat was refused."""

    def _depose(self) -> None:
        pass


@pytest.mark.parametrize("bug", [WithoutMargin, FromTheAnswer, Hasty, Shortsighted, Unconditional])
def test_a_planted_fault_is_found(bug: Callable[[str, str, float], Leadership]) -> None:
    """Each of these lets two members act at once, which some night shows."""
    for seed in range(40):
        network = Network(seed, 3, 1.0, bug)
        trouble(network, 600.0)
        if network.faults:
            return
    pytest.fail("no night shows it")


def test_a_clock_that_stands_still_is_found() -> None:
    """CLOCK_MONOTONIC, on a host that sleeps: its leader would act after it has woken up."""
    network = calm()
    member = leader_of(network)
    network.stop(member)
    begun = network.now
    takeover(network)
    member.offset -= (network.now - begun) * member.rate
    network.go_on(member)
    network.run(0.01)
    assert network.faults


# -- the table, and odd values --------------------------------------------------------------------------


def test_the_table_is_complete() -> None:
    """Every pair but those that must not happen; nobody leads without a takeover, and who resigned stays so."""
    assert set(product(Role, Trigger)) - set(TRANSITIONS) == {
        (Role.AWAY, Trigger.TOOK_OVER),
        (Role.LEADER, Trigger.TOOK_OVER),
        (Role.RESIGNED, Trigger.TOOK_OVER),
        (Role.AWAY, Trigger.DEPOSED),
        (Role.FOLLOWER, Trigger.DEPOSED),
        (Role.RESIGNED, Trigger.DEPOSED),
    }
    into = {pair for pair, role in TRANSITIONS.items() if role is Role.LEADER and pair[0] is not Role.LEADER}
    assert into == {(Role.FOLLOWER, Trigger.TOOK_OVER)}
    assert {role for (before, _), role in TRANSITIONS.items() if before is Role.RESIGNED} == {Role.RESIGNED}


def test_a_beat_and_two_calls_fit_into_ttl() -> None:
    assert 1 / BEATS + 2 * CALL_SHARE + leadership.MARGIN_SHARE < 1.0
    assert leadership.TTL_MIN * (1 - 1 / BEATS - 2 * CALL_SHARE) >= leadership.MARGIN_MIN * 0.99


@pytest.mark.parametrize(
    "value",
    [b"", b"\xc1", b"\x90", pack(member=1), pack_leader(LeaderRecord("m9", "r", 0.0))[:-1], b"\x81\xa1v\x02"],
)
def test_a_leader_that_is_not_understood_is_waited_for_like_any_other(value: bytes) -> None:
    """Somebody else wrote there: as long as it changes it is left alone, then it is taken over."""
    machine = Leadership("m1", "m1-1", TTL, eligible=True)
    now, revision = 100.0, 10
    while now < 100.0 + 2 * TTL:
        assert isinstance(machine.call(now, 0.0), Glance)
        assert isinstance(machine.call(now, 0.0), Read)
        machine.was_read(Snapshot(revision, "x", {LEADER: Item(value, revision)}), now)
        assert machine.leader is None
        now, revision = now + TTL / 10, revision + 1
    while machine.patience(now) > 0.0 or isinstance(call := machine.call(now, 0.0), Read | Glance):
        machine.was_read(Snapshot(revision, "x", {LEADER: Item(value, revision)}), now)
        now += TTL / 10
        assert now < 120.0
    assert isinstance(call, Write)
    assert call.expect == {LEADER: revision, BEAT: 0}


def test_a_takeover_whose_answer_was_lost_is_made_again() -> None:
    """And gives another term."""
    machine = Leadership("m1", "m1-1", TTL, eligible=True)
    machine.call(0.0, 0.0)
    machine.was_read(Snapshot(1, "x", {}), 0.0)
    lost = machine.call(0.1, 0.0)
    assert isinstance(lost, Write)
    machine.was_away(2.0)
    assert machine.role is Role.AWAY
    assert isinstance(machine.call(2.0, 0.0), Read)
    items = {key: Item(value, 2) for key, value in lost.put.items()}
    machine.was_read(Snapshot(2, "x", items), 2.0)
    again = machine.call(2.0, 0.0)
    assert isinstance(again, Write)
    assert again.expect == {LEADER: 2, BEAT: 2}
    machine.was_written(again, Done(3), 2.0, 2.1)
    assert (machine.role, machine.term) == (Role.LEADER, 3)
    assert machine.leads_until == pytest.approx(2.0 + TTL - machine.margin)
