"""``exec`` with PostgreSQL's own tools, plugins of Nagios, and commands that do not want to end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from glob import glob
from pathlib import Path

import psutil
import pytest
from tests.checks import daemons
from tests.checks.kit import fails, footprint, look, made, many, nothing_left, passes

pytestmark = pytest.mark.process

SH = ["sh", "-c"]


def alive(argument: str) -> list[int]:
    """Processes with this argument."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if argument in (process.info["cmdline"] or ()) and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def unlike() -> str:
    """A number of seconds that no other process sleeps."""
    return f"1000.{os.getpid()}{time.monotonic_ns() % 10**9}"


def comes(check: dict[str, object], passed: bool) -> None:
    """Soon it passes, or it does not any longer."""
    until = time.monotonic() + 20
    while look(check).passed is not passed:
        assert time.monotonic() < until


@pytest.mark.root
def test_postgres_passes_hangs_recovers_and_has_no_connection_left() -> None:
    """As the issue has it: pg_isready as another user; and a query, which notices that all connections are used."""
    with daemons.postgres(max_connections=5) as postgres:
        tools = sorted(glob("/usr/lib/postgresql/*/bin"))[-1]
        of_it = ["-h", "127.0.0.1", "-p", str(postgres.port)]
        ready = {"exec": [f"{tools}/pg_isready", *of_it], "user": "postgres", "limit": "4s"}
        query = {"exec": ["psql", *of_it, "-U", "postgres", "-Atc", "select 41 + 1"], "limit": "4s"}
        comes(ready, True)
        assert "accepting connections" in passes(ready)
        assert passes(query) == "psql: exit status 0: 42"
        postgres.stop()
        try:
            assert "did not end within 1 s and was killed" in fails({**query, "limit": "1s"})
        finally:
            postgres.go_on()
        comes(query, True)
        command = ["psql", *of_it, "-U", "postgres", "-c", "select pg_sleep(60)"]
        with daemons.directory() as where, (where / "out").open("wb") as out:
            users: list[subprocess.Popen[bytes]] = []
            try:
                until = time.monotonic() + 20
                while look(query).passed:  # the check itself may have kept one of them out
                    assert time.monotonic() < until
                    users.append(subprocess.Popen(command, stdout=out, stderr=out))
                assert "too many clients" in fails(query)
                comes(ready, True)  # it does not see that
            finally:
                for each in users:
                    each.kill()
                    each.wait()


def test_the_last_lines_are_the_reason() -> None:
    text = fails({"exec": [*SH, "seq 1 50; echo 'disk is full' >&2; exit 3"]})
    assert text == "sh: exit status 3: 49 / 50 / disk is full"
    assert passes({"exec": ["true"]}) == "true: exit status 0"
    assert fails({"exec": [*SH, "kill -9 $$"]}) == "sh: ended by SIGKILL"


@pytest.mark.parametrize("size", [5000, 8_000_000])
def test_one_long_line_hides_no_other(size: int) -> None:
    script = f"head -c {size} /dev/zero | tr '\\0' x; echo; echo 'THE REASON'; exit 2"
    text = fails({"exec": [*SH, script]})
    assert text.endswith(" / THE REASON")
    assert "xxxx" in text
    assert len(text) > 450, "what there is room for is shown"
    if size == 5000:  # of more, the middle is not kept
        both = fails({"exec": [*SH, f"{script.removesuffix('exit 2')} {script}"]})
        assert both.count("THE REASON") == 2
        assert "xxxx" in both


def test_a_long_line_that_ends_in_a_secret_shows_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECK_TOKEN", "t0psecret" * 10)
    script = "head -c 440 /dev/zero | tr '\\0' x; echo $TOKEN; exit 2"
    text = fails({"exec": [*SH, script], "env": {"TOKEN": "${CHECK_TOKEN}"}})
    assert "t0p" not in text


def test_what_cannot_be_run_says_why(tmp_path: Path) -> None:
    assert fails({"exec": ["no-such-command"]}) == "no-such-command cannot be run: there is no such command"
    script = tmp_path / "x"
    script.write_text("#!/no/such\n")
    script.chmod(0o755)
    assert "the interpreter '/no/such' that its first line names does not exist" in fails({"exec": [str(script)]})
    assert "cannot be run in /no/such" in fails({"exec": ["true"], "cwd": "/no/such"})


@pytest.mark.parametrize(
    ("status", "said", "passed", "text"),
    [
        (0, "PING OK - Packet loss = 0%|rta=0.1ms;;", True, "PING OK - Packet loss = 0%"),
        (1, "DISK WARNING - 12 % free", True, "DISK WARNING - 12 % free"),
        (1, "12 % free", True, "WARNING: 12 % free"),
        (2, "CRITICAL - 2 % free|/=98", False, "CRITICAL - 2 % free"),
        (3, "", False, "UNKNOWN"),
        (77, "what", False, "sh: exit status 77 is none of a plugin: what"),
    ],
)
def test_plugins_of_nagios(status: int, said: str, passed: bool, text: str) -> None:
    """Their statuses; figures for graphs are left out."""
    outcome = look({"exec": [*SH, f"echo '{said}'; echo 'second line'; exit {status}"], "nagios": True})
    assert outcome[:2] == (passed, text if said else "UNKNOWN: second line")


