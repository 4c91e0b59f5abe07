"""Descriptors, memory, the journal's disk, a log that nobody reads, and callbacks."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from random import Random

from banken_supervisor.outbox.outbox import COMMIT_WAIT_S
from process.kit import START_S
from process.scripts.keep import fill
from test_callback_processes import MODULE

from .fault import Seconds, fault
from .place import Place


def _limit_descriptors(place: Place) -> None:
    place.limits[resource.RLIMIT_NOFILE] = 128


@fault(
    2,
    "128 descriptors (`ulimit -n`), and many connect",
    "process/test_resources_real.py::test_workers_without_a_descriptor_are_judged_by_silence_and_later_by_their_end_again",
    config=_limit_descriptors,
    lasting=2.0,  # a command waits so long for a descriptor
)
def descriptors(place: Place, chance: Random, seconds: float) -> Seconds:
    with place.attacked("connects"), place.attacked("silent"):
        yield seconds


def _limit_memory(place: Place) -> None:
    place.limits[resource.RLIMIT_AS] = 500 * 2**20


@fault(
    2,
    "500 MB of address space (`ulimit -v`), and new names with long texts come",
    "process/test_resources_real.py::test_a_flood_of_long_texts_under_a_limit_of_memory_ends_nothing",
    config=_limit_memory,
    leaves=True,
    errors=True,
)
def memory_limit(place: Place, chance: Random, seconds: float) -> Seconds:
    with place.attacked("texts"):
        yield seconds


@fault(
    4,
    "the journal's disk is full",
    "process/test_journal_real.py::test_a_full_disk_is_told_and_what_waited_is_written_when_there_is_room",
    own_disk=True,
    journal="waits",
    lasting=COMMIT_WAIT_S,
)
def disk_full(place: Place, chance: Random, seconds: float) -> Seconds:
    filler = str(Path(place.journal).with_name("filler"))
    fill(filler)
    try:
        yield seconds
    finally:
        os.unlink(filler)


@fault(
    4,
    "the journal's disk is read-only when it starts",
    "process/test_journal_real.py"
    "::test_a_supervisor_that_starts_on_a_full_or_read_only_disk_knows_what_the_last_one_left",
    own_disk=True,
    journal="waits",
    lasting=COMMIT_WAIT_S,
)
def read_only(place: Place, chance: Random, seconds: float) -> Seconds:
    def mount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(Path(place.journal).parent)], check=True)

    place.kill()
    mount("ro")
    try:
        place.start()
        place.hear_again()
        yield seconds
    finally:
        mount("rw")


def _overwrite(path: str) -> None:
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2)
        file.write(os.urandom(8_192))


DAMAGE: tuple[Callable[[str], object], ...] = (
    _overwrite,
    lambda path: os.truncate(path, 0),
    lambda path: os.truncate(path, os.path.getsize(path) // 2),
    lambda path: os.truncate(f"{path}-wal", 0),
    lambda path: os.truncate(f"{path}-shm", 0),
    lambda path: os.unlink(f"{path}-wal"),
    lambda path: os.unlink(path),
    lambda path: Path(path).write_text("notes"),
)


@fault(
    4,
    "its file is overwritten, cut, removed or replaced while it writes",
    "journal/test_journal_altered.py::test_a_file_that_was_overwritten_is_moved_aside",
    journal="loses",
    lasting=COMMIT_WAIT_S,
)
def damaged_journal(place: Place, chance: Random, seconds: float) -> Seconds:
    for change in chance.sample(DAMAGE, len(DAMAGE)) if seconds > 2.0 else [chance.choice(DAMAGE)]:
        with suppress(FileNotFoundError):
            change(place.journal)
        yield seconds / (len(DAMAGE) if seconds > 2.0 else 1)


@fault(
    4,
    "its index, which SQLite maps into memory, is cut again and again while it writes",
    "journal/test_journal_process.py::test_an_index_that_is_cut_again_and_again_loses_nothing",
    journal="waits",
    lasting=COMMIT_WAIT_S,
)
def cut_index(place: Place, chance: Random, seconds: float) -> Seconds:
    with place.again_and_again(lambda: os.truncate(f"{place.journal}-shm", 0), 0.2):
        yield seconds


@fault(
    4,
    "the process that has the journal open is killed, or stopped for a while",
    "journal/test_journal_process.py::test_its_end_is_told_and_what_was_recorded_is_written",
    journal="waits",
    lasting=COMMIT_WAIT_S,
)
def journal_process(place: Place, chance: Random, seconds: float) -> Seconds:
    def harm() -> None:
        stopped = chance.random() < 0.5
        for each in place.journal_processes():
            each.send_signal(signal.SIGSTOP if stopped else signal.SIGKILL)
            if stopped:
                time.sleep(0.1)
                each.send_signal(signal.SIGCONT)

    with place.again_and_again(harm, 0.5):
        yield seconds


@fault(
    4,
    "another process locks the journal",
    "process/test_journal_told_real.py::test_a_journal_that_cannot_be_written_is_told_and_so_is_its_end",
    journal="waits",
    lasting=COMMIT_WAIT_S,
)
def locked_journal(place: Place, chance: Random, seconds: float) -> Seconds:
    with closing(sqlite3.connect(place.journal, timeout=20.0, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield seconds
        other.execute("ROLLBACK")


@fault(
    2,
    "nobody reads its stderr, which is full",
    "faults/test_faults.py::test_a_short_round_breaks_no_promise",
)
def blocked_stderr(place: Place, chance: Random, seconds: float) -> Seconds:
    place.reading.clear()
    try:
        end = time.monotonic() + START_S
        while not place.log_is_full() and time.monotonic() < end:
            for number in range(50):
                place.client.fail(f"noise-{number}", "x" * 1_000)
            yield 0.1
        if not place.log_is_full():
            place.seen.wrong.append("its log did not fill the pipe")
        yield seconds
    finally:
        place.reading.set()
        for number in range(50):
            place.client.release(f"noise-{number}")


HOSTILE = (
    "closes", "replaces", "writes", "empties", "limits", "exits", "aborts", "crashes", "becomes", "child_holds",
    "interrupts", "terminates", "ignores", "child_returns", "mutes", "hangs", "stops", "raises",
)  # fmt: skip


def _hostile_config(place: Place) -> None:
    place.write("hostile.py", MODULE)
    lines = ["[callbacks]", *(f'{name} = "hostile:{name}"' for name in HOSTILE)]
    for name in HOSTILE:
        lines += ["[[watchdog]]", f'name = "hostile-{name}"', 'timeout = "100ms"', 'interval = "1h"']
        lines += [f'callback = "{name}"']
    place.write("banken.toml", (place.path / "banken.toml").read_text() + "\n".join(lines) + "\n")


@fault(
    5,
    f"{len(HOSTILE)} callbacks that end, ruin or hang their process",
    "test_callback_processes.py::test_what_ends_its_process_is_told_with_how_and_the_next_one_runs",
    config=_hostile_config,
)
def callbacks(place: Place, chance: Random, seconds: float) -> Seconds:
    before = _ended(place)
    for name in chance.sample(HOSTILE, len(HOSTILE)):
        place.client.feed(f"hostile-{name}")
        yield seconds / len(HOSTILE)
    deadline = time.monotonic() + START_S
    while (ended := _ended(place) - before) < len(HOSTILE):
        if time.monotonic() > deadline:
            place.seen.wrong.append(f"{ended} callbacks of {len(HOSTILE)} came to an end")
            return
        yield 0.1


def _ended(place: Place) -> int:
    """Runs of callbacks of which it was told what became of them."""
    events: dict[str, int] = place.ask("summary")["events"]
    return sum(events.get(f"callback-{how}", 0) for how in ("done", "failed", "stuck", "skipped"))
