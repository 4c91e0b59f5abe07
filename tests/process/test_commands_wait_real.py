"""Commands wait as long as what they ask for may take, show that they do, and never end in a traceback."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from banken_supervisor import cli
from banken_supervisor.cli import programs, waiting
from banken_supervisor.cli.group import banken
from process.kit import START_S, until
from process.run_kit import Running, running, table

pytestmark = pytest.mark.process

TAKES_3_S = ["sh", "-c", "trap 'sleep 3; exit 0' TERM; echo up >> @PLACE@/told; while :; do sleep 0.02; done"]
TAKES_1_S = ["sh", "-c", "trap 'sleep 1; exit 0' TERM; echo up >> @PLACE@/told; while :; do sleep 0.02; done"]
ENDS_WHEN_TOLD = [
    "sh",
    "-c",
    "trap 'while [ ! -e @PLACE@/end ]; do sleep 0.02; done; exit 0' TERM; echo up >> @PLACE@/told; "
    "while :; do sleep 0.02; done",
]
DEAF = ["sh", "-c", "trap '' TERM; echo up >> @PLACE@/told; while :; do sleep 0.02; done"]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes half a minute takes a part of a second."""
    monkeypatch.setattr(programs, "QUIET_S", 0.3)
    monkeypatch.setattr(programs, "SLACK_S", 2.0)
    monkeypatch.setattr(waiting, "FIRST_WORD_S", 0.1)


def command(one: Running, *args: str) -> Result:
    return CliRunner().invoke(banken, [*args, "--address", one.address])


def up(one: Running, count: int = 1) -> None:
    until(lambda: len(one.lines()) >= count, "the programs run", START_S)


def test_stop_waits_as_long_as_the_program_may_take() -> None:
    """Longer than a command waits for one that is not on its way; it says what it waits for, and until when."""
    with running(table("p", TAKES_3_S, stop_timeout="50s")) as one:
        up(one)
        done = command(one, "stop", "p")
        assert (done.exit_code, done.stdout) == (0, "p is stopped\n")
        assert "waiting: p is stopping (pid " in done.stderr
        assert ", SIGKILL in 4" in done.stderr


def test_restart_waits_for_the_whole_group() -> None:
    """The other one of the group takes its time to stop, and the asked one starts only then."""
    group = '[[group]]\nname = "g"\nstrategy = "one-for-all"\nmembers = ["p", "q"]\n'
    config = table("p", DEAF, stop_timeout="100ms") + table("q", TAKES_1_S, stop_timeout="50s") + group
    with running(config) as one:
        up(one, 2)
        before = one.program("p")["pid"]
        done = command(one, "restart", "p")
        assert done.exit_code == 0, done.output
        assert one.program("p")["pid"] not in (None, before)


@pytest.mark.parametrize(("what", "code"), [("stop", 0), ("restart", 1)])
def test_a_program_that_a_reload_removes_meanwhile(what: str, code: int) -> None:
    """It is stopped, and the command says why; to start it is not possible any more."""
    with running(table("p", ENDS_WHEN_TOLD, stop_timeout="50s")) as one:
        up(one)
        found: list[Result] = []
        asking = threading.Thread(target=lambda: found.append(command(one, what, "p")), daemon=True)
        asking.start()
        until(lambda: one.program("p")["state"] == "stopping", "it is being stopped", START_S)
        (one.place / "banken.toml").write_text("[supervisor]\n")
        assert command(one, "reload").exit_code == 0
        (one.place / "end").touch()
        asking.join(START_S)
        assert found[0].exit_code == code, found[0].output
        assert "was taken out of the config meanwhile" in found[0].output
        assert found[0].exception is None or isinstance(found[0].exception, SystemExit)


def test_stop_waits_for_programs_that_end_before_the_supervisor() -> None:
    """With --init, longer than the supervisor's own limit; which programs it waits for is shown."""
    config = '[supervisor]\nstop_timeout = "100ms"\n' + table("p", TAKES_3_S, stop_timeout="50s")
    with running(config, "--init") as one:
        up(one)
        done = command(one, "stop")
        assert done.exit_code == 0, done.output
        assert "before it end: p\n" in done.stderr
        assert "run on" not in done.stdout


