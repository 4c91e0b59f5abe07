"""An incident in words: for a command's environment, for JSON, for a message to people."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Any

from banken.model import Cause, Incident
from banken_supervisor.actions.target import ActionTarget
from banken_supervisor.text.durations import NEVER_S
from banken_supervisor.text.reasons import gist, telling
from banken_supervisor.text.sanitize import line, plain

BODY_MAX = 3500
"""Characters of a message's body; several services take 4096 in all."""

LEVEL_MAX = 64

NAMED_MAX = 10
"""Names that a folded message lists."""

HUNG_MAX = 5
"""Watchdogs of which a folded message says where they hung."""

LISTED_MAX = 200
"""Incidents that a folded web hook lists."""

_GRAVITY = {"warning": 1, "error": 2, "critical": 3, "emergency": 4}


def opened(incident: Incident) -> str:
    """When the verdict fell, as RFC 3339 in UTC."""
    return _at(incident.opened)


def _at(moment: float) -> str:
    try:
        return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC).isoformat(timespec="milliseconds")


def facts(target: ActionTarget, *, evidence: bool = True) -> dict[str, Any]:
    """All that is known, as plain bounded data. Durations in seconds."""
    incident = target.incident
    found: dict[str, Any] = {
        "name": incident.name,
        "incident": incident.id,
        "cause": str(incident.cause),
        "opened": opened(incident),
        "silence": incident.silence,
        "timeout": incident.timeout,
        "run": target.run,
        "step": target.step,
        "recovered": target.recovered,
        "how": target.how if target.recovered else None,
        "level": target.level,
        "reason": incident.reason,
        "status": incident.status,
        "progress": incident.progress,
        "pid": None if target.who is None else target.who.pid,
        "program": target.program,
        "link": target.link,
    }
    if evidence and target.evidence is not None:
        found["evidence"] = target.evidence
    return plain({key: value for key, value in found.items() if value is not None})


def environment(target: ActionTarget) -> dict[str, str]:
    """This process's environment, with each fact as ``BANKEN_`` and its name in capitals.

    A fact that is not known has no variable, not even one that this process inherited.
    """
    found = {key: value for key, value in os.environ.items() if not _is_fact(key)}
    for key, value in facts(target, evidence=False).items():
        words = str(value).lower() if isinstance(value, bool) else str(value)
        found[f"BANKEN_{key.upper()}"] = words.replace("\0", "\\0")
    return found


_KEPT = ("BANKEN_ADDRESS", "BANKEN_CONFIG")


def _is_fact(key: str) -> bool:
    return key.startswith("BANKEN_") and key not in _KEPT


def title(target: ActionTarget) -> str:
    """One line: what happened to whom."""
    incident = target.incident
    said = "" if target.recovered else level(target)
    mark = f"[{line(said, LEVEL_MAX)}] " if said else ""
    if target.others:
        return line(f"{mark}{_how_many(target)} {_what(target)}{_within(target)}")
    if target.recovered:
        return line(f"{incident.name}: {_over(target)}")
    silence = _silence(incident)
    said = f": {gist(incident.reason)}" if incident.reason else ""
    if silence and not (said and incident.cause == Cause.EXITED):
        said = f", {silence}"
    return line(f"{mark}{incident.name}: {incident.cause}{said}")


def level(target: ActionTarget) -> str:
    """The gravest level of all that a message tells; empty: none has one."""
    given = [each.level for each in all_of(target) if each.level]
    return max(given, key=lambda word: _GRAVITY.get(word.lower(), 0), default="")


def all_of(target: ActionTarget) -> tuple[ActionTarget, ...]:
    """Everything that a message tells, in the order in which it came."""
    return (target, *target.others)


