"""Which fields of an incident to show to people, and the one line that sums up a long reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from banken_supervisor.text.durations import NEVER_S, format_s

_NO_DEADLINE = ("exited", "failed", "too-fast", "check")
"""Causes without a deadline."""

_NO_SILENCE = ("too-few", "failed", "too-fast", "check")
"""Causes that have nothing to do with silence."""

LEAST_S = 0.0005
"""Seconds. A shorter silence is not shown."""

_TRACEBACK = "Traceback (most recent call last):"


ONLY_ITS_END = "only its end is watched"


def of_check(row: Mapping[str, Any]) -> str | None:
    """What a check looks at, and what it saw last; None: the row is not a check's."""
    if (label := row.get("check")) is None:
        return None
    last = row.get("result")
    if last is None:
        return f"{label}: no result yet"
    following = last["next"]
    times = f"{format_s(round(last['age'], 1))} ago, in {format_s(round(last['took'], 4))}"
    if following is not None and (row["awaited"] or row["state"] not in ("waiting", "running")):
        times += f"; next in {format_s(round(max(0.0, following), 1))}"
    return f"{label} {'passed' if last['passed'] else 'failed'}: {last['text']} ({times})"


def unjudged(row: Mapping[str, Any]) -> str | None:
    """Why the silence of a watchdog, a row of ``status``, is not judged; None: it is, or it has an incident."""
    if row["state"] == "idle":
        return "has nothing to do"
    if row["state"] not in ("waiting", "running", "alive"):
        return None
    if (program := row.get("stopped_with")) is not None and row["left"] is None:
        return f"stopped with {program}" if row["pid"] is None else f"depends on {program}, which is stopped"
    if (stopped := row.get("group", {}).get("stopped")) and row["group"]["alive"] < row["group"]["at_least"]:
        return f"stopped: {', '.join(stopped)}"
    if (checks := row.get("checks")) and row["timeout"] >= NEVER_S:
        return "watched by its check" if checks == 1 else f"watched by its {checks} checks"
    if (owner := row.get("check_of")) is not None:  # it has no process of its own
        if not row["awaited"]:
            return f"{owner} is not running"
        return f"looked at until {owner} is ready" if row["timeout"] >= NEVER_S else None
    if row["state"] == "running" or (row["timeout"] >= NEVER_S and row["grace"] >= NEVER_S):
        return ONLY_ITS_END
    return None if row.get("awaited", True) else "not judged before its first feed"


def origin(row: Mapping[str, Any]) -> str | None:
    """Where its process is; None: on the supervisor's own host, or it is not known."""
    key, host = row.get("key"), row.get("host")
    return None if key is None else f"on {host or 'another host'}, key {key}"


def gist(reason: str) -> str:
    """One line: of a traceback the exception's type and message, of any other text the first line."""
    lines = [line for line in reason.splitlines() if line.strip()]
    if not lines:
        return ""
    heads = [number for number, line in enumerate(lines) if line == _TRACEBACK]
    if not heads and not reason.startswith("…"):  # a traceback that was cut begins with … and has no first line
        return lines[0]
    below = lines[heads[-1] + 1 :] if heads else lines[1:]
    return next((line for line in below if not line.startswith(" ")), lines[-1])


def telling(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event without fields that would mislead: a deadline that did not exist, a timeout that means "never", and
    the silence of what has no timeout, which need not feed."""
    cause, timeout = event.get("cause"), event.get("timeout")
    need_not_feed = isinstance(timeout, (int, float)) and timeout >= NEVER_S
    return {key: value for key, value in event.items() if not _misleads(key, value, cause, need_not_feed)}


def _misleads(key: str, value: Any, cause: object, need_not_feed: bool) -> bool:
    if key == "late":
        return cause in _NO_DEADLINE
    if not isinstance(value, (int, float)):
        return False
    if key == "silence":
        return need_not_feed or cause in _NO_SILENCE or value < LEAST_S
    return key in ("timeout", "grace") and value >= NEVER_S
