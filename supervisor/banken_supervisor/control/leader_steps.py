"""The requests ``do`` and ``did``: the leader of a cluster has a step done that needs a process of this host."""

from __future__ import annotations

from typing import Any, NamedTuple

from banken.errors import Refused
from banken.protocol.incidents import Cause
from banken.protocol.limits import REASON_MAX, SECONDS_MAX, check_name
from banken_supervisor.actions.target import ActionTarget, StopReason
from banken_supervisor.control.key_rights import shown
from banken_supervisor.control.view import ControlView, StepsView

HANDED = frozenset({"dump", "signal", "kill", "restart"})
"""Actions that need a process, and are done on its host."""

ID_MAX = 100
"""Characters of an incident's id."""

NUMBER_MAX = 2**31 - 1
FENCE_MAX = 2**63 - 1


class RunKey(NamedTuple):
    """One run of a step; of each there is one in the cluster."""

    incident: str
    step: int
    run: int


class Asked(NamedTuple):
    """What the leader wants done."""

    key: RunKey
    name: str
    do: str
    fence: int
    """of the leader"""
    cause: Cause
    silence: float
    timeout: float
    reason: str | None


def asked(target: ActionTarget, action: str) -> dict[str, Any]:
    """What another member is asked to do: the arguments of ``do``."""
    incident = target.incident
    return {
        "incident": incident.id, "step": target.step, "run": target.run, "name": incident.name, "do": action,
        "fence": target.fence, "cause": incident.cause.value, "silence": incident.silence,
        "timeout": incident.timeout, "reason": incident.reason,
    }  # fmt: skip


def do(view: ControlView, args: dict[str, Any]) -> Any:
    """Have a step done, once however often it is asked for: ``name``, ``do`` and what the incident is."""
    key, name, what = _key(args), check_name(args.get("name")), args.get("do")
    if type(what) is not str or what not in HANDED:
        raise Refused(f"'do' must be one of {', '.join(sorted(HANDED))}, not {shown(what)}")
    cause, reason = args.get("cause"), args.get("reason")
    if type(cause) is not str or cause not in set(Cause):
        raise Refused(f"'cause' must be one of {', '.join(Cause)}, not {shown(cause)}")
    if reason is not None and (type(reason) is not str or len(reason) > REASON_MAX):
        raise Refused(f"'reason' must be nil or a text of at most {REASON_MAX} characters")
    fence = _whole("fence", args.get("fence"), FENCE_MAX)
    silence, timeout = _seconds("silence", args.get("silence")), _seconds("timeout", args.get("timeout"))
    return _steps(view).do(Asked(key, name, what, fence, Cause(cause), silence, timeout, reason))


def did(view: ControlView, args: dict[str, Any]) -> Any:
    """What became of it. ``end``: why nothing more is to be waited for, as the leader's own actions are told; nil:
    that is not so."""
    key, end = _key(args), args.get("end")
    if end is not None and (type(end) is not str or end not in set(StopReason)):
        raise Refused(f"'end' must be nil or one of {', '.join(StopReason)}, not {shown(end)}")
    return _steps(view).did(key, None if end is None else StopReason(end))


def _steps(view: ControlView) -> StepsView:
    cluster = view.cluster()
    if cluster is None:
        raise Refused("this supervisor is no member of a cluster")
    return cluster.for_leader


def _key(args: dict[str, Any]) -> RunKey:
    incident = args.get("incident")
    if type(incident) is not str or not 0 < len(incident) <= ID_MAX:
        raise Refused(f"'incident' must be a text of at most {ID_MAX} characters, not {shown(incident)}")
    step, run = _whole("step", args.get("step"), NUMBER_MAX), _whole("run", args.get("run"), NUMBER_MAX)
    return RunKey(incident, step, run)


def _seconds(what: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0.0 <= value <= SECONDS_MAX:
        raise Refused(f"'{what}' must be a number of seconds, not {shown(value)}")
    return float(value)


def _whole(what: str, value: object, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise Refused(f"'{what}' must be a whole number from 0 to {most}, not {shown(value)}")
    return value
