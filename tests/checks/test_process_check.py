"""``process`` and ``pidfile`` with real daemons; the end of what is held is noticed at once."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.checks import daemons
from tests.checks.kit import fails, look, made, nothing_left, passes

from banken.errors import Refused
from banken.process_identity import process_start
from banken_supervisor.checks.outcome import Outcome
from banken_supervisor.checks.subject import Subject
from banken_supervisor.config.checks import parse_checks

pytestmark = pytest.mark.process


@pytest.fixture
def program(tmp_path: Path) -> str:
    """A program with a name that nothing else has."""
    name = f"bk{os.getpid()}x{time.monotonic_ns() % 10**5}"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", tmp_path / name)
    return str(tmp_path / name)


def test_its_end_is_noticed_at_once(program: str) -> None:
    """By the held pidfd, and not by the next run; the text says how it ended."""
    name = os.path.basename(program)
    process = subprocess.Popen([program, "1000"])

    async def watch() -> tuple[float, str, bool]:
        woken = asyncio.Event()
        subject = Subject("it", run_now=woken.set)
        check = made({"process": name})
        first = await check.run(subject)
        found = process.pid, process_start(process.pid)
        assert first == Outcome(True, f"1 is there: pid {process.pid}", process=found)
        began = time.monotonic()
        process.kill()
        await asyncio.wait_for(woken.wait(), 5)
        noticed = time.monotonic() - began
        process.wait()
        second = await check.run(subject)
        assert await check.run(subject) == second  # it says so until it passes
        subject.close()
        return noticed, second.text, second.certain

    with nothing_left():
        noticed, text, certain = asyncio.run(watch())
    assert noticed < 0.5
    assert certain
    assert text.startswith(f"pid {process.pid}")
    assert text.endswith(">= 1 was expected, 0 are there")


@pytest.mark.parametrize(
    ("count", "there", "end", "is_certain"),
    [("< 2", 3, 1, False), ("<= 1", 3, 1, False), ("== 1", 3, 1, False), (1, 1, 1, True), (">= 2", 2, 1, True),
     ("> 1", 2, 1, True), (">= 5", 2, 1, False)],
)  # fmt: skip
def test_an_end_is_a_cause_only_where_there_are_too_few_by_it(
    program: str, count: str | int, there: int, end: int, is_certain: bool
) -> None:
    """An end that makes a count of too many better is none; nor is one of a count that was too small before."""
    name, woken = os.path.basename(program), 0
    processes = [subprocess.Popen([program, "1000"]) for _ in range(there)]

    def wake() -> None:
        nonlocal woken
        woken += 1

    async def watch() -> Outcome:
        subject, check = Subject("it", run_now=wake), made({"process": name, "count": count})
        await check.run(subject)
        for process in processes[:end]:
            process.kill()
            process.wait()
        await asyncio.sleep(0.05)
        try:
            return await check.run(subject)
        finally:
            subject.close()

    try:
        outcome = asyncio.run(watch())
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert (outcome.passed, outcome.certain) == (False, is_certain)
    assert ("SIGKILL" in outcome.text or "ended" in outcome.text) is is_certain
    assert bool(woken) is (not str(count).startswith("<"))


def test_so_many_of_them(program: str) -> None:
    """A thousand that fit are counted, five are named, 64 are held."""
    name = os.path.basename(program)
    processes = [subprocess.Popen([program, "1000"]) for _ in range(70)]
    try:
        subject = Subject("it")
        text = passes({"process": name, "count": ">= 70"}, subject)
        assert text.startswith("70 are there: pid ")
        assert text.endswith(" and 65 more")
        subject.close()
        assert "== 3 was expected, 70 are there" in fails({"process": name, "count": 3})
        assert passes({"process": name, "count": "< 100", "contains": "1000"})
        assert fails({"process": name, "contains": "2000"}).endswith("0 are there")
        os.kill(processes[0].pid, signal.SIGSTOP)  # it is there, though it hangs: other checks see that
        passes({"process": name, "count": 70})
        processes[0].kill()
        os.waitid(os.P_PID, processes[0].pid, os.WEXITED | os.WNOWAIT)  # a zombie is not there
        fails({"process": name, "count": 70})
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert fails({"process": name}).endswith(">= 1 was expected, 0 are there")


def test_a_script_goes_by_its_own_name(tmp_path: Path) -> None:
    """What its interpreter runs; not what has it as an argument."""
    script = tmp_path / f"work-with-a-long-name-{os.getpid()}.py"
    script.write_text("import time; print(flush=True); time.sleep(1000)\n")
    assert not look({"process": script.name}).passed
    with subprocess.Popen(["tail", "-f", str(script)], stdout=subprocess.PIPE) as tail:
        assert tail.stdout is not None
        tail.stdout.readline()
        assert not look({"process": script.name}).passed
        tail.kill()
    with subprocess.Popen([sys.executable, "-u", str(script)], stdout=subprocess.PIPE) as python:
        assert python.stdout is not None
        python.stdout.readline()
        passes({"process": script.name})
        python.kill()


def test_nginx_by_its_pid_file() -> None:
    with daemons.nginx() as nginx:
        check = {"pidfile": f"{nginx.directory}/pid", "name": "nginx", "limit": "1s"}
        subject = Subject("it")
        outcome = look(check, subject)
        found = nginx.process.pid, process_start(nginx.process.pid)
        assert outcome == Outcome(True, f"pid {nginx.process.pid} (nginx) is there", process=found)
        nginx.kill()
        outcome = look(check, subject)
        assert not outcome.passed
        assert outcome.certain
        assert f"pid {nginx.process.pid}, which the file names, is not there" in outcome.text
        subject.close()


@pytest.mark.root
def test_postgres_by_its_pid_file() -> None:
    """Which has more lines than the pid, and another user's owner."""
    with daemons.postgres() as postgres:
        text = passes({"pidfile": f"{postgres.directory}/data/postmaster.pid", "name": "postgres", "limit": "1s"})
        assert text == f"pid {postgres.process.pid} (postgres) is there"


