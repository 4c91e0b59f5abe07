"""An incident in words: for a command's environment, for JSON, for a message to people."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Any

from banken.protocol.incidents import Cause, Incident
from banken_supervisor.actions.base import Subject
from banken_supervisor.actions.sanitize import line, plain
from banken_supervisor.text.durations import NEVER_S
from banken_supervisor.text.reasons import gist, telling

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


def facts(subject: Subject, *, evidence: bool = True) -> dict[str, Any]:
    """All that is known, as plain bounded data. Durations in seconds."""
    incident = subject.incident
    found: dict[str, Any] = {
        "name": incident.name,
        "incident": incident.id,
        "cause": str(incident.cause),
        "opened": opened(incident),
        "silence": incident.silence,
        "timeout": incident.timeout,
        "run": subject.run,
        "step": subject.step,
        "recovered": subject.recovered,
        "how": subject.how if subject.recovered else None,
        "level": subject.level,
        "reason": incident.reason,
        "status": incident.status,
        "progress": incident.progress,
        "pid": None if subject.who is None else subject.who.pid,
        "program": subject.program,
        "link": subject.link,
    }
    if evidence and subject.evidence is not None:
        found["evidence"] = subject.evidence
    return plain({key: value for key, value in found.items() if value is not None})


def environment(subject: Subject) -> dict[str, str]:
    """This process's environment, with each fact as ``BANKEN_`` and its name in capitals.

    A fact that is not known has no variable, not even one that this process inherited.
    """
    found = {key: value for key, value in os.environ.items() if not _is_fact(key)}
    for key, value in facts(subject, evidence=False).items():
        words = str(value).lower() if isinstance(value, bool) else str(value)
        found[f"BANKEN_{key.upper()}"] = words.replace("\0", "\\0")
    return found


_KEPT = ("BANKEN_ADDRESS", "BANKEN_CONFIG")


def _is_fact(key: str) -> bool:
    return key.startswith("BANKEN_") and key not in _KEPT


def title(subject: Subject) -> str:
    """One line: what happened to whom."""
    incident = subject.incident
    said = "" if subject.recovered else level(subject)
    mark = f"[{line(said, LEVEL_MAX)}] " if said else ""
    if subject.others:
        return line(f"{mark}{_how_many(subject)} {_what(subject)}{_within(subject)}")
    if subject.recovered:
        return line(f"{incident.name}: {_over(subject)}")
    silence = _silence(incident)
    said = f": {gist(incident.reason)}" if incident.reason else ""
    if silence and not (said and incident.cause == Cause.EXITED):
        said = f", {silence}"
    return line(f"{mark}{incident.name}: {incident.cause}{said}")


def level(subject: Subject) -> str:
    """The gravest level of all that a message tells; empty: none has one."""
    given = [each.level for each in all_of(subject) if each.level]
    return max(given, key=lambda word: _GRAVITY.get(word.lower(), 0), default="")


def all_of(subject: Subject) -> tuple[Subject, ...]:
    """Everything that a message tells, in the order in which it came."""
    return (subject, *subject.others)


def body(subject: Subject, evidence: Sequence[str] = ()) -> str:
    """The lines below the title. ``evidence``: its first lines, if any was taken."""
    incident = subject.incident
    if subject.recovered:
        over = "Fed again" if subject.how == "fed" else f"The incident is over ({subject.how})"
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
    if subject.level and not subject.recovered:
        lines.append(f"Level: {subject.level}")
    for label, value in (
        ("Reason", gist(incident.reason) if incident.reason else None),
        ("Last status", incident.status),
        ("Last progress", incident.progress),
        ("Process", None if subject.who is None else f"pid {subject.who.pid}"),
        ("Program", subject.program),
    ):
        if value is not None:
            lines.append(f"{label}: {value}")
    return _bounded([*lines, *evidence], [f"Incident: {incident.id}"] + ([subject.link] if subject.link else []))


def folded_body(subject: Subject) -> str:
    """The lines below the title of a message that tells of many: who, why, and what is known of where they hung."""
    told = all_of(subject)
    names = list(dict.fromkeys(each.incident.name for each in told))
    more = f" … and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    causes = Counter(str(each.incident.cause) for each in told)
    verb = "was over" if subject.recovered else "expired"
    lines = [
        ", ".join(names[:NAMED_MAX]) + more,
        f"Causes: {', '.join(f'{count} × {cause}' for cause, count in causes.most_common())}.",
        f"The first {verb} at {_at(min(map(_moment, told)))}.",
    ]
    if subject.recovered:
        lines.insert(2, f"Over: {', '.join(f'{count} × {how}' for how, count in _hows(told).most_common())}.")
    else:
        hung = [(each.incident.name, each.evidence.get("headline")) for each in told if each.evidence]
        lines += [f"{name}: {headline}" for name, headline in hung[:HUNG_MAX] if headline]
    return _bounded(lines, [subject.page] if subject.page else [f"First incident: {subject.incident.id}"])


def folded_facts(subject: Subject) -> dict[str, Any]:
    """What ``folded_body`` says, as plain bounded data."""
    told = all_of(subject)
    found = {
        "count": len(told),
        "recovered": subject.recovered,
        "level": level(subject) or None,
        "causes": dict(Counter(str(each.incident.cause) for each in told)),
        "incidents": [facts(each, evidence=False) for each in told[:LISTED_MAX]],
        "left_out": max(0, len(told) - LISTED_MAX),
        "link": subject.page,
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


def _how_many(subject: Subject) -> str:
    told = all_of(subject)
    names = len({each.incident.name for each in told})
    if names == len(told):
        return f"{names} watchdogs"
    return f"{names} watchdog{'' if names == 1 else 's'} ({len(told)} notices)"


def _what(subject: Subject) -> str:
    if not subject.recovered:
        return "expired"
    return "recovered" if set(_hows(all_of(subject))) == {"fed"} else "are over their incidents"


def _hows(told: Sequence[Subject]) -> Counter[str]:
    return Counter(each.how for each in told)


def _within(subject: Subject) -> str:
    moments = list(map(_moment, all_of(subject)))
    return f" within {max(1, ceil(max(moments) - min(moments)))} s"


def _moment(subject: Subject) -> float:
    """When it happened, wall clock: the verdict, or the end."""
    incident = subject.incident
    return incident.opened + (incident.silence if subject.recovered else 0.0)


def _over(subject: Subject) -> str:
    return "recovered" if subject.how == "fed" else f"over ({subject.how})"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
