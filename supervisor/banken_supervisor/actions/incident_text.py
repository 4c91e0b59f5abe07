"""An incident as text: for a command's environment, for JSON, for a message to people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Any

from banken.protocol.incidents import Cause, Incident
from banken_supervisor.actions.target import ActionTarget
from banken_supervisor.engine.states import RECOVERIES
from banken_supervisor.evidence import output_lines
from banken_supervisor.processes.child_environment import inherited
from banken_supervisor.text.durations import NEVER_S
from banken_supervisor.text.event_text import ENDS
from banken_supervisor.text.reasons import gist, telling
from banken_supervisor.text.sanitize import line, plain

BODY_MAX = 3500
"""Characters of a message's body; several services take 4096 in all."""

OUTPUT_MAX = 2_000
"""Characters of it that the last output of programs and commands may take."""

SAID_MAX = 120
"""Characters of a program's last line in a title."""

LEVEL_MAX = 64

NAMED_MAX = 10
"""Names that a folded message lists."""

HUNG_MAX = 5
"""Watchdogs of which a folded message says where they hung."""

LISTED_MAX = 200
"""Incidents that a folded web hook lists."""

_INHERITED = ("BANKEN_ADDRESS", "BANKEN_CONFIG")
"""The only variables of this process's that begin like a fact and are passed on."""

_GRAVITY = {"warning": 1, "error": 2, "critical": 3, "emergency": 4}


def at(moment: float) -> str:
    """A wall clock time as RFC 3339 in UTC."""
    try:
        found = datetime.fromtimestamp(moment, UTC)
    except (OverflowError, ValueError, OSError):
        found = datetime.fromtimestamp(0, UTC)
    return found.isoformat(timespec="milliseconds")


def facts(target: ActionTarget, *, evidence: bool = True) -> dict[str, Any]:
    """All known facts, as plain data of limited size. Durations in seconds."""
    incident = target.incident
    found: dict[str, Any] = {
        "name": incident.name,
        "incident": incident.id,
        "cause": str(incident.cause),
        "opened": at(incident.opened),
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
        "fence": target.fence,
    }
    if evidence and target.evidence is not None:
        found["evidence"] = target.evidence
    return plain({key: value for key, value in found.items() if value is not None})


def environment(target: ActionTarget, own: Mapping[str, str], withheld: Collection[str]) -> dict[str, str]:
    """The environment that a command inherits, without what is ``withheld``, with its ``own`` variables, and with
    each fact as ``BANKEN_`` and its name in capitals.

    A fact that is not known has no variable, not even one that this process inherited.
    """
    rest = inherited(withheld=withheld)
    found = {key: value for key, value in rest.items() if not key.startswith("BANKEN_") or key in _INHERITED}
    found |= own
    for key, value in facts(target, evidence=False).items():
        words = str(value).lower() if isinstance(value, bool) else str(value)
        found[f"BANKEN_{key.upper()}"] = words.replace("\0", "\\0")
    return found


def title(target: ActionTarget) -> str:
    """One line: what happened to which watchdog."""
    incident = target.incident
    grave = "" if target.recovered else level(target)
    mark = f"[{line(grave, LEVEL_MAX)}] " if grave else ""
    if target.others:
        return line(f"{mark}{_how_many(target)}")
    if target.recovered:
        return line(f"{incident.name}: {'recovered' if target.how in RECOVERIES else f'over ({target.how})'}")
    silence = _silence(incident)
    detail = f": {gist(incident.reason)}" if incident.reason else ""
    if incident.cause == Cause.EXITED and target.program and target.evidence and target.evidence.get("outputs"):
        detail += f": {line(target.evidence['outputs'][0]['lines'][-1], SAID_MAX)}"
    if silence and not (detail and incident.cause == Cause.EXITED):
        detail = f", {silence}"
    return line(f"{mark}{incident.name}: {incident.cause}{detail}")


def level(target: ActionTarget) -> str:
    """The gravest level in a message; empty: none has one."""
    given = [each.level for each in all_of(target) if each.level]
    return max(given, key=lambda name: _GRAVITY.get(name.lower(), 0), default="")


def all_of(target: ActionTarget) -> tuple[ActionTarget, ...]:
    """All incidents of a message, in the order in which they came."""
    return (target, *target.others)


