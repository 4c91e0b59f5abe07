"""Feeds the supervisors of other hosts, as a worker does: this host's death, or its supervisor's, is one incident
there.

A thread of its own has the connections; the loop only answers it. In each period the thread has the loop count (a
message to its mailbox), waits for that, and feeds with the number of the loop's turns as progress. So two faults
are told apart over there: a host or process that is gone is silent (``timeout``), and a loop that hangs is fed by
this thread, but without progress (``no-progress``). Both in about one timeout: the feed that brings a number comes
right after it was counted.

At an orderly end the watchdog is released: that is no incident.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

from banken.client import Client
from banken.protocol.messages import Feeders
from banken_supervisor.coordination.settings import UpwardSettings
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.engine.states import State
from banken_supervisor.runtime.feed_rights import FeedRights

FEEDS_IN_TIMEOUT = 5
PERIOD_MAX = 1.0
"""It feeds five times in a timeout, and at least once a second."""

PROGRESS_LATER_S = 0.2
"""Seconds by which a loop that hangs may be noticed later than a silence: who is silent makes no progress either,
and the first of the two deadlines gives the incident its cause."""

CLOSE_S = 1.0
"""Seconds that ``close`` waits, at most: the last word leaves within 0.2 s."""

_WORDS = {
    "reached": "{} takes the feeds of {}",
    "away": "{} has not taken the feeds of {} for {:g} s: it does not answer; it is tried again and again",
    "denied": "{} does not let this supervisor in: its key is not allowed there, that server has another key than "
    "the key's file says, or it is too busy to answer; {} is not watched there meanwhile",
    "refused": "{} refuses the feeds of {}: this supervisor's key may not feed that name, which is not watched "
    "there; `banken keys allow` and `banken reload` there change that, or `name` in [upward] here",
}


@dataclass(frozen=True)
class Counts:
    """What the loop says of itself, once a period."""

    turns: int
    watchdogs: int
    incidents: int
    """open"""

    @property
    def text(self) -> str:
        """As the status that people read over there."""
        watchdogs = "1 watchdog" if self.watchdogs == 1 else f"{self.watchdogs:,} watchdogs"
        return f"{watchdogs}, {'1 incident' if self.incidents == 1 else f'{self.incidents:,} incidents'}"


def counts_of(driver: Driver, turns: int) -> Counts:
    """On the loop's thread."""
    states = driver.engine.table.states
    return Counts(turns, len(driver.engine), states[State.EXPIRED] + states[State.GIVEN_UP])


class Upward:
    """``count``: what the loop says of itself; called on its thread, which ``post`` has do something. ``publish``:
    tells an event; called there, too. ``fault``: reports an exception of the thread. KeyRefused: the key's file.
    """

    def __init__(
        self,
        settings: UpwardSettings,
        count: Callable[[], Counts],
        post: Callable[[Callable[[], None]], None],
        publish: Callable[[Event], None],
        fault: Callable[[Exception], None],
    ) -> None:
        self.settings = settings
        self._count, self._post, self._publish, self._fault = count, post, publish, fault
        self._period = min(PERIOD_MAX, settings.timeout / FEEDS_IN_TIMEOUT)
        self._client = Client(",".join(settings.addresses), key=settings.key, release_at_exit=False)
        self._counts: Counts | None = None
        """the latest; None: the loop has not counted yet"""
        self._asked = False
        """whether the loop has not counted since it was asked"""
        self._has_counted, self._ends = threading.Event(), threading.Event()
        self._declared = False
        self._destinations = self._client.stats()["destinations"]
        self._reached_at = dict.fromkeys((each["address"] for each in self._destinations), monotonic())
        self._told: dict[str, str] = {}
        """by address: what was said of it last"""
        self._rights = FeedRights([*self._reached_at], settings.key, settings.name, fault)
        self._thread = threading.Thread(target=self._work, name="banken-upward", daemon=True)

    def start(self) -> None:
        """RuntimeError: no thread is to be had."""
        self._thread.start()
        self._rights.start()

    def close(self, wait: float = CLOSE_S) -> None:
        """Release the watchdog, so that this end is no incident, within ``wait`` seconds."""
        self._ends.set()
        self._has_counted.set()
        self._rights.close()
        with suppress(RuntimeError):  # it never began
            self._thread.join(wait)

    def state(self) -> dict[str, Any]:
        """What ``summary`` shows."""
        return {
            "name": self.settings.name,
            "timeout": self.settings.timeout,
            "destinations": [
                {**each, "refused": self._refuses(each["address"]), "told": self._told.get(each["address"])}
                for each in self._destinations
            ],
        }

    def _refuses(self, address: str) -> bool:
        return self._rights.may(address) is False

    # -- on its thread --------------------------------------------------------------------------------

    def _work(self) -> None:
        due = monotonic()
        while not self._ends.wait(max(0.0, due - monotonic())):
            due = max(due + self._period, monotonic())
            try:
                self._turn()
            except Exception as fault:  # noqa: BLE001  # the next turn is independent of it
                self._fault(fault)
        if self._declared:
            self._client.leave()
        self._client.close()

    def _turn(self) -> None:
        if not self._asked:
            self._asked = True
            self._has_counted.clear()
            self._post(self._answer)
        self._has_counted.wait(self._period / 2)
        counts = self._counts
        if counts is None or self._ends.is_set():
            return
        name, timeout = self.settings.name, self.settings.timeout
        if not self._declared:
            self._client.watchdog(
                name, timeout, progress_timeout=timeout + PROGRESS_LATER_S, resolution=0.0, feeders=Feeders.LATEST
            )
            self._declared = True
        self._client.feed(name, progress=counts.turns, status=counts.text)
        self._look(monotonic())

    def _look(self, now: float) -> None:
        """Tell, once, who takes the feeds and who does not."""
        before = {each["address"] for each in self._destinations if each["reachable"]}
        self._destinations = self._client.stats()["destinations"]
        for each in self._destinations:
            address = each["address"]
            what: str | None
            if each["reachable"]:
                self._reached_at[address] = now
                if address not in before:
                    self._rights.reached(address)
                what = None if (may := self._rights.may(address)) is None else "reached" if may else "refused"
            elif each["denied"]:
                what = "denied"
            else:
                what = "away" if now - self._reached_at[address] >= self.settings.timeout else None
            if what is not None and what != self._told.get(address):
                self._told[address] = what
                text = _WORDS[what].format(address, self.settings.name, self.settings.timeout)
                event = Event(EventType.UPWARD, None, {"what": what, "address": address, "text": text})
                self._post(lambda event=event: self._publish(event))  # type: ignore[misc]

    # -- on the loop's thread -------------------------------------------------------------------------

    def _answer(self) -> None:
        self._asked = False
        self._counts = self._count()
        self._has_counted.set()
