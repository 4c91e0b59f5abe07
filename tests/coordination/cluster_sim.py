"""Several supervisors, workers and a store in virtual time; what is real is the engine, its driver, and all of the
cluster but its threads. ``python -m coordination.cluster_sim HOURS SEED`` from ``tests/`` runs it by hand.

What is simulated: time, the network (late, lost, cut, one way), the store's faults, members that stop, die and come
back without a journal, clocks that differ, workers that hang and recover. What is judged: each step of each
incident is done at most once, and once if it may be repeated, by who leads then; nobody is convicted whom a member
that can be asked has heard; every silence is an incident in the end; only a leader tells anything.
"""

from __future__ import annotations

import random
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, NamedTuple
from unittest import mock

from banken.protocol.codec import encode
from banken.protocol.incidents import Cause, Incident
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity
from banken_supervisor.actions.target import ActionReport, ActionTarget
from banken_supervisor.coordination import leadership_thread as leadership_thread_module
from banken_supervisor.coordination.leadership import CALL_SHARE, READS
from banken_supervisor.coordination.records import CLAIMS, LEADER, unpack_claim, unpack_leader
from banken_supervisor.coordination.roles import Role
from banken_supervisor.coordination.settings import ClusterSettings
from banken_supervisor.coordination.store_thread import StoreThread
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.effects import (
    Effect,
    EndIncident,
    Event,
    EventType,
    Propose,
    RunStep,
    StepRan,
    Withdraw,
)
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.ladder import Budget, Ladder, Step
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.states import State
from banken_supervisor.runtime import brake as brake_module
from banken_supervisor.runtime import claimed_incidents as claimed_incidents_module
from banken_supervisor.runtime import claimed_steps as claimed_steps_module
from banken_supervisor.runtime import claimed_work as claimed_work_module
from banken_supervisor.runtime import cluster as cluster_module
from banken_supervisor.runtime import members as members_module
from banken_supervisor.runtime import operator_words as operator_words_module
from banken_supervisor.runtime import spent_budgets as spent_budgets_module
from banken_supervisor.runtime import suspicions as suspicions_module
from banken_supervisor.runtime.claimed_steps import REPEATABLE
from banken_supervisor.runtime.cluster import Cluster
from banken_supervisor.runtime.member_links import ANSWER_S
from banken_supervisor.runtime.members import Members, member

from .cluster_guests import HEARD_S, Guests
from .cluster_guests import NAMES as GUESTS
from .cluster_threads import Leading, Link, Writing
from .memory_store import Fate, MemoryEngine
from .virtual_time import VirtualTime

TIMEOUT, FEED_S = 2.0, 0.4
LADDER = Ladder((Step("log"), Step("exec", after=1.0)))
POLICY = Policy(Declaration(TIMEOUT, 60.0, 5.0), LADDER)
WORKERS = tuple(f"w-{number}" for number in range(5))
"""They are in each member's config. Of guests (cluster_guests.py) a member knows what it hears, or is told."""
PROGRESS_S = 3.0
WORKS = POLICY._replace(declaration=POLICY.declaration._replace(progress_timeout=PROGRESS_S))
WORKING = frozenset({"w-3", "w-4"})
"""Workers that have progress."""
BUDGET = Budget(2, 1e6)
OF_GUESTS = POLICY._replace(ladder=Ladder((Step("log"), Step("exec", after=1.0, budget=BUDGET))))
TURN_MAX = 0.25
CALM_S = 40.0
BRAKE_S = 8.0
TELLING = frozenset({
    EventType.EXPIRED, EventType.RECOVERED, EventType.CLOSED, EventType.ACTION, EventType.GIVEN_UP,
})  # fmt: skip


class Deed(NamedTuple):
    """One action that was begun."""

    at: float
    member: str
    incident: str
    name: str
    step: int
    run: int
    action: str


