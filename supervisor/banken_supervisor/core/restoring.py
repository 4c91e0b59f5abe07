"""What a former supervisor left is taken up again: watchdogs, pauses, open incidents, spent budgets.

Nobody's silence while no supervisor ran is held against anybody: each watchdog has its full timeout again, the time
that workers need to find the new supervisor, and a little more (journaled.py). An open incident goes on under its
id, and is not announced again. A rung that was begun is not begun again; what fell due meanwhile is done once, and
not before whoever recovered meanwhile has had the time to say so. A pause goes on until its end.

What only the operator's word had made, and that word names no longer, is not brought back: the config is the
operator's word, and a watchdog that a program made in its own process went with that process.

A floor of the kennel (kennel.py), over windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from banken.model import SECONDS_MAX, SECONDS_MIN, Cause, Declaration, Incarnation
from banken_supervisor.core.dog import Dog, OpenIncident
from banken_supervisor.core.effects import Effect, Event, EventType, RunCallback, RungRan, RunRung
from banken_supervisor.core.incidents import RUNS_MAX
from banken_supervisor.core.journaled import Begun, Known, Ran, Remembered, rearm_offset
from banken_supervisor.core.ladder import Ladder, Step, first, following, key_of
from banken_supervisor.core.policy import EXIT_ONLY
from banken_supervisor.core.rules import Rules
from banken_supervisor.core.states import State
from banken_supervisor.core.windows import Windows

RETURN_S = 2.0
"""Seconds that workers have to find the new supervisor: a client tries again at least once a second."""

HEAR_OUT_MAX = 60.0
"""Seconds that a climb waits, at the most, for whoever recovered while no supervisor ran."""

GONE = "ended while no supervisor ran; how is not known"
"""What is said of a process that is found to be gone. It may have ended well: nobody heard it."""

FORGOTTEN = "forgotten"
"""How an incident ended whose watchdog is not watched any longer."""

LOST = "lost"
"""How an incident ended that was found open beside a newer one of the same watchdog."""

_RUNNING = (State.WAITING, State.ALIVE)
_DOWN = (State.EXPIRED, State.GIVEN_UP)


def _nobody(name: str) -> bool:
    return False


class Restoring(Windows):
    """``restore`` is called once, when the operator's word is known and before anything has arrived."""

    rules: Rules

    def restore(
        self, left: Remembered, now: float, out: list[Effect], is_program: Callable[[str], bool] = _nobody
    ) -> tuple[int, int]:
        """Bring back what was left. How many watchdogs came back, and how many open incidents go on.

        ``is_program``: whether the config has a program of this name; its watchdog is brought back.
        """
        open_ = self._newest(left.open, out)
        skipped: set[str] = set()
        back = 0
        for known in left.watchdogs:
            if self._unwanted(known, is_program):
                skipped.add(known.name)
                if self._changed is not None:
                    self._changed[known.name] = None
                continue
            self._bring_back(known, left, open_.get(known.name), now, out)
            back += 1
        resumed = []
        for begun in open_.values():
            dog = self._whose(begun, skipped, now)
            if dog is None:
                self._forget_incident(begun, FORGOTTEN, out)
                continue
            self._go_on(dog, begun, left.ran.get(begun.name, ()), now)
            self._told_before(dog, begun, now, out)
            resumed.append(dog)
        for dog in resumed:
            self._blame_again(dog, now)
            self._arm(dog)
        return back, len(resumed)

    def gone(self, who: Incarnation, now: float, is_program: Callable[[str], bool] = _nobody) -> None:
        """A process that was brought back as the feeder of watchdogs has ended meanwhile.

        Judged when another one has had the time to take its place. What became of a program is told by ``ended``.
        """
        for dog in self._take_owned(who):
            if dog.state in _RUNNING and not is_program(dog.name):
                self._unlearn(dog)
                rare = dog.more()
                rare.exited_at, rare.exited_how = now + RETURN_S, GONE
                self._arm(dog)

    # -- watchdogs ----------------------------------------------------------------------------------

    def _unwanted(self, known: Known, is_program: Callable[[str], bool]) -> bool:
        """Whether nobody but a former operator's word had wanted it."""
        if known.owner is not None or known.name in self._dogs or is_program(known.name):
            return False
        operators = known.operator or known.declaration == EXIT_ONLY.declaration
        return operators and self.rules.operators(known.name) is None

    def _bring_back(
        self, known: Known, left: Remembered, open_: Begun | None, now: float, out: list[Effect]
    ) -> None:
        dog = self._dogs.get(known.name)
        if dog is not None and dog.rare is not None and dog.rare.standing is not None:
            return  # a group has the name now
        if dog is None:
            dog = self._make(known.name, known.declaration, known.resolution, now, operator=known.operator)
        dog.resolution = known.resolution
        if known.owner is not None:
            dog.owner = self._share(known.owner)
            self._belongs(dog, dog.owner, out)
        if known.incidents:
            dog.more().incidents = known.incidents
        state = known.state
        given_up = left.given_up.get(known.name)
        if open_ is not None:
            state = State.EXPIRED
        elif state in _DOWN:
            # The incident is the truth: from alive to expired, and back, no record is written.
            state = State.ALIVE if given_up is None and state is State.EXPIRED else State.GIVEN_UP
        if state is not State.EXPIRED:  # else see _go_on
            self._place(dog, state)
            dog.fed_at = now + RETURN_S + rearm_offset(dog.name, dog.declaration.timeout, len(left.watchdogs))
            self._state_again(dog, state, known.left, given_up, now)
            if state is State.GIVEN_UP and given_up is not None:
                self._told_before(dog, given_up, now, out)
            self._spent(dog, left.ran.get(dog.name, ()), now)
        self._arm(dog)
        if self._changed is not None and (state, dog.declaration, dog.operator) == known_as(known):
            self._changed.pop(dog.name, None)

    def _state_again(self, dog: Dog, state: State, left: float | None, given_up: Begun | None, now: float) -> None:
        if state is State.PAUSED:
            # Whoever was to be judged again meanwhile is so when its feeds can have come.
            dog.more().paused_until = inf if left is None else now + max(left, RETURN_S)
        elif state is State.GIVEN_UP and given_up is not None:
            ran = tuple(dict.fromkeys(each.rung for each in given_up.ran))
            dog.more().given_up = given_up.id, now - given_up.age, given_up.runs, ran
            dog.more().cause = given_up.cause
        elif state in _RUNNING and left is not None and left > 0:
            dog.more().extended_until = now + left + RETURN_S
        if dog.rare is not None:
            dog.rare.changed_hands = True  # the gap until the first feed is the supervisor's, not the worker's

    def _make(self, name: str, declaration: Declaration, resolution: float, now: float, *, operator: bool) -> Dog:
        dog = Dog(name, self._share(declaration), resolution, now, operator=operator)
        self._dogs[name] = dog
        self._note_change(dog)
        self._count_trails()
        self.states[State.WAITING] += 1
        self.shortest_timeout = min(self.shortest_timeout, declaration.timeout, declaration.grace)
        self._enrol(dog)
        self._obey(dog)
        return dog

    def _place(self, dog: Dog, state: State) -> None:
        """Put it into the state it had: no transition, for nothing has happened."""
        if state is not dog.state:
            before, dog.state = dog.state, state
            self.states[before] -= 1
            self.states[state] += 1
            if dog.rare is not None and dog.rare.groups:
                self._member_moved(dog, before, state)

    def _obey(self, dog: Dog) -> None:
        """What the operator says of this one now."""
        raise NotImplementedError

    # -- incidents ----------------------------------------------------------------------------------

    def _newest(self, left: Iterable[Begun], out: list[Effect]) -> dict[str, Begun]:
        """One open incident per watchdog; what is open beside it was left over by some mishap."""
        newest: dict[str, Begun] = {}
        for begun in left:
            older = newest.get(begun.name)
            if older is not None:
                self._forget_incident(older, LOST, out)
            newest[begun.name] = begun
        return newest

    def _forget_incident(self, begun: Begun, how: str, out: list[Effect]) -> None:
        data = {"incident": begun.id, "lasted": begun.age, "runs": begun.runs, "how": how}
        out.append(Event(EventType.CLOSED, begun.name, data))

    def _whose(self, begun: Begun, skipped: set[str], now: float) -> Dog | None:
        """The watchdog of an open incident; None: it is not watched any longer."""
        dog = self._dogs.get(begun.name)
        is_group = dog is not None and dog.rare is not None and dog.rare.standing is not None
        if is_group != (begun.cause is Cause.TOO_FEW) or begun.name in skipped:
            return None
        if dog is None:  # its record was lost, or not written any more
            operators = self.rules.operators(begun.name)
            timeout = min(max(begun.timeout, SECONDS_MIN), SECONDS_MAX)
            said = Declaration(timeout, grace=timeout) if operators is None else operators.declaration
            dog = self._make(begun.name, said, 0.0, now, operator=operators is not None)
        return dog

    def _go_on(self, dog: Dog, begun: Begun, earlier: Iterable[Ran], now: float) -> None:
        """The incident is open again, under its id. How often the callback ran is what was due: nobody counted."""
        self._place(dog, State.EXPIRED)
        rare = dog.more()
        opened = now - begun.age
        dog.fed_at = opened - begun.silence
        rare.cause = begun.cause
        rare.incidents = max(rare.incidents, 1)
        rare.status, rare.progress = begun.status, begun.progress
        rare.changed_hands = True
        if begun.cause is Cause.NO_PROGRESS:
            rare.progress_at = opened  # beating is not progressing: only another value ends it
        interval = dog.declaration.interval
        passed = int(begun.age // interval)
        incident = OpenIncident(
            begun.id,
            begun.cause,
            opened,
            1 + passed,
            max(opened + (passed + 1) * interval, now + RETURN_S),
            begun.reason,
            began=opened,
        )
        for run in begun.ran:
            incident.counts[run.rung] = max(run.run, incident.counts.get(run.rung, 0))
        rare.incident = incident
        self._spent(dog, (*earlier, *begun.ran), now)
        step = self._next_step(dog, incident, begun.ran, now)
        if step is not None:
            # An overdue rung waits until whoever recovered meanwhile has had the time to feed.
            hear_out = 0.0 if begun.cause is Cause.EXITED else min(dog.declaration.timeout, HEAR_OUT_MAX)
            incident.step = step._replace(when=max(step.when, now + RETURN_S + hear_out))

    def _told_before(self, dog: Dog, begun: Begun, now: float, out: list[Effect]) -> None:
        """Which rungs were begun: whoever was told by one of them waits to hear of the end."""
        ladder, declared = self._ladder(dog), dog.declaration
        opened = now - begun.age
        about = RunCallback(
            name=dog.name,
            callback=declared.callback,
            incident=begun.id,
            cause=begun.cause,
            opened=opened,
            silence=begun.silence,
            timeout=begun.timeout,
            due=opened,
            run=begun.runs,
            reason=begun.reason,
            status=begun.status,
            progress=begun.progress,
        )
        latest = {each.rung: each for each in sorted(begun.ran, key=lambda each: each.run)}
        rungs = ladder.rungs + ladder.on_give_up
        for number, each in sorted(latest.items()):
            if _is_of(ladder, each):
                out.append(RungRan(RunRung(about, rungs[number], number, each.run, False, dog.owner)))

    def _next_step(self, dog: Dog, incident: OpenIncident, ran: tuple[Ran, ...], now: float) -> Step | None:
        """The ladder's next, given what was begun."""
        ladder = self._ladder(dog)
        if not ladder.rungs:
            return None
        on_it = [each for each in ran if _is_of(ladder, each) and each.rung < len(ladder.rungs)]
        if on_it:
            last = max(on_it, key=lambda each: (each.rung, each.run))  # a climb never goes down
            return following(ladder, incident.began, Step(now - last.age, last.rung), now)
        if ladder.observe or ran:  # what would have been done is not told twice; or the ladder is another one now
            return _beyond(ladder, incident.began, now)
        depends_on = () if dog.policy is None else dog.policy.depends_on
        if depends_on and ladder.rungs[0].after <= 0.0:
            incident.blamed = depends_on[
                0
            ]  # else its first rung would have been begun: it was excused, and is pardoned
            return None
        return first(ladder, incident.began)

    def _blame_again(self, dog: Dog, now: float) -> None:
        """What it depends on is down, too."""
        assert dog.rare is not None
        incident = dog.rare.incident
        assert incident is not None
        fallen = self._fallen(dog, now)
        if fallen is not None:
            self._blame(dog, incident, fallen, now)
        elif incident.blamed is not None:
            incident.next_run = now + RETURN_S

    def _spent(self, dog: Dog, ran: Iterable[Ran], now: float) -> None:
        """Budgets count what was run before."""
        ladder = self._ladder(dog)
        for each in sorted(ran, key=lambda each: -each.age):
            if _is_of(ladder, each) and each.rung < len(ladder.rungs):
                rung = ladder.rungs[each.rung]
                if rung.budget is not None or rung.backoff is not None:
                    times = dog.more().runs.setdefault(key_of(ladder, each.rung), [])
                    times.append(now - each.age)
                    del times[:-RUNS_MAX]


def known_as(known: Known) -> tuple[State, Declaration, bool]:
    """What of a record the operator's word, or the incidents, may have changed meanwhile."""
    return known.state, known.declaration, known.operator


def _is_of(ladder: Ladder, ran: Ran) -> bool:
    """Whether this is a run of a rung that the ladder still has, in that place."""
    rungs = ladder.rungs + ladder.on_give_up
    return ran.rung < len(rungs) and rungs[ran.rung].do == ran.action


def _beyond(ladder: Ladder, began: float, now: float) -> Step | None:
    """The first step that is not due yet."""
    for index, rung in enumerate(ladder.rungs):
        if began + rung.after > now:
            return Step(began + rung.after, index)
    last = len(ladder.rungs) - 1
    again = ladder.rungs[last].repeat
    return None if again is None else Step(now + again, last)
