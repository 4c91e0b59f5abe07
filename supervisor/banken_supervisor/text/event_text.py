"""Events in words: ``log_line`` for the log, ``sentence`` for ``banken events``, which shows fields beside it.

What workers and commands wrote is in them as it came: whoever shows a sentence cleans it.
"""

from __future__ import annotations

import logging
import signal
from typing import Any

from banken.protocol.messages import Declaration
from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.text.durations import NEVER_S, format_s
from banken_supervisor.text.reasons import gist, telling

SECONDS = frozenset({
    "silence", "timeout", "interval", "grace", "progress_timeout", "lasted", "age", "seconds", "lost", "total_lost"
})  # fmt: skip
"""Fields that are durations."""

LEVELS = {
    EventType.EXPIRED: logging.WARNING,
    EventType.CALLBACK_FAILED: logging.ERROR,
    EventType.CALLBACK_STUCK: logging.ERROR,
    EventType.CALLBACK_SKIPPED: logging.WARNING,
    EventType.STALLED: logging.WARNING,
    EventType.OVERLOADED: logging.WARNING,
    EventType.JOURNAL: logging.WARNING,
    EventType.CONTEST: logging.WARNING,
    EventType.CONFLICT: logging.WARNING,
    EventType.REFUSED: logging.WARNING,
    EventType.FAILED: logging.WARNING,
    EventType.GIVEN_UP: logging.ERROR,
    EventType.ACTION_FAILED: logging.ERROR,
    EventType.ACTION_STUCK: logging.ERROR,
    EventType.DECLARED: logging.DEBUG,
    EventType.FIRST_FED: logging.DEBUG,
    EventType.CALLBACK_DONE: logging.DEBUG,
    EventType.INTERNAL_ERROR: logging.DEBUG,  # its line, with the traceback, is written by the guard
}
"""How loud the log line of an event is; of others: info."""


def sentence(event: dict[str, Any]) -> str | None:
    """The event without its time and name; None: its fields say it well enough. No field need be there."""
    kind = event.get("type")
    if kind == "program":
        return _program(event)
    if kind in ("action", "would-act"):
        return _action(event)
    if isinstance(kind, str) and kind.startswith("action-"):
        return _outcome(event, kind.removeprefix("action-"))
    if kind == "conflict":
        return _conflict(event)
    if kind == "journal":
        return _journal(event)
    if kind == "reloaded":
        return f"the config {event.get('file', 'file')} is in force"
    if kind == "reload-failed":
        return f"the config was not taken, and the old one stays in force: {_text(event)}"
    return None


def log_line(event: Event) -> str:
    """The event whole, on one line."""
    data = event.data
    name = event.name or "supervisor"
    match event.type:
        case EventType.EXPIRED | EventType.CALLBACK_REPEATED:
            return _verdict(name, event)
        case EventType.RECOVERED | EventType.CLOSED:
            return f"{name} {event.type.value} ({data['how']}) after {data['lasted']:.3f} s [{data['incident']}]"
        case EventType.STALLED:
            return f"the supervisor itself lost {data['lost']:.3f} s; it is held against nobody"
        case EventType.REFUSED:
            return f"{name} refused ({data['reason']}): {data['text']} ({data['total']} so far)"
    worded = sentence({"type": event.type.value, "name": event.name, **data})
    if worded is not None:
        return f"{name} {worded}" + (f" [{data['incident']}]" if "incident" in data else "")
    told = ", ".join(
        field(key, value) for key, value in telling(data).items() if value is not None and key != "incident"
    )
    return f"{name} {event.type.value}{': ' if told else ''}{told}" + (
        f" [{data['incident']}]" if "incident" in data else ""
    )


def field(key: str, value: Any) -> str:
    """One field of an event that has no sentence of its own."""
    if key == "late":
        return f"{value * 1000:.1f} ms after its deadline"
    if key in SECONDS and isinstance(value, (int, float)):
        return f"{key} {format_s(value)}"
    if isinstance(value, str) and key in ("status", "reason", "progress"):
        return f"{key} “{gist(value)}”"
    if key == "text":
        lines = str(value).strip().splitlines()
        return lines[-1] if lines else ""  # of a traceback the last line tells
    return f"{key} {value:.6g}" if isinstance(value, float) else f"{key} {value}"