@dataclass(eq=False)
class Machine:
    """One supervisor: its host, its clock and its parts."""

    name: str
    offset: float
    rate: float
    skew: float
    """of its wall clock"""
    life: int = 0
    alive: bool = False
    stopped: bool = False
    waiting: list[Callable[[], None]] = field(default_factory=list)
    driver: Driver = field(init=False)
    cluster: Cluster = field(init=False)
    frames: list[bytes] = field(default_factory=list)
    posted: deque[Callable[[], None]] = field(default_factory=deque)
    turn_at: float = float("inf")
    asked: float = 0.0
    probe: int | None = None
    heard: dict[str, float] = field(default_factory=dict)
    """by worker, when its last feed came in"""
    values: dict[str, int] = field(default_factory=dict)
    """by worker, its progress"""
    moved: dict[str, float] = field(default_factory=dict)
    """by worker, when that was seen to change"""
    heard_release: dict[str, float] = field(default_factory=dict)
    decided: tuple[Role, int] = Role.AWAY, 0
    """as what its cluster had its last turn, and how many effects it has left to the next one"""
    tells_as: Role = Role.AWAY
    """by guest, when it heard that it goes"""
    handed_over: Counter[str] = field(default_factory=Counter)
    """incidents, and how often what had not begun for them was dropped"""
    queued: dict[int, Callable[[], None]] = field(default_factory=dict)
    """what drops each action that was passed on and has not begun"""
    ends: bool = False
    """it has had its last turn"""

    def clock(self, now: float) -> float:
        return self.offset + now * self.rate


