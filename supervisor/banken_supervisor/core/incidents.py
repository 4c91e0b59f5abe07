"""What becomes of a watchdog that has expired: the incident, the callback's runs, the climb, giving up.

A floor of the kennel (kennel.py), over the trails of feeds.
"""

from __future__ import annotations

from collections.abc import Callable

from banken.model import Cause
from banken_supervisor.core.dog import Dog, OpenIncident, Rare, deadline, progress_deadline
from banken_supervisor.core.effects import Effect, EndIncident, Event, EventType, RunRung
from banken_supervisor.core.ladder import (
    RUNGS_MAX,
    Ladder,
    Rung,
    Step,
    delay,
    first,
    following,
    found_again,
    key_of,
    within_budget,
)
from banken_supervisor.core.policy import Policy
from banken_supervisor.core.states import State, Trigger
from banken_supervisor.core.telling import pid_of, run_of, told
from banken_supervisor.core.trail import EVIDENCE_MAX, Trails

RUNS_MAX = 1000
"""Times of earlier runs that are remembered per rung for budget and backoff."""

RECHECK = 0.5
"""Seconds until it is seen whether a parent that was due to be found down has been."""

_NO_LADDER = Ladder(())
_DOWN = (State.EXPIRED, State.GIVEN_UP)


class Incidents(Trails):
    """Opens, climbs and closes. ``jitter`` gives numbers in [0, 1) for backoff."""

    def __init__(self, run_id: str, jitter: Callable[[], float]) -> None:
        super().__init__()
        self._run_id = run_id
        self._jitter = jitter
        self._incidents = 0

    def replay(self, name: str, now: float) -> Event | None:
        """The open incident of ``name`` as an event, for a listener that came late; None: there is none."""
        dog = self._dogs.get(name)
        if dog is None or dog.rare is None or dog.rare.incident is None:
            return None
        incident = dog.rare.incident
        kind = EventType.EXPIRED if incident.run == 1 else EventType.RUNG
        data = {**told(dog, run_of(dog, incident, now, now), now), "replay": True}
        return Event(kind, name, data if incident.blamed is None else {**data, "blamed": incident.blamed})

    # -- verdicts -----------------------------------------------------------------------------------

    def _verdict(self, dog: Dog, due: float, now: float, out: list[Effect]) -> None:
        rare = dog.rare
        if rare is not None and rare.exited_at is not None and dog.state is not State.EXPIRED:
            self._open(dog, Cause.EXITED, due, now, out, rare.exited_how)
            return
        elif dog.state is State.EXPIRED:
            assert rare is not None
            assert rare.incident is not None
            step = rare.incident.step
            if step is not None and step.when <= due:
                blamed = self._fallen(dog, now)
                if blamed is not None:
                    self._excused(dog, rare.incident, blamed, due, now, out)
                else:
                    self._climb(dog, now, out)
                self._arm(dog)
            else:
                self._rung(dog, due, now, out)
            return
        elif dog.state is State.WAITING:
            cause = Cause.GRACE
        elif progress_deadline(dog) == due:
            cause = Cause.NO_PROGRESS
        else:
            cause = Cause.TIMEOUT
        self._open(dog, cause, due, now, out, None)

    def _open(self, dog: Dog, cause: Cause, due: float, now: float, out: list[Effect], reason: str | None) -> None:
        """Open an incident, run the callback for the first time, and begin to climb.

        While one that it depends on is down, it is marked and not climbed.
        """
        self._unlearn(dog)
        self._move(dog, Trigger.FAIL if cause is Cause.FAILED else Trigger.DEADLINE)
        self._incidents += 1
        rare = dog.more()
        rare.incidents += 1
        self._end_extension(dog)
        rare.exited_at = rare.exited_how = None
        rare.cause = cause
        incident = OpenIncident(
            f"{self._run_id}-{self._incidents}", cause, now, 1, now + dog.declaration.interval, reason, began=now
        )
        rare.incident = incident
        blamed = self._fallen(dog, now)
        run = run_of(dog, incident, due, now)
        data = told(dog, run, now)
        incident.feeds = self.trail(dog, now, EVIDENCE_MAX)
        if incident.feeds:
            data["feeds"] = incident.feeds
        if blamed is not None:
            self._blame(dog, incident, blamed, now)
            out.append(Event(EventType.EXPIRED, dog.name, {**data, "blamed": blamed}))
        else:
            out.append(Event(EventType.EXPIRED, dog.name, data))
            out.append(run)
            incident.step = first(self._ladder(dog), now)
            self._climb(dog, now, out)
        self._arm(dog)

    def _rung(self, dog: Dog, due: float, now: float, out: list[Effect]) -> None:
        """Still silent: the callback once more. Runs that a stall made miss are not made up for."""
        assert dog.rare is not None
        assert dog.rare.incident is not None
        incident = dog.rare.incident
        self._move(dog, Trigger.DEADLINE)
        incident.next_run = due + dog.declaration.interval
        if incident.next_run <= now:
            incident.next_run = now + dog.declaration.interval
        blamed = self._fallen(dog, now)
        if blamed is not None or incident.blamed is not None:
            self._excused(dog, incident, blamed, due, now, out)
        else:
            incident.run += 1
            run = run_of(dog, incident, due, now)
            out.append(Event(EventType.RUNG, dog.name, told(dog, run, now)))
            out.append(run)
        self._arm(dog)

    def _excused(
        self, dog: Dog, incident: OpenIncident, blamed: str | None, due: float, now: float, out: list[Effect]
    ) -> None:
        """It depends on one that is down, or that was: marked while that lasts, and a whole timeout longer.

        After that it is its own fault: the callback runs, and the climb begins, anew if it had begun before.
        """
        if blamed is not None:
            if incident.blamed is None:  # this one fell first, and what it hangs on after it
                run = run_of(dog, incident, due, now)
                out.append(Event(EventType.RUNG, dog.name, {**told(dog, run, now), "blamed": blamed}))
            self._blame(dog, incident, blamed, now)
        elif not incident.presumed and not incident.pardoned:
            incident.pardoned = True
            incident.next_run = now + dog.declaration.timeout
        else:
            incident.blamed = None
            incident.pardoned = incident.presumed = False
            incident.next_run = now + dog.declaration.interval
            run = run_of(dog, incident, due, now)
            out.append(Event(EventType.RUNG, dog.name, told(dog, run, now)))
            out.append(run)
            incident.began, incident.waited = now, False
            incident.step = first(self._ladder(dog), now)
            self._climb(dog, now, out)

    def _blame(self, dog: Dog, incident: OpenIncident, parent: str, now: float) -> None:
        """Mark it, and look again later: soon, if the parent is only about to be found down."""
        incident.blamed, incident.step, incident.pardoned = parent, None, False
        incident.presumed = self._dogs[parent].state not in _DOWN
        declared = dog.declaration
        incident.next_run = now + (RECHECK if incident.presumed else min(declared.interval, declared.timeout))

    def _close(self, dog: Dog, now: float, out: list[Effect], event: EventType, how: str) -> None:
        """Close the open incident, if there is one."""
        rare = dog.rare
        if rare is None or (rare.incident is None and rare.given_up is None):
            return
        if rare.incident is None:
            assert rare.given_up is not None
            id_, opened, runs, ran = rare.given_up
        else:
            incident = rare.incident
            id_, opened, runs, ran = incident.id, incident.opened, incident.run, tuple(incident.counts)
        rare.incident = rare.given_up = None
        out.append(Event(event, dog.name, {"incident": id_, "lasted": now - opened, "runs": runs, "how": how}))
        out.append(EndIncident(dog.name, id_, opened, now - opened, how, ran))

    # -- the climb ----------------------------------------------------------------------------------

    @staticmethod
    def _ladder(dog: Dog) -> Ladder:
        return _NO_LADDER if dog.policy is None else dog.policy.ladder

    def _climb(self, dog: Dog, now: float, out: list[Effect]) -> None:
        """Take every step that is due by ``now``; give up when a rung's budget is spent."""
        assert dog.rare is not None
        incident = dog.rare.incident
        ladder = self._ladder(dog)
        while incident is not None and (step := incident.step) is not None and step.when <= now:
            rung = ladder.rungs[step.rung] if step.rung < len(ladder.rungs) else None
            if rung is None:  # the ladder was changed while it was climbed
                incident.step = None
                return
            earlier = _earlier(dog.rare, ladder, step.rung) if rung.budget or rung.backoff else []
            if rung.budget is not None:
                earlier[:] = [at for at in earlier if now - at < rung.budget.period]
                if not within_budget(earlier, now, rung.budget):
                    self._give_up(dog, now, out)
                    return
            if rung.backoff is not None and not incident.waited:
                incident.waited = True
                incident.step = Step(now + delay(rung.backoff, len(earlier), self._jitter()), step.rung)
                continue
            incident.waited = False
            if rung.budget or rung.backoff:
                earlier.append(now)
                del earlier[:-RUNS_MAX]
            self._run(dog, incident, rung, step.rung, step.when, now, out)
            incident.step = following(ladder, incident.began, step, now)

    def _climb_on(self, dog: Dog, before: Policy | None) -> None:
        """The operator's word on it was ``before``: an incident goes on where it stood, on the ladder of now."""
        incident = None if dog.rare is None else dog.rare.incident
        if incident is None or incident.step is None or before is None or before.ladder == self._ladder(dog):
            return
        step = incident.step
        incident.step = found_again(before.ladder, self._ladder(dog), step, incident.began)
        if incident.step is None or incident.step.when != step.when:
            incident.waited = False  # that was another rung's backoff

    def _run(
        self, dog: Dog, incident: OpenIncident, rung: Rung, number: int, due: float, now: float, out: list[Effect]
    ) -> None:
        count = incident.counts[number] = incident.counts.get(number, 0) + 1
        base = run_of(dog, incident, due, now)
        observe = self._ladder(dog).observe
        feeds = incident.feeds if incident.opened == now else self.trail(dog, now, EVIDENCE_MAX)
        data = {"incident": incident.id, "rung": number, "run": count, "do": rung.do, "late": now - due}
        if rung.level is not None:
            data["level"] = rung.level
        # First the word, then the deed: the journal has the one before the other is begun.
        out.append(Event(EventType.WOULD_ACT if observe else EventType.ACTION, dog.name, data))
        out.append(RunRung(base, rung, number, count, observe, dog.owner, feeds))

    def _give_up(self, dog: Dog, now: float, out: list[Effect]) -> None:
        """The budget is spent: nothing more is done by itself, and somebody is told. Only a feed, a release or a
        new process leaves this state."""
        assert dog.rare is not None
        incident = dog.rare.incident
        assert incident is not None
        self._move(dog, Trigger.GIVE_UP)
        ladder = self._ladder(dog)
        data = {"incident": incident.id, "lasted": now - incident.opened, "runs": incident.run, **pid_of(dog)}
        out.append(Event(EventType.GIVEN_UP, dog.name, data))
        for number, rung in enumerate(ladder.on_give_up, len(ladder.rungs)):
            self._run(dog, incident, rung, number, now, now, out)
        dog.rare.given_up = incident.id, incident.opened, incident.run, tuple(incident.counts)
        dog.rare.incident = None

    def _fallen(self, dog: Dog, now: float) -> str | None:
        """The first of those it depends on that is down, or about to be found so."""
        if dog.policy is None:
            return None
        for name in dog.policy.depends_on:
            parent = self._dogs.get(name)
            if parent is None:
                continue
            if parent.state in _DOWN:
                if not self._blames(parent, dog):
                    return name
                continue
            due = deadline(parent)
            if parent.state in (State.ALIVE, State.WAITING) and due is not None and due <= now:
                return name
        return None

    def _blames(self, parent: Dog, dog: Dog) -> bool:
        """Whether the parent is itself excused by ``dog``, so that nobody would be told of either.

        The config refuses circles; what is declared in code may have one.
        """
        seen = {parent.name}
        while parent.rare is not None and parent.rare.incident is not None:
            name = parent.rare.incident.blamed
            if name == dog.name:
                return True
            above = None if name is None or name in seen else self._dogs.get(name)
            if above is None:
                return False
            seen.add(above.name)
            parent = above
        return False


def _earlier(rare: Rare, ladder: Ladder, index: int) -> list[float]:
    """When this rung ran before, to be added to. Rungs that are no more are forgotten as soon as there are many."""
    key = key_of(ladder, index)
    if key not in rare.runs and len(rare.runs) >= RUNGS_MAX:
        known = {key_of(ladder, each) for each in range(len(ladder.rungs))}
        rare.runs = {each: ran for each, ran in rare.runs.items() if each in known}
    return rare.runs.setdefault(key, [])
