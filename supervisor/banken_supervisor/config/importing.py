"""Imports what [callbacks] and [actions] name, and tries that first in a process of its own.

Modules are looked for where Python always looks, and then in the directory of the config file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import NamedTuple

from banken_supervisor.actions.registry import not_an_action
from banken_supervisor.actions.running_command import RunningCommand
from banken_supervisor.processes import own_modules
from banken_supervisor.processes.callback_runner import bound, found, why_not_found
from banken_supervisor.text.sanitize import from_json

IMPORT_LIMIT_S = 10.0
"""Seconds that one module may take to import when it is tried."""

TRIAL_LIMIT_S = 60.0
"""Seconds that all trials together may take."""

_ANSWER_MAX = 256 * 1024
_DRAIN_S = 0.5


class Wanted(NamedTuple):
    """One thing to be imported."""

    target: str
    """``module:name``"""
    action: bool
    """True: a class of an action; False: a callback"""


def trial(wanted: Iterable[Wanted], directory: str) -> dict[Wanted, str]:
    """Import all that is wanted, each module in a process of its own; why not, for those that cannot be used.

    A module that hangs, ends its process, or prints, does no harm: it has ``IMPORT_LIMIT_S``, then it is killed.
    """
    modules: dict[str, list[Wanted]] = {}
    for each in dict.fromkeys(wanted):
        modules.setdefault(each.target.partition(":")[0], []).append(each)
    faults: dict[Wanted, str] = {}
    deadline = time.monotonic() + TRIAL_LIMIT_S
    for group in modules.values():
        limit = min(IMPORT_LIMIT_S, deadline - time.monotonic())
        if limit <= 0:
            faults.update((each, "was not tried: the imports before it took too long") for each in group)
        else:
            faults.update(_try(group, directory, limit))
    return faults


def _try(group: list[Wanted], directory: str, limit: float) -> dict[Wanted, str]:
    task = json.dumps({"path": sys.path, "directory": directory, "wanted": group})
    try:
        started = RunningCommand.start(
            own_modules.command(__name__, task),
            _ANSWER_MAX,
            os.environ,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError as fault:
        return dict.fromkeys(group, f"cannot be tried: {fault.strerror}")
    with started as running:
        in_time = running.wait(limit)
        running.kill()
        running.drain(_DRAIN_S)
        status = running.reap()
    try:
        answer = from_json(running.output.text())
    except ValueError:
        late = f"was not imported within {limit:.0f} s"
        return dict.fromkeys(group, f"ended the process (status {status}) when imported" if in_time else late)
    return {each: fault for each, fault in zip(group, answer, strict=True) if fault is not None}


def _one(target: str, directory: str, action: bool) -> str | None:
    """Why it cannot be used for what it is named for; None: it can."""
    if not action:
        callback = bound(target, directory)
        return callback if isinstance(callback, str) else None
    try:
        why = not_an_action(found(target, directory))
    except BaseException as fault:  # noqa: BLE001  # a module may raise SystemExit too
        return why_not_found(fault)
    return None if why is None else f"is no action: {why}"


def _main() -> None:
    task = json.loads(sys.argv[1])
    sys.argv, sys.path[:] = ["banken"], task["path"]
    answer = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the modules print is no answer
    answers = [_one(target, task["directory"], action) for target, action in task["wanted"]]
    os.write(answer, json.dumps(answers).encode() + b"\n")
    os._exit(0)  # threads that the modules started hold nothing up


if __name__ == "__main__":
    _main()