def test_one_that_forks_and_keeps_the_pipe_is_not_waited_for() -> None:
    """What it left is killed, whatever session it is in."""
    for wrapper in ("", "setsid "):
        seconds = unlike()
        with nothing_left():
            began = time.monotonic()
            passes({"exec": [*SH, f"{wrapper}sleep {seconds} & echo well"], "every": "20s", "limit": "20s"})
            assert time.monotonic() - began < 10
        assert alive(seconds) == []


def test_one_that_leaves_a_daemon_behind() -> None:
    """Without the pipe, in another session, orphaned: still found, for orphans come to us."""
    seconds = unlike()
    with nothing_left():
        passes({"exec": [*SH, f"(setsid sleep {seconds} >/dev/null 2>&1 </dev/null &) ; true"], "limit": "3s"})
    assert alive(seconds) == []


def test_one_that_hangs_and_ignores_term_is_killed_with_all_its_own() -> None:
    seconds = unlike()
    script = (
        f"trap '' TERM HUP; echo begun; (setsid sh -c \"trap '' TERM; sleep {seconds}; :\" &); sleep {seconds}; :"
    )
    with nothing_left():
        text = fails({"exec": [*SH, script], "limit": "1s"})
    assert text == "sh did not end within 1 s and was killed; it said last: begun"
    assert alive(seconds) == []


def test_one_that_stops_itself() -> None:
    with nothing_left():
        text = fails({"exec": [*SH, "kill -STOP $$"], "limit": "500ms"})
    assert text == "sh did not end within 0.5 s and was killed"


def test_one_that_floods_its_output() -> None:
    """Is killed; memory stays flat."""
    before = psutil.Process().memory_info().rss
    with nothing_left():
        assert "wrote more than 16 MiB and was killed" in fails({"exec": ["yes"], "limit": "5s"})
        text = fails({"exec": [*SH, "head -c 3000000 /dev/zero; exit 1"], "limit": "5s"})
        assert len(text) <= 500
    assert psutil.Process().memory_info().rss - before < 30e6


def test_binary_output_is_shown_as_text() -> None:
    text = fails({"exec": [*SH, r"printf '\033[2J\377\000x\n'; exit 1"]})
    assert text == r"sh: exit status 1: \x1b[2J\xff\x00x"


def test_only_root_may_run_one_as_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert fails({"exec": ["id"], "user": "root"}) == "id is not run: only root may run a command as root"


@pytest.mark.root
def test_an_ordinary_user_may_run_one_as_itself() -> None:
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            status = int("nobody" not in passes({"exec": ["id", "-un"], "user": "nobody"}))
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.root
def test_it_runs_as_another_user_with_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/mine")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/0")
    script = "id -un; id -G | wc -w; echo $HOME $NOTIFY_SOCKET $XDG_RUNTIME_DIR. $BANKEN_CHECK"
    text = passes({"exec": [*SH, script], "user": "postgres"})
    assert "postgres / " in text
    assert text.endswith("/var/lib/postgresql . it")


def test_what_it_says_of_a_secret_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHECK_TOKEN", "t0psecret")
    text = fails({"exec": [*SH, "echo no access with $TOKEN; exit 1"], "env": {"TOKEN": "${CHECK_TOKEN}"}})
    assert text == "sh: exit status 1: no access with ***"


def test_cancelling_kills_it() -> None:
    """A run that the process of checks gives up leaves nothing either."""
    seconds = unlike()

    async def give_up() -> None:
        from banken_supervisor.checks.subject import Subject

        task = asyncio.create_task(made({"exec": ["sleep", seconds], "limit": "5s"}).run(Subject("it")))
        while not alive(seconds):  # noqa: ASYNC110  # nothing says so
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with nothing_left():
        asyncio.run(give_up())
    assert alive(seconds) == []


def test_hanging_checks_leave_nothing_behind() -> None:
    runs = int(os.environ.get("CHECK_RUNS", "1000")) // 20
    check = made({"exec": [sys.executable, "-S", "-c", "import time; time.sleep(100)"], "limit": "300ms"})
    asyncio.run(many(check, 2, 2))
    before = footprint()
    outcomes = asyncio.run(many(check, runs, 20))
    after = footprint()
    assert {outcome.passed for outcome in outcomes} == {False}
    assert len(after[0]) == len(before[0])
    assert after[1:] == before[1:]
    print(f"{runs} runs: {len(before[0])} descriptors before, {len(after[0])} after")
