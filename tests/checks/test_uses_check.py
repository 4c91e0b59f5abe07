"""``uses`` of a real process tree: memory, CPU, descriptors, children and age, each within its limit and beyond."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.checks import daemons
from tests.checks.kit import fails, look, made, nothing_left, passes

from banken.errors import Refused
from banken.process_identity import process_start
from banken_supervisor.checks.process_tree import usage
from banken_supervisor.checks.subject import Subject
from banken_supervisor.config.checks import parse_checks
from banken_supervisor.processes.control_groups import PREFIX

pytestmark = pytest.mark.process

TREE = """
import os, signal, time
files = [open("/dev/null") for _ in range(20)]
for i in range(3):
    if not os.fork():
        if i == 2 and not os.fork():
            held = bytearray(os.urandom(1) * (50 << 20))
            signal.signal(signal.SIGUSR1, lambda *_: exec("while True: pass"))
            print("ready", flush=True)
        break
while True: time.sleep(100)
"""


@pytest.fixture
def tree() -> Iterator[Subject]:
    """A process with three children, one of which has one with 50 MiB of its own."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", TREE], stdout=subprocess.PIPE, start_new_session=True
    )  # fmt: skip
    assert process.stdout is not None
    with process, process.stdout:
        try:
            assert process.stdout.readline() == b"ready\n"
            yield Subject("it", process.pid, process_start(process.pid))
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_the_whole_tree_counts(tree: Subject) -> None:
    """Grandchildren too."""
    limits = {"memory": "< 200MiB", "files": "< 200", "children": "< 5", "age": "< 1h", "cpu": "< 300 %"}
    with nothing_left():
        text = passes({"uses": limits}, tree)
        assert "children 4" in text
        assert fails({"uses": {**limits, "children": "< 4"}}, tree).startswith(
            "children 4, < 4 was expected; memory "
        )
        assert "memory " in fails({"uses": {"memory": "< 50MiB"}}, tree)
        assert ", < 100 was expected" in fails({"uses": {"files": "< 100"}}, tree)
        assert "age " in fails({"uses": {"age": "> 1h"}}, tree)
    found = usage(tree.pid, tree.start)
    assert 50 << 20 < found.memory < 120 << 20
    assert found.files >= 5 * 23  # each has the 20, and its standard ones


def test_memory_that_is_shared_counts_once() -> None:
    """PostgreSQL: its shared buffers are mapped by each of its processes."""
    with daemons.postgres() as postgres:
        pid, until = postgres.process.pid, time.monotonic() + 20
        while (found := usage(pid, process_start(pid))).children < 5:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert found.memory < 400 << 20
        passes({"uses": {"memory": "< 400MiB"}}, Subject("pg", pid, process_start(pid)))