@pytest.mark.root
def test_the_pid_file_of_another_user_names_no_process_of_ours(tmp_path: Path) -> None:
    """It could have any process killed."""
    file = tmp_path / "pid"
    file.write_text(str(os.getpid()))
    passes({"pidfile": str(file), "limit": "1s"})
    os.chown(file, 12345, 12345)
    assert "is not believed" in fails({"pidfile": str(file), "limit": "1s"})


def test_files_that_name_nothing(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    check = {"pidfile": str(file), "limit": "1s"}
    assert fails(check) == "the file is not there"
    for content, words in (
        ("", "the file is empty"),
        ("hunter2", "the file does not begin with a pid"),
        ("0", "does not begin with a pid"),
        ("-1", "does not begin with a pid"),
        ("9" * 500, "does not begin with a pid"),
        ("2147483647", "pid 2147483647, which the file names, is not there"),
        ("\x1b[2J", "does not begin with a pid"),
    ):
        file.write_text(content)
        assert words in fails(check)
    file.write_text(str(os.getpid()))
    assert "and not nginx: the file is left from another run" in fails({**check, "name": "nginx"})
    file.unlink()
    os.mkfifo(file)
    assert fails(check) == "it is no file with a pid, but something else"
    assert fails({"pidfile": str(tmp_path), "limit": "1s"}) == "Is a directory"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"process": ""}, "process: must be a text, and is empty"),
        ({"process": "x", "count": "2"}, 'count: "2" is no comparison; allowed is one such as "< 1000"'),
        ({"process": "x", "count": "< 2 GiB"}, 'count: .*"GiB" is no unit of this'),
        ({"process": "x", "count": -1}, "count: "),
        ({"process": "x", "pidfile": "/x"}, "process and pidfile: each is a check of its own"),
    ],
)
def test_what_is_wrong_is_said(raw: dict[str, object], words: str) -> None:
    with pytest.raises(Refused, match=words):
        parse_checks(raw)
