"""From a verdict of the leader's engine to an open incident: the other members are asked, and the claim is written.

Belongs to the loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from banken.clock import wall
from banken.protocol.incidents import Cause
from banken_supervisor.coordination.records import Claim
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.effects import Event, EventType, Propose
from banken_supervisor.engine.hearing import Timer
from banken_supervisor.runtime.brake import Brake
from banken_supervisor.runtime.claimed_work import ClaimedWork
from banken_supervisor.runtime.incident_terms import Terms
from banken_supervisor.runtime.member_links import ANSWER_S
from banken_supervisor.runtime.members import Members


@dataclass(eq=False)
class Suspicions:
    """``member``: this one's name. ``is_open``: gets each incident that was opened, by watchdog, id and cause, and
    since when."""

    member: str
    _driver: Driver
    _work: ClaimedWork
    _members: Members
    _terms: Terms
    _brake: Brake
    _tell: Callable[[Event], None]
    _is_open: Callable[[str, str, Cause, float], None]
    acquitted: int = 0
    """workers that another member heard, and this one did not"""

    def propose(self, effect: Propose) -> None:
        """The engine wants to open an incident."""
        engine = self._driver.engine
        record = engine.get(effect.name)
        if self._work.claims is None or record is None:
            return
        incident = engine.incidents.new_id()
        claim = Claim(
            incident, effect.cause.value, wall() - (self._driver.now - effect.due), effect.silence,
            record.declaration.timeout, self.member, effect.reason,
        )  # fmt: skip
        then = partial(self._open, incident, effect)
        want = partial(self._work.want, effect.name, claim, then, lambda claim: None)
        if effect.asks:
            self._members.ask(effect.name, effect.cause, partial(self._heard, effect.name, want))
        else:
            want()

    def was_released(self, name: str, age: float) -> None:
        """Another member has heard that this watchdog was released, and this one perhaps has not."""
        driver = self._driver
        driver.engine.registry.drop(name, age, driver.now - ANSWER_S, driver.now, driver.out)

    def withdraw(self, name: str) -> None:
        """It was fed meanwhile: nothing is opened."""
        self._members.withdraw(name)
        self._work.drop(name)

    def _heard(self, name: str, want: Callable[[], None], member: str, timer: Timer | None) -> None:
        """The others have said whether they hear this worker."""
        if self._work.claims is None:
            return
        if timer is None:
            self._brake.note(name)
            want()
            return
        self._driver.engine.succession.acquit(name, timer, self._driver.now)
        self._is_one_sided(name, member)

    def heard_again(self, name: str, member: str) -> None:
        """Another member hears this worker, whose incident was open: it is over."""
        self._is_one_sided(name, member, ": its incident is over")

    def _is_one_sided(self, name: str, member: str, more: str = "") -> None:
        self.acquitted += 1
        text = f"{member} hears {name}, and this member does not{more}"
        self._tell(Event(EventType.CLUSTER, name, {"what": "one-sided", "text": text, "member": member}))

    def _open(self, incident: str, effect: Propose) -> None:
        driver, work, name = self._driver, self._work, effect.name
        assert work.claims is not None
        self._terms.is_mine(incident, work.claims.term)
        if effect.asks:
            self._brake.opened(incident)
        if driver.engine.succession.open(name, incident, driver.now, driver.out):
            self._is_open(name, incident, effect.cause, effect.due)
        else:
            work.drop(name)
