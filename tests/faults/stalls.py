"""The supervisor does not run, or hardly; its clock jumps; workers of every start method."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

from process.kit import START_S, process_state, until
from process.test_set_clock_real import SET_CLOCK, YEAR

from .fault import Seconds, fault
from .place import Place
from .seen import NotHere


@contextmanager
def _stopped(place: Place) -> Iterator[None]:
    with place.not_running():
        os.kill(place.pid, signal.SIGSTOP)
        until(lambda: process_state(place.pid) in "Tt", "it stops")
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(place.pid, signal.SIGCONT)


STALLS = "process/test_stalls.py"


@fault(
    1,
    "SIGSTOP, then SIGCONT; workers whose queues hold 10, 1,000 and 10,000 messages",
    f"{STALLS}::test_five_seconds_of_sigstop_convict_nobody_of_fifty_processes_but_the_dead_one",
    seconds=10.0,
)
def stop(place: Place, chance: Random, seconds: float) -> Seconds:
    with _stopped(place):
        yield max(seconds, 1.2)


@fault(1, "many short stops, one after another", f"{STALLS}::test_short_stops_one_after_another_convict_nobody")
def short_stops(place: Place, chance: Random, seconds: float) -> Seconds:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with _stopped(place):
            yield chance.uniform(0.02, 0.4)
        yield chance.uniform(0.01, 0.1)


def _nice(pid: int, nice: int) -> None:
    """Of all its threads, and of its session, by which the kernel may share the processor."""
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))
    with suppress(OSError):
        for each in os.listdir(f"/proc/{pid}/task"):
            os.setpriority(os.PRIO_PROCESS, int(each), nice)


@fault(
    1,
    "busy loops, more than processors, and the supervisor has the lowest priority",
    "test_driver.py::test_a_stopped_supervisor_convicts_nobody",
    lasting=8.0,
)
def busy(place: Place, chance: Random, seconds: float) -> Seconds:
    with place.attacked("busy", times=2 * (os.cpu_count() or 1)):
        _nice(place.pid, 19)
        try:
            yield seconds
        finally:
            _nice(place.pid, 0)  # an ordinary user cannot go back


@fault(
    1,
    "a control group gives it a fifth of a processor, in turns of 0.5 s",
    "test_clock.py::test_lost_time_is_lost_once",
    lasting=8.0,
)
def throttled(place: Place, chance: Random, seconds: float) -> Seconds:
    root = next((each for each in _cpu_groups() if os.access(each, os.W_OK)), None)
    if root is None:
        raise NotHere("no control group of the processor can be made")
    group = root / f"bk-faults-{os.urandom(4).hex()}"
    try:
        group.mkdir()
        try:
            if (group / "cpu.max").exists():
                (group / "cpu.max").write_text("100000 500000")
            else:
                (group / "cpu.cfs_period_us").write_text("500000")
                (group / "cpu.cfs_quota_us").write_text("100000")
            (group / "cgroup.procs").write_text(str(place.pid))
        except OSError:
            group.rmdir()
            raise
    except OSError as problem:
        raise NotHere(f"no control group of the processor can be made: {problem}") from None
    try:
        yield seconds
    finally:
        for each in (group / "cgroup.procs").read_text().split():
            with suppress(OSError):
                (root / "cgroup.procs").write_text(each)
        until(lambda: not (group / "cgroup.procs").read_text(), "the group is empty")
        group.rmdir()


def _cpu_groups() -> Iterator[Path]:
    """Groups below which one with a limit of the processor may be made, of either version."""
    groups = Path("/proc/self/cgroup").read_text().splitlines()
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, path, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpu" in options.split(","):
            own = next(each.split(":")[2] for each in groups if "cpu" in each.split(":")[1].split(","))
            yield Path(path) / own.strip("/")
        if kind == "cgroup2" and "cpu" in (Path(path) / "cgroup.subtree_control").read_text().split():
            yield Path(path)


def _set_clock(place: Place) -> None:
    place.write("sitecustomize.py", SET_CLOCK)


@fault(
    1,
    "the wall clock of the supervisor jumps by hours, years and back",
    "process/test_set_clock_real.py::test_a_pause_and_an_extension_are_as_long_as_they_were",
    config=_set_clock,
    errors=True,
)
def clock(place: Place, chance: Random, seconds: float) -> Seconds:
    for years in (chance.choice([-27.0, -1e-4, 1e-4, 3.0, 40.0]), chance.uniform(-1.0, 1.0)):
        place.write("clock.new", str(years * YEAR)).replace(place.path / "clock")
        yield seconds / 2
    (place.path / "clock").unlink()


@fault(
    1,
    "workers by fork, spawn and forkserver; half of them killed, half ended in order",
    "process/test_processes.py::test_every_start_method_of_multiprocessing_feeds",
)
def start_methods(place: Place, chance: Random, seconds: float) -> Seconds:
    names = [f"{method}-{end}" for method in ("fork", "spawn", "forkserver") for end in ("killed", "ended")]
    workers = place.child("methods", 5.0)

    def rows() -> dict[str, dict[str, Any]]:
        with suppress(Exception):  # it may be ended meanwhile
            return {row["name"]: row for row in place.ask("look", names=names)["rows"]}
        return {}

    def until_they(are: Callable[[dict[str, dict[str, Any]]], bool], what: str) -> Seconds:
        deadline = time.monotonic() + START_S
        while place.running() and not are(rows()):
            if time.monotonic() > deadline:
                place.seen.wrong.append(f"workers of multiprocessing {what}: {rows()}")
                return
            yield 0.1

    try:
        yield from until_they(lambda rows: len(rows) == len(names), "are all known")
        yield seconds
        workers.tell()
        yield from until_they(_as_they_ended, "are known by their ends")
    finally:
        workers.close()
        for name in names:
            place.client.release(name)


def _as_they_ended(rows: dict[str, dict[str, Any]]) -> bool:
    """Those that were killed are an incident, those that ended are none."""
    killed = {name for name, row in rows.items() if row["state"] == "expired"}
    return killed == rows.keys() == {"fork-killed", "spawn-killed", "forkserver-killed"}
