"""Imports what [callbacks] and [actions] name, and tries that first in a process of its own.

Modules are looked for where Python always looks, and then in the directory of the config file.
"""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable
from typing import Any, NamedTuple

from banken.errors import CallbackRefused
from banken.watchdog.callback_invocation import taking_incident
from banken_supervisor.actions.registry import not_an_action
from banken_supervisor.actions.running_command import RunningCommand

IMPORT_LIMIT_S = 10.0
"""Seconds that one module may take to import when it is tried."""

TRIAL_LIMIT_S = 60.0
"""Seconds that all trials together may take."""

_ANSWER_MAX = 256 * 1024
_DRAIN_S = 0.5
_LINE_MAX = 300


class Wanted(NamedTuple):
    """One thing to be imported."""

    target: str
    """``module:name``"""
    action: bool
    """True: a class of an action; False: a callback"""


def bring(target: str, directory: str) -> Any:
    """The object that ``module:name`` names. Whatever its module raises passes through."""
    if directory not in sys.path:
        sys.path.append(directory)  # last, so that a file beside the config never hides an installed module
    return pkgutil.resolve_name(target)


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
    task = json.dumps({"directory": directory, "wanted": group})
    try:
        started = RunningCommand.start(
            [sys.executable, "-m", __name__, task],
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
        found = json.loads(running.output.text())
    except ValueError:
        late = f"was not imported within {limit:.0f} s"
        return dict.fromkeys(group, f"ended the process (status {status}) when imported" if in_time else late)
    return {each: fault for each, fault in zip(group, found, strict=True) if fault is not None}


def _one(target: str, directory: str, action: bool) -> str | None:
    """Why it cannot be used for what it is named for; None: it can."""
    try:
        found = bring(target, directory)
    except BaseException as fault:  # noqa: BLE001  # a module may raise SystemExit too
        line = " ".join(traceback.format_exception_only(fault)[-1].split())
        return f"cannot be imported: {line[:_LINE_MAX]}"
    if action:
        why = not_an_action(found)
        return None if why is None else f"is no action: {why}"
    try:
        taking_incident(found)
    except CallbackRefused as fault:
        return str(fault)
    return None


def _main() -> None:
    task = json.loads(sys.argv[1])
    sys.argv = ["banken"]
    answer = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the modules print is no answer
    found = [_one(target, task["directory"], action) for target, action in task["wanted"]]
    os.write(answer, json.dumps(found).encode() + b"\n")
    os._exit(0)  # threads that the modules started hold nothing up


if __name__ == "__main__":
    _main()
