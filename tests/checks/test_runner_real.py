"""The process that runs the checks, under a real supervisor: what it shows, and what its own end and hang do.

More rounds than CI has: BANKEN_CHECK_ROUNDS=50 python -m pytest tests/checks/test_runner_real.py -s
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from banken.control import Control
from banken_supervisor.operator_client.pager import all_rows
from process.kit import START_S, until
from process.run_kit import Running, running

pytestmark = pytest.mark.process

ROUNDS = int(os.environ.get("BANKEN_CHECK_ROUNDS", "1"))
CHECKS = 200
BACK_S = 2.0 if ROUNDS > 1 else 5.0
"""Seconds after which all checks have a result again; CI's machine may be busy with other tests."""

RUNNER = "banken-checks"

HANGS = """
import signal, sys, time
if "serve" in sys.argv:
    signal.signal(signal.SIGUSR2, lambda *_: time.sleep(3600))
"""
"""A sitecustomize that makes the main thread of the process hang in a call, while its other threads run."""

SLOW = 'import sys, time\nif "serve" in sys.argv:\n    time.sleep(3.5)\n'
"""A sitecustomize that makes the process start slowly."""


def beginning_with(directory: Path, code: str) -> tuple[str, ...]:
    """The command under which each Python begins with this code."""
    directory.joinpath("sitecustomize.py").write_text(code)
    return ("env", "PYTHONPATH=" + os.pathsep.join(filter(None, (str(directory), os.environ.get("PYTHONPATH")))))


class Port:
    """A server of this process: it takes connections, and says hello, unless it is ``mute``."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.number = self.socket.getsockname()[1]
        self.mute = False
        self._held: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                taken, _ = self.socket.accept()
            except OSError:
                return
            if self.mute:
                self._held.append(taken)
                continue
            with taken:
                taken.sendall(b"hello\r\n")

    def close(self) -> None:
        self.socket.close()
        for each in self._held:
            each.close()


@pytest.fixture
def port() -> Iterator[Port]:
    with closing(Port()) as made:
        yield made


def checks(bench: Running) -> dict[str, dict[str, Any]]:
    with Control(bench.address, START_S) as control:
        return {row["name"]: row for row in all_rows(control, None, "checks")}


def incidents(bench: Running) -> dict[str, int]:
    """How many each watchdog has had; those without any left out."""
    with Control(bench.address, START_S) as control:
        rows = all_rows(control)
    return {row["name"]: row["incidents"] for row in rows if row["incidents"]}


def last(bench: Running, name: str, passed: bool, more: int = 0) -> dict[str, Any]:
    """Its row, once its last result is so."""

    def look() -> dict[str, Any] | None:
        row = checks(bench)[name]
        return row if row["results"] and row["results"][-1]["passed"] is passed and row["number"] > more else None

    return until(look, f"{name} {'passes' if passed else 'fails'}", START_S)


def row_of(bench: Running, name: str) -> dict[str, Any]:
    row: dict[str, Any] = bench.home.ask("status", name=name)["rows"][0]
    return row


def expired(bench: Running, name: str) -> dict[str, Any]:
    return until(lambda: row_of(bench, name).get("incident"), f"{name} has an incident", START_S)


def test_a_server_passes_hangs_and_recovers(port: Port) -> None:
    """The incident says what was expected and what came; the owner, which nobody feeds, is not concerned."""
    config = f"""
[[watchdog]]
name = "store"
check = {{ tcp = "127.0.0.1:{port.number}", expect = "hello", every = "200ms", limit = "200ms", fails = 2 }}
"""
    with running(config) as bench:
        last(bench, "store/check", passed=True)
        port.mute = True
        incident = expired(bench, "store/check")
        assert incident["cause"] == "check"
        assert "failed 2 times in a row: no result within 0.2 s" in incident["reason"]
        port.mute = False
        until(lambda: row_of(bench, "store/check")["state"] == "alive", "it recovers", START_S)
        assert set(incidents(bench)) == {"store/check"}
        counted = bench.home.ask("metrics")["checks"]
        assert (counted["last"], counted["runner_up"]) == ({"passed": 1, "failed": 0, "none": 0}, True)
        assert sum(counted["took"]["counts"]) == sum(counted["results"].values())
        row = last(bench, "store/check", passed=True, more=5)
        assert (row["check_of"], row["label"], len(row["results"])) == (
            "store", f"tcp 127.0.0.1:{port.number}", 5,
        )  # fmt: skip


def test_a_program_is_restarted_by_the_ladder_of_its_check_and_not_judged_while_it_is_down(tmp_path: Path) -> None:
    """A file that the program writes at its start is taken away: the check fails, the program starts again."""
    mark = tmp_path / "mark"
    config = f"""
