"""What `banken run` and `banken guard` do as init: orphans are collected, programs are stopped before the end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from process.kit import START_S, until
from process.program_kit import gone
from process.run_kit import Running, running, table

pytestmark = pytest.mark.process

IN_A_NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
MAKE_ORPHANS = "for i in $(seq 20); do setsid sh -c 'sleep 0.05 & exit'; done; "
ORPHANS = MAKE_ORPHANS + "echo done >> @PLACE@/told; exec sleep 3001"


def announces(name: str, wait: str = "sleep 0.1") -> list[str]:
    """A program that says when it is up and when it is asked to end, and takes a moment for that."""
    told = "@PLACE@/told"
    script = f"trap '{wait}; echo {name} ended >> {told}; exit 0' TERM; echo {name} up >> {told}; "
    return ["sh", "-c", script + "while :; do sleep 0.02; done"]


def children(pid: int) -> dict[int, str]:
    """The children of a process: pid to state letter."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found[int(entry.name)] = fields[0]
    return found


def supervisor(one: Running) -> int:
    """Its pid outside any namespace."""
    return next(pid for pid, _ in one.live(f"{sys.executable} -m banken_supervisor run") if runs_at(pid, one))


def runs_at(pid: int, one: Running) -> bool:
    return str(one.place) == str(Path(f"/proc/{pid}/cwd").readlink())


@pytest.mark.root
def test_as_pid_1_it_collects_orphans_and_ends_programs_in_order() -> None:
    """20 orphans leave no zombie; SIGTERM stops the second program, then the first; then it ends, with 0."""
    config = (
        table("orphans", ["sh", "-c", ORPHANS], order=2)
        + table("first", announces("first"), order=0)
        + table("second", announces("second"), order=1)
    )
    with running(config, under=IN_A_NAMESPACE) as one:
        pid = supervisor(one)
        until(lambda: {"done", "first up", "second up"} <= set(one.lines()), "all have begun", START_S)
        until(lambda: len(children(pid)) == 4, "no orphan is left: three programs, and the journal's process", 5)
        outside = one._started[0]
        subprocess.run(["kill", "-TERM", str(pid)], check=True)
        outside.wait(20)
        assert one.lines()[-2:] == ["second ended", "first ended"]
        assert outside.returncode == 0


@pytest.mark.parametrize("init", [True, False])
def test_programs_end_with_it_only_where_that_is_asked_for(init: bool) -> None:
    """--init does so outside a container; without it they run on. One that ignores SIGTERM is killed."""
    stubborn = ["sh", "-c", "trap '' TERM; echo stubborn up >> @PLACE@/told; while :; do sleep 0.02; done"]
    config = table("p", announces("p")) + table("stubborn", stubborn, stop_timeout="300ms", order=-1)
    with running(config, *["--init"][: int(init)]) as one:
        until(lambda: {"p up", "stubborn up"} <= set(one.lines()), "both are up", START_S)
        pids = [one.up(name) for name in ("p", "stubborn")]
        process = one._started[0]
        process.terminate()
        assert process.wait(20) == 0
        assert ("p ended" in one.lines()) is init
        if init:
            for pid in pids:
                gone(pid, 0.5)
        else:
            assert {pid for pid, _ in one.live("sh -c trap")} >= set(pids)


def test_a_stop_asked_over_the_socket_ends_programs_too() -> None:
    """As SIGTERM does; asking twice changes nothing."""
    program = announces("p", "while [ ! -e @PLACE@/end ]; do sleep 0.02; done")
    with running(table("p", program, stop_timeout="60s"), "--init") as one:
        until(lambda: one.lines() == ["p up"], "it is up", START_S)
        one.home.ask("stop")
        one.home.ask("stop")
        (one.place / "end").touch()
        assert one._started[0].wait(20) == 0
        assert one.lines() == ["p up", "p ended"]


def test_collecting_takes_no_status_from_others() -> None:
    """While orphans end all the time, programs, exec steps and callbacks still learn how theirs ended."""
    storm = table("storm", ["sh", "-c", "while :; do setsid sh -c 'sleep 0.01 & exit'; done"])
    config = (
        '[callbacks]\nrun = "own:run"\n'
        + storm
        + table("p", ["sh", "-c", "sleep 0.1; exit 7"], restart="always", budget="1000 per 1m")
        + '[[watchdog]]\nname = "w"\ntimeout = "100ms"\ninterval = "100ms"\ncallback = "run"\n'
        + 'ladder = [{ do = "exec", command = ["sh", "-c", "sleep 0.05; exit 5"] }]\n'
    )
    with running("") as one:
        one._started[0].terminate()
        one._started[0].wait(20)
        one.place.joinpath("banken.toml").write_text(config)
        one.place.joinpath("own.py").write_text(
            "import subprocess\n"
            "def run():\n"
            "    for _ in range(20):\n"
            "        status = subprocess.run(['sh', '-c', 'sleep 0.01; exit 6']).returncode\n"
            f"        print(status, file=open({str(one.told)!r}, 'a'))\n"
        )
        pid = one.run().pid
        events = one.home.events()
        one.home.client().feed("w")
        exits = lambda: [each["status"] for each in events.all("program") if each["what"] == "program-exited"]  # noqa: E731
        until(lambda: len(exits()) >= 5, "five ends", START_S)
        acted = events.until(START_S, "action-failed", "w")
        until(lambda: len(one.lines()) >= 20, "the callback is done", START_S)
        assert set(exits()) == {7}
        assert "exit status 5" in acted["text"]
        assert set(one.lines()) == {"6"}
        zombies = lambda: [each for each, letter in children(pid).items() if letter == "Z"]  # noqa: E731
        before = set(zombies())
        deadline = time.monotonic() + 5
        while before & set(zombies()) and time.monotonic() < deadline:  # those of now are collected next
            time.sleep(0.02)
        assert not before & set(zombies())


def test_guard_collects_orphans() -> None:
    """They are gone when its command looks."""
    count = "$(ps -eo ppid,stat | awk -v p=$PPID '$1 == p' | grep -c Z)"
    again = f"for i in $(seq 50); do left={count}; [ $left = 0 ] && break; sleep 0.1; done; echo $left"
    script = f"{MAKE_ORPHANS} sleep 0.3; {again}"
    command = [sys.executable, "-m", "banken_supervisor", "guard", "--", "sh", "-c", script]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60).stdout == "0\n"