class World(VirtualTime):
    """Time, and all that happens. ``bug``: changes a machine after it is made, for planted faults."""

    current: Machine

    def __init__(self, seed: int, machines: int = 3, ttl: float = 3.0, cluster: type[Cluster] = Cluster) -> None:
        super().__init__()
        self.ttl = ttl
        self.random = random.Random(seed)
        self.engine = MemoryEngine()
        self.engine.fate = self._fate
        self.engine.written = self._look_at_claims
        self.loss = 0.0
        self.busy: float | None = None
        """seconds until an action begins; None: at random"""
        self.deaf: set[tuple[str, str]] = set()
        """(worker, machine) between which nothing gets through"""
        self.parted: set[frozenset[str]] = set()
        """pairs of machines that cannot ask each other"""
        self.hung: dict[str, float] = {}
        """workers that do not feed, and since when"""
        self.stuck: dict[str, float] = {}
        """workers that feed, and make no progress, and since when"""
        self.guests = Guests(self)
        self.has_lost_data = False
        """the store: nobody knows then what was spent"""
        self.slow_registries = 0.0
        """seconds more until a registry is answered"""
        self.deeds: list[Deed] = []
        self.unknown: set[tuple[str, int]] = set()
        """(incident, step) of which a leader has said that it is not known"""
        self.open: dict[str, float] = {}
        """incidents, and since when"""
        self.findings: list[str] = []
        self.copy: tuple[dict[str, Any], int] | None = None
        """what the store had some time ago"""
        self.lost_at = -1e9
        self.losses = 0
        self.verdicts = 0
        self.suspected: dict[tuple[str, str], dict[str, float]] = {}
        """by member and worker: the others that had heard it lately when it was suspected last"""
        self.stalled = 0
        """verdicts of no progress"""
        self.led = 0
        self._cluster = cluster
        self._runs = count(1)
        self.machines = [
            Machine(
                f"m{number}", self.random.uniform(0, 1e6), self.random.uniform(0.995, 1.005),
                self.random.choice((0.0, 0.5, 3600.0, -3600.0)),
            )
            for number in range(1, machines + 1)
        ]  # fmt: skip
        self.current = self.machines[0]

    # -- time ---------------------------------------------------------------------------------------

    def on(self, machine: Machine, do: Callable[[], None], life: int | None = None) -> None:
        """Happens at this machine: when it goes on, if it is stopped; never, if it has died since."""
        if not machine.alive or machine.life != (machine.life if life is None else life):
            return
        if machine.stopped:
            machine.waiting.append(partial(self.on, machine, do, machine.life))
            return
        before, self.current = self.current, machine
        do()
        self.current = before

    def delay(self) -> float:
        return self.random.expovariate(1 / 0.002)

    @contextmanager
    def clocks(self) -> Iterator[None]:
        """The modules' clocks are those of the machine that is looked at."""

        def clock() -> float:
            return self.current.clock(self.now)

        def wall() -> float:
            return 1e9 + self.now + self.current.skew

        with (
            mock.patch.object(cluster_module, "monotonic", clock),
            mock.patch.object(leadership_thread_module, "clock", clock),
            mock.patch.object(leadership_thread_module, "wall", wall),
            mock.patch.object(claimed_work_module, "monotonic", clock),
            mock.patch.object(claimed_steps_module, "wall", wall),
            mock.patch.object(suspicions_module, "wall", wall),
            mock.patch.object(brake_module, "monotonic", clock),
            mock.patch.object(claimed_incidents_module, "wall", wall),
            mock.patch.object(members_module, "wall", wall),
            mock.patch.object(operator_words_module, "wall", wall),
            mock.patch.object(spent_budgets_module, "wall", wall),
        ):
            yield

    def _fate(self, caller: str, call: str) -> Fate:
        if self.random.random() >= self.loss:
            return Fate.ANSWERED
        return self.random.choice((Fate.LOST_BEFORE, Fate.LOST_AFTER))

    # -- machines -----------------------------------------------------------------------------------

    def start(self, machine: Machine) -> None:
        machine.life += 1
        machine.alive, machine.stopped, machine.ends, machine.probe = True, False, False, None
        machine.queued.clear()
        machine.waiting.clear()
        machine.frames.clear()
        machine.posted.clear()
        machine.decided = Role.AWAY, 0
        for heard in (machine.heard, machine.values, machine.moved, machine.heard_release):
            heard.clear()
        run_id = f"{machine.name}r{next(self._runs)}"
        life = machine.life

        def begin() -> None:
            engine = Engine(Rules(Declaration(TIMEOUT)), run_id, b"token")
            machine.driver = Driver(engine, machine.clock(self.now))
            machine.driver.barrier.exact = True
            engine.rules.replace_patterns([("g-*", OF_GUESTS)])
            for name in WORKERS:
                engine.declare(name, WORKS if name in WORKING else POLICY, machine.driver.now, [])
            machine.cluster = self._cluster(
                ClusterSettings("c", machine.name, (), self.ttl, brake=BRAKE_S), run_id, machine.driver,
                partial(self.post, machine, life), partial(self._run_step, machine, life),
                partial(self._hand_over, machine), partial(self._make_members, machine, life),
                lambda: self.engine.store(machine.name), partial(Leading, self, machine, life),  # type: ignore[arg-type]
                partial(Writing, self, machine, life),  # type: ignore[arg-type]
            )  # fmt: skip
            engine.succession.gate.may_act = lambda: machine.cluster.view.may_act
            machine.cluster.start()
            machine.turn_at = float("inf")
            self._turn_within(machine, 0.0)

        self.on(machine, begin)

    def kill(self, machine: Machine) -> None:
        machine.alive = False

    def end(self, machine: Machine) -> None:
        """It ends in order, as ``Supervisor`` does: what waits is dropped, and it writes that before it resigns."""

        def begin() -> None:
            machine.ends = True
            for drop in list(machine.queued.values()):
                drop()
            machine.cluster.work.give_back()
            machine.cluster.steps.give_back()
            self._turn(machine)

        def resign() -> None:
            machine.cluster._stop_leading()
            machine.cluster._thread._leadership.resign()

        self.on(machine, begin)
        self.run(self.random.choice((0.0, 0.005, 0.2)))
        self.on(machine, resign)
        self.run(self.random.choice((0.0, 0.1)))
        self.kill(machine)

    def stop(self, machine: Machine) -> None:
        machine.stopped = True

    def go_on(self, machine: Machine) -> None:
        machine.stopped = False
        waiting, machine.waiting = machine.waiting, []
        for each in waiting:
            self.after(self.random.uniform(0.0, 0.002), each)

    def post(self, machine: Machine, life: int, do: Callable[[], None]) -> None:
        if machine.life == life and machine.alive:
            machine.posted.append(do)
            self._turn_within(machine, 0.0)

    def _make_members(
        self, machine: Machine, life: int, store: StoreThread, limit: float, tell: Callable[[str, str], None]
    ) -> Members:
        made = Members(
            member(machine.name, "", "", "", self.ttl), None, store, partial(self.post, machine, life),
            lambda keys: None, limit, tell,
        )  # fmt: skip
        links = [Link(self, machine, life, other) for other in self.machines if other is not machine]
        made._look_at = float("inf")  # they know each other
        made.write_again = lambda: None  # type: ignore[method-assign]
        made.links = {each.member.name: each for each in links}  # type: ignore[misc]
        return made

    def _turn_within(self, machine: Machine, seconds: float) -> None:
        at = self.now + seconds
        if at >= machine.turn_at:
            return
        machine.turn_at = at
        life = machine.life

        def turn() -> None:
            if machine.life == life and machine.turn_at == at:
                self.on(machine, partial(self._turn, machine), life)

        self.after(seconds, turn)

    def _turn(self, machine: Machine) -> None:
        driver, cluster = machine.driver, machine.cluster
        machine.turn_at = float("inf")
        if machine.ends:
            cluster._answers.wait(0.0)
            cluster.work.turn(machine.clock(self.now))
            return
        driver.wake(machine.clock(self.now), machine.asked)
        cluster.look()
        frames, machine.frames = machine.frames, []
        if frames:
            driver.read(iter(frames))
        driver.drained(len(frames), True)
        for _ in range(len(machine.posted)):
            machine.posted.popleft()()
        if machine.probe is not None:
            driver.engine.probes_seen.append(machine.probe)
        machine.probe = driver.decide()
        effects, driver.out[:] = list(driver.out), []
        for number, effect in enumerate(effects):
            decided_as, left = machine.decided
            machine.tells_as = decided_as if number < left else cluster.view.role
            self._carry_out(machine, effect)
        cluster.turn()
        machine.decided = cluster.view.role, len(driver.out)
        busy = machine.probe is not None or driver.out or machine.posted
        machine.asked = 0.0 if busy else min(TURN_MAX, driver.patience(TURN_MAX), cluster.patience())
        self._turn_within(machine, max(0.0005, machine.asked))

    def _carry_out(self, machine: Machine, effect: Effect) -> None:
        cluster = machine.cluster
        match effect:
            case Propose(name, cause):
                self.suspected[machine.name, name] = self._fresh(machine, name, cause)
                cluster.suspicions.propose(effect)
            case Withdraw(name):
                cluster.suspicions.withdraw(name)
            case RunStep():
                if not cluster.steps.take(effect):
                    self.findings.append(f"{self.now:.3f}: {machine.name} runs a step without a claim")
            case StepRan(ran):
                cluster.steps.ran(ran)
            case EndIncident():
                cluster.steps.ended(effect)
            case Event(EventType.RECOVERED | EventType.CLOSED, name, data) if data["incident"] in self.open:
                opened = self.open.pop(data["incident"])
                if self.now - opened > 8.0 * self.ttl + 5.0 and name not in GUESTS:
                    self._look_at_steps(data["incident"])
                self._tells(machine, effect.type)
            case Event(EventType.ACTION_UNKNOWN, _, data):
                self.unknown.add((data["incident"], data["step"]))
            case Event(EventType.CLUSTER, None, data) if data["what"] == "leads":
                self.led += 1
            case Event(kind, name, data) if kind in TELLING:
                self._tells(machine, kind)
                if kind is EventType.EXPIRED:
                    self.open.setdefault(data["incident"], self.now)
                    if "adopted" not in data and name is not None:
                        self._look_at_verdict(machine, name, data["cause"])

    def _tells(self, machine: Machine, kind: EventType) -> None:
        if machine.tells_as is not Role.LEADER:
            self.findings.append(f"{self.now:.3f}: {machine.name} tells {kind} and does not lead")

    def _look_at_steps(self, incident: str) -> None:
        steps = {each.step for each in self.deeds if each.incident == incident}
        for step, what in enumerate(LADDER.steps):
            if step not in steps and (incident, step) not in self.unknown:
                self.findings.append(f"{self.now:.3f}: {what.do!r} of {incident} was never done")

    def _look_at_verdict(self, machine: Machine, name: str, cause: str) -> None:
        self.verdicts += 1
        self.stalled += cause == Cause.NO_PROGRESS
        self._look_at_release(machine, name)
        known = self.suspected.get((machine.name, name), {})
        for other in self._fresh(machine, name, cause):
            if name not in self.hung and other in known and (name in WORKERS or self.guests.feeds(name)):
                before = f"{known[other]:.2f} s before it was asked"
                self.findings.append(
                    f"{self.now:.3f}: {machine.name} convicts {name}, which {other} heard {before}"
                )

    def _look_at_release(self, machine: Machine, name: str) -> None:
        """Nobody convicts a guest that it has heard going, or that one has whom it can ask."""
        gone = self.guests.released.get(name)
        if gone is None or name in self.guests.came:
            return
        for other in self.machines:
            link = machine.cluster.members.links.get(other.name)
            asks = link is not None and link.is_up and other.alive and not other.stopped
            if other is not machine and not (asks and self._reaches(machine, other)):
                continue
            if gone <= other.heard_release.get(name, -1.0) < self.now - HEARD_S:
                self.findings.append(f"{self.now:.3f}: {machine.name} convicts {name}, which {other.name} heard go")

    def _fresh(self, machine: Machine, name: str, cause: str) -> dict[str, float]:
        """The others that this one can ask, and that have heard what speaks against this verdict: when, in seconds
        before now."""
        limit, found = PROGRESS_S if cause == Cause.NO_PROGRESS else TIMEOUT, {}
        for other in self.machines:
            link = machine.cluster.members.links.get(other.name)
            if other is machine or link is None or not link.is_up or not other.alive or other.stopped:
                continue
            ago = self.now - (other.moved if limit == PROGRESS_S else other.heard).get(name, -1e9)
            if ago < limit - 2 * ANSWER_S and self._reaches(machine, other):
                found[other.name] = ago
        return found

    @property
    def _may_know_of_a_loss(self) -> bool:
        """Whether each member has had the time to find out that the store's data were replaced."""
        return self.now - self.lost_at > self.ttl / READS + 2 * CALL_SHARE * self.ttl

    def _look_at_claims(self, caller: str, keys: Iterable[str]) -> None:
        if not self._may_know_of_a_loss:
            return  # two copies of the store may have leaders of the same term
        leader = unpack_leader(self.engine.items[LEADER].value).member if LEADER in self.engine.items else ""
        if caller != leader and any(key.startswith(CLAIMS) for key in keys):
            self.findings.append(f"{self.now:.3f}: {caller} has written a claim, and {leader or 'nobody'} leads")

    def _look_at_deed(self, machine: Machine, deed: Deed) -> None:
        leads = self.engine.items.get(LEADER)
        if self._may_know_of_a_loss and (leads is None or leads.mod != machine.cluster.view.term):
            self.findings.append(f"{self.now:.3f}: {machine.name} does {deed.action}, and another one leads")
        item = self.engine.items.get(CLAIMS + deed.name)
        claim = None if item is None else unpack_claim(item.value)
        begun = claim.begun if claim is not None and claim.id == deed.incident else ()
        if any((each.step, each.run, each.ended) == (deed.step, deed.run, True) for each in begun):
            self.findings.append(f"{self.now:.3f}: {machine.name} does {deed.action} again, which had ended")

    @staticmethod
    def _hand_over(machine: Machine, name: str, incident: str) -> None:
        machine.handed_over[incident] += 1

    def _reaches(self, one: Machine, other: Machine) -> bool:
        return frozenset((one.name, other.name)) not in self.parted

    def _run_step(self, machine: Machine, life: int, effect: RunStep) -> None:
        about = effect.about
        if effect.beginning is not None:
            self._tells(machine, effect.beginning.type)
        target = ActionTarget(
            Incident(about.incident, about.name, about.cause, 0.0, about.silence, about.timeout),
            step=effect.number, run=effect.run,
        )  # fmt: skip

        times, number = machine.handed_over[about.incident], next(self._runs)

        def drop() -> None:
            del machine.queued[number]
            report = ActionReport(EventType.ACTION_DROPPED, effect.step.do, target, "", {}, 1.0, 0.0)
            machine.cluster.steps.acted(report)

        machine.queued[number] = drop

        def begin() -> None:
            if number not in machine.queued:
                return
            permit = machine.cluster.terms.permit(about.incident)
            if machine.handed_over[about.incident] != times:
                permit = False
            if permit is None:
                self.after(0.02, partial(self.on, machine, begin, life))
            elif permit:
                del machine.queued[number]
                deed = Deed(
                    self.now, machine.name, about.incident, about.name, effect.number, effect.run, effect.step.do
                )
                self._look_at_deed(machine, deed)
                self.deeds.append(deed)
                self.after(self.random.uniform(0.005, 0.3), partial(self.on, machine, end, life))

            else:
                del machine.queued[number]
                end(EventType.ACTION_DROPPED)

        def end(how: EventType = EventType.ACTION_DONE) -> None:
            report = ActionReport(how, effect.step.do, target, "", {}, 1.0, 0.1)
            self.post(machine, life, partial(machine.cluster.steps.acted, report))

        # Its watchdog's lane may be busy.
        wait = self.random.uniform(0.0, 0.01) if self.random.random() < 0.8 else self.random.uniform(0.0, 3.0)
        self.after(wait if self.busy is None else self.busy, partial(self.on, machine, begin, life))

    def lose_data(self) -> None:
        """The store is empty, or, where its leader lives, an old copy."""
        self.has_lost_data = True
        leads = any(each.alive and not each.stopped and each.cluster.view.may_act for each in self.machines)
        old = leads and self.random.random() < 0.5 and self.copy
        self.engine.replace(*(old or ({}, 1)))
        self.engine.identity = f"memory-{next(self._runs)}"
        self.lost_at = self.now
        self.losses += 1

    # -- workers ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start everything."""
        for machine in self.machines:
            self.start(machine)
        for number, name in enumerate(WORKERS):
            process = ProcessIdentity(b"otherone", number + 1, 1, b"%04d" % number)
            self.after(self.random.uniform(0.0, FEED_S), partial(self._feed, name, process, 0))

    def _feed(self, name: str, process: ProcessIdentity, done: int) -> None:
        moves = name in WORKING and name not in self.stuck and name not in self.hung
        self.after(FEED_S, partial(self._feed, name, process, done + moves))
        if name in self.hung:
            return
        message = Message(Kind.FEED, name, process, 0.0, None)
        if name in WORKING:
            message = Message(Kind.NOTE, name, process, 0.0, None, (done, None))
        self.send(name, encode(message), done)

    def send(self, name: str, frame: bytes, done: int) -> None:
        """To all members that are not deaf to it. ``done``: its progress; below 0: it goes."""
        for machine in self.machines:
            if (name, machine.name) not in self.deaf:
                self.after(self.delay(), partial(self.on, machine, partial(self._hear, machine, name, frame, done)))

    def _hear(self, machine: Machine, name: str, frame: bytes, done: int) -> None:
        if done < 0:
            machine.heard_release[name] = self.now
        else:
            machine.heard[name] = self.now
        if machine.values.get(name, done) != done:
            machine.moved[name] = self.now
        machine.values[name] = done
        machine.frames.append(frame)
        self._turn_within(machine, 0.0)

    def leader(self) -> Machine:
        """Who believes to lead."""
        return next(each for each in self.machines if each.cluster.view.role is Role.LEADER)

    # -- at the end ---------------------------------------------------------------------------------

    def judge(self) -> None:
        """After calm: what is wrong now."""
        done = Counter((each.incident, each.step, each.run) for each in self.deeds)
        actions = {(each.incident, each.step, each.run): each.action for each in self.deeds}
        for key, times in done.items():
            if times > 1 and actions[key] not in REPEATABLE:
                self.findings.append(f"{actions[key]!r} of {key} was done {times} times")
        leaders = [each for each in self.machines if each.cluster.view.role is Role.LEADER]
        if len(leaders) != 1:
            self.findings.append(f"{len(leaders)} lead after calm")
            return
        engine = leaders[0].driver.engine
        for name in WORKERS:
            record = engine.get(name)
            state = None if record is None else record.state
            bad = self.stuck | self.hung
            if name in bad and state is not State.EXPIRED:
                self.findings.append(f"{name} is silent, or stuck, since {bad[name]:.1f}, and {state}")
            elif name not in bad and state is not State.ALIVE:
                self.findings.append(f"{name} feeds, and is {state}")
            elif name in bad and record is not None and record.incident is not None:
                self._look_at_steps(record.incident.id)
        bad = {*self.stuck, *self.hung}
        done_by_budget = Counter(each.name for each in self.deeds if each.action == "exec")
        for name in GUESTS:
            if done_by_budget[name] > BUDGET.runs and not self.has_lost_data:
                self.findings.append(f"'exec' of {name} was done {done_by_budget[name]} times")
        for name, since in self.guests.came.items():
            record = engine.get(name)
            state = None if record is None else record.state
            if self.guests.feeds(name) and state is not State.ALIVE:
                self.findings.append(f"{name} feeds, and is {state}")
            elif name in self.guests.died and any(each.heard.get(name, -1.0) >= since for each in self.machines):
                bad.add(name)
                if state not in (State.EXPIRED, State.GIVEN_UP):
                    self.findings.append(f"{name} has died at {self.guests.died[name]:.1f}, and is {state}")
        claimed = {key.removeprefix(CLAIMS) for key in self.engine.items if key.startswith(CLAIMS)}
        unheard = {
            name
            for name, at in self.guests.released.items()
            if name not in self.guests.came
            and all(each.heard_release.get(name, -1.0) < at for each in self.machines)
        }
        if claimed - self.guests.died.keys() - unheard != bad - self.guests.died.keys():
            self.findings.append(f"claims in the store: {sorted(claimed)}; silent: {sorted(bad)}")


