"""Several members and a store in virtual time: late and lost messages, members that stop, clocks that differ.

What is looked at after every event: at most one member may act. (``may_act`` is what a member asks immediately
before it does anything, so that a member that was stopped asks it again when it goes on.)
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from banken_supervisor.coordination.leadership import Glance, Leadership, Read, Write
from banken_supervisor.coordination.records import BEAT, LEADER
from banken_supervisor.coordination.roles import Role
from banken_supervisor.coordination.store import Away, Done, Refused, Snapshot

from .memory_store import MemoryEngine, MemoryStore
from .virtual_time import VirtualTime

POLL_S = 0.01
"""Seconds between two looks of an idle member at its clock, about."""


@dataclass(eq=False)
class Member:
    """One member: its machine, its clock, and what it has under way."""

    name: str
    leadership: Leadership
    store: MemoryStore
    offset: float
    rate: float
    alive: bool = True
    stopped: bool = False
    waiting: list[Callable[[], None]] = field(default_factory=list)
    """what happens when it goes on"""
    life: int = 0
    idle: int = 0
    """number of its last rest, during which it has no call under way; 0: it has one"""

    def clock(self, now: float) -> float:
        return self.offset + now * self.rate


class Network(VirtualTime):
    """The world. ``make``: creates the machine of one member, by name, run and ttl."""

    def __init__(
        self, seed: int, members: int, ttl: float, make: Callable[[str, str, float], Leadership] = Leadership
    ) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.engine = MemoryEngine()
        self.engine.behind = lambda caller: self.random.choice((0, 0, 1, 3))
        self.ttl = ttl
        self.loss = 0.0
        """the share of messages that are lost"""
        self.late = 0.003
        """seconds that a message takes, on average"""
        self.led: list[tuple[float, str]] = []
        """when who began to lead"""
        self.faults: list[str] = []
        self.terms: dict[tuple[str, int], str] = {}
        """by identity of the data and term: whose it is"""
        self._make = make
        self._runs = count(1)
        self.members = [self._member(f"m{number}") for number in range(1, members + 1)]

    def _member(self, name: str) -> Member:
        made = self._make(name, f"{name}-{next(self._runs)}", self.ttl)
        made.eligible = True
        offset = self.random.uniform(0.0, 1e6)
        member = Member(name, made, self.engine.store(name), offset, self.random.uniform(0.995, 1.005))
        self.after(self.random.uniform(0.0, 0.1), lambda: self._turn(member, member.life))
        return member

    def restart(self, member: Member, *, eligible: bool = True) -> None:
        """Kill it, and start it with another run."""
        self.kill(member)
        member.alive, member.stopped = True, False
        member.leadership = self._make(member.name, f"{member.name}-{next(self._runs)}", self.ttl)
        member.leadership.eligible = eligible
        self.after(0.01, lambda: self._turn(member, member.life))

    def kill(self, member: Member) -> None:
        member.alive, member.stopped = False, False
        member.life += 1
        member.waiting.clear()

    def stop(self, member: Member) -> None:
        member.stopped = True

    def go_on(self, member: Member) -> None:
        member.stopped = False
        for each in member.waiting:
            self.after(self.random.uniform(0.0, 0.001), each)
        member.waiting.clear()

    def resign(self, member: Member) -> None:
        member.leadership.resign()
        if member.idle:
            self._turn(member, member.life)

    def leaders(self) -> list[Member]:
        """Those that may act now, each by its own clock."""
        return [each for each in self.members if each.alive and each.leadership.may_act(each.clock(self.now))]

    def has_happened(self) -> None:
        leaders = self.leaders()
        if len(leaders) > 1:
            self.faults.append(f"{self.now:.3f}: {', '.join(each.name for each in leaders)} may act at once")
        for each in leaders:
            assert each.leadership.term is not None
            assert each.leadership._snapshot is not None
            term = each.leadership._snapshot.identity, each.leadership.term
            if self.terms.setdefault(term, each.leadership.run) != each.leadership.run:
                self.faults.append(f"{self.now:.3f}: two runs have the term {term}")
            if not self.led or self.led[-1][1] != each.leadership.run:
                self.led.append((self.now, each.leadership.run))

    def _on(self, member: Member, life: int, do: Callable[[], None]) -> None:
        """This happens at the member: when it goes on, if it is stopped; never, if it is dead."""
        if member.life != life or not member.alive:
            return
        if member.stopped:
            member.waiting.append(lambda: self._on(member, life, do))
        else:
            do()

    def _turn(self, member: Member, life: int) -> None:
        self._on(member, life, lambda: self._call(member, life))

    def _call(self, member: Member, life: int) -> None:
        machine, sent = member.leadership, member.clock(self.now)
        call = machine.call(sent, self.now)
        if call is None:
            wait = max(POLL_S, machine.patience(sent) + self.random.uniform(0.0, 0.002))
            member.idle = idle = next(self._order)
            self.after(wait, lambda: self._turn(member, life) if member.idle == idle else None)
            return
        member.idle = 0
        answered = False

        def arrive() -> None:
            try:
                if isinstance(call, Glance):
                    answer: Done | Refused | Snapshot = member.store.glance(LEADER, 1.0)
                elif isinstance(call, Write):
                    answer = member.store.transact(call.expect, call.put, (), 1.0)
                else:
                    answer = member.store.read(LEADER, 1.0)
            except Away:
                return
            if not self._lost():
                self.after(self._delay(), lambda: self._on(member, life, lambda: reach(answer)))

        def reach(answer: Done | Refused | Snapshot) -> None:
            nonlocal answered
            if answered:
                return
            answered = True
            now = member.clock(self.now)
            if isinstance(call, Glance):
                assert isinstance(answer, Snapshot)
                machine.was_glanced(answer, now)
            elif isinstance(call, Read):
                assert isinstance(answer, Snapshot)
                machine.was_read(answer, now)
            else:
                assert not isinstance(answer, Snapshot)
                machine.was_written(call, answer, sent, now)
            self._turn(member, life)

        def give_up() -> None:
            nonlocal answered
            if not answered:
                answered = True
                if not isinstance(call, Glance):
                    machine.was_away(member.clock(self.now))
                self._turn(member, life)

        if not self._lost():
            self.after(self._delay(), arrive)
        self.after(machine.limit, lambda: self._on(member, life, give_up))

    def _lost(self) -> bool:
        return self.random.random() < self.loss

    def _delay(self) -> float:
        return self.random.expovariate(1 / self.late)


def trouble(network: Network, seconds: float) -> None:
    """A night: faults of every kind, at random, and quiet between them."""
    rng = network.random
    until = network.now + seconds
    while network.now < until:
        member = rng.choice(network.members)
        match rng.randrange(10):
            case 0:
                network.restart(member, eligible=rng.random() < 0.7)
            case 1:
                network.stop(member)
                network.run(rng.uniform(0.0, 3.0 * network.ttl))
                network.go_on(member)
            case 2:
                network.engine.is_down = True
                network.run(rng.choice((0.5, 1.0, 3.0)) * network.ttl * rng.random())
                network.engine.is_down = False
            case 3:
                network.engine.cut_off.add(member.name)
                network.run(rng.uniform(0.0, 3.0 * network.ttl))
                network.engine.cut_off.discard(member.name)
            case 4:
                network.loss = rng.uniform(0.0, 0.5)
                network.run(rng.uniform(0.0, 3.0 * network.ttl))
                network.loss = 0.0
            case 5:
                network.late = rng.choice((0.003, 0.05, 0.3)) * network.ttl
                network.run(rng.uniform(0.0, 3.0 * network.ttl))
                network.late = 0.003
            case 6:
                network.resign(member)
                network.run(0.3 * network.ttl)
                network.restart(member)
            case 7:
                kept, revision = dict(network.engine.items), network.engine.revision
                network.run(rng.uniform(0.0, 0.5 * network.ttl))
                if rng.random() < 0.2:
                    network.engine.replace(kept, revision)
            case 8:
                for each in network.members:
                    network.stop(each)
                network.run(rng.uniform(0.0, 2.0 * network.ttl))
                for each in network.members:
                    network.go_on(each)
            case 9:
                network.engine.replace()
                network.engine.identity += "-lost"
        network.run(rng.uniform(0.0, 2.0 * network.ttl))


def leads(network: Network) -> str:
    """The run of who leads, after calm: exactly one."""
    found = [each for each in network.members if each.alive and each.leadership.role is Role.LEADER]
    assert len(found) == 1, [each.leadership for each in network.members]
    assert network.engine.items[LEADER].mod == found[0].leadership.term
    assert BEAT in network.engine.items
    return found[0].leadership.run