def body(target: ActionTarget, evidence: Sequence[str] = ()) -> str:
    """The lines below the title. ``evidence``: its first lines, if any was taken."""
    incident = target.incident
    if target.recovered:
        over = ENDS[target.how].capitalize() if target.how in RECOVERIES else f"The incident is over ({target.how})"
        lasted = _duration(incident.silence)
        lines = [f"{over} after {lasted}. The incident was opened at {at(incident.opened)} ({incident.cause})."]
    else:
        lines = [f"Cause: {incident.cause}, at {at(incident.opened)}."]
        if silence := _silence(incident):
            lines.append(f"{silence.capitalize()}.")
        if incident.timeout < NEVER_S:
            lines.append(f"Its timeout is {_duration(incident.timeout)}.")
    known = {
        "Level": None if target.recovered else target.level,
        "Reason": gist(incident.reason) if incident.reason else None,
        "Last status": incident.status,
        "Last progress": incident.progress,
        "Process": None if target.who is None else f"pid {target.who.pid}",
        "Program": target.program,
    }
    lines += [f"{label}: {value}" for label, value in known.items() if value is not None]
    outputs = [] if target.recovered or target.evidence is None else output_lines(target.evidence, OUTPUT_MAX)
    return _fitting(
        [*lines, *evidence, *outputs], [f"Incident: {incident.id}"] + ([target.link] if target.link else [])
    )


def folded_body(target: ActionTarget) -> str:
    """The lines below the title of a message about many: which, why, and where they hung as far as it is known."""
    targets = all_of(target)
    names = list(dict.fromkeys(each.incident.name for each in targets))
    more = f" … and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    lines = [
        ", ".join(names[:NAMED_MAX]) + more,
        f"Causes: {_counted(str(each.incident.cause) for each in targets)}.",
    ]
    if target.recovered:
        lines.append(f"Over: {_counted(each.how for each in targets)}.")
    verb = "was over" if target.recovered else "expired"
    lines.append(f"The first {verb} at {at(min(map(_moment, targets)))}.")
    if not target.recovered:
        hung = [(each.incident.name, each.evidence.get("headline")) for each in targets if each.evidence]
        lines += [f"{name}: {headline}" for name, headline in hung[:HUNG_MAX] if headline]
    return _fitting(lines, [target.page] if target.page else [f"First incident: {target.incident.id}"])


def folded_facts(target: ActionTarget) -> dict[str, Any]:
    """The same as ``folded_body``, as plain data of limited size."""
    targets = all_of(target)
    found = {
        "count": len(targets),
        "recovered": target.recovered,
        "level": level(target) or None,
        "causes": dict(Counter(str(each.incident.cause) for each in targets)),
        "incidents": [facts(each, evidence=False) for each in targets[:LISTED_MAX]],
        "left_out": max(0, len(targets) - LISTED_MAX),
        "link": target.page,
    }
    return plain({key: value for key, value in found.items() if value is not None})


def _counted(words: Iterable[str]) -> str:
    return ", ".join(f"{count} × {word}" for word, count in Counter(words).most_common())


def _fitting(lines: Sequence[str], tail: Sequence[str]) -> str:
    """As many lines as fit into a message, and the tail whole."""
    room = BODY_MAX - sum(len(each) + 1 for each in tail)
    fitting = []
    for each in map(line, lines):
        room -= len(each) + 1
        if room < 0:
            break
        fitting.append(each)
    return "\n".join([*fitting, *map(line, tail)])


def _silence(incident: Incident) -> str:
    """Empty where the silence is not what the verdict is about."""
    known = {"cause": incident.cause, "silence": incident.silence, "timeout": incident.timeout}
    relevant = "silence" in telling(known)
    return f"silent for {_duration(incident.silence)}" if relevant else ""


def _how_many(target: ActionTarget) -> str:
    """``3 watchdogs expired within 2 s``."""
    targets = all_of(target)
    count = len({each.incident.name for each in targets})
    notices = "" if count == len(targets) else f" ({len(targets)} notices)"
    what = "expired"
    if target.recovered:
        what = "recovered" if {each.how for each in targets} <= RECOVERIES else "are over their incidents"
    moments = list(map(_moment, targets))
    seconds = max(1, ceil(max(moments) - min(moments)))
    return f"{count} watchdog{'' if count == 1 else 's'}{notices} {what} within {seconds} s"


def _moment(target: ActionTarget) -> float:
    """The time of the verdict, or of the end, wall clock."""
    return target.incident.opened + (target.incident.silence if target.recovered else 0.0)


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
