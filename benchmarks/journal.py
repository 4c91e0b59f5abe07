"""8. The journal: how soon what is recorded is on disk, what that costs the loop, and how soon a restart knows.

*Idle*: one incident every few milliseconds; from ``record()`` to the writer's word that it is committed.

*At one moment*: 10,000 incidents, each with its event, its step and its change of the registry, recorded as fast
as the loop's thread can; until the last one is committed. Meanwhile that thread measures how long it was kept from
running by each group of four: the writer's thread shares its interpreter lock.

*In the supervisor*: the same moment with a real one (expiries.py).

*Restart*: ``restore()`` of 100,000 watchdogs with 10,000 open incidents, and ``Journal`` opening the same file.
"""

from __future__ import annotations

import os
import time
from typing import Any

import expiries
from common import Figure, percentile, short_directory

MOMENT = 10_000
MOMENT_S_MAX = 2.0
PASS_MS_MAX = 100.0
"""The loop's longest pass, of which recording is a part."""
WATCHDOGS = 100_000
WAIT_S = 120.0


def run(quick: bool) -> list[Figure]:
    """All figures."""
    return [
        *_idle(300 if quick else 2_000),
        *_moment(1 if quick else 5),
        *expiries.run(),
        *_restart(WATCHDOGS // 10 if quick else WATCHDOGS),
    ]


def _idle(count: int) -> list[Figure]:
    from banken_supervisor.journal import Journal

    committed: dict[int, float] = {}
    recorded: dict[int, float] = {}
    with short_directory() as directory:
        path = os.path.join(directory, "journal.db")
        journal = Journal(path, "run", committed=lambda ticket: committed.update({ticket: time.perf_counter()}))
        _open(journal)
        for number in range(count):
            before = time.perf_counter()
            ticket = journal.record(_incident(number))
            assert ticket is not None
            recorded[ticket] = before
            time.sleep(0.003)
        _written(journal)
        journal.close()
    late = [committed[ticket] - recorded[ticket] for ticket in committed]
    note = f"{len(late)} incidents"
    return [
        Figure("journal", f"record() to committed, idle, {what}", percentile(late, share) * 1000, "ms", note=note)
        for what, share in (("median", 0.5), ("p99", 0.99))
    ]


def _moment(rounds: int) -> list[Figure]:
    from banken_supervisor.journal import Journal

    took: list[float] = []
    kept: list[float] = []
    cost: list[float] = []
    late: list[float] = []
    for _ in range(rounds):
        committed: list[tuple[int, float]] = []
        with short_directory() as directory:
            path = os.path.join(directory, "journal.db")
            journal = Journal(path, "run", committed=lambda t, c=committed: c.append((t, time.perf_counter())))  # type: ignore[misc]
            _open(journal)
            groups = [_group(number) for number in range(MOMENT)]
            recorded: list[float] = []
            began = time.perf_counter()
            for group in groups:
                before = time.perf_counter()
                for entry in group:
                    journal.record(entry)
                recorded.append(before)
                kept.append(time.perf_counter() - before)
            cost.append((time.perf_counter() - began) / MOMENT / len(groups[0]))
            _written(journal)
            took.append(committed[-1][1] - began)
            state = journal.state()
            journal.close()
        if sum(state["dropped"].values()) or state["refused"]:
            raise RuntimeError(f"entries were lost: {state}")
        ends = iter(committed)
        ticket, at = next(ends)
        for number, before in enumerate(recorded):
            while ticket < (number + 1) * 4:
                ticket, at = next(ends)
            late.append(at - before)
    note = f"{MOMENT:,} incidents with event, step and registry: {4 * MOMENT:,} rows; {rounds} rounds"
    return [
        Figure(
            "journal",
            "10,000 incidents at one moment, all committed",
            max(took),
            "s",
            at_most=MOMENT_S_MAX,
            note=note,
        ),
        Figure(
            "journal", "record() to committed, at one moment, median", percentile(late, 0.5) * 1000, "ms", note=note
        ),
        Figure(
            "journal", "record() to committed, at one moment, p99", percentile(late, 0.99) * 1000, "ms", note=note
        ),
        Figure("journal", "one record() under that load, mean", percentile(cost, 0.5) * 1e6, "µs", note=note),
        Figure(
            "journal",
            "the recording thread kept from running, longest",
            max(kept) * 1000,
            "ms",
            at_most=PASS_MS_MAX,
            note=note,
        ),
    ]


def _restart(count: int) -> list[Figure]:
    from banken.protocol.messages import Declaration
    from banken_supervisor.journal import Declared, Journal, restore

    with short_directory() as directory:
        path = os.path.join(directory, "journal.db")
        journal = Journal(path, "run")
        for number in range(count):
            journal.record(Declared(f"worker-{number}", Declaration(30.0 + number % 100), 0.6, _owner(number)))
            if number % 10 == 0:
                journal.record(_incident(number))
            if number % 20_000 == 0:
                _written(journal)
        _written(journal)
        journal.close()
        found = restore(path)
        if len(found.registry) != count or len(found.open) != count // 10 or found.problems:
            raise RuntimeError(f"restored {len(found.registry)} and {len(found.open)}: {found.problems}")
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            restore(path)
            seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
        again = Journal(path, "run-2")
        _open(again)
        opened = time.perf_counter() - began
        again.close()
        size = os.path.getsize(path)
    note = f"{count:,} watchdogs, {count // 10:,} open incidents, {size / 1e6:.0f} MB"
    return [
        Figure("journal", "restore() after a restart", percentile(seconds, 0.5), "s", note=note),
        Figure("journal", "the writer opens the same file, all rows checked", opened, "s", note=note),
    ]


def _incident(number: int) -> Any:
    from banken.protocol.incidents import Cause
    from banken_supervisor.journal import IncidentRecord

    return IncidentRecord(f"run-{number}", f"worker-{number}", Cause.TIMEOUT, time.time(), 1.5, 1.0, pid=number)


def _group(number: int) -> list[Any]:
    """What one verdict records."""
    from banken.protocol.messages import Declaration
    from banken_supervisor.engine.states import State
    from banken_supervisor.journal import Declared, EventSeen, StepRun

    verdict = _incident(number)
    told = {
        "incident": verdict.id,
        "cause": "timeout",
        "run": 1,
        "silence": 1.5,
        "timeout": 1.0,
        "late": 0.002,
        "age": 0.0,
    }
    return [
        Declared(verdict.name, Declaration(), 0.02, _owner(number), State.EXPIRED, incidents=1),
        verdict,
        EventSeen(number, verdict.opened, "expired", verdict.name, told),
        StepRun(verdict.id, 0, 1, "callback", verdict.opened),
    ]


def _owner(number: int) -> Any:
    from banken.protocol.messages import ProcessIdentity

    return ProcessIdentity(b"bootboot", 1_000 + number, number, b"nonc")


def _open(journal: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while journal.condition.state != "ok":
        if time.monotonic() > deadline or journal.condition.state == "moved-aside":
            raise RuntimeError(f"the journal does not open: {journal.state()}")
        time.sleep(0.001)


def _written(journal: Any) -> None:
    if not journal.flush(WAIT_S):
        raise RuntimeError(f"not written within {WAIT_S:g} s: {journal.state()}")
