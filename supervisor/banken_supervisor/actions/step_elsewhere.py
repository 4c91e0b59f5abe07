"""A step that needs a process of another host, done there: the leader of a cluster asks that host's member.

It is asked once. A member that is busy, or has just been started, may not answer for a moment: that is waited for.
Whether it has begun is asked again and again, until it has ended: that may be done as often as one likes. Where the
member does not answer any more nobody knows whether it was done, and it is not asked of anybody else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from time import monotonic, sleep
from typing import Any, NamedTuple

from banken.control import Control
from banken.errors import RequestFailed, Unreachable
from banken_supervisor.actions.action_context import ActionContext
from banken_supervisor.actions.base import Action
from banken_supervisor.actions.target import CUT, ActionTarget, IncidentEnd, Outcome, StopReason

POLL_S = 0.1
"""Seconds between two questions whether it is done."""

ANSWER_S = 1.0
"""Seconds that an answer is waited for."""

RETURN_S = 2.0
"""Seconds that a member may take to answer again."""

MARGIN_S = 5.0
"""Seconds that it may take more than it would here."""

SILENT = "does not answer"


class Other(NamedTuple):
    """Another member."""

    name: str
    is_up: Callable[[], bool]
    """whether it answered last"""
    connect: Callable[[float], AbstractContextManager[Control]]
    """a connection of one's own; gets the seconds that an answer may take"""


class StepElsewhere(Action):
    """``action``: what would be done here. ``asked``: the arguments of ``do`` (control/leader_steps.py)."""

    outside = True

    def __init__(self, action: Action, asked: dict[str, Any], others: Sequence[Other]) -> None:
        self.name = action.name  # type: ignore[misc]
        self.limit_s = action.limit_s + MARGIN_S
        self.hidden = action.hidden
        self._asked, self._others = asked, others
        self._until = 0.0

    def run(self, target: ActionTarget, context: ActionContext, ended: IncidentEnd) -> Outcome:
        """Find the member that has the process, and wait for what it has done."""
        began = monotonic()
        self._until = began + self.limit_s
        reasons = dict[str, str]()
        while True:
            for other in self._others:
                if other.name in reasons or not other.is_up():
                    continue
                with other.connect(ANSWER_S) as control:
                    found = self._ask(other, control, ended)
                if isinstance(found, Outcome):
                    return found
                reasons[other.name] = found or "does not have it"
            silent = [each.name for each in self._others if each.name not in reasons]
            if not silent or monotonic() >= began + RETURN_S or ended.wait(POLL_S):
                break
        may_be_done = SILENT in reasons.values()
        reasons |= dict.fromkeys(silent, SILENT)
        text = "its process is on another host"
        told = "; ".join(f"{name} {reason}" for name, reason in reasons.items())
        # Who has the process was perhaps not asked yet: if the incident comes back, all are asked again.
        is_cut = silent and not may_be_done and ended.reason is StopReason.HANDED_OVER
        cut = {CUT: True} if is_cut else {}
        return Outcome(False, f"{text}: {told}" if told else text, cut, skipped=True)

    def _ask(self, other: Other, control: Control, ended: IncidentEnd) -> Outcome | str:
        """What it did; or why it did not, empty: the process is not there."""
        try:
            answer = control.request("do", **self._asked)
        except Unreachable:
            return self._wait(other, control, ended)  # it may have heard it
        except RequestFailed as fault:
            return f"refuses: {fault}"
        if answer["taken"]:
            return self._wait(other, control, ended)
        return f"refuses: {answer['why']}" if answer["here"] else ""

    def _wait(self, other: Other, control: Control, ended: IncidentEnd) -> Outcome | str:
        key = {each: self._asked[each] for each in ("incident", "step", "run")}
        while monotonic() < self._until:
            try:
                answer = control.request("did", **key, end=ended.reason)
            except Unreachable:
                continue
            except RequestFailed as fault:
                return Outcome(False, f"{other.name} was asked to do it, and does not say what it did: {fault}")
            if not answer["known"]:
                return SILENT  # it never heard it, or has begun anew
            if answer["done"]:
                return _outcome(other.name, answer)
            sleep(POLL_S)
        text = f"{other.name} was asked to do it, and has not answered since: it is not known whether it was done"
        return Outcome(False, text)


def _outcome(member: str, answer: dict[str, Any]) -> Outcome:
    """What the other member has reported, as this one's."""
    data = answer["data"] if isinstance(answer.get("data"), dict) else {}
    text = f"on {member}: {answer['text']}"
    return Outcome(answer["ok"], text, {**data, "member": member}, skipped=answer["skipped"])
