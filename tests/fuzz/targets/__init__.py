"""What is tried: each target makes inputs, gives them to one part of the product, and knows what must hold then.

A target has ``fresh(chance)``: an input that is nearly sound; ``check(data)``: any input, an exception is a fault;
``close()``: the end, where a fault may be raised, too. ``SECONDS``: CPU time that one input may take. ``QUICK``:
inputs of a quick run. ``pids``: the processes whose memory must not grow.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from random import Random
from typing import Any, Protocol

TARGETS = {
    "codec": "codec:Codec",
    "zmtp": "zmtp:Zmtp",
    "engine": "engine:Messages",
    "requests": "requests:Requests",
    "answers": "answers:Answers",
    "config": "config:ConfigFile",
    "texts": "texts:Texts",
    "notify_and_checks": "notify_and_checks:NotifyAndChecks",
    "files": "files:Files",
    "journal": "journal:JournalFile",
    "evidence": "evidence:Evidence",
    "wire": "live:Wire",
    "http": "live:Http",
    "tcp": "live_tcp:Tcp",
}
"""By name: module and class. The last three send to real processes, over real sockets."""


class Target(Protocol):
    """See above."""

    SECONDS: float
    QUICK: int
    pids: tuple[int, ...]

    def fresh(self, chance: Random) -> bytes: ...

    def check(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class Own:
    """What targets share that start no process. ``SECONDS``, ``QUICK``: the usual ones."""

    SECONDS = 0.25
    QUICK = 1_000

    def __init__(self) -> None:
        self.pids: tuple[int, ...] = (os.getpid(),)

    def close(self) -> None:
        """Nothing is to be ended."""


def check_refused(fault: Exception) -> None:
    """What is said of an input is no longer than people read."""
    assert 5 <= len(str(fault)) <= 1_000, fault


def directory() -> tempfile.TemporaryDirectory[str]:
    """A directory for files that are written often, in memory where the system has that."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    return tempfile.TemporaryDirectory(prefix="bk-fuzz-", dir=memory)


def kind(name: str) -> Any:
    """The class of the target of this name."""
    module, _, found = TARGETS[name].partition(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), found)


def load(name: str) -> Target:
    """The target of this name, ready."""
    made: Target = kind(name)()
    return made
