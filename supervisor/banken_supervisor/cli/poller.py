"""What the live views show: asked for on a thread of its own, gently, so that the supervisor hardly notices."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from banken.errors import RequestFailed, Unreachable
from banken_supervisor.cli import sparkline
from banken_supervisor.operator_client.pager import pages
from banken_supervisor.operator_client.supervisor_client import look

if TYPE_CHECKING:
    from banken.control import Control

CHUNK = 100
"""Watchdogs in one request: an answer of them holds the supervisor for about a millisecond."""

GENTLE_S = 0.02
"""Seconds between two requests for a part of the list, where it is long."""

LONG = 500
"""Watchdogs from which on the list is long."""

LOOKED_MAX = 200
"""Watchdogs of the visible page that are looked at closely."""

RELOOK_S = 0.25
"""Seconds between two close looks, when the page is turned."""

ANSWER_S = 1.0
"""Seconds after which nobody answers. The view goes on, and asks again."""


@dataclass(frozen=True)
class Snapshot:
    """What was known at one moment. Not changed once it was handed over."""

    at: float
    """monotonic"""
    problem: str = ""
    """why there is nothing newer; empty: all is well"""
    since: float = 0.0
    """monotonic: when the problem began"""
    answered: float | None = None
    """wall clock, seconds since 1970: the last answer; None: there was none"""
    summary: dict[str, Any] | None = None
    programs: list[dict[str, Any]] = field(default_factory=list)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    """all watchdogs by name; the visible ones with ``feeds``"""
    complete: bool = False
    """the list has been read to its end once"""
    messages_rate: float | None = None


class Source(threading.Thread):
    """Asks once a ``period`` (seconds), and calls ``changed`` on its thread when ``snapshot`` is a new one."""

    def __init__(
        self, address: str, changed: Callable[[], None], *, pattern: str | None = None, period: float = 1.0
    ) -> None:
        super().__init__(name="banken-source", daemon=True)
        self.snapshot = Snapshot(monotonic())
        self.visible: tuple[str, ...] = ()
        """names on the page, to be looked at closely; set by the view"""
        self.close_looks = True
        """whether the page's feeds are wanted"""
        self.every_rate = False
        """whether the rates of all are wanted: what is sorted by them needs them"""
        self._address, self._pattern, self._period, self._changed = address, pattern, period, changed
        self._bell = threading.Event()
        self._orders: deque[Callable[[Control], None]] = deque()
        self._stopping = threading.Event()
        self._rows: dict[str, dict[str, Any]] = {}
        self._last: tuple[float, dict[str, Any]] | None = None
        self._looked: tuple[str, ...] = ()
        self._pass: Iterator[None] | None = None

    def order(self, what: Callable[[Control], None]) -> None:
        """Have something done soon, on the source's thread; it must not raise anything but banken's errors."""
        self._orders.append(what)
        self._bell.set()

    def turned(self) -> None:
        """The page shows other watchdogs now."""
        self._bell.set()

    def close(self) -> None:
        """End it; at once, but for a request that is under way."""
        self._stopping.set()
        self._bell.set()
        self.join(ANSWER_S * 2)

    def run(self) -> None:
        """The thread: until ``close``."""
        from banken.control import Control

        with Control(self._address, timeout=ANSWER_S) as control:
            while not self._stopping.is_set():
                began = monotonic()
                self._do_orders(control)  # here, too: while nobody answers there is no rest
                with self._problems_told():
                    self._refresh(control)
                    self._read_on(control, began + self._period)
                if self.snapshot.problem:
                    self._pass = None
                    self._last = None
                while not self._stopping.is_set() and (left := began + self._period - monotonic()) > 0:
                    self._rest(control, left)

    def _refresh(self, control: Control) -> None:
        summary = control.request("summary")
        programs = control.request("programs")["rows"]
        at = monotonic()
        rate: float | None = None
        if self._last is not None and self._last[1]["started"] == summary["started"] and at > self._last[0]:
            rate = (summary["messages"] - self._last[1]["messages"]) / (at - self._last[0])
        self._last = at, summary
        self._look(control)
        self._tell(problem="", summary=summary, programs=programs, messages_rate=rate)

    def _look(self, control: Control) -> None:
        self._looked = self.visible
        if self._looked and self.close_looks:
            self._rows = {**self._rows, **look(control, list(self._looked[:LOOKED_MAX]))}

    def _read_on(self, control: Control, until: float) -> None:
        """Read the list further until it is read or the time has come; the next turn goes on from there."""
        if self._pass is None:
            self._pass = self._listing(control)
        for _ in self._pass:
            if self._stopping.is_set() or monotonic() >= until:
                return
            self._rest(control, GENTLE_S)
        self._pass = None

    def _listing(self, control: Control) -> Iterator[None]:
        """One pass through the list; yields where the supervisor is left in peace for a moment."""
        found: dict[str, dict[str, Any]] = {}
        for page in pages(control, "status", name=self._pattern, limit=CHUNK):
            rows = {row["name"]: row for row in page["rows"]}
            if self.every_rate:
                rows |= look(control, list(rows))
            found |= rows
            if page["total"] > LONG:
                yield
        newer = self._rows  # the page was looked at meanwhile
        self._rows = {
            name: {"feeds": newer[name]["feeds"], **row} if name in newer and "feeds" in newer[name] else row
            for name, row in found.items()
        }
        self._tell(complete=True)

    def _rest(self, control: Control, seconds: float) -> None:
        """Wait; meanwhile do what is ordered, and look at a page that was turned."""
        if not self._bell.wait(seconds) or self._stopping.is_set():
            return
        self._bell.clear()
        self._do_orders(control)
        if self.close_looks and self.visible != self._looked and not self.snapshot.problem:
            if (early := self.snapshot.at + RELOOK_S - monotonic()) > 0:
                threading.Event().wait(early)
            with self._problems_told():
                self._look(control)
                self._tell()

    def _do_orders(self, control: Control) -> None:
        while self._orders:
            with self._problems_told():
                self._orders.popleft()(control)

    @contextlib.contextmanager
    def _problems_told(self) -> Iterator[None]:
        try:
            yield
        except Unreachable:
            self._tell(problem="no supervisor answers")
        except RequestFailed as fault:
            self._tell(problem=str(fault))

    def _tell(self, **changes: Any) -> None:
        now = monotonic()
        if changes.get("problem") and not self.snapshot.problem:
            changes["since"] = now
        if not changes.get("problem"):
            changes["answered"] = time()
        self.snapshot = replace(self.snapshot, at=now, rows=self._rows, **changes)
        self._changed()


def rate_of(row: dict[str, Any]) -> float | None:
    """Feeds a second of a row that was looked at closely; None: it was not, or there were too few."""
    return sparkline.rate(row.get("feeds", ()))
