"""What a member of a simulated cluster (cluster_sim.py) asks, of the store and of the others: its threads, in
virtual time. What the other machine answers is what a real one would."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from banken.protocol.answers import checked
from banken.protocol.codec import pack, unpack
from banken_supervisor.control.control_api import OPS
from banken_supervisor.coordination.leadership import Glance, Read
from banken_supervisor.coordination.leadership_thread import LeadershipThread
from banken_supervisor.coordination.records import LEADER, SAID
from banken_supervisor.coordination.store import Away, Store
from banken_supervisor.coordination.store_thread import StoreThread
from banken_supervisor.runtime.member_answers import Page, Said, heard_of, read_page
from banken_supervisor.runtime.member_links import ANSWER_S
from banken_supervisor.runtime.members import member

if TYPE_CHECKING:
    from .cluster_sim import Machine, World

PING_S = 1.0

ANSWER_MAX = 2**24


class Leading(LeadershipThread):
    """The thread of a member's leadership: each call takes time, and may get no answer."""

    def __init__(self, world: World, machine: Machine, life: int, *args: Any) -> None:
        super().__init__(*args)
        self._world, self._machine, self._life = world, machine, life

    def start(self) -> None:
        self._again(0.0)

    def close(self, wait: float) -> bool:
        self._resigns = True
        return True

    def _again(self, seconds: float) -> None:
        world = self._world
        world.after(seconds, partial(world.on, self._machine, self._turn, self._life))

    def _turn(self) -> None:
        world, leadership = self._world, self._leadership
        leadership.eligible = self._eligible
        sent = self._machine.clock(world.now)
        call = leadership.call(sent, 1e9 + world.now + self._machine.skew)
        if call is None:
            self._again(max(0.005, leadership.patience(sent)))
            return

        def arrive() -> None:
            try:
                if isinstance(call, Glance):
                    answer: Any = self._store.glance(LEADER, 1.0)
                elif isinstance(call, Read):
                    answer = self._store.read(LEADER, 1.0)
                else:
                    answer = self._store.transact(call.expect, call.put, (), 1.0)
            except Away as away:
                answer = away
            wait = leadership.limit if isinstance(answer, Away) else world.delay()
            world.after(wait, partial(world.on, self._machine, partial(answered, answer), self._life))

        def answered(answer: Any) -> None:
            now = self._machine.clock(world.now)
            if isinstance(call, Glance):
                if not isinstance(answer, Away):
                    leadership.was_glanced(answer, now)
                self._again(0.0)
                return
            if isinstance(answer, Away):
                leadership.was_away(now)
            elif isinstance(call, Read):
                leadership.was_read(answer, now)
                self._said = answer.items[SAID].mod if SAID in answer.items else 0
                self._revision = answer.revision
            else:
                leadership.was_written(call, answer, sent, now)
            self._show(str(answer) if isinstance(answer, Away) else None, 0.0)
            self._again(0.0)

        world.after(world.delay(), arrive)


class Writing(StoreThread):
    """The thread that asks the store for the loop: one question after the other."""

    def __init__(self, world: World, machine: Machine, life: int, *args: Any) -> None:
        super().__init__(*args)
        self._world, self._machine, self._life = world, machine, life
        self._busy = False
        self._questions: deque[tuple[Callable[[Store], Any], Callable[[Any], None]]] = deque()

    def start(self) -> None:
        pass

    def ask(self, question: Callable[[Store], Any], answered: Callable[[Any], None]) -> None:
        self._questions.append((question, answered))
        self._next()

    def close(self, wait: float) -> None:
        pass

    def _next(self) -> None:
        if self._busy or not self._questions:
            return
        self._busy = True
        world = self._world
        question, answered = self._questions.popleft()

        def arrive() -> None:
            try:
                answer = question(self._store)
            except Away as away:
                answer = away
            wait = 0.35 * world.ttl if isinstance(answer, Away) else world.delay()
            world.after(wait, partial(world.on, self._machine, partial(back, answer), self._life))

        def back(answer: Any) -> None:
            self._busy = False
            self._post(partial(answered, answer))
            self._next()

        world.after(world.delay(), arrive)


class Link:
    """What one machine asks another."""

    def __init__(self, world: World, machine: Machine, life: int, other: Machine) -> None:
        self._world, self._machine, self._life, self._other = world, machine, life, other
        self.member = member(other.name, "", "x", "x", world.ttl)
        self.is_up = False
        self.times_up = 0
        self._ping()

    def _set(self, *, is_up: bool) -> None:
        self.times_up += is_up and not self.is_up
        self.is_up = is_up

    def _reached(self) -> bool:
        other = self._other
        return other.alive and not other.stopped and self._world._reaches(self._machine, other)

    def _ping(self) -> None:
        if self._machine.life == self._life:
            self._set(is_up=self._reached())
            self._world.after(PING_S, self._ping)

    def ask(self, names: Sequence[str], answered: Callable[[dict[str, Said] | None], None]) -> bool:
        if not self.is_up:
            return False
        world = self._world

        def arrive() -> None:
            found = self._look(names) if self._reached() else None
            self._set(is_up=found is not None)
            if found is None and world.random.random() < 0.5:
                return  # nor is it said that there is none
            wait = ANSWER_S if found is None else world.delay()
            world.after(wait, partial(world.post, self._machine, self._life, partial(answered, found)))

        world.after(world.delay(), arrive)
        return True

    def _look(self, names: Sequence[str]) -> dict[str, Said]:
        return heard_of(self._answer("look", names=list(names), timers=True))

    def _answer(self, op: str, **args: Any) -> Any:
        """What the other machine says, as it travels, and as a client takes it."""
        nothing: Any = SimpleNamespace(notify_path=lambda name: None, origin=lambda boot: {})
        view: Any = SimpleNamespace(driver=self._other.driver, programs=nothing, remote=lambda: nothing)
        return checked(op, unpack(pack(OPS[op](view, args)), ANSWER_MAX, 50_000))

    def registry(self, part: str, offset: int, answered: Callable[[Page | None], None]) -> bool:
        if not self.is_up:
            return False
        world = self._world

        def arrive() -> None:
            found = None
            if self._reached():
                found = read_page(part, self._answer("registry", part=part, offset=offset))
            self._set(is_up=found is not None)
            wait = ANSWER_S if found is None else world.delay() + world.slow_registries
            world.after(wait, partial(world.post, self._machine, self._life, partial(answered, found)))

        world.after(world.delay(), arrive)
        return True

    def close(self) -> None:
        pass
