"""Events as text: ``log_line`` for the log; ``sentence`` for ``banken events``, which prints other fields itself.

Text of workers and commands is included unchanged: the caller must sanitise it before it shows it on a terminal.
"""

from __future__ import annotations

import logging
from typing import Any

from banken.protocol.limits import is_section
from banken.protocol.messages import Declaration
from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.engine.exit_status import ends_text, exit_text
from banken_supervisor.text.durations import NEVER_S, format_s
from banken_supervisor.text.reasons import gist, telling
from banken_supervisor.text.sanitize import ODD

SECONDS = frozenset({
    "silence", "timeout", "interval", "grace", "progress_timeout", "lasted", "age", "seconds", "lost", "total_lost"
})  # fmt: skip
"""Fields that are durations."""

ENDS = {
    "fed": "fed again",
    "passed": "the check passed",
    "ready": "it is ready",
    "enough alive": "enough members are alive",
    "reborn": "a new process has taken over",
    "stopped": "its program was stopped",
    "ended": "its process has ended",
}
"""How an incident ended, where the word in the event's data is not clear by itself."""

LEVELS = {
    EventType.EXPIRED: logging.WARNING,
    EventType.CALLBACK_FAILED: logging.ERROR,
    EventType.CALLBACK_STUCK: logging.ERROR,
    EventType.CALLBACK_SKIPPED: logging.WARNING,
    EventType.STALLED: logging.WARNING,
    EventType.OVERLOADED: logging.WARNING,
    EventType.RESOURCES: logging.WARNING,
    EventType.ADDRESS: logging.ERROR,
    EventType.JOURNAL: logging.WARNING,
    EventType.CONTEST: logging.WARNING,
    EventType.CONFLICT: logging.WARNING,
    EventType.REFUSED: logging.WARNING,
    EventType.FLOOD: logging.WARNING,
    EventType.FAILED: logging.WARNING,
    EventType.GIVEN_UP: logging.ERROR,
    EventType.ACTION_FAILED: logging.ERROR,
    EventType.ACTION_STUCK: logging.ERROR,
    EventType.ACTION_UNKNOWN: logging.WARNING,
    EventType.DECLARED: logging.DEBUG,
    EventType.ENDED: logging.DEBUG,
    EventType.FIRST_FED: logging.DEBUG,
    EventType.CALLBACK_DONE: logging.DEBUG,
    EventType.INTERNAL_ERROR: logging.DEBUG,  # the guard writes the line with the traceback
}
"""Log level by type of event; other types: info."""

PROGRAM_LEVELS = {
    "program-unkillable": logging.ERROR,
    "program-gave-up": logging.ERROR,
    "program-failed": logging.WARNING,
}
"""Log level by what happened to a program."""

CLUSTER_NEWS = frozenset({"leads", "follows", "engine-back", "one-sided"})
"""What happens in a cluster in good order; the rest are warnings."""


NAMED_MAX = 5
"""Names of a list that are shown."""


def level(event: Event) -> int:
    """At which level the event is logged."""
    if event.type is EventType.PROGRAM:
        return PROGRAM_LEVELS.get(str(event.data.get("what")), logging.INFO)
    if event.type is EventType.CLUSTER:
        return logging.INFO if event.data.get("what") in CLUSTER_NEWS else logging.WARNING
    found = LEVELS.get(event.type, logging.INFO)
    if found == logging.INFO and (is_repeat(event) or _is_of_section(event)):
        return logging.DEBUG
    return found


def is_repeat(event: Event) -> bool:
    """Whether it only says that an incident still lasts. The 2nd, 4th, 8th … run of its callback is news."""
    run = event.data.get("run")
    return event.type is EventType.CALLBACK_REPEATED and isinstance(run, int) and run & (run - 1) != 0


def _is_of_section(event: Event) -> bool:
    """Whether it is about the ordinary life of a section; a process may have a thousand in a second."""
    return "incident" not in event.data and event.name is not None and is_section(event.name)


def sentence(event: dict[str, Any]) -> str | None:
    """The event without its time and name; None: it has no sentence, show its fields. Every field is optional, and
    may be of any kind: an event may be of another version, or of a peer with a fault."""
    try:
        return _sentence(event)
    except ODD:
        return None


