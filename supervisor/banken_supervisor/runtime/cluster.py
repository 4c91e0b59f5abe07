"""One member of a cluster: what the loop does so that of several supervisors exactly one acts.

Belongs to the loop's thread. The thread of leadership_thread.py finds out who leads, that of store_thread.py
writes; what both find comes back as messages.

The way of an incident: the engine proposes it (claim_gate.py), its claim is written, the engine opens it, and with
each of its steps the claim is written again before the action begins and is told. What was written is done only
while this member may act (``View.may_act``); that is asked again immediately before the action, on its thread
(incident_terms.py). Until then it waits, and it is dropped when another member leads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any

from banken.clock import wall
from banken.protocol.incidents import Cause
from banken.protocol.messages import Message
from banken_supervisor.actions.target import ActionReport
from banken_supervisor.coordination.claims import Adopted, Blocked, Claims, Deposed, Outcome, Written
from banken_supervisor.coordination.leadership import UNLED_TTLS, Leadership, Role
from banken_supervisor.coordination.leadership_thread import LeadershipThread, View
from banken_supervisor.coordination.records import CLAIMS, Begun, Claim
from banken_supervisor.coordination.settings import ClusterSettings
from banken_supervisor.coordination.store import Away, Done, Refused, Snapshot, Store
from banken_supervisor.coordination.store_thread import StoreThread
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.effects import EndIncident, Event, EventType, Propose, RunStep
from banken_supervisor.engine.succession import Succession
from banken_supervisor.runtime.claimed_incidents import past_incident, with_ended
from banken_supervisor.runtime.incident_terms import LOOK_S, Terms
from banken_supervisor.runtime.members import Members
from banken_supervisor.runtime.operator_words import OperatorWords

ASKED = frozenset({Cause.TIMEOUT, Cause.GRACE})
"""Causes before which the others are asked."""

AGAIN_S = 0.2
"""Seconds until the claims are asked for again, where the store did not answer a new leader."""

REPEATABLE = frozenset({"log", "notify", "webhook"})
"""Actions that may be begun again by the next leader, where nobody knows whether they were done: whoever gets a
message twice, under one id, has got it once."""


@dataclass(eq=False)
class Cluster:
    """``post``: has something done on the loop's thread, from any. ``run_step``: tells this event, if there is one,
    and has a step's action run."""

    settings: ClusterSettings
    run_id: str
    _driver: Driver
    _post: Callable[[Callable[[], None]], None]
    _run_step: Callable[[RunStep, Event | None], None]
    _hand_over: Callable[[str, str], None]
    """drops what has not begun for a watchdog's incident, which is another member's now"""
    _make_members: Callable[[StoreThread, float, Callable[[str, str], None]], Members]
    make_store: Callable[[], Store] | None = None
    leadership_thread: type[LeadershipThread] = LeadershipThread
    store_thread: type[StoreThread] = StoreThread
    acquitted: int = 0
    """workers that another member heard, and this one did not"""
    _term: int | None = None
    _claims: Claims | None = None
    _waiting: dict[str, list[tuple[int, Callable[[], None]]]] = field(default_factory=dict)
    """by name: what is to be done when its claim is written at this version"""
    _ready: deque[Callable[[], None]] = field(default_factory=deque)
    """what is written, and is done as soon as this member may act"""
    _beginnings: dict[str, Event] = field(default_factory=dict)
    """by name: that an action begins, of which the claim is not written"""
    _again_at: float | None = None
    _eligible_at: float | None = None
    """monotonic time by which it has heard what there is, and may lead"""

    def __post_init__(self) -> None:
        make = self.make_store or self.settings.store
        leadership = Leadership(self.settings.member, self.run_id, self.settings.ttl)
        self._limit = leadership.limit
        self._thread = self.leadership_thread(
            leadership, make(), lambda view: self._post(partial(self._changed, view))
        )
        self._store = self.store_thread(make(), self._post)
        self.members = self._make_members(self._store, self._limit, self._say)
        self.terms = Terms(lambda: self.view)
        self.words = OperatorWords(
            self.settings.member, self._store, self._limit, self._take_word, lambda: self.view.away, self._is_shared
        )
        self._before = self._thread.view

    @property
    def view(self) -> View:
        """What this member is."""
        return self._thread.view

    @property
    def _succession(self) -> Succession:
        return self._driver.engine.succession

    def start(self) -> None:
        """Follow, until it is known who leads. RuntimeError: no thread is to be had."""
        self._put_back()
        self._eligible_at = monotonic() + UNLED_TTLS * self.settings.ttl
        self._store.start()
        self._thread.start()
        self.words.read()

    def close(self, wait: float) -> bool:
        """Let another one lead, in at most ``wait`` seconds. False: it has to find out by itself."""
        until = monotonic() + wait
        self._stop_leading()
        self.members.close()
        resigned = self._thread.close(wait)
        self._store.close(max(0.0, until - monotonic()))
        return resigned

    def state(self) -> dict[str, Any]:
        """What ``summary`` shows. ``seconds``: that the store's last answer took."""
        view, gate = self.view, self._succession.gate
        return {
            "name": self.settings.name,
            "member": self.settings.member,
            "role": view.role.value,
            "acts": view.may_act,
            "term": view.term,
            "leader": None if view.leader is None else view.leader.member or None,
            "away": view.away,
            "seconds": view.seconds,
            "members": {name: link.is_up for name, link in self.members.links.items()},
            "claims_waiting": 0 if self._claims is None else len(self._claims),
            "held": len(gate.held),
            "acquitted": self.acquitted,
            "held_back": self.terms.held_back,
        }

    # -- what the engine and its actions say ------------------------------------------------------

    def propose(self, effect: Propose) -> None:
        """The engine wants to open an incident."""
        if self._claims is None:
            return
        record = self._driver.engine.get(effect.name)
        if record is None:
            return
        incident = self._driver.engine.incidents.new_id()
        claim = Claim(
            incident, effect.cause.value, wall() - (self._driver.now - effect.due), effect.silence,
            record.declaration.timeout, self.settings.member, effect.reason,
        )  # fmt: skip
        want = partial(self._want, effect.name, claim, partial(self._open, effect.name, incident))
        if effect.cause in ASKED:
            self.members.ask(effect.name, partial(self._heard, effect.name, want))
        else:
            want()

    def withdraw(self, name: str) -> None:
        """It was fed meanwhile: nothing is opened."""
        self._waiting.pop(name, None)
        self.members.withdraw(name)
        if self._claims is not None:
            self._claims.want(name, None)

    def tells_later(self, beginning: Event) -> bool:
        """An action begins, says this event. True: it is told when the claim is written, and its step comes next;
        False: it is no matter of the cluster."""
        assert beginning.name is not None
        if beginning.data["incident"] not in self.terms:
            return False
        self._beginnings[beginning.name] = beginning
        return True

    def take_step(self, effect: RunStep) -> bool:
        """A step of the ladder is due. True: its claim is written first; False: it is no matter of the cluster."""
        name, incident = effect.about.name, effect.about.incident
        if incident not in self.terms:
            return False
        beginning = self._beginnings.pop(name, None)
        claim = None if self._claims is None else self._claims.get(name)
        if claim is not None and claim.id == incident:
            begun = Begun(effect.number, effect.run, effect.step.do, wall())
            run = partial(self._run_step, effect, beginning)
            self._want(name, claim._replace(begun=(*claim.begun, begun)), run)
        return True

    def step_ran(self, effect: RunStep) -> None:
        """A former leader has begun this step. If it is not known to have ended, it is done again where that does
        no harm."""
        claim = None if self._claims is None else self._claims.get(effect.about.name)
        if claim is None or claim.id != effect.about.incident:
            return
        run = next((each for each in claim.begun if (each.step, each.run) == (effect.number, effect.run)), None)
        if run is None or run.ended:
            return
        if run.action in REPEATABLE:
            self._ready.append(partial(self._run_step, effect, None))
            return
        data = {"incident": claim.id, "step": run.step, "run": run.run, "do": run.action}
        self._tell(Event(EventType.ACTION_UNKNOWN, effect.about.name, data))
        self._end_step(effect.about.name, claim, run.step, run.run)

    def acted(self, report: ActionReport) -> None:
        """An action has ended."""
        target = report.target
        claim = None if self._claims is None else self._claims.get(target.incident.name)
        if claim is not None and claim.id == target.incident.id and not target.recovered:
            self._end_step(target.incident.name, claim, target.step, target.run)

    def gave_up(self, name: str) -> None:
        """The incident of this watchdog is given up."""
        claim = None if self._claims is None else self._claims.get(name)
        if claim is not None and self._claims is not None:
            self._claims.want(name, claim._replace(given_up=True))

    def ended(self, effect: EndIncident) -> None:
        """An incident is closed."""
        claim = None if self._claims is None else self._claims.get(effect.name)
        if claim is not None and claim.id == effect.incident and self._claims is not None:
            self._waiting.pop(effect.name, None)
            self._claims.want(effect.name, None)

    # -- the loop's turn --------------------------------------------------------------------------

    def patience(self) -> float:
        """Seconds until ``turn`` has something to do."""
        now = monotonic()
        waits = [self.members.patience(now)]
        if self._again_at is not None:
            waits.append(max(0.0, self._again_at - now))
        if self._claims is not None and (patience := self._claims.patience(now)) is not None:
            waits.append(patience)
        if self._ready:
            waits.append(0.0 if self.view.may_act else LOOK_S)
        return min(waits)

    def turn(self) -> None:
        """Ask, write what is wanted, and do what is written."""
        now = monotonic()
        if self._eligible_at is not None and now >= self._eligible_at:
            self._eligible_at = None
            self._thread.set_eligible()
        if self._again_at is not None and self._again_at <= now and self._term is not None:
            self._again_at = None
            self._read_claims(self._term)
        if self._claims is not None and (sent := self._claims.transaction(now)) is not None:
            self._store.ask(
                lambda store: store.transact(sent.expect, sent.put, sent.drop, self._limit),
                partial(self._answered, sent.term),
            )
        self.members.turn(now)
        self.words.turn(now)
        while self._ready and self.view.may_act and self.view.term == self._term:
            self._ready.popleft()()

    # -- what the threads say ---------------------------------------------------------------------

    def _changed(self, view: View) -> None:
        """Who leads has changed, or whether the store answers."""
        before, self._before = self._before, view
        if view.resets > before.resets:
            self._say("engine-reset", "the store's data were replaced: nobody leads until one has taken over")
        if (view.away is None) != (before.away is None):
            if view.away is None:
                self._say("engine-back", "the store answers again")
            else:
                self._say("engine-away", f"the store does not answer: {view.away}")
        if view.said != before.said:
            self.words.read()
        if view.term == self._term:
            return
        self._stop_leading()
        if view.role is Role.LEADER and view.term is not None:
            self._term = view.term
            self._read_claims(view.term)

    def _read_claims(self, term: int) -> None:
        self._store.ask(lambda store: store.read(CLAIMS, self._limit), partial(self._lead, term))

    def _lead(self, term: int, answer: Snapshot | Away) -> None:
        """Go on with what former leaders have left."""
        if term != self._term:
            return
        if isinstance(answer, Away):
            self._again_at = monotonic() + AGAIN_S
            return
        self._claims, found = Claims.restored(term, answer)
        for name, why in self._claims.blocked.items():
            self._block(name, why)
        self._say("leads", f"this member leads, with {len(found)} open incidents")
        for claim in found.values():
            self.terms.is_mine(claim.id, self._term)
        driver = self._driver
        past = [past_incident(name, claim, driver.engine.get(name), driver.now) for name, claim in found.items()]
        for name in self._succession.lead(past, driver.now, driver.out):
            self._claims.want(name, None)

    def _answered(self, term: int, answer: Done | Refused | Away) -> None:
        if self._claims is None or term != self._term:
            return
        if isinstance(answer, Away):
            self._claims.was_away(monotonic())
            return
        for outcome in self._claims.was_answered(answer):
            self._take(outcome)

    def _take(self, outcome: Outcome) -> None:
        match outcome:
            case Written(name, version):
                waiting = self._waiting.pop(name, [])
                self._ready.extend(do for wanted, do in waiting if wanted <= version)
                if left := [each for each in waiting if each[0] > version]:
                    self._waiting[name] = left
            case Adopted(name, claim):
                self._waiting.pop(name, None)
                self.terms.is_mine(claim.id, self._term)
                self._ready.append(partial(self._adopt, name, claim))
            case Blocked(name, why):
                self._waiting.pop(name, None)
                self._block(name, why)
            case Deposed():
                self._stop_leading()

    # -- to lead ----------------------------------------------------------------------------------

    def _want(self, name: str, claim: Claim, then: Callable[[], None]) -> None:
        assert self._claims is not None
        version = self._claims.want(name, claim)
        if version is not None:
            self._waiting.setdefault(name, []).append((version, then))

    def _heard(self, name: str, want: Callable[[], None], member: str, age: float | None) -> None:
        """The others have said whether they hear this worker."""
        if self._claims is None:
            return
        if age is None:
            want()
            return
        self.acquitted += 1
        self._succession.acquit(name, age, self._driver.now)
        data = {"what": "one-sided", "text": f"{member} hears {name}, and this member does not", "member": member}
        self._tell(Event(EventType.CLUSTER, name, data))

    def _open(self, name: str, incident: str) -> None:
        driver = self._driver
        self.terms.is_mine(incident, self._term)
        if not self._succession.open(name, incident, driver.now, driver.out) and self._claims is not None:
            self._claims.want(name, None)

    def _adopt(self, name: str, claim: Claim) -> None:
        driver = self._driver
        past = past_incident(name, claim, driver.engine.get(name), driver.now)
        if not self._succession.adopt(past, driver.now, driver.out) and self._claims is not None:
            self._claims.want(name, None)

    def _end_step(self, name: str, claim: Claim, step: int, run: int) -> None:
        assert self._claims is not None
        ended = with_ended(claim, step, run)
        if ended != claim:
            self._claims.want(name, ended)

    def _stop_leading(self) -> None:
        """Another one leads, or nobody: what was not begun is not begun."""
        led = self._claims is not None
        self._term, self._claims, self._again_at = None, None, None
        self.terms.held_back += len(self._ready)
        self._ready.clear()
        self._waiting.clear()
        self._beginnings.clear()
        self._put_back()
        if led:
            self._say("follows", "this member leads no longer")

    def _take_word(self, message: Message) -> None:
        driver = self._driver
        driver.engine.tell(message, driver.now, driver.out)

    def _is_shared(self, name: str) -> bool:
        record = self._driver.engine.get(name)
        return record is not None and not self._succession.gate.is_local(record)

    def _put_back(self) -> None:
        for name, incident in self._succession.follow(self._driver.now):
            self._hand_over(name, incident)

    def _block(self, name: str, why: str) -> None:
        self._say("foreign-claim", f"the claim of {name!r} in the store is left alone: {why}")

    def _say(self, what: str, text: str) -> None:
        leader = self.view.leader
        data = {"what": what, "text": text, "member": self.settings.member}
        self._tell(Event(EventType.CLUSTER, None, data | ({"leader": leader.member} if leader else {})))

    def _tell(self, event: Event) -> None:
        self._driver.out.append(event)
