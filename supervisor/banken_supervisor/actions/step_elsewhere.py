"""A step that needs a process of another host, done there: the leader of a cluster asks that host's member.

It is asked once, and only if it answers: who has ended in order a moment ago may still seem to be there. A member
that is busy, or has just been started, may not answer for a moment: that is waited for.
Whether it has begun is asked again and again, until it has ended: that may be done as often as one likes. Where the
member does not answer any more nobody knows whether it was done, and it is not asked of anybody else.

A member that drops it before it begins, for it stops, say, has not done it: it is asked again when it is back.
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

RESTART_S = 10.0
"""Seconds that a member which stops may take until it answers again."""

MARGIN_S = 5.0
"""Seconds that it may take more than it would here."""

SILENT = "does not answer"

_HANDED_ON = frozenset({StopReason.HANDED_OVER, StopReason.STOPPING})
"""Why this member waits no longer, though the incident is open: it is another one's."""


class _Dropped(NamedTuple):
    """It was not begun there, and may be asked for again."""

    text: str


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
        self.waits_s = action.limit_s + MARGIN_S
        """seconds that a member which was asked is waited for"""
        self.limit_s = 2 * self.waits_s + RESTART_S  # it may be asked again
        self._action = action
        self._asked, self._others = asked, others

    @property
    def hidden(self) -> tuple[str, ...]:  # type: ignore[override]
        """The action's: it is asked when something is to be told."""
        return self._action.hidden

    def run(self, target: ActionTarget, context: ActionContext, ended: IncidentEnd) -> Outcome:
        """Find the member that has the process, and wait for what it has done."""
        began = monotonic()
        reasons = dict[str, str]()
        while True:
            for other in self._others:
                if other.name in reasons or not other.is_up():
                    continue
                with other.connect(ANSWER_S) as control:
                    found = self._ask(other, control, ended)
                if isinstance(found, Outcome):
                    return found
                if found is not None:
                    reasons[other.name] = found or "does not have it"
            silent = [each.name for each in self._others if each.name not in reasons]
            if not silent or monotonic() >= began + RETURN_S or ended.wait(POLL_S):
                break
        may_be_done = SILENT in reasons.values()
        reasons |= dict.fromkeys(silent, SILENT)
        text = "its process is on another host"
        told = "; ".join(f"{name} {reason}" for name, reason in reasons.items())
        # Who has the process was perhaps not asked yet: if the incident comes back, all are asked again.
        is_cut = silent and not may_be_done and ended.reason in _HANDED_ON
        cut = {CUT: True} if is_cut else {}
        return Outcome(False, f"{text}: {told}" if told else text, cut, skipped=True)

    def _ask(self, other: Other, control: Control, ended: IncidentEnd) -> Outcome | str | None:
        """What it did; or why it did not, empty: the process is not there. None: it was not asked."""
        dropped, back_by = None, 0.0
        while True:
            found = self._ask_once(other, control, ended)
            if isinstance(found, _Dropped):
                back_by = back_by or monotonic() + RESTART_S
                dropped = found
            elif dropped is None or isinstance(found, Outcome) or found == SILENT:
                return found
            # Who has just begun may refuse it for a moment, for it does not know yet who leads.
            while not ended.wait(POLL_S) and monotonic() < back_by and not self._is_back(control):
                pass
            if ended.is_set():
                return Outcome(False, f"on {other.name}: {dropped.text}", {CUT: True}, skipped=True)
            if monotonic() >= back_by:
                return f"did not begin it: {dropped.text}"

    def _ask_once(self, other: Other, control: Control, ended: IncidentEnd) -> Outcome | _Dropped | str | None:
        try:
            control.request("ping")
        except Unreachable:
            return None
        try:
            answer = control.request("do", **self._asked)
        except Unreachable:
            return self._wait(other, control, ended)  # it may have heard it
        except RequestFailed as fault:
            return f"refuses: {fault}"
        if answer["taken"]:
            return self._wait(other, control, ended)
        if answer.get("stops"):
            return _Dropped(str(answer["why"]))
        return f"refuses: {answer['why']}" if answer["here"] else ""

    def _is_back(self, control: Control) -> bool:
        """Whether a member that has dropped it can be asked again."""
        try:
            return not control.request("did", **self._key).get("stops")
        except (Unreachable, RequestFailed):
            return False

    @property
    def _key(self) -> dict[str, Any]:
        return {each: self._asked[each] for each in ("incident", "step", "run")}

    def _wait(self, other: Other, control: Control, ended: IncidentEnd) -> Outcome | _Dropped | str:
        until = monotonic() + self.waits_s
        while monotonic() < until:
            try:
                answer = control.request("did", **self._key, end=ended.reason)
            except Unreachable:
                continue
            except RequestFailed as fault:
                return Outcome(False, f"{other.name} was asked to do it, and does not say what it did: {fault}")
            if not answer["known"]:
                return SILENT  # it never heard it, or has begun anew
            if answer["done"]:
                return _Dropped(answer["text"]) if answer.get("dropped") else _outcome(other.name, answer)
            if ended.is_set():
                sleep(POLL_S)
            else:
                ended.wait(POLL_S)
        text = f"{other.name} was asked to do it, and has not answered since: it is not known whether it was done"
        return Outcome(False, text)


def _outcome(member: str, answer: dict[str, Any]) -> Outcome:
    """What the other member has reported, as this one's."""
    data = answer["data"] if isinstance(answer.get("data"), dict) else {}
    text = f"on {member}: {answer['text']}"
    return Outcome(answer["ok"], text, {**data, "member": member}, skipped=answer["skipped"])
