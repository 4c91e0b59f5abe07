"""An incident in words: for a command's environment, for JSON, for a message to people."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from banken.model import Incident
from banken_supervisor.recovery.base import Subject
from banken_supervisor.recovery.bounds import line, plain

BODY_MAX = 3500
"""Characters of a message's body; several services take 4096 in all."""

LEVEL_MAX = 64


def opened(incident: Incident) -> str:
    """When the verdict fell, as RFC 3339 in UTC."""
    try:
        return datetime.fromtimestamp(incident.opened, UTC).isoformat(timespec="milliseconds")
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
        "rung": subject.rung,
        "recovered": subject.recovered,
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
    if subject.recovered:
        return line(f"{incident.name}: recovered")
    level = f"[{line(subject.level, LEVEL_MAX)}] " if subject.level else ""
    return line(f"{level}{incident.name}: {incident.cause}, silent for {_duration(incident.silence)}")


def body(subject: Subject, evidence: Sequence[str] = ()) -> str:
    """The lines below the title. ``evidence``: its first lines, if any was taken."""
    incident = subject.incident
    if subject.recovered:
        lines = [f"Fed again. The incident was opened at {opened(incident)} ({incident.cause})."]
    else:
        lines = [
            f"Cause: {incident.cause}, at {opened(incident)}.",
            f"Silent for {_duration(incident.silence)}; its timeout is {_duration(incident.timeout)}.",
        ]
    if subject.level and not subject.recovered:
        lines.append(f"Level: {subject.level}")
    for label, value in (
        ("Reason", incident.reason),
        ("Last status", incident.status),
        ("Last progress", incident.progress),
        ("Process", None if subject.who is None else f"pid {subject.who.pid}"),
        ("Program", subject.program),
    ):
        if value is not None:
            lines.append(f"{label}: {value}")
    tail = [f"Incident: {incident.id}"] + ([subject.link] if subject.link else [])
    room = BODY_MAX - sum(len(each) + 1 for each in tail)
    kept = []
    for each in (line(every) for every in (*lines, *evidence)):
        room -= len(each) + 1
        if room < 0:
            break
        kept.append(each)
    return "\n".join([*kept, *(line(each) for each in tail)])


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