def trouble(world: World, seconds: float, *, orderly: bool = False) -> None:
    """A night: faults of every kind, at random, and quiet between them. ``orderly``: of the members that end, half
    do so in order."""
    rng, until, ttl = world.random, world.now + seconds, world.ttl
    while world.now < until:
        machine, name = rng.choice(world.machines), rng.choice(WORKERS)
        for _ in range(rng.randrange(3)):
            world.guests.change(rng)
            world.run(rng.uniform(0.0, 1.0))
        if rng.random() < 0.2:
            world.copy = dict(world.engine.items), world.engine.revision
        match rng.randrange(14):
            case 0 | 1 | 2:
                if name in world.hung:
                    del world.hung[name]
                else:
                    world.hung[name] = world.now
            case 3:
                if orderly and rng.random() < 0.5:
                    world.end(machine)
                world.kill(machine)
                world.run(rng.uniform(0.0, 2.0 * ttl))
                world.start(machine)
            case 4:
                world.stop(machine)
                world.run(rng.uniform(0.0, 3.0 * ttl))
                world.go_on(machine)
            case 5:
                world.engine.is_down = True
                world.run(rng.choice((0.5, 3.0)) * ttl * rng.random())
                world.engine.is_down = False
            case 6:
                world.engine.cut_off.add(machine.name)
                world.run(rng.uniform(0.0, 3.0 * ttl))
                world.engine.cut_off.discard(machine.name)
            case 7:
                world.loss = rng.uniform(0.0, 0.4)
                world.run(rng.uniform(0.0, 3.0 * ttl))
                world.loss = 0.0
            case 8:
                deaf = {(each, machine.name) for each in (*WORKERS, *GUESTS)}
                world.deaf |= deaf
                world.run(rng.uniform(0.0, 3.0 * TIMEOUT))
                world.deaf -= deaf
            case 9:
                pair = frozenset((machine.name, rng.choice(world.machines).name))
                world.parted.add(pair)
                world.run(rng.uniform(0.0, 2.0 * ttl))
                world.parted.discard(pair)
            case 10:
                world.hung.update((each, world.now) for each in WORKERS if each not in world.hung)
                world.run(rng.uniform(0.0, 2.0 * TIMEOUT))
                world.hung.clear()
            case 11 | 12:
                name = rng.choice(sorted(WORKING))
                if name in world.stuck:
                    del world.stuck[name]
                else:
                    world.stuck[name] = world.now
            case 13:
                world.lose_data()
                world.run(rng.uniform(0.0, 3.0 * ttl))
        world.run(rng.uniform(0.0, ttl))
        if rng.random() < 0.05:
            world.run(CALM_S)
            world.judge()


def night(
    seed: int, seconds: float, machines: int = 3, cluster: type[Cluster] = Cluster, *, orderly: bool = False
) -> World:
    """One night, and what it showed."""
    world = World(seed, machines, (1.0, 3.0, 5.0)[seed % 3], cluster)
    with world.clocks():
        world.begin()
        world.run(5.0)
        trouble(world, seconds, orderly=orderly)
        world.run(CALM_S)
        world.judge()
    return world


def main() -> int:
    """By hand."""
    hours, seed, bad, total = float(sys.argv[1]), int(sys.argv[2]), 0, Counter[str]()
    for number in range(seed, seed + max(1, round(hours * 4))):
        world = night(number, 900.0, 2 + number % 4, orderly=number % 2 == 1)
        total.update(verdicts=world.verdicts, deeds=len(world.deeds), leaders=world.led)
        if world.findings:
            bad += 1
            print(f"seed {number}:", *world.findings[:5], sep="\n  ", flush=True)
    print(f"{hours} hours from seed {seed}: {dict(total)}; {bad} nights with a finding")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
