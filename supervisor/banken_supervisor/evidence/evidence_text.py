"""Evidence as plain text: a few lines for a notification, all of it for a terminal. Pure.

What a worker chose itself (names of threads, tasks, functions and files, its command line) may hold escapes for a
terminal; every line passes ``one_line``.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

from banken_supervisor.evidence.headline import main_thread, scope_thread, short, task_of, waiting
from banken_supervisor.evidence.text import BLANK, stack
from banken_supervisor.text import sanitize
from banken_supervisor.text.durations import format_s

LINE_MAX = 160
"""Characters of a line in a summary."""

OUTPUT_MAX = 20_000
"""Characters of the output of programs and commands that a terminal gets."""

HOLE_S = 0.001
"""Seconds; a longer one between two feeds that should follow each other is a hole, and no rounding."""

_UNITS = ("B", "kB", "MB", "GB", "TB")


_P = ParamSpec("_P")

_UNKNOWN = "the evidence is not understood: it is of another version, or damaged (--json shows it as it is)"


def _whatever_it_holds(show: Callable[_P, list[str]]) -> Callable[_P, list[str]]:
    """``show``, or one line that says that it cannot: the journal that holds it may be from anywhere."""

    @functools.wraps(show)
    def shown(*args: _P.args, **more: _P.kwargs) -> list[str]:
        try:
            return show(*args, **more)
        except sanitize.ODD:
            return [_UNKNOWN]

    return shown


@_whatever_it_holds
def summary_lines(evidence: dict[str, Any], n: int) -> list[str]:
    """At most ``n`` lines: where it hangs, how the process is, the innermost frames, what could not be had."""
    evidence = {**BLANK, "headline": "nothing is known", **evidence}
    lines = [*filter(None, [evidence["headline"]]), *_facts(evidence)[:1]]
    late = scope_thread(evidence)
    thread = late or main_thread(evidence["threads"])
    task = None if late and not evidence["scope"]["task"] else task_of(evidence)
    stack = [f"  {_frame(each)}" for each in (task or thread or {"frames": []})["frames"]]
    problems = [f"! {each}" for each in evidence["problems"]]
    room = max(0, n - len(lines) - len(problems))
    return [sanitize.line(each, LINE_MAX) for each in (lines + stack[: max(room, 1)] + problems)[:n]]


def output_evidence(program: str, lines: list[str], *, taken: float, says_why: bool) -> dict[str, Any]:
    """The last lines that a program wrote, as evidence. ``says_why``: it has ended, so the last is the headline."""
    headline = lines[-1] if says_why else ""
    return {"taken": taken, "headline": headline, "outputs": [{"of": program, "lines": lines}], "problems": []}


@_whatever_it_holds
def output_lines(evidence: Mapping[str, Any], characters: int) -> list[str]:
    """The last lines of what programs and commands wrote, at most so many characters: of each its end."""
    found: list[str] = []
    outputs = evidence.get("outputs") or ()
    for output in outputs:
        room = characters // len(outputs)
        kept: list[str] = []
        for each in reversed(output["lines"]):
            room -= len(each) + 3
            if room < 0:
                break
            kept.append(f"  {each}")
        found += [f"Last output of {output['of']}:", *reversed(kept)]
    return found


@_whatever_it_holds
def render(evidence: dict[str, Any]) -> list[str]:
    """Everything, as lines for a terminal."""
    evidence = {**BLANK, "headline": "nothing is known", **evidence}
    said = evidence.get("said") or {}  # what the worker let be known until it fell silent
    facts = [f"last feeds: {feeds_text(said['feeds'], said['silence'])}"] if said.get("feeds") else []
    known = [what for what in ("status", "progress") if said.get(what) is not None]
    facts += [f"last {what}: {sanitize.text(str(said[what]), LINE_MAX)}" for what in known]
    facts += _facts(evidence)
    lines = [evidence["headline"], *([""] if facts else []), *facts, *_stacks(evidence)]
    if evidence.get("outputs"):
        lines = [*filter(None, lines[:1]), *lines[1:], *output_lines(evidence, OUTPUT_MAX)]
    if evidence["problems"]:
        lines += ["", "What could not be had:", *(f"  {each}" for each in evidence["problems"])]
    return [sanitize.one_line(each) for each in lines]


def feeds_text(feeds: list[list[float]], silence: float) -> str:
    """``1 s, 1 s, 1.1 s, 0.9 s apart; then 30 s of silence``; ``…`` where feeds came that were not noted.

    ``feeds``: of each its age and the gap before it, seconds, the newest last; never empty.
    """
    try:
        return _feeds_text(feeds, silence)
    except sanitize.ODD:
        return "not understood"


def _feeds_text(feeds: list[list[float]], silence: float) -> str:
    parts = []
    for place, (age, gap) in enumerate(feeds):
        if place and feeds[place - 1][0] - age - gap > HOLE_S:
            parts.append("…")
        parts.append(_short(gap))
    if feeds[-1][0] - silence > HOLE_S:
        parts.append("…")
    return f"{', '.join(parts)} apart; then {_short(silence)} of silence"


def bytes_text(count: int) -> str:
    """``24 MB``: powers of 1,000, as `ls -h --si` has it."""
    power = min((len(str(count)) - 1) // 3, len(_UNITS) - 1)
    return f"{count / 1000**power:.3g} {_UNITS[power]}" if power else f"{count} B"


def _short(seconds: float) -> str:
    return format_s(seconds) if seconds >= 0.1 else f"{seconds * 1000:.3g} ms"


def _stacks(evidence: dict[str, Any]) -> list[str]:
    lines = []
    if evidence["threads"]:
        lines += ["", f"Threads, by {evidence['stacks_by']} (innermost frame first):"]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}  # one paragraph for all with the same stack
    for thread in evidence["threads"]:
        groups.setdefault((stack(thread), thread["main"], bool(thread["gil"])), []).append(thread)
    for group in groups.values():
        lines += ["", *_thread(group)]
    if evidence["threads_left_out"]:
        lines += ["", f"{evidence['threads_left_out']} more threads"]
    lines += ["", "asyncio tasks:"] if evidence["tasks"] else []
    for task in evidence["tasks"]:
        lines += ["", *_task(task, evidence["tasks"])]
    if evidence["tasks_left_out"]:
        lines += ["", f"{evidence['tasks_left_out']} more tasks"]
    return lines


def _facts(evidence: dict[str, Any]) -> list[str]:
    process = evidence["process"]
    if not process:
        return []
    said = [f"pid {evidence['pid']}", f"state {process['state']} ({process['state_words']})"]
    if process.get("cpu_now") is not None:
        said.append(f"CPU {process['cpu_now']:.0%} now")
    said += [
        f"{process['cpu_user_s']:.2f} s user + {process['cpu_system_s']:.2f} s system",
        f"{bytes_text(process['rss_bytes'])} resident",
        f"{process['threads']} threads",
    ]
    if process.get("fds") is not None:
        said.append(f"{process['fds']} of {process.get('fds_max') or '?'} descriptors")
    lines = [", ".join(said)]
    if evidence.get("main_wait") and waiting(evidence["main_wait"]):
        lines.append(f"main thread {waiting(evidence['main_wait'])}")
    if process.get("cmdline"):
        lines.append(f"command: {shlex.join(process['cmdline'])}")
    if process.get("children"):
        lines.append(f"children: {', '.join(map(str, process['children']))}")
    if group := process.get("cgroup"):
        lines.append(f"cgroup: {bytes_text(group['bytes'])} of {bytes_text(group['bytes_max'])} ({group['path']})")
    return lines


def _thread(group: list[dict[str, Any]]) -> list[str]:
    first = group[0]
    names = ", ".join(each["name"] or f"thread {each['tid'] or each['thread']}" for each in group[:8])
    marks = [f"and {len(group) - 8} more"] if len(group) > 8 else []
    marks += ["holds the interpreter lock"] if first["gil"] else []
    marks += ["running"] if first["active"] else []
    marks += [text] if (text := waiting(first.get("wait"))) else []
    return [", ".join([names, *marks]) + ":", *_stack(first)]


def _task(task: dict[str, Any], tasks: list[dict[str, Any]]) -> list[str]:
    marks = ["running"] if task["running"] else []
    marks += ["cancelled but not ended"] if task["cancelling"] else []
    names = [tasks[each]["name"] for each in task["awaits_tasks"] if each < len(tasks)]
    if names:
        marks.append(f"awaiting {', '.join(names)}")
    elif task["awaits"]:
        marks.append(f"awaiting a {task['awaits']}")
    return [", ".join([task["name"], *marks]) + ":", *_stack(task)]


def _stack(holder: dict[str, Any]) -> list[str]:
    lines = [f"    {_frame(each)}" for each in holder["frames"]] or ["    no Python frame"]
    if holder["frames_left_out"]:
        lines.append(f"    {holder['frames_left_out']} or more frames further out")
    return lines


def _frame(frame: dict[str, Any]) -> str:
    return f"{frame['function']}  {short(frame['file'])}:{frame['line']}"