def body(target: ActionTarget, evidence: Sequence[str] = ()) -> str:
    """The lines below the title. ``evidence``: its first lines, if any was taken."""
    incident = target.incident
    if target.recovered:
        over = "Fed again" if target.how == "fed" else f"The incident is over ({target.how})"
        lasted = _duration(incident.silence)
        lines = [f"{over} after {lasted}. The incident was opened at {opened(incident)} ({incident.cause})."]
    else:
        lines = [
            f"Cause: {incident.cause}, at {opened(incident)}.",
        ]
        if silence := _silence(incident):
            lines.append(f"{silence.capitalize()}.")
        if incident.timeout < NEVER_S:
            lines.append(f"Its timeout is {_duration(incident.timeout)}.")
    if target.level and not target.recovered:
        lines.append(f"Level: {target.level}")
    for label, value in (
        ("Reason", gist(incident.reason) if incident.reason else None),
        ("Last status", incident.status),
        ("Last progress", incident.progress),
        ("Process", None if target.who is None else f"pid {target.who.pid}"),
        ("Program", target.program),
    ):
        if value is not None:
            lines.append(f"{label}: {value}")
    return _bounded([*lines, *evidence], [f"Incident: {incident.id}"] + ([target.link] if target.link else []))


def folded_body(target: ActionTarget) -> str:
    """The lines below the title of a message that tells of many: who, why, and what is known of where they hung."""
    told = all_of(target)
    names = list(dict.fromkeys(each.incident.name for each in told))
    more = f" … and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    causes = Counter(str(each.incident.cause) for each in told)
    verb = "was over" if target.recovered else "expired"
    lines = [
        ", ".join(names[:NAMED_MAX]) + more,
        f"Causes: {', '.join(f'{count} × {cause}' for cause, count in causes.most_common())}.",
        f"The first {verb} at {_at(min(map(_moment, told)))}.",
    ]
    if target.recovered:
        lines.insert(2, f"Over: {', '.join(f'{count} × {how}' for how, count in _hows(told).most_common())}.")
    else:
        hung = [(each.incident.name, each.evidence.get("headline")) for each in told if each.evidence]
        lines += [f"{name}: {headline}" for name, headline in hung[:HUNG_MAX] if headline]
    return _bounded(lines, [target.page] if target.page else [f"First incident: {target.incident.id}"])


def folded_facts(target: ActionTarget) -> dict[str, Any]:
    """What ``folded_body`` says, as plain bounded data."""
    told = all_of(target)
    found = {
        "count": len(told),
        "recovered": target.recovered,
        "level": level(target) or None,
        "causes": dict(Counter(str(each.incident.cause) for each in told)),
        "incidents": [facts(each, evidence=False) for each in told[:LISTED_MAX]],
        "left_out": max(0, len(told) - LISTED_MAX),
        "link": target.page,
    }
    return plain({key: value for key, value in found.items() if value is not None})


def _bounded(lines: Sequence[str], tail: Sequence[str]) -> str:
    """As many lines as fit into a message, and the tail whole."""
    room = BODY_MAX - sum(len(each) + 1 for each in tail)
    kept = []
    for each in map(line, lines):
        room -= len(each) + 1
        if room < 0:
            break
        kept.append(each)
    return "\n".join([*kept, *map(line, tail)])


def _silence(incident: Incident) -> str:
    """Empty where it says nothing."""
    tells = "silence" in telling({"cause": incident.cause, "silence": incident.silence})
    return f"silent for {_duration(incident.silence)}" if tells else ""


def _how_many(target: ActionTarget) -> str:
    told = all_of(target)
    names = len({each.incident.name for each in told})
    if names == len(told):
        return f"{names} watchdogs"
    return f"{names} watchdog{'' if names == 1 else 's'} ({len(told)} notices)"


def _what(target: ActionTarget) -> str:
    if not target.recovered:
        return "expired"
    return "recovered" if set(_hows(all_of(target))) == {"fed"} else "are over their incidents"


def _hows(told: Sequence[ActionTarget]) -> Counter[str]:
    return Counter(each.how for each in told)


def _within(target: ActionTarget) -> str:
    moments = list(map(_moment, all_of(target)))
    return f" within {max(1, ceil(max(moments) - min(moments)))} s"


def _moment(target: ActionTarget) -> float:
    """When it happened, wall clock: the verdict, or the end."""
    incident = target.incident
    return incident.opened + (incident.silence if target.recovered else 0.0)


def _over(target: ActionTarget) -> str:
    return "recovered" if target.how == "fed" else f"over ({target.how})"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
