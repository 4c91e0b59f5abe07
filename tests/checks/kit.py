"""What tests of checks share: one run of a check, and what may not be left behind."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

import psutil

from banken_supervisor.checks.outcome import Outcome
from banken_supervisor.checks.subject import Subject
from banken_supervisor.config.checks import Check, parse_checks

LATE_S = 0.5
"""Seconds that a run may take beyond its limit on a machine that is busy."""

SETTLE_S = 2.0
"""Seconds that a server of the test's own process may take to let a connection go."""


def made(raw: dict[str, Any]) -> Check:
    """The check of one table."""
    (check,) = parse_checks(raw)
    return check


def look(raw: dict[str, Any], subject: Subject | None = None) -> Outcome:
    """One run, which keeps its limit."""
    check, began = made(raw), monotonic()
    subject = subject or Subject("it")
    outcome = asyncio.run(check.run(subject))
    assert monotonic() - began < check.limit + LATE_S
    assert outcome.text == outcome.text.strip()
    assert "\n" not in outcome.text
    assert 0 < len(outcome.text) <= 500
    return outcome


def passes(raw: dict[str, Any], subject: Subject | None = None) -> str:
    """The text of a run that must pass."""
    outcome = look(raw, subject)
    assert outcome.passed, outcome.text
    return outcome.text


def fails(raw: dict[str, Any], subject: Subject | None = None) -> str:
    """The text of a run that must fail."""
    outcome = look(raw, subject)
    assert not outcome.passed, outcome.text
    return outcome.text


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def footprint() -> tuple[set[str], int, set[int]]:
    """Descriptors, threads and children of this process, to which orphans come. A daemon may fork as it likes."""
    fds = set(os.listdir("/proc/self/fd"))
    return fds, threading.active_count(), {child.pid for child in psutil.Process().children()}


def grown(before: tuple[set[str], int, set[int]], after: tuple[set[str], int, set[int]]) -> list[object]:
    """What there is more of."""
    found: list[object] = []
    if len(after[0]) > len(before[0]):
        found.append(after[0] - before[0])
    if after[1] > before[1]:
        found.append(threading.enumerate())
    if after[2] - before[2]:
        found.append(after[2] - before[2])
    return found


@contextmanager
def nothing_left() -> Iterator[None]:
    """Whatever happens inside leaves no descriptor, thread or process."""
    before = footprint()
    yield
    until = monotonic() + SETTLE_S
    while more := grown(before, footprint()):
        assert monotonic() < until, more
        sleep(0.02)


async def many(check: Check, runs: int, at_once: int) -> list[Outcome]:
    """So many runs of one check, ``at_once`` at a time, each with a subject of its own."""
    gate = asyncio.Semaphore(at_once)

    async def one() -> Outcome:
        async with gate:
            subject = Subject("it")
            try:
                return await check.run(subject)
            finally:
                subject.close()

    return await asyncio.gather(*(one() for _ in range(runs)))