[[program]]
name = "web"
command = ["sh", "-c", "touch {mark}; exec sleep 1000"]
check = {{ exec = ["test", "-e", "{mark}"], every = "200ms", fails = 2 }}
grace = "10s"
ladder = [{{ do = "restart" }}]
"""
    with running(config) as bench:
        last(bench, "web/check", passed=True)
        before = bench.up("web")
        mark.unlink()
        until(lambda: bench.program("web")["pid"] not in (None, before), "it is another process", START_S)
        last(bench, "web/check", passed=True)
        assert incidents(bench) == {"web/check": 1}
        bench.ask("stop", "web")
        mark.unlink()
        assert checks(bench)["web/check"]["running"] is False
        number = checks(bench)["web/check"]["number"]
        bench.ask("start", "web")
        last(bench, "web/check", passed=True, more=number)
        assert incidents(bench) == {"web/check": 1}, "stopped, it was not looked at"


def test_without_a_check_nothing_is_started_and_a_reload_brings_it_and_takes_it_away(port: Port) -> None:
    with running("[supervisor]\n") as bench:
        assert bench.home.ask("programs")["rows"] == []
        table = f'[[watchdog]]\nname = "a"\ncheck = {{ tcp = "127.0.0.1:{port.number}", every = "200ms" }}\n'
        file = bench.place / "banken.toml"
        file.write_text(table)
        bench.home.ask("reload")
        until(lambda: "a/check" in checks(bench), "it is there", START_S)
        last(bench, "a/check", passed=True)
        pid = bench.up(RUNNER)
        file.write_text(table.replace('"200ms"', '"300ms", expect = "hello"') + table.replace('"a"', '"b"'))
        bench.home.ask("reload")
        until(lambda: "b/check" in checks(bench), "there are two", START_S)
        last(bench, "b/check", passed=True)
        until(lambda: checks(bench)["a/check"]["every"] == 0.3, "it is the new one", START_S)
        assert bench.up(RUNNER) == pid, "it goes on, and takes the new ones"
        file.write_text("[supervisor]\n")
        bench.home.ask("reload")
        until(lambda: bench.home.ask("programs")["rows"] == [], "nothing is left", START_S)
        assert set(bench.watchdogs()) == set()


def test_a_check_that_a_reload_brings_during_a_pause_of_its_program_is_paused(tmp_path: Path) -> None:
    first = f'{{ file = "{tmp_path}", every = "200ms" }}'
    config = '[[program]]\nname = "p"\ncommand = "sleep 1000"\ngrace = "100ms"\ncheck = [{checks}]\n'
    with running(config.format(checks=first)) as bench:
        last(bench, "p/check", passed=True)
        assert banken(bench, "pause", "p", "1h").returncode == 0
        more = f'{first}, {{ file = "{tmp_path}/none", every = "200ms", fails = 1 }}'
        (bench.place / "banken.toml").write_text(config.format(checks=more))
        bench.home.ask("reload")
        until(lambda: "p/check-2" in checks(bench), "it is there", START_S)
        last(bench, "p/check-2", passed=False, more=2)
        assert {row_of(bench, name)["state"] for name in ("p", "p/check", "p/check-2")} == {"paused"}
        assert incidents(bench) == {}


def banken(bench: Running, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "banken_supervisor", *words]
    environment = {"HOME": str(bench.place), "PATH": os.environ["PATH"], "BANKEN_ADDRESS": bench.address}
    if "PYTHONPATH" in os.environ:  # this checkout's sources, where others are installed
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, env=environment, cwd=bench.place
    )


def test_the_commands_show_each_check_run_one_now_and_try_one(port: Port) -> None:
    config = f"""
