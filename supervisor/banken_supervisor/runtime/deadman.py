"""Fetches an address somewhere else as long as this supervisor does its work; that place alarms when nothing comes.

Only while the loop turns, something is still done about incidents, and the journal takes entries: the last is
proved by one that changes nothing. The request runs on a thread of its own, and ends in time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from time import monotonic

from banken_supervisor.actions.options import parse_url
from banken_supervisor.config.deadman import DeadmanSettings
from banken_supervisor.outbox.outbox import Outbox
from banken_supervisor.runtime.asked_thread import AskedThread
from banken_supervisor.text.sanitize import line

REQUEST_S = 10.0
"""Seconds that one request may take, and at most ``every``."""

AGAIN_S = 10.0
"""Seconds until the next after one that failed or was withheld, and at most ``every``."""

PROOF_S = 5.0
"""Seconds within which the journal must take an entry, and at most ``every``."""

OK, FAILED, WITHHELD = "ok", "failed", "withheld"


class Deadman:
    """``why_not``: why the address is not to be fetched now, in words; empty: it is. ``post`` has a function called
    on the loop's thread, to which all else belongs. ``tell`` gets a state and a sentence when the state changes."""

    def __init__(
        self,
        settings: DeadmanSettings,
        outbox: Outbox | None,
        why_not: Callable[[], str],
        post: Callable[[Callable[[], None]], object],
        tell: Callable[[str, str], None],
    ) -> None:
        self.settings = settings
        self.counts = Counter({OK: 0, FAILED: 0, WITHHELD: 0})
        """requests by what became of them"""
        self._address = parse_url(settings.url.reveal())
        self._outbox, self._why_not, self._post, self._tell = outbox, why_not, post, tell
        self._thread = AskedThread("banken-deadman", self._fetch)
        self._due = 0.0
        self._proof: tuple[int, float] | None = None
        """the ticket of an entry that proves the journal, and by when it must be on disk"""
        self._state = ""
        self._closed = False

    def patience(self, real: float) -> float:
        """Seconds until ``turn`` has something to do. ``real``: monotonic time, seconds."""
        due = self._due if self._proof is None else self._proof[1]
        return max(0.0, due - real)

    def turn(self, real: float) -> None:
        """The loop has turned."""
        if self._proof is not None:
            ticket, until = self._proof
            if self._outbox is not None and self._outbox.journal.durable >= ticket:
                self._ask(real)
            elif real >= until:
                self._withhold(real, "the journal takes no entry")
            return
        if real < self._due:
            return
        if why := self._why_not():
            self._withhold(real, why)
        elif self._outbox is None:
            self._ask(real)
        elif (taken := self._outbox.prove()) is None:
            self._withhold(real, "the journal takes no entry")
        else:
            self._proof = taken, real + min(PROOF_S, self.settings.every)

    def close(self) -> None:
        """Fetch it no more."""
        self._closed = True
        self._thread.close(0.0)

    def _ask(self, real: float) -> None:
        self._proof, self._due = None, real + self.settings.every
        if not self._thread.ask():
            self._failed("the last request has not ended")

    def _withhold(self, real: float, why: str) -> None:
        self._proof, self._due = None, real + min(AGAIN_S, self.settings.every)
        self.counts[WITHHELD] += 1
        self._change(WITHHELD, f"the deadman's address {self._address.shown} is not fetched: {why}")

    def _failed(self, why: str) -> None:
        self._due = min(self._due, monotonic() + min(AGAIN_S, self.settings.every))
        self.counts[FAILED] += 1
        self._change(FAILED, f"the deadman's address {self._address.shown} cannot be fetched: {why}")

    def _answered(self, fault: str) -> None:
        """The thread has an answer; it is good if ``fault`` is empty."""
        if self._closed:
            return
        if fault:
            self._failed(fault)
            return
        self.counts[OK] += 1
        self._change(OK, f"the deadman's address {self._address.shown} was fetched")

    def _change(self, state: str, text: str) -> None:
        if state != self._state:
            self._state = state
            self._tell(state, text)

    def _fetch(self) -> None:
        """On the thread. What is said never holds the path, which is the password of many such a service."""
        fault = "an internal error"
        try:
            from banken_supervisor.actions.http_post import fetch  # urllib3 is loaded only now

            answer = fetch(self._address, monotonic() + min(REQUEST_S, self.settings.every))
            if answer.status is None:
                fault = line(
                    answer.text.replace(self._address.path, "…") if len(self._address.path) > 1 else answer.text
                )
            else:
                fault = "" if 200 <= answer.status < 300 else f"it answered {answer.status}"
        except Exception as raised:  # noqa: BLE001  # its text may hold the address
            fault = f"an internal error ({type(raised).__name__})"
        finally:
            self._post(partial(self._answered, fault))