def _verdict(name: str, event: Event) -> str:
    """In one line; what a worker said in several stands below it."""
    data = telling(event.data)
    again = "" if data["run"] == 1 else f", run {data['run']}"
    reason = str(data.get("reason") or "")
    told = [gist(reason)] if reason else []
    if "silence" in data:
        told.append(f"silent for {data['silence']:.3f} s")
    if "late" in data:
        told.append(f"{data['late'] * 1000:.1f} ms after its deadline")
    if "status" in data:
        told.append(f"last status {data['status']!r}")
    line = f"{name} {event.type.value} ({data['cause']}{again}){': ' if told else ''}{', '.join(told)}"
    return f"{line} [{data['incident']}]" + (f"\n{reason}" if len(reason.splitlines()) > 1 else "")


_JOURNAL = {
    "ok": "is written again",
    "lagging": "has lost something",
    "failing": "is not written: what happens now may be forgotten",
    "moved-aside": "was replaced by a new file",
}


def _journal(event: dict[str, Any]) -> str:
    state = str(event.get("state"))
    reason = str(event.get("reason") or "")
    return f"the journal {_JOURNAL.get(state, state)}" + (f" ({reason})" if reason else "")


def _conflict(event: dict[str, Any]) -> str | None:
    """In what the two declarations differ."""
    words = event.get("operator"), event.get("worker")
    if not all(isinstance(word, (list, tuple)) and len(word) == len(Declaration._fields) for word in words):
        return None
    operator, worker = (dict(zip(Declaration._fields, word or (), strict=True)) for word in words)
    differing = [key for key in operator if operator[key] != worker[key]]
    if not differing:
        return None
    theirs, ours = (", ".join(_setting(key, word[key]) for key in differing) for word in (worker, operator))
    return f"the worker declares {theirs}; the operator's word stands: {ours}"


def _setting(key: str, value: Any) -> str:
    named = key.replace("_", " ")
    if value is None or (key in SECONDS and isinstance(value, (int, float)) and value >= NEVER_S):
        return f"no {named}"
    return field(key, value).replace(key, named, 1)


def ended(status: object) -> str:
    """An exit status in words."""
    if not isinstance(status, int):
        return "nobody knows how"
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"by {signal.Signals(-status).name}"
    except ValueError:
        return f"by signal {-status}"


def _program(event: dict[str, Any]) -> str:
    what = str(event.get("what", "")).removeprefix("program-")
    match what:
        case "started":
            return f"runs as pid {event.get('pid')}"
        case "adopted":
            return f"was running already as pid {event.get('pid')}, and is adopted"
        case "failed":
            return f"cannot be started: {event.get('reason', '')}"
        case "exited":
            return f"ended ({ended(event.get('status'))}) after {_seconds(event, 'ran')}"
        case "backoff":
            return f"starts again in {_seconds(event, 'seconds')} (attempt {event.get('attempt')})"
        case "gave-up":
            whose = event.get("of")
            group = "" if whose in (None, event.get("name")) else f" of its group {whose}"
            spent = f"{_restarts(event)} in {_seconds(event, 'period')}"
            return f"is given up: the budget{group} of {spent} is spent"
        case "stopped":
            again = ", and starts again" if event.get("again") else ""
            return f"is down ({ended(event.get('status'))}): {event.get('why', '')}{again}"
        case "killed":
            return f"had not ended {_seconds(event, 'after')} after its stop signal: its group gets SIGKILL"
        case "unkillable":
            return f"has outlived SIGKILL for {_seconds(event, 'after')}: it hangs in the kernel"
        case "slow":
            return f"has no process after {_seconds(event, 'after')}; others no longer wait for it"
        case _:
            return f"{what}: {_text(event)}".removesuffix(": ")


def _action(event: dict[str, Any]) -> str:
    begins = "begins" if event.get("type") == "action" else "would begin"
    level = f", {event['level']}" if event.get("level") else ""
    run = "" if event.get("run", 1) == 1 else f", run {event['run']}"
    return f"step {event.get('step')} {begins} {event.get('do')!r}{level}{run}"


def _outcome(event: dict[str, Any], how: str) -> str:
    about = " (of the end of the incident)" if event.get("recovered") else ""
    took = f" in {_seconds(event, 'seconds')}" if event.get("seconds") else ""
    text = _text(event)
    return f"{event.get('do')!r} {how}{about}{took}" + (f": {text}" if text else "")


def _restarts(event: dict[str, Any]) -> str:
    count = event.get("count")
    return "1 restart" if count == 1 else f"{count} restarts"


def _seconds(event: dict[str, Any], key: str) -> str:
    value = event.get(key)
    return format_s(float(value)) if isinstance(value, (int, float)) else "some time"


def _text(event: dict[str, Any]) -> str:
    """Of a traceback the last line tells; of a config's faults the first."""
    lines = str(event.get("text", "")).strip().splitlines()
    if not lines:
        return ""
    return lines[0] if event.get("type") == "reload-failed" else lines[-1]
