"""Keeping evidence to a size: the main thread, active threads and rare stacks are kept. Pure."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from banken_supervisor.evidence.text import FRAMES_MAX, clean, frame, stack, thread

BYTES_MIN = 16_384
"""The least that ``bytes_max`` may be."""

TEXT_MAX = 256
LINE_MAX = 2**31
ENTRIES_MAX = 256
"""Threads, and tasks."""

PROBLEMS_MAX = 24
PROBLEM_MAX = 600

_STEPS = (
    *(("frames", most) for most in (64, 32, 16, 8, 4)),
    *(("entries", most) for most in (128, 64, 32, 16, 8)),
    ("problems", 4),
    *(("entries", most) for most in (4, 2, 1)),
    ("arguments", 1),
    ("frames", 1),
    ("entries", 0),
    ("problems", 0),
)
"""What is cut, and to how many, until it fits."""


def ordered(threads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The main thread, the holder of the interpreter lock, those that run; then the rarest stacks first, so that a
    pool's idle threads come late; banken's own come last.
    """
    stacks = Counter(map(stack, threads))

    def key(thread: dict[str, Any]) -> tuple[bool, bool, bool, bool, int]:
        own = bool(thread["name"]) and thread["name"].startswith("banken-")
        return not thread["main"], own, not thread["gil"], not thread["active"], stacks[stack(thread)]

    return sorted(threads, key=key)


def fit(evidence: dict[str, Any], bytes_max: int) -> dict[str, Any]:
    """``evidence`` cut so that its JSON, and its msgpack, has at most ``bytes_max`` bytes; what went is counted.

    ``bytes_max``: at least BYTES_MIN.
    """
    evidence["problems"] = [clean(each, PROBLEM_MAX) for each in evidence["problems"][:PROBLEMS_MAX]]
    _cut(evidence, "entries", ENTRIES_MAX)
    for what, most in _STEPS:
        if size(evidence) <= bytes_max:
            break
        _cut(evidence, what, most)
    assert size(evidence) <= bytes_max, "what is left has limits of its own, far below BYTES_MIN together"
    return evidence


def size(evidence: dict[str, Any]) -> int:
    """Bytes of its JSON in ASCII, which is never less than its msgpack."""
    return len(json.dumps(evidence, separators=(",", ":")))


def answered_threads(answer: dict[str, Any], pid: int) -> list[dict[str, Any]]:
    """The threads of a worker's answer, as ``text.thread`` makes them; what is not understood is left out."""
    return [
        thread(
            whole(each.get("thread"), 2**63),
            whole(each.get("tid"), 2**31) or None,
            each.get("name"),
            main=each.get("tid") == pid,
            frames=_frames(each),
        )
        for each in _dicts(answer.get("threads"), 4 * ENTRIES_MAX)
    ]


def answered_tasks(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The tasks of a worker's answer; what is not understood is left out."""
    return [
        {
            "name": clean(each.get("name", "?"), TEXT_MAX),
            "running": bool(each.get("running")),
            "cancelling": whole(each.get("cancelling"), 2**31),
            "awaits": clean(each["awaits"], TEXT_MAX) if each.get("awaits") else None,
            "awaits_tasks": [whole(number, 2**31) for number in _list(each.get("awaits_tasks"), 16)],
            "frames": _frames(each),
            "frames_left_out": 0,
        }
        for each in _dicts(answer.get("tasks"), ENTRIES_MAX)
    ]


def _cut(evidence: dict[str, Any], what: str, most: int) -> None:
    """Leave ``most`` of one thing, from the front."""
    if what == "frames":
        for each in (*evidence["threads"], *evidence["tasks"]):
            each["frames_left_out"] += max(0, len(each["frames"]) - most)
            del each["frames"][most:]
    elif what == "entries":
        for name in ("threads", "tasks"):
            evidence[f"{name}_left_out"] += max(0, len(evidence[name]) - most)
            del evidence[name][most:]
    elif what == "problems":
        evidence["problems"] = [clean(each, TEXT_MAX // 2) for each in evidence["problems"][:most]]
    elif evidence["process"]:
        evidence["process"].update(cmdline=evidence["process"].get("cmdline", [])[:most], children=[], cgroup=None)


def _frames(item: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        frame(each.get("function", "?"), each.get("file", "?"), whole(each.get("line"), LINE_MAX))
        for each in _dicts(item.get("frames"), FRAMES_MAX)
    ]


def _list(what: object, most: int) -> list[Any]:
    return what[:most] if isinstance(what, list) else []


def _dicts(what: object, most: int) -> list[dict[str, Any]]:
    return [each for each in _list(what, most) if isinstance(each, dict)]


def whole(what: object, below: int) -> int:
    """A number of a worker's answer; 0: it is none."""
    return int(what) if isinstance(what, int) and 0 <= what < below else 0
