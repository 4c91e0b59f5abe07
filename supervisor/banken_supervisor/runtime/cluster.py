"""One member of a cluster: what the loop does so that of several supervisors exactly one acts.

Belongs to the loop's thread. The thread of leadership_thread.py finds out who leads, that of store_thread.py
writes; what both find comes back as messages.

The way of an incident: the engine proposes it (claim_gate.py), the others are asked and its claim is written
(suspicions.py), the engine opens it, and with each of its steps the claim is written again before the action begins
and is told (claimed_steps.py). What was written is done only while this member may act (claimed_work.py); that is
asked again immediately before the action, on its thread (incident_terms.py). Until then it waits, and it is dropped
when another member leads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any

from banken.protocol.messages import Kind, Message
from banken_supervisor.coordination.claims import TRANSACTIONS_MAX, Claims
from banken_supervisor.coordination.leadership import READS, Leadership
from banken_supervisor.coordination.leadership_thread import LeadershipThread, View
from banken_supervisor.coordination.records import CLAIMS, LEADER, SPENT, Claim
from banken_supervisor.coordination.roles import Role
from banken_supervisor.coordination.settings import ClusterSettings
from banken_supervisor.coordination.store import Away, Snapshot, Store
from banken_supervisor.coordination.store_thread import StoreThread
from banken_supervisor.engine.claim_gate import OF_SILENCE
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.effects import Event, EventType, RunStep
from banken_supervisor.engine.registry import Words
from banken_supervisor.engine.snapshot import PastIncident
from banken_supervisor.engine.succession import Succession
from banken_supervisor.runtime.brake import Brake
from banken_supervisor.runtime.claimed_incidents import past_incident
from banken_supervisor.runtime.claimed_steps import ClaimedSteps
from banken_supervisor.runtime.claimed_work import ClaimedWork
from banken_supervisor.runtime.incident_search import IncidentSearch
from banken_supervisor.runtime.incident_terms import Terms
from banken_supervisor.runtime.members import Members
from banken_supervisor.runtime.open_incidents import OpenIncidents
from banken_supervisor.runtime.operator_failures import OperatorFailures
from banken_supervisor.runtime.operator_words import OperatorWords, Process
from banken_supervisor.runtime.orderly_end import GIVE_BACK_SHARE, OrderlyEnd
from banken_supervisor.runtime.registry_reading import LATE_TTLS, RegistryReading
from banken_supervisor.runtime.revision_times import RevisionTimes
from banken_supervisor.runtime.spent_budgets import SpentBudgets
from banken_supervisor.runtime.steps_for_leader import StepsForLeader
from banken_supervisor.runtime.store_answers import StoreAnswers
from banken_supervisor.runtime.suspicions import Suspicions
from banken_supervisor.text.cluster_text import of_store
from banken_supervisor.text.counts import plural

OVER_MAX = 100
"""Budgets that a new leader drops of which nothing counts any more; the next one drops more."""

OF_PAUSES = frozenset({Kind.PAUSE, Kind.RESUME, Kind.RELEASE})
"""Words after which it is known whether a watchdog is paused."""

AGAIN_S = 0.2
"""Seconds until the claims are asked for again, where the store did not answer a new leader."""


@dataclass(eq=False)
class Cluster:
    """``post``: has something done on the loop's thread, from any. ``run_step``: tells that a step's action begins,
    and has it run."""

    settings: ClusterSettings
    run_id: str
    _driver: Driver
    _post: Callable[[Callable[[], None]], None]
    _run_step: Callable[[RunStep], None]
    _hand_over: Callable[[str, str], None]
    """drops what has not begun for a watchdog's incident, which is another member's now"""
    _make_members: Callable[[StoreThread, float, Callable[[str, str], None]], Members]
    make_store: Callable[[], Store] | None = None
    for_leader: StepsForLeader = field(init=False)
    incidents: IncidentSearch = field(init=False)
    leadership_thread: type[LeadershipThread] = LeadershipThread
    store_thread: type[StoreThread] = StoreThread
    _leadership: tuple[int, int] | None = None
    """see ``View``"""
    _left: dict[str, Claim] | None = None
    """the claims of this member's last term; None: another one has led since, or it did not read them"""
    _again_at: float | None = None
    _times: RevisionTimes = field(default_factory=RevisionTimes)

    def __post_init__(self) -> None:
        make = self.make_store or self.settings.store
        leadership = Leadership(self.settings.member, self.run_id, self.settings.ttl)
        self._limit = leadership.limit
        self._thread = self.leadership_thread(leadership, make(), lambda view: self._post(self.look))
        self._store = self.store_thread(make(), self._post)
        self._answers = StoreAnswers(self._post)
        self._writers = [self.store_thread(make(), self._answers.post) for _ in range(TRANSACTIONS_MAX)]
        self.members = self._make_members(self._store, self._limit, self._say)
        self.terms = Terms(lambda: self.view)
        self.words = OperatorWords(
            self.settings.member, self._store, self._limit, self._take_word, self._take_former, self._age_of,
            lambda: self.view.away, self._is_shared, lambda: self._failures.read(),
            self._process_of, self._is_next,
        )  # fmt: skip
        self._failures = OperatorFailures(
            self._store, self._limit, self._take_word,
            lambda: None if self.work.claims is None else self._leadership,
            lambda name: name in self._succession.gate.held,
        )  # fmt: skip
        self.work = ClaimedWork(
            self._writers, self._limit, self.terms, self._may_act, self._adopt, self._block, self._stop_leading
        )
        engine = self._driver.engine
        engine.registry.was_made = self.words.was_made
        engine.registry.words = lambda: self.words.applied(self._before.said, self._before.revision)
        self.brake = Brake(
            self.settings.brake, self.settings.ttl, engine.table, self._succession.gate, partial(self._say, "brake")
        )
        self.budgets = SpentBudgets()
        self.steps = ClaimedSteps(self.work, self.terms, self.brake, self._run_step, self._tell, self._spent)
        self.end = OrderlyEnd(self.work, self.steps, self._answers)
        self.suspicions = Suspicions(
            self.settings.member, self._driver, self.work, self.members, self.terms, self.brake, self._tell,
            lambda *opened: self._open.note(*opened),
        )  # fmt: skip
        self._open = OpenIncidents(
            self._driver, self.members, lambda: self.view.may_act, self.suspicions.heard_again
        )
        self.members.was_released = self.suspicions.was_released
        self._before = self._thread.view
        self.registries = RegistryReading(
            self.members.links, self._driver, self.settings.ttl, self._became_whole, self.words
        )

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
        self._driver.engine.registry.doubt_pauses()
        self._driver.engine.table.keeps_released = True
        for each in (self._store, *self._writers):
            each.start()
        self._thread.start()
        self.words.read()

    def close(self, wait: float) -> bool:
        """Let another one lead, in at most ``wait`` seconds. False: it has to find out by itself."""
        until = monotonic() + wait
        self.end.give_back(monotonic() + GIVE_BACK_SHARE * wait)
        self._stop_leading()
        self.members.close()
        resigned = self._thread.close(max(0.0, until - monotonic()))
        for each in (self._store, *self._writers):
            each.close(max(0.0, until - monotonic()))
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
            "claims_waiting": 0 if self.work.claims is None else len(self.work.claims),
            "held": len(gate.held),
            "acquitted": self.suspicions.acquitted,
            "held_back": self.terms.held_back,
            "brake": self.brake.left,
            "braked": self.brake.held,
        }

    # -- the loop's turn --------------------------------------------------------------------------

    def patience(self) -> float:
        """Seconds until ``turn`` has something to do."""
        now = monotonic()
        again = None if self._again_at is None else max(0.0, self._again_at - now)
        parts = (self.members, self.work, self.registries, self.brake, self._open, self.end)
        look = self.settings.ttl / READS
        return min(each for each in (again, look, *(part.patience(now) for part in parts)) if each is not None)

    def turn(self) -> None:
        """Ask, write what is wanted, and do what is written."""
        now = monotonic()
        if self._again_at is not None and self._again_at <= now and self._leadership is not None:
            self._again_at = None
            self._read_claims(self._leadership)
        self._times.note(self.view.revision, self._driver.now)
        self.work.turn(now)
        self._open.turn(now)
        self.members.turn(now)
        self.words.turn(now)
        self._failures.turn(now)
        self.registries.turn(now, has_words=self.words.has_read)
        self.brake.turn(now)
        self.work.do_what_is_written()

    # -- what the threads say ---------------------------------------------------------------------

    def look(self) -> None:
        """See whether it leads, and whether the store answers. The loop does so before it reads what has come:
        whoever leads no longer tells nothing of it."""
        before, view = self._before, self.view
        if view is before:
            return
        self._before = view
        if view.resets > before.resets:
            self._say("engine-reset", "the store's data were replaced: nobody leads until one has taken over")
            self.members.write_again()
            self.words.forget()
            self._times.forget()
        if (view.away is None) != (before.away is None):
            if view.away is None:
                self._say("engine-back", "the store answers again")
            else:
                self._say("engine-away", of_store(view.away))
        if view.said != before.said:
            self.words.read()
            self._failures.read()
        if view.leader != before.leader:
            self.registries.ask_again()
        if view.leadership == self._leadership:
            return
        self._stop_leading()
        if view.role is Role.LEADER and view.leadership is not None:
            if not view.regained:
                self._left = None
            self._leadership = view.leadership
            self._read_claims(view.leadership)

    def _read_claims(self, leadership: tuple[int, int]) -> None:
        def read(store: Store) -> tuple[Snapshot, Snapshot]:
            return store.read(CLAIMS, self._limit), store.read(SPENT, self._limit)

        self._store.ask(read, partial(self._lead, leadership))

    def _lead(self, leadership: tuple[int, int], answer: tuple[Snapshot, Snapshot] | Away) -> None:
        """Go on with what former leaders have left."""
        if leadership != self._leadership:
            return
        if isinstance(answer, Away):
            self._again_at = monotonic() + AGAIN_S
            return
        _, term = leadership
        claims, found = Claims.restored(term, answer[0])
        if self.view.regained and self._left is not None:
            found = claims.rewrite(self._left)
        else:
            over = [SPENT + name for name in self.budgets.read(answer[1])[:OVER_MAX]]
            if over:
                self._store.ask(
                    lambda store: store.transact({LEADER: term}, {}, over, self._limit), lambda answer: None
                )
        self.work.claims = claims
        for name, why in claims.blocked.items():
            self._block(name, why)
        self._driver.engine.registry.is_whole = True
        self._thread.set_eligible()
        self._say("leads", f"this member leads, with {plural(len(found), 'open incident')}")
        for claim in found.values():
            self.terms.is_mine(claim.id, term)
        driver = self._driver
        items = answer[0].items
        created = {name: items[CLAIMS + name].created for name in found if CLAIMS + name in items}
        past = [self._past(name, claim, created.get(name)) for name, claim in found.items()]
        self.brake.goes_on((each.id, each.name, each.age) for each in past if each.cause in OF_SILENCE)
        for each in past:
            self._note_open(each)
        for name in self._succession.lead(past, driver.now, driver.out, self.budgets.past()):
            self.work.drop(name)
        self._failures.read()

    # -- to lead ----------------------------------------------------------------------------------

    def _spent(self, name: str, claim: Claim) -> bytes | None:
        policy = self._driver.engine.rules.policy_of(name)
        return None if policy is None else self.budgets.close(name, claim, policy.ladder)

    def _adopt(self, name: str, claim: Claim, created: int) -> None:
        driver = self._driver
        past = self._past(name, claim, created)
        self._note_open(past)
        if not self._succession.adopt(past, driver.now, driver.out):
            self.work.drop(name)

    def _note_open(self, past: PastIncident) -> None:
        age = past.age if past.cause in OF_SILENCE or past.age_least is None else past.age_least
        self._open.note(past.name, past.id, past.cause, self._driver.now - age)

    def _past(self, name: str, claim: Claim, created: int | None) -> PastIncident:
        driver = self._driver
        least = self._times.age(created, driver.now)
        return past_incident(name, claim, driver.engine.get(name), driver.now, least)

    def _stop_leading(self) -> None:
        """Another one leads, or nobody: what was not begun is not begun."""
        led = self.work.claims is not None
        self._leadership = self._again_at = None
        left = self.work.stop()
        self.members.stop_asking()
        if led:
            self.steps.stop()
        self.brake.stop()
        self._failures.stop()
        self._open.stop()
        if led:
            self._left = left
        self._put_back()
        if led:
            self._say("follows", "this member leads no longer")

    def _take_word(self, message: Message) -> None:
        driver, name = self._driver, message.name
        if message.kind in OF_PAUSES:
            driver.engine.registry.was_said(name, pauses=message.kind is Kind.PAUSE)
        if message.kind is Kind.PAUSE and self._may_be_late(name):
            self.registries.read_soon()
            if message.args[0]:
                self.words.was_late(name)
        driver.engine.tell(message, driver.now, driver.out)

    def _process_of(self, name: str) -> Process | None:
        record = self._driver.engine.get(name)
        return None if record is None or record.owner is None else record.owner[1:]

    def _is_next(self, name: str, process: Process, most: float) -> bool:
        """If it is not, and only this member does not know the process, the others tell it."""
        found = self._driver.engine.registry.is_next(name, process, most, self._driver.now)
        if found:
            self.registries.read_soon()
        return found

    def _may_be_late(self, name: str) -> bool:
        """Whether the last word of this watchdog was perhaps read long after it was said."""
        _, most = self._age_of(self.words.revision_of(name))
        return most > LATE_TTLS * self.settings.ttl

    def _take_former(self, message: Message) -> None:
        """A pause that was said before this member began: the others know whether it has ended since."""
        driver = self._driver
        driver.engine.registry.unproved.add(message.name)
        driver.engine.tell(message, driver.now, driver.out)

    def _age_of(self, mod: int | None) -> tuple[float, float]:
        """Seconds since the store had this revision, at the least and at the most; None: it is not known."""
        times, now = self._times, self._driver.now
        # stops of this process are no part of its deadline time; one may have been between a read and its note
        most = self._driver.engine.registry.age(times.before(mod) - self.settings.ttl, now)
        return times.age(mod, now), most

    def _became_whole(self, words: Words) -> None:
        self._thread.set_eligible()
        self.words.has_read_all(words)

    def _is_shared(self, name: str) -> bool | None:
        record = self._driver.engine.get(name)
        if record is not None:
            return not self._succession.gate.is_local(record)
        policy = self._driver.engine.rules.policy_of(name)
        return False if policy is not None and policy.is_local else None

    def _may_act(self) -> bool:
        view = self.view
        return view.may_act and view.leadership == self._leadership

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
