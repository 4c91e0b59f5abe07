"""In which term of leadership an incident is whose, and whether an action of it may begin now."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import sleep

from banken_supervisor.actions.target import ActionTarget
from banken_supervisor.coordination.leadership_thread import View

TERMS_MAX = 100_000
"""Incidents of which it is remembered that they were the cluster's, the latest; and of those that are over."""

LOOK_S = 0.02
"""Seconds between two looks whether this member may act again."""


class Terms:
    """``view``: what this member is. Changed on the loop's thread; asked from any."""

    def __init__(self, view: Callable[[], View]) -> None:
        self.held_back = 0
        """actions that were dropped because another one leads"""
        self._view = view
        self._terms: dict[str, int] = {}
        """by incident: the term in which it was this member's, the latest last"""
        self._over: dict[str, None] = {}
        """those of this member that are over, and have no claim in the store any more, the latest last"""
        self._lock = Lock()
        """for ``_over``, which the threads of the store add to"""

    def __contains__(self, incident: str) -> bool:
        """Whether it is, or was, the cluster's."""
        return incident in self._terms

    def is_mine(self, incident: str, term: int | None) -> None:
        """This member has this incident, in this term of its leadership."""
        assert term is not None
        self._terms.pop(incident, None)
        self._terms[incident] = term
        if len(self._terms) > TERMS_MAX:
            del self._terms[next(iter(self._terms))]

    def is_over(self, incident: str) -> None:
        """This member has ended this incident, and its claim is gone from the store: nobody else knows of it. For
        any thread."""
        with self._lock:
            self._over[incident] = None
            if len(self._over) > TERMS_MAX:
                del self._over[next(iter(self._over))]

    def fence_of(self, incident: str) -> int | None:
        """The number of the leader that has this incident; None: it is no matter of the cluster."""
        return self._terms.get(incident)

    def may_call_back(self, incident: str) -> bool:
        """Whether the callback of this incident runs now."""
        return incident not in self._terms or self._view().may_act

    def permits(self, target: ActionTarget) -> bool:
        """Whether an action may begin: asked on its thread, immediately before. It waits as long as nobody else is
        known to lead. The news of an end is sent by a former leader, too, if no other member can know of it: where
        the claim is still in the store, the next leader ends the incident again, and sends the news."""
        if target.recovered and target.incident.id in self._over:
            return True
        while (permit := self.permit(target.incident.id)) is None:
            sleep(LOOK_S)
        return permit

    def permit(self, incident: str) -> bool | None:
        """Whether an action of this incident may begin now; None: that is not certain."""
        term, view = self._terms.get(incident), self._view()
        if term is None:
            return True  # it is no matter of the cluster
        if view.term != term:
            self.held_back += 1
            return False
        return True if view.may_act else None