@pytest.mark.root
def test_the_control_group_of_a_run_knows_what_left_the_tree() -> None:
    """It counts what was orphaned and left the session."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    root = next((fields[1] for fields in mounts if fields[2] == "cgroup2"), None)
    group = Path(f"{root}/{PREFIX}test{os.getpid()}")
    try:
        group.mkdir()
    except OSError:
        pytest.skip("needs a control group that may be written")
    script = f"echo $$ > {group}/cgroup.procs; (setsid sleep 1000 &); echo ready; sleep 1000; :"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            # The shell says ready before it starts the last sleep; the one that left replaces its shell later, too.
            until = time.monotonic() + 10
            while (
                found := usage(process.pid, process_start(process.pid))
            ).children < 2 and time.monotonic() < until:
                time.sleep(0.01)
            assert found.children == 2
            assert found.cpu_of == str(group)
        finally:
            for pid in (group / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
    until = time.monotonic() + 10
    while (group / "cgroup.procs").read_text() and time.monotonic() < until:
        time.sleep(0.02)
    group.rmdir()


def test_cpu_for_a_time(tree: Subject) -> None:
    """Beyond the limit for so long, of a grandchild; when it is stopped, it passes again."""
    check = {"uses": {"cpu": "< 4 % for 600ms"}, "limit": "3s"}
    assert passes(check, tree) == "cpu: the first look has nothing to compare with"
    busy = max(psutil.Process(tree.pid).children(recursive=True), key=lambda each: each.memory_info().rss)
    busy.send_signal(signal.SIGUSR1)
    began = time.monotonic()
    while (outcome := look(check, tree)).passed and time.monotonic() - began < 30:
        time.sleep(0.1)
    assert "for 600ms was expected" in outcome.text
    assert time.monotonic() - began > 0.6
    busy.suspend()
    while not look(check, tree).passed and time.monotonic() - began < 30:
        time.sleep(0.1)
    passes(check, tree)


def test_a_process_that_has_ended_or_was_replaced() -> None:
    process = subprocess.Popen(["sleep", "1000"])
    subject = Subject("it", process.pid, process_start(process.pid))
    passes({"uses": {"memory": "< 1GiB"}}, subject)
    process.kill()
    process.wait()
    assert fails({"uses": {"memory": "< 1GiB"}}, subject) == f"pid {process.pid} has ended"
    assert fails({"uses": {"memory": "< 1GiB"}}, Subject("it", os.getpid(), 1)) == f"pid {os.getpid()} has ended"
    assert fails({"uses": {"memory": "< 1GiB"}}) == "it has no process"


def test_one_that_is_stopped_is_still_measured(tree: Subject) -> None:
    os.killpg(tree.pid, signal.SIGSTOP)
    passes({"uses": {"memory": "< 200MiB"}, "limit": "1s"}, tree)


def test_many_runs_leave_nothing(tree: Subject) -> None:
    check = made({"uses": {"memory": "< 200MiB", "files": "< 1000"}})

    async def all_runs() -> None:
        for _ in range(50):
            assert (await check.run(tree)).passed

    with nothing_left():
        asyncio.run(all_runs())


def test_the_flat_form_is_the_same() -> None:
    """Where it is clear whose limits they are."""
    limits = {"memory": "< 2GiB", "cpu": "< 95 % for 5m", "files": "< 1000", "children": "< 50", "age": "< 24h"}
    assert parse_checks({**limits, "every": "1s"}) == parse_checks({"uses": limits, "every": "1s"})
    limits = {
        "disk": "/var < 90 %",
        "memory": "< 90 %",
        "load": "< 8",
        "temperature": "< 85",
        "cpu": "< 95 % for 5m",
    }
    assert parse_checks(limits) == parse_checks({"host": limits})
    for unclear in ({"cpu": "< 95 %"}, {"files": "< 5", "load": "< 8"}):
        with pytest.raises(Refused, match="whose[?] write uses = "):
            parse_checks(unclear)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({}, "uses: is empty; allowed is one such as"),
        ({"memory": "< 2"}, 'uses.memory: "< 2": has no unit; allowed is one such as "< 2GiB" or "< 2GiB for 5m"'),
        ({"memory": "2GiB"}, 'uses.memory: "2GiB" is no comparison'),
        ({"memory": 5}, "uses.memory: must be a comparison such as .* not the number"),
        ({"memory": "< 90 %"}, 'uses.memory: "< 90 %": "%" is no unit of this'),
        ({"cpu": "< 95"}, 'uses.cpu: "< 95": has no unit; allowed is one such as "< 90 %"'),
        ({"cpu": "< 95 % for ever"}, "uses.cpu: .*no duration"),
        ({"files": "< 1000kB"}, 'uses.files: .*"kB" is no unit of this'),
        ({"age": "< 24"}, 'uses.age: "< 24": has no unit'),
        ({"age": "< 24h for 5m"}, "uses.age: .*for is not allowed here"),
        ({"disk": "/ < 5 %"}, "uses.disk: unknown key; allowed: age, children, cpu, files, memory"),
    ],
)
def test_what_is_wrong_is_said(limits: dict[str, object], words: str) -> None:
    with pytest.raises(Refused, match=words):
        parse_checks({"uses": limits})
