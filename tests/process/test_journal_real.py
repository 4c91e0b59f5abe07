"""The journal between real processes and on real disks: kill -9, no room, read-only, two writers, a reader."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from banken_supervisor.journal import (
    Declared,
    EventSeen,
    EvidenceTaken,
    IncidentClosed,
    IncidentRecord,
    StepRun,
    checking,
    reading,
    restore,
)
from banken_supervisor.journal.tables import INCIDENTS, KEPT, REGISTRY, STEPS
from process.kit import Child, until
from process.scripts import keep

pytestmark = pytest.mark.process

KILLS = 25 if os.environ.get("BANKEN_LONG") else 8

Starting = Callable[..., Child]


@pytest.fixture
def path() -> Iterator[str]:
    """Where the journal of one test is; a directory of its own."""
    directory = tempfile.mkdtemp(prefix="bkj-")
    yield os.path.join(directory, "journal.db")
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def starting(path: str) -> Iterator[Starting]:
    """Starts processes that keep the journal, and ends them."""
    started: list[Child] = []

    def one(work: str, *args: object) -> Child:
        started.append(Child("keep", work, path, *args))
        return started[-1]

    yield one
    for each in started:
        each.close()


def announced(child: Child) -> int:
    """The highest ticket that a killed process had said."""
    assert child.process.stdout is not None
    said = child._read + child.process.stdout.read()
    return max((int(line) for line in said.split(b"\n")[:-1]), default=0)


def assert_kept_once(path: str, last: int) -> Counter[str]:
    """Every entry up to ticket ``last`` is in the journal, once and as it was recorded. How many rows there are."""
    assert checking.check(path) == []
    with reading.look(path) as connection:
        tables = {table.name: [row[:-1] for row in connection.execute(table.select)] for table in KEPT}
    registry = {row[0]: REGISTRY.entry(row) for row in tables["registry"]}
    incidents = {row[0]: INCIDENTS.entry(row) for row in tables["incidents"]}
    steps = Counter(STEPS.entry(row) for row in tables["steps"])
    evidence = Counter((row[0], row[1], row[2]) for row in tables["evidence"])
    events = Counter((row[5], *row[:4]) for row in tables["events"])
    for name in registry:
        assert [row[0] for row in tables["registry"]].count(name) == 1
    assert len(incidents) == len(tables["incidents"])
    for ticket in range(1, last + 1):
        match keep.entry(ticket):
            case Declared() as dog:
                # A later change of the same watchdog may be there already.
                assert registry[dog.name] == dog or registry[dog.name].incidents > dog.incidents
            case IncidentRecord() as verdict:
                found = replace(incidents[verdict.id], closed=None, how=None, runs=1)
                assert found == verdict
            case IncidentClosed() as end:
                record = incidents[end.id]
                assert (record.closed, record.how, record.runs) == (end.closed, end.how, end.runs)
            case StepRun() as step:
                assert steps[step] == 1
            case EvidenceTaken() as taken:
                assert evidence[taken.incident, taken.taken, taken.blob] == 1
            case EventSeen() as event:
                assert events["run", event.seq, event.time, event.type, event.name] == 1
    return Counter({name: len(found) for name, found in tables.items()})


@pytest.mark.parametrize("seed", range(KILLS))
def test_kill_9_loses_nothing_that_was_announced_and_doubles_nothing(
    seed: int, path: str, starting: Starting
) -> None:
    """Killed at a random moment under load; then the next one records all of it again, as a caller may."""
    child = starting("load")
    chance = random.Random(seed)
    first = 0
    if seed:
        first = child.hear()
        time.sleep(chance.uniform(0.0, 0.4))  # the moment is the thing that is tested
    else:
        time.sleep(chance.uniform(0.1, 0.5))  # perhaps before there is a file
    child.signal(signal.SIGKILL)
    child.process.wait(10)
    last = max(first, announced(child))
    if not last:
        assert restore(path).problems == []
        return
    before = assert_kept_once(path, last)
    restored = restore(path)
    assert restored.problems == []
    assert sum(restored.counts.values()) == before["incidents"]

    state = starting("again", last).hear(60.0)
    assert (state["state"], state["refused"], state["reason"]) == ("ok", 0, "")
    after = assert_kept_once(path, last)
    assert after == before  # what was written and not announced was there, and recording it again added nothing


@pytest.mark.root
def test_a_full_disk_is_told_and_what_waited_is_written_when_there_is_room(path: str, starting: Starting) -> None:
    """Real ENOSPC: recording goes on at its usual cost, within the bound; then the journal mends by itself."""
    child = starting("full")
    _mounted(child)
    full = child.hear(60.0)
    assert full["at"] == "full"
    assert "full" in full["reason"]
    assert 0 < full["queued"] <= 5_000
    assert full["last_commit"] is not None
    room = child.hear(60.0)
    assert (room["at"], room["state"], room["queued"]) == ("room again", "ok", 0)
    assert sum(room["dropped"].values()) == room["refused"] == 0
    assert room["found"] == room["incidents"] == 767
    assert child.hear(30.0)["seconds"] < 0.5  # CPU time of one record()
    assert child.ended(20.0)[0] == 0, child.errors()


@pytest.mark.root
def test_a_supervisor_that_starts_on_a_full_or_read_only_disk_knows_what_the_last_one_left(
    path: str, starting: Starting
) -> None:
    """The log that kill -9 left has no index, and there is no room to make one: it is read all the same."""
    child = starting("reopened")
    _mounted(child)
    restored = child.hear(60.0)
    assert restored["at"] == "restored"
    assert restored["problems"] == []
    announced_incidents = sum(isinstance(keep.entry(n), IncidentRecord) for n in range(1, restored["last"] + 1))
    assert restored["incidents"] >= announced_incidents > 0
    full = child.hear(60.0)
    assert (full["at"], full["state"], full["queued"]) == ("full", "failing", 1)
    room = child.hear(60.0)
    assert (room["at"], room["state"], room["queued"]) == ("room again", "ok", 0)
    assert room["found"] == restored["incidents"] + 1
    locked = child.hear(60.0)
    assert (locked["at"], locked["state"], locked["queued"]) == ("read-only", "failing", 1)
    assert locked["incidents"] == room["found"]
    assert locked["problems"] == []
    writable = child.hear(60.0)
    assert (writable["at"], writable["state"]) == ("writable", "ok")
    assert child.ended(20.0)[0] == 0, child.errors()


def test_two_processes_at_one_file_take_turns(path: str, starting: Starting) -> None:
    """The second says who writes, and takes over within a few seconds when the first is killed."""
    first = starting("hold")
    assert first.hear() == first.pid
    first.tell()
    assert first.hear()["state"] == "ok"
    second = starting("hold")
    assert second.hear() == second.pid
    second.tell()
    state = second.hear()
    assert (state["state"], state["queued"]) == ("failing", 1)
    assert f"pid {first.pid}" in state["reason"]
    assert [each.id for each in reading.incidents(path)] == [f"{first.pid}-1"]
    first.kill()
    until(lambda: len(reading.incidents(path)) == 2, "the second one writes", 20.0)
    asked = 1

    def says_so() -> bool:
        nonlocal asked
        asked += 1
        second.tell()
        return bool(second.hear()["state"] == "ok")

    until(says_so, "and says so", 20.0)
    until(lambda: len(reading.incidents(path)) == 1 + asked, "it has written all", 20.0)
    wanted = {f"{first.pid}-1", *(f"{second.pid}-{number}" for number in range(1, asked + 1))}
    assert {each.id for each in reading.incidents(path)} == wanted
    assert checking.check(path) == []


@pytest.mark.parametrize("by", ["os", "libc"])
def test_a_forked_child_that_lives_on_does_not_keep_the_journal(by: str, path: str, starting: Starting) -> None:
    """kill -9 of the writer: the next one writes at once, though a child that the first forked still runs."""
    first = starting("forked", by)
    child = first.hear()
    try:
        first.signal(signal.SIGKILL)
        first.process.wait(10)
        second = starting("hold")
        assert second.hear() == second.pid
        second.tell()
        state = second.hear()
        assert Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        assert (state["state"], state["reason"]) == ("ok", "")
        third = starting("hold")
        assert third.hear() == third.pid
        third.tell()
        assert f"pid {second.pid}" in third.hear()["reason"]  # and it is locked again
    finally:
        os.kill(child, signal.SIGKILL)


def test_reading_beside_a_writer_under_load_is_always_whole(path: str, starting: Starting) -> None:
    """Each look sees one moment: no step, evidence or event without its incident, and no writer that waits."""
    child = starting("load")
    seen = child.hear()
    deadline = time.monotonic() + 3.0
    looks = 0
    while looks < 2 or time.monotonic() < deadline:
        found = restore(path)
        assert found.problems == []
        assert sum(found.counts.values()) >= sum(
            isinstance(keep.entry(n), IncidentRecord) for n in range(1, seen + 1)
        )
        story = reading.incident(path, "k-0000000")
        assert story is not None
        if story.incident.closed is not None:
            assert (len(story.steps), len(story.events), len(story.evidence)) == (1, 1, 1)
        looks += 1
        while not child.silent(0.0):
            seen = child.hear()
    before = seen
    until(lambda: child.hear() > before, "the writer goes on")


def _mounted(child: Child) -> None:
    first: dict[str, Any] = child.hear()
    if first["at"] == "skip":
        pytest.skip(f"a small disk cannot be mounted here: {first['reason']}")
    assert first["at"] == "mounted"