[[watchdog]]
name = "store"
check = [
  {{ tcp = "127.0.0.1:{port.number}", expect = "hello", every = "1h" }},
  {{ exec = ["sh", "-c", "echo no disk; exit 3"], every = "200ms", fails = 2 }},
]
grace = "100ms"
"""
    with running(config) as bench:
        last(bench, "store/check", passed=True)
        incident = expired(bench, "store/check-2")["id"]
        listed = banken(bench, "checks")
        assert listed.returncode == 0
        first, second = listed.stdout.splitlines()[1:]
        assert first.split()[:3] == ["store/check", "alive", "passed"]
        assert second.split()[:3] == ["store/check-2", "expired", "failed"]
        assert "no disk" in second
        ran = banken(bench, "checks", "run", "store/check")
        assert (ran.returncode, ran.stdout.startswith(f"store/check (tcp 127.0.0.1:{port.number}) passed")) == (
            0,
            True,
        )
        assert checks(bench)["store/check"]["number"] == 2
        both = banken(bench, "checks", "run", "store")
        assert (both.returncode, len(both.stdout.splitlines())) == (1, 2)
        assert banken(bench, "checks", "run", "nothing").returncode == 1
        tried = banken(bench, "checks", "try", f"tcp=127.0.0.1:{port.number}", "expect=hullo", "limit=300ms")
        assert tried.returncode == 1
        assert "hullo" in tried.stdout
        assert banken(bench, "checks", "try", "tpc=x").returncode == 2
        story = banken(bench, "incident", incident).stdout
        shown = re.search(r"The last (\d+) results", story)  # one that failed in the grace, too
        assert shown is not None
        assert story.count("failed in") == int(shown[1]) >= 2
        told = banken(bench, "status").stdout
        assert "no disk" in told
        assert "watched by its 2 checks" in told


def killed(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def stopped(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


def hung(pid: int) -> None:
    os.kill(pid, signal.SIGUSR2)


def _all_have(bench: Running, numbers: dict[str, int]) -> bool:
    """Asked ten times a second: to ask for 200 rows again and again would hold up what is measured."""
    time.sleep(0.1)
    return all(row["number"] >= numbers[name] for name, row in checks(bench).items())


@pytest.mark.parametrize("fault", [killed, stopped, hung])
def test_when_its_process_ends_or_hangs_nobody_is_convicted(
    port: Port, tmp_path: Path, fault: Callable[[int], None]
) -> None:
    """200 checks: one incident, its own; it is started again, and all checks have results again."""
    check = f'{{ tcp = "127.0.0.1:{port.number}", every = "1s", fails = 1 }}'
    config = "".join(f'[[watchdog]]\nname = "w{n}"\ncheck = {check}\n' for n in range(CHECKS))
    took = []
    with running(config, under=beginning_with(tmp_path, HANGS)) as bench:
        until(lambda: all(row["results"] for row in checks(bench).values()), "all have run", START_S)
        for number in range(1, ROUNDS + 1):
            before, pid = checks(bench), bench.up(RUNNER)
            fault(pid)
            began = time.monotonic()
            until(lambda pid=pid: bench.program(RUNNER)["pid"] not in (None, pid), "it is started again", START_S)
            came = {name: row["number"] + 1 for name, row in checks(bench).items()}
            until(lambda came=came: _all_have(bench, came), "all have results again", START_S)
            took.append(time.monotonic() - began)
            assert set(before) == set(came)
            assert incidents(bench) == {RUNNER: number}
            until(lambda: row_of(bench, RUNNER)["state"] == "alive", "its incident is over", START_S)
    print(f"{fault.__name__}: back after {statistics.median(took):.2f} s, at most {max(took):.2f} s, of {ROUNDS}")
    assert max(took) <= BACK_S, took


def test_a_slow_start_of_the_process_that_runs_them_is_no_incident_of_what_is_looked_at(tmp_path: Path) -> None:
    """As on a slow machine: its first word comes when results have been due for seconds."""
    check = f'{{ file = "{tmp_path}", every = "100ms", limit = "100ms", fails = 1 }}'
    config = (
        f'[[watchdog]]\nname = "w"\ngrace = "100ms"\ncheck = {check}\n'
        f'[[program]]\nname = "p"\ngrace = "500ms"\ncommand = "sleep 1000"\nready = {check}\n'
    )
    with running(config, under=beginning_with(tmp_path, SLOW)) as bench:
        last(bench, "w/check", passed=True, more=5)
        until(lambda: bench.program("p")["ready"], "it is ready", START_S)
        assert incidents(bench) == {}


def test_when_its_process_or_the_supervisor_ends_no_command_of_a_check_is_left(tmp_path: Path) -> None:
    """What hangs in a command leads a session of its own, and nobody is there to end it but the supervisor."""
    command = ["sh", "-c", f"echo $$ >> {tmp_path}/pids; sleep 1000; :"]
    config = f'[[watchdog]]\nname = "x"\ncheck = {{ exec = {json.dumps(command)}, every = "1h", limit = "1h" }}\n'

    def begun(number: int) -> list[int]:
        file = tmp_path / "pids"
        until(lambda: file.exists() and file.read_text().count("\n") == number, f"{number} have begun", START_S)
        return [int(pid) for pid in file.read_text().split()]

    with running(config) as bench:
        begun(1)
        os.kill(bench.up(RUNNER), signal.SIGKILL)
        first, second = begun(2)
        until(lambda: not is_alive(first), "the command of the former process is ended", START_S)
        assert is_alive(second)
        bench.stop()
        until(lambda: not is_alive(second), "a stop leaves none", START_S)


def test_a_stop_leaves_nothing_that_a_command_has_hidden(tmp_path: Path) -> None:
    """It left its session and has no mark, and the command still runs: the process that runs checks knows it."""
    script = f"setsid env -i sh -c 'echo $$ >> {tmp_path}/pids; exec sleep 1000' >/dev/null 2>&1 & sleep 1000; :"
    check = f'check = {{ exec = {json.dumps(["sh", "-c", f"({script})"])}, every = "1h", limit = "1h" }}'
    with running(f'[[watchdog]]\nname = "x"\n{check}\n[[program]]\nname = "p"\ncommand = "sleep 1000"\n') as bench:
        file = tmp_path / "pids"
        until(lambda: file.exists() and file.read_text().endswith("\n"), "it has begun", START_S)
        pid = int(file.read_text())
        assert is_alive(pid)
        bench.stop()
        until(lambda: not is_alive(pid), "a stop leaves none", START_S)


def is_alive(pid: int) -> bool:
    """Whether it is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_the_steps_of_one_check_act_on_the_process_that_another_has_found(port: Port, tmp_path: Path) -> None:
    """A daemon that nobody here started, known by its pid file; another check fails: it is signalled."""
    told, pid_file = tmp_path / "told", tmp_path / "pid"
    script = f"trap 'echo signalled > {told}' USR1; while :; do sleep 0.05; done"
    daemon = subprocess.Popen(["sh", "-c", script])
    pid_file.write_text(f"{daemon.pid}\n")
    config = f"""
[[watchdog]]
name = "daemon"
check = [
  {{ tcp = "127.0.0.1:{port.number}", expect = "hello", every = "200ms", limit = "200ms", fails = 2 }},
  {{ pidfile = "{pid_file}", every = "200ms" }},
]
ladder = [{{ do = "signal", signal = "SIGUSR1" }}]
"""
    try:
        with running(config) as bench:
            last(bench, "daemon/check", passed=True)
            last(bench, "daemon/check-2", passed=True)
            port.mute = True
            expired(bench, "daemon/check")
            until(lambda: told.exists() and told.read_text() == "signalled\n", "it was signalled", START_S)
            daemon.kill()
            daemon.wait()
            reason = expired(bench, "daemon/check-2")["reason"]
            assert f"{daemon.pid}" in reason
    finally:
        daemon.kill()
        daemon.wait()


def test_a_check_of_the_supervisors_own_page() -> None:
    """It answers as anybody's does; without a token it shows nothing; that it hangs is noticed."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    page = f"http://127.0.0.1:{port}/"
    config = (
        f'[[watchdog]]\nname = "page"\ncheck = [{{ http = "{page}", every = "1s", fails = 2 }}, '
        f'{{ http = "{page}metrics", every = "1s", fails = 2 }}]\ngrace = "1s"\nladder = [{{ do = "log" }}]\n'
    )
    with running(config, "--web", f"127.0.0.1:{port}") as one:
        row = _shown(one, "page/check-2", "expired")
        assert "401" in row["incident"]["reason"]
        _shown(one, "page/check", "alive")
        children = psutil.Process(one.home.ask("ping")["pid"]).children()
        web = next(each for each in children if "web" in each.cmdline())
        web.send_signal(signal.SIGSTOP)
        row = _shown(one, "page/check", "expired")
        assert row["incident"]["cause"] == "check"
        web.send_signal(signal.SIGCONT)
        _shown(one, "page/check", "alive")


def _shown(one: Running, name: str, state: str) -> dict[str, Any]:
    return until(lambda: (row := one.watchdogs().get(name)) and row["state"] == state and row, f"{name} is {state}")