def _sentence(event: dict[str, Any]) -> str | None:
    kind = event.get("type")
    if kind == "program":
        return _program(event)
    if kind in ("action", "would-act"):
        return _action(event)
    if kind == "action-unknown":
        return _begun_before(event)
    if isinstance(kind, str) and kind.startswith("action-"):
        return _outcome(event, kind.removeprefix("action-"))
    if kind == "conflict":
        return _conflict(event)
    if kind in ("address", "resources", "outer-watchdog", "cluster", "upward"):
        return _text(event)
    if kind == "journal":
        return _journal(event)
    if kind == "flood":
        return _flood(event)
    if kind == "reloaded":
        return f"the config file {event.get('file', '')} was loaded{later(event.get('later'))}"
    if kind == "reload-failed":
        return f"the config file was refused, the old config stays in use: {_text(event)}"
    return None


def later(keys: object) -> str:
    """What of a config that was read again waits for the supervisor's next start; empty: nothing."""
    if not isinstance(keys, list) or not keys:
        return ""
    return f"; only at the supervisor's next start: {', '.join(map(str, keys))}"


def _flood(event: dict[str, Any]) -> str:
    pid, dropped = event.get("pid"), event.get("dropped")
    who = "what names no process" if pid is None else f"process {pid}"
    if (key := event.get("key")) is not None:
        who = f"the key {key!r}"
    lost = f", {dropped} were dropped" if dropped else ""
    return f"{who} sends more than its share: {event.get('waiting')} bytes of its messages wait{lost}"


def log_line(event: Event) -> str:
    """The whole event; one line, except that a reason of several lines follows below."""
    data = event.data
    name = event.name or "supervisor"
    match event.type:
        case EventType.EXPIRED | EventType.CALLBACK_REPEATED:
            return _verdict(name, event)
        case EventType.RECOVERED | EventType.CLOSED:
            how = ENDS.get(data["how"], data["how"])
            return f"{name} {event.type.value}: {how}, after {data['lasted']:.3f} s [{data['incident']}]"
        case EventType.STALLED:
            return f"the supervisor did not run for {data['lost']:.3f} s; no watchdog is charged for this time"
        case EventType.REFUSED:
            return f"{name} refused ({data['reason']}): {data['text']} ({data['total']} so far)"
    text = sentence({"type": event.type.value, "name": event.name, **data})
    if text is None:
        fields = [
            field(key, value) for key, value in telling(data).items() if value is not None and key != "incident"
        ]
        text = event.type.value + (f": {', '.join(fields)}" if fields else "")
    return f"{name} {text}" + (f" [{data['incident']}]" if "incident" in data else "")


def field(key: str, value: Any) -> str:
    """One field of an event that has no sentence of its own; the value may be anything."""
    try:
        return _field(key, value)
    except ODD:
        return f"{key} {value}"


def _field(key: str, value: Any) -> str:
    if key == "late":
        return f"{value * 1000:.1f} ms after its deadline"
    if key in SECONDS and isinstance(value, (int, float)):
        return f"{key} {format_s(value)}"
    if isinstance(value, str) and key in ("status", "reason", "progress"):
        return f"{key} “{gist(value)}”"
    if key == "text":
        lines = str(value).strip().splitlines()
        return lines[-1] if lines else ""  # a traceback: the last line names the exception
    return f"{key} {value:.6g}" if isinstance(value, float) else f"{key} {value}"


def _verdict(name: str, event: Event) -> str:
    """One line; a reason of several lines follows below it, the first time."""
    data = telling(event.data)
    again = "" if data["run"] == 1 else f", run {data['run']}"
    reason = str(data.get("reason") or "")
    parts = [gist(reason)] if reason else []
    if "silence" in data:
        parts.append(f"silent for {data['silence']:.3f} s")
    if "late" in data and not again:
        parts.append(f"{data['late'] * 1000:.1f} ms after its deadline")
    if "status" in data:
        parts.append(f"last status {data['status']!r}")
    line = f"{name} {event.type.value} ({data['cause']}{again}){': ' if parts else ''}{', '.join(parts)}"
    return f"{line} [{data['incident']}]" + (f"\n{reason}" if len(reason.splitlines()) > 1 and not again else "")


_JOURNAL = {
    "ok": "is written again",
    "lagging": "lost entries: some history is missing",
    "failing": "cannot be written: what happens now may be missing later",
    "moved-aside": "was unusable: the file was moved aside and a new one begun",
}


def _journal(event: dict[str, Any]) -> str:
    state = str(event.get("state"))
    reason = str(event.get("reason") or "")
    return f"the journal {_JOURNAL.get(state, state)}" + (f" ({reason})" if reason else "")