def test_stop_says_what_runs_on_and_how_to_end_it() -> None:
    """The command that it names ends them, with all that they started."""
    own = f"3065.{os.getpid():07}"  # no other process of the host has such a command line
    config = table("p", ["sleep", f"{own}1"]) + table("q", ["sh", "-c", f"sleep {own}2 & wait"])
    with running(config) as one:
        until(lambda: len(one.commands(f"sleep {own}")) == 2, "the programs run", START_S)
        done = command(one, "stop")
        assert done.exit_code == 0, done.output
        assert "2 programs run on" in done.stdout
        kill = done.stdout.strip().rpartition("stop them with: ")[2]
        assert os.system(kill) == 0  # as a person would paste it
        until(lambda: not one.commands(f"sleep {own}"), "they end", START_S)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (ZeroDivisionError("division by zero"), "a fault of banken itself: ZeroDivisionError: division by zero ("),
        (KeyError("watchdogs"), "BANKEN_TRACEBACK=1"),
        (OSError(28, "No space left on device", "/var/x"), "Error: No space left on device: /var/x\n"),
        (RecursionError(), "RecursionError"),
    ],
)
def test_no_fault_is_a_traceback(
    fault: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and exit code 1; the traceback on request."""

    def fails(*args: object, **options: object) -> None:
        raise fault

    monkeypatch.setattr(cli.banken, "main", fails)
    monkeypatch.delenv("BANKEN_TRACEBACK", raising=False)
    assert _code(cli.main) == 1
    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 1
    if not isinstance(fault, OSError):
        monkeypatch.setenv("BANKEN_TRACEBACK", "1")
        with pytest.raises(type(fault)):
            cli.main()


def _code(main: Callable[[], None]) -> object:
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_a_reload_that_never_ends_is_given_up_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the config that hangs while it is imported: the command says that it is still read."""
    monkeypatch.setattr(programs, "READ_S", 2.0)
    with running("[supervisor]\n") as one:
        (one.place / "hangs.py").write_text("import time\ntime.sleep(1000)\n")
        (one.place / "banken.toml").write_text('[callbacks]\nc = "hangs:c"\n')
        began = time.monotonic()
        done = command(one, "reload")
        assert done.exit_code == 1
        assert "has not finished" in done.stderr
        assert "waiting: the supervisor reads its config file" in done.stderr
        assert time.monotonic() - began < START_S


NEVER_READY = "ready = { notify = true }\n"


@pytest.mark.parametrize("between", [False, True])
def test_start_waits_for_nothing_that_is_not_ready_in_time(between: bool) -> None:
    """What it starts after has used up its grace: the command ends, and says for what it waited. So it is where
    another one is between."""
    config = table("never", ["sleep", "100"], grace="500ms") + NEVER_READY
    config += table("mid", ["sleep", "100"], after=["never"]) if between else ""
    config += table("needs", ["sleep", "100"], after=["mid" if between else "never"], grace="3s")
    with running(config) as one:
        done = command(one, "start", "needs", "--wait")
        assert done.exit_code == 1
        reason = "it did not become ready within 0.5 s"
        assert f"needs waits for never, which is not ready: {reason}\n" in done.stderr
        if not between:
            assert "waiting: needs waits for never, which is not ready\n" in done.stderr
        assert command(one, "stop", "never").exit_code == 0
        done = command(one, "start", "needs", "--wait")
        assert done.exit_code == 1
        assert "needs waits for never, which is stopped (requested by a command)\n" in done.stderr


def test_start_waits_for_the_end_of_a_job() -> None:
    """One that is ready when it has ended: `start --wait` lasts so long, and what comes after it starts then."""
    job = ["sh", "-c", "sleep 1; echo done >> @PLACE@/told"]
    config = table("job", job, restart="never") + "ready = { ended = true }\n"
    config += table("bad", ["sh", "-c", "exit 3"], restart="never") + "ready = { ended = true }\n"
    config += table("short", ["true"], restart="never")
    config += table("app", ["sh", "-c", "echo app >> @PLACE@/told; exec sleep 100"], after=["job"])
    config += table("other", ["sleep", "100"], after=["bad"])
    with running(config) as one:
        assert command(one, "start", "app", "--wait").exit_code == 0
        assert one.lines() == ["done", "app"]
        assert "job" not in one.watchdogs()
        done = command(one, "start", "job", "--wait")
        assert (done.exit_code, done.stdout) == (0, "job is stopped (exit status 0)\n")
        assert len(one.lines()) == 3
        assert command(one, "start", "short").exit_code == 0
        done = command(one, "start", "bad", "--wait")
        assert (done.exit_code, "bad is stopped (exit status 3);" in done.stderr) == (1, True), done.stderr
        done = command(one, "start", "other", "--wait")
        assert "other waits for bad, which is stopped (exit status 3)\n" in done.stderr


def test_start_does_not_wait_for_one_that_crashes_again_and_again() -> None:
    """Each new process of it is "starting", and is no progress. What is said is a sentence."""
    dying = ["sh", "-c", "sleep 0.1; exit 3"]
    config = table("dying", dying, backoff="300ms..300ms", ladder=[]) + NEVER_READY
    config += table("needs", ["sleep", "100"], after=["dying"])
    with running(config) as one:
        for name in ("dying", "needs"):
            done = command(one, "start", name, "--wait")
            assert done.exit_code == 1, done.output
        assert "needs waits for dying" in done.stderr
        done = command(one, "start", "dying", "--wait")
        assert "waiting: dying has ended or failed, and starts again in 0." in done.stderr
