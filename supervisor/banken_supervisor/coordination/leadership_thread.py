"""The thread that makes the calls of ``Leadership``, and shows what came of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from banken.clock import wall
from banken_supervisor.coordination.leadership import Glance, Leadership, Read
from banken_supervisor.coordination.records import LEADER, SAID, Leader
from banken_supervisor.coordination.roles import Role
from banken_supervisor.coordination.store import Away, Store

IDLE_MIN_S = 0.005
"""Seconds that it rests between two calls, at least: a store that refuses at once is not asked in a loop."""


def clock() -> float:
    """Seconds of a clock that also runs while the host sleeps, where the system has one: whoever led before a sleep
    must know after it how long that was."""
    return time.clock_gettime(_BOOTTIME)


_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class View(NamedTuple):
    """What a member is, at one moment; replaced whole, so that any thread may look at it."""

    role: Role
    term: int | None
    """of its leadership; None: it does not lead"""
    leads_until: float
    """it may act until then, by ``clock``"""
    leader: Leader | None
    away: str | None
    """why the store did not answer the last call; None: it did"""
    seconds: float
    """that the last call took"""
    resets: int
    said: int = 0
    """the revision of the last word of an operator"""
    regained: bool = False
    """see ``Leadership``"""
    leader_term: int = 0
    """of whoever leads, as far as this member has read"""
    revision: int = 0
    """that the store had when it was read last"""

    @property
    def leadership(self) -> tuple[int, int] | None:
        """Which leadership of this member it is; None: it does not lead. After the store's data were replaced, a
        term may have the number of an earlier one."""
        return None if self.term is None else (self.resets, self.term)

    @property
    def may_act(self) -> bool:
        """Whether it leads, and can be sure of it."""
        return self.role is Role.LEADER and clock() < self.leads_until

    def is_like(self, other: View) -> bool:
        """Whether nothing has changed that others want to know at once."""
        return (self.role, self.term, self.leader, self.away is None, self.resets, self.said) == (
            other.role, other.term, other.leader, other.away is None, other.resets, other.said,
        )  # fmt: skip


class LeadershipThread:
    """``changed`` is called from the thread, with each view that is not like the one before."""

    def __init__(
        self,
        leadership: Leadership,
        store: Store,
        changed: Callable[[View], None],
    ) -> None:
        self._leadership, self._store = leadership, store
        self._changed = changed
        self._wake = threading.Event()
        self._resigns = self._ends = False
        self._said = self._revision = 0
        self._eligible = leadership.eligible
        self.view = View(leadership.role, None, 0.0, None, None, 0.0, 0)
        self._thread = threading.Thread(target=self._work, name="banken-leadership", daemon=True)

    def start(self) -> None:
        """RuntimeError: no thread is to be had."""
        self._thread.start()

    def set_eligible(self) -> None:
        """This member knows all watchdogs."""
        self._eligible = True

    def close(self, wait: float) -> bool:
        """Step down, so that another one can lead at once, in at most ``wait`` seconds, and end. False: the others
        have to find out."""
        self._resigns = True
        self._wake.set()
        until = time.monotonic() + wait
        while self._thread.is_alive() and not self._leadership.is_resigned and time.monotonic() < until:
            time.sleep(IDLE_MIN_S)
        self._ends = True
        self._wake.set()
        self._thread.join(max(0.0, until - time.monotonic()))
        return self._leadership.is_resigned

    def _work(self) -> None:
        try:
            while not self._ends:
                self._turn()
        finally:
            self._store.close()

    def _turn(self) -> None:
        leadership = self._leadership
        leadership.eligible = self._eligible
        if self._resigns and leadership.role is not Role.RESIGNED:
            leadership.resign()
            self._show(self.view.away, 0.0)
        sent = clock()
        call = leadership.call(sent, wall())
        if call is None:
            self._wake.wait(max(IDLE_MIN_S, leadership.patience(sent)))
            self._wake.clear()
            return
        away = None
        if isinstance(call, Glance):
            with contextlib.suppress(Away):
                leadership.was_glanced(self._store.glance(LEADER, leadership.limit), clock())
            return
        try:
            if isinstance(call, Read):
                snapshot = self._store.read(LEADER, leadership.limit)
                leadership.was_read(snapshot, clock())
                self._said = snapshot.items[SAID].mod if SAID in snapshot.items else 0
                self._revision = snapshot.revision
            else:
                answer = self._store.transact(call.expect, call.put, (), leadership.limit)
                leadership.was_written(call, answer, sent, clock())
        except Away as fault:
            away = str(fault)
            leadership.was_away(clock())
            self._wake.wait(IDLE_MIN_S)
        self._show(away, clock() - sent)

    def _show(self, away: str | None, seconds: float) -> None:
        leadership, before = self._leadership, self.view
        self.view = View(
            leadership.role, leadership.term, leadership.leads_until, leadership.leader, away, seconds,
            leadership.resets, self._said, leadership.regained, leadership.leader_term, self._revision,
        )  # fmt: skip
        if not self.view.is_like(before):
            self._changed(self.view)