def _conflict(event: dict[str, Any]) -> str | None:
    """The settings in which the two declarations differ."""
    try:
        operator, worker = (Declaration._make(event[who])._asdict() for who in ("operator", "worker"))
    except (KeyError, TypeError):  # it has no such fields, or is of another version
        return None
    differing = [key for key in operator if operator[key] != worker[key]]
    if not differing:
        return None
    theirs, ours = (", ".join(_setting(key, values[key]) for key in differing) for values in (worker, operator))
    return f"the worker declares {theirs}; the operator's declaration is used: {ours}"


def _setting(key: str, value: Any) -> str:
    label = key.replace("_", " ")
    if key == "clean":
        return f"clean ends {ends_text(value) or 'none'}"
    if value is None or (key in SECONDS and isinstance(value, (int, float)) and value >= NEVER_S):
        return f"no {label}"
    return field(key, value).replace(key, label, 1)


def ended(status: object) -> str:
    """An exit status as text."""
    return exit_text(status).removeprefix("ended ") if isinstance(status, int) else "exit status unknown"


def named(names: Any) -> str:
    """Names that something waits for, in words."""
    found = [str(each) for each in names] if isinstance(names, list) else []
    shown = ", ".join(found[:NAMED_MAX])
    return f"{shown} and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else shown


def _program(event: dict[str, Any]) -> str:
    what = str(event.get("what", "")).removeprefix("program-")
    match what:
        case "started":
            return f"runs as pid {event.get('pid')}"
        case "waits":
            return f"starts when {named(event.get('for'))} is ready"
        case "ready":
            return f"is ready, {_seconds(event, 'after')} after its start"
        case "adopted":
            return f"was adopted: it already ran as pid {event.get('pid')}"
        case "failed":
            return f"cannot be started: {event.get('reason', '')}"
        case "exited":
            return f"ended ({ended(event.get('status'))}) after {_seconds(event, 'ran')}"
        case "backoff":
            return f"starts again in {_seconds(event, 'seconds')} (attempt {event.get('attempt')})"
        case "gave-up":
            owner = event.get("of")
            group = "" if owner in (None, event.get("name")) else f" of its group {owner}"
            count = event.get("count")
            budget = f"{count} restart{'' if count == 1 else 's'} in {_seconds(event, 'period')}"
            return f"is given up: the restart budget{group} ({budget}) is used up"
        case "stopped":
            again = "; it starts again" if event.get("again") else ""
            return f"is down ({ended(event.get('status'))}): {event.get('why', '')}{again}"
        case "killed":
            return f"still runs {_seconds(event, 'after')} after its stop signal: its process group gets SIGKILL"
        case "unkillable":
            return f"still runs {_seconds(event, 'after')} after SIGKILL: it hangs in the kernel"
        case "slow":
            return (
                f"has no process {_seconds(event, 'after')} after its start; other programs no longer wait for it"
            )
        case _:
            return f"{what}: {_text(event)}".removesuffix(": ")


def _action(event: dict[str, Any]) -> str:
    verb = "runs" if event.get("type") == "action" else "would run"
    level = f", {event['level']}" if event.get("level") else ""
    run = "" if event.get("run", 1) == 1 else f", run {event['run']}"
    return f"step {_number(event)} {verb} {event.get('do')!r}{level}{run}"


def _begun_before(event: dict[str, Any]) -> str:
    run = "" if event.get("run", 1) == 1 else f", run {event['run']},"
    return (
        f"step {_number(event)} {event.get('do')!r}{run} was begun by a former leader, "
        "and it is not known whether it was done"
    )


def _number(event: dict[str, Any]) -> Any:
    step = event.get("step")
    return step + 1 if isinstance(step, int) else step  # people count from 1, data from 0


def _outcome(event: dict[str, Any], how: str) -> str:
    about = " (end of the incident)" if event.get("recovered") else ""
    took = f" in {_seconds(event, 'seconds')}" if event.get("seconds") else ""
    text = _text(event)
    return f"{event.get('do')!r} {how}{about}{took}" + (f": {text}" if text else "")


def _seconds(event: dict[str, Any], key: str) -> str:
    value = event.get(key)
    return format_s(float(value)) if isinstance(value, (int, float)) else "some time"


def _text(event: dict[str, Any]) -> str:
    """One line: the last of a traceback, the first of a list of config errors."""
    lines = str(event.get("text", "")).strip().splitlines()
    if not lines:
        return ""
    return lines[0] if event.get("type") == "reload-failed" else lines[-1]
