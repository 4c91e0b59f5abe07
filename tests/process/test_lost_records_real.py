"""Records of programs that are lost, one by one or with the whole directory: no program runs twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from process.kit import START_S, until
from process.program_kit import gone
from process.run_kit import Running, running, table

pytestmark = pytest.mark.process

NOBODY = 65534

TITLED = (
    "import os, sys, time\n"
    "if os.fork() == 0:\n"
    "    time.sleep(1000)\n"
    "os.execve(sys.executable, [sys.executable, '-S', '-c', 'import time; time.sleep(1000)'], {})\n"
)
"""Its process has no environment any more; what it forked has."""


def end(one: Running) -> None:
    """kill -9 of the supervisor."""
    one._started[-1].kill()
    one._started[-1].wait(10)


def lose(one: Running, what: str) -> None:
    """The records: all with the address's directory, or one."""
    if what == "all":
        shutil.rmtree(one.address)
    else:
        Path(one.address, "programs", f"{what}.json").unlink()


@pytest.mark.parametrize("what", ["all", "a"])
def test_programs_without_records_are_adopted(what: str) -> None:
    """And said so; one that the config no longer names is stopped, as with its record."""
    config = table("a", ["sleep", "1000"]) + table("b", [sys.executable, "-S", "-c", TITLED])
    with running(config + table("former", ["sleep", "1000"])) as one:
        pids = {name: one.up(name) for name in ("a", "b", "former")}
        until(lambda: Path(f"/proc/{pids['b']}/environ").read_bytes() == b"", "b has no environment", START_S)
        end(one)
        lose(one, what)
        one.place.joinpath("banken.toml").write_text(config)
        one.run()
        for name in ("a", "b"):
            row = one.program(name)
            assert (row["state"], row["pid"], row["adopted"]) == ("running", pids[name], True)
        gone(pids["former"])
        said = f"no record of a was left: pid {pids['a']} (sleep) carries its mark"
        until(lambda: said in one.log.read_text(), "the log says so")
        end(one)  # now there are records
        one.run()
        assert one.program("a")["pid"] == pids["a"]
        for name in ("a", "b"):  # b has no mark by which it could be found afterwards
            one.ask("stop", name)


def test_what_is_left_of_a_lost_one_is_ended_before_it_starts() -> None:
    """Its process has ended, what it had started lives: that is no program."""
    script = "sh -c 'while :; do sleep 0.02; done' left & exec sleep 1000"
    with running(table("p", ["sh", "-c", script])) as one:
        pid = one.up("p")
        left = until(
            lambda: [each for each, text in one.live("sh -c while") if text.endswith("left")], "it is there"
        )
        end(one)
        lose(one, "all")
        os.kill(pid, signal.SIGKILL)
        one.run()
        until(lambda: one.program("p")["state"] == "running", "it runs", START_S)
        assert one.program("p")["adopted"] is False
        for each in left:
            gone(each, 2.0)  # of what had just forked to execute its `sleep`, that may be the end


def test_another_supervisors_and_a_command_of_a_step_are_left_alone() -> None:
    """The mark of a program at another address, of the same address in another container, of an exec step."""
    with running(table("p", ["sleep", "1000"])) as one:
        one.up("p")
        end(one)
        lose(one, "p")
        common = {"BANKEN_NAME": "q", "BANKEN_ADDRESS": one.address, "BANKEN_RUN": "0" * 32}
        marks = [{**common, "BANKEN_ADDRESS": str(one.place)}, {**common, "BANKEN_RUN": "exec-0"}]
        others = [subprocess.Popen(["sleep", "1000"], env=each, start_new_session=True) for each in marks]
        if os.geteuid() == 0:
            marked = [f"{key}={value}" for key, value in common.items()]
            inside = ["unshare", "--pid", "--fork", "--kill-child", "env", *marked, "setsid", "sleep", "1000"]
            others.append(subprocess.Popen(inside, start_new_session=True))
        try:
            one.run()
            assert one.program("p")["state"] in ("running", "starting")
            assert [each["name"] for each in one.home.ask("programs")["rows"]] == ["p"]
            assert all(each.poll() is None for each in others)
        finally:
            for each in others:
                with suppress(ProcessLookupError):
                    each.kill()
                each.wait(10)


@pytest.mark.root
@pytest.mark.parametrize("user", ["root", "nobody"])
def test_marks_that_another_user_has_set_make_no_program(user: str) -> None:
    """Neither is its process adopted in the place of the program, nor ended as what is left of one; it is named.

    Nor is a process of root's taken for a program of another user because that user has a marked process in its
    session.
    """
    stranger = 1 if user == "nobody" else NOBODY
    with running("") as one:
        end(one)
        config = table("p", ["sleep", "1000"], user=user) + table("q", ["sleep", "1000"])
        one.place.joinpath("banken.toml").write_text(config)
        marks = {
            name: {
                "PATH": os.environ["PATH"],
                "BANKEN_NAME": name,
                "BANKEN_ADDRESS": one.address,
                "BANKEN_RUN": run,
            }
            for name, run in (("p", "f" * 32), ("q", "e" * 32), ("no-more", "d" * 32))
        }
        forged = [_asleep(each, stranger) for each in marks.values()]
        # Its leader is root's and without marks; what it has started is a user's, and has them.
        inside = [f"{key}={value}" for key, value in {**marks["p"], "BANKEN_RUN": "c" * 32}.items()]
        theirs = ["setpriv", "--reuid", "nobody", "--clear-groups", "env", *inside, "sleep", "1000"]
        shell = subprocess.Popen(["sh", "-c", '"$@" & sleep 1000', "sh", *theirs], env={}, start_new_session=True)
        try:
            until(lambda: any(b"BANKEN" in _environment(each) for each in _children(shell.pid)), "it is marked")
            one.run()
            for name in "pq":
                pid = one.up(name)
                assert one.program(name)["adopted"] is False
                assert pid not in [each.pid for each in (*forged, shell)]
            for each in forged:
                text = f"pid {each.pid} (sleep) of user {stranger} as "
                until(lambda text=text: text in one.log.read_text(), "it is told", START_S)
            one.stop()
            assert all(each.poll() is None for each in (*forged, shell))
        finally:
            for each in (*forged, shell):
                for pid in (*_children(each.pid), each.pid):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                each.wait(10)


def _asleep(environment: dict[str, str], user: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["sleep", "1000"], env=environment, user=user, group=user, extra_groups=[], start_new_session=True
    )


def _children(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _environment(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""
