"""``banken guard`` as people use it: real commands, real signals, what goes through and what comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from banken_supervisor.runtime.signals import ONE_CAUSE_S
from process.kit import START_S, until
from process.program_kit import gone, state

pytestmark = pytest.mark.process

LIMIT_S = 50
"""Seconds a whole run may take on a busy machine."""

FEEDS_THEN_HANGS = """
import time
from banken import client
while not client.stats()["sent"]:  # on a busy machine one wait for the connection is not always enough
    client.feed()
for _ in range(5):
    client.feed()
    time.sleep(0.05)
def the_hang():
    time.sleep(1000)
the_hang()
"""


@pytest.fixture
def base() -> Iterator[Path]:
    """Where guards make their temporary directories."""
    with tempfile.TemporaryDirectory(prefix="bkg-") as path:
        yield Path(path)


def start(base: Path, *args: str) -> subprocess.Popen[str]:
    """``banken guard`` with these arguments."""
    return subprocess.Popen(
        [sys.executable, "-m", "banken_supervisor", "guard", *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(base)},
    )


def end(process: subprocess.Popen[str]) -> None:
    """kill -9, and give the pipes back."""
    process.kill()
    for pipe in (process.stdin, process.stdout, process.stderr):
        assert pipe is not None
        with suppress(BrokenPipeError):
            pipe.close()
    process.wait(10)


def guard(base: Path, *args: str, given: str = "") -> tuple[int, str, str]:
    """Run it to its end: exit code, stdout, stderr. Nothing of it is left behind."""
    process = start(base, *args)
    try:
        out, err = process.communicate(given, LIMIT_S)
    finally:
        end(process)
    assert os.listdir(base) == []
    return process.returncode, out, err


def test_input_output_and_exit_status_go_through(base: Path) -> None:
    """The command reads the guard's input, writes to its output and errors, and its exit status is the guard's."""
    code, out, err = guard(base, "--", "sh", "-c", "cat; echo $BANKEN_NAME; echo oh >&2; exit 7", given="in\n")
    assert (code, out, err) == (7, "in\nsh\n", "oh\n")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("sh", "-c", "kill -9 $$"), 128 + 9),
        (("true",), 0),
        (("no-such-command-anywhere",), 127),
        (("/etc/passwd",), 126),
    ],
)
def test_exit_codes_are_those_of_a_shell(base: Path, command: tuple[str, ...], code: int) -> None:
    """128+N for a signal, 127 for what is not there, 126 for what cannot be run."""
    assert guard(base, "--", *command)[0] == code


def test_one_that_hangs_is_dumped_and_killed(base: Path) -> None:
    """It feeds without being told its name, falls silent, is shown on stderr with the function it hangs in, and
    killed: 143. Its output is untouched by that."""
    code, out, err = guard(base, "--timeout", "1s", "--grace", "40s", "--", sys.executable, "-c", FEEDS_THEN_HANGS)
    assert code == 128 + signal.SIGTERM
    assert out == ""
    assert "expired (timeout)" in err
    assert "the_hang" in err


def test_one_that_never_feeds_is_judged_only_when_told_to(base: Path) -> None:
    """With a timeout, silence for its whole grace is a hang; without one it is not."""
    code, _, err = guard(base, "--timeout", "500ms", "--grace", "1s", "--", "sleep", "1000")
    assert code == 128 + signal.SIGTERM
    assert "expired (grace)" in err
    assert guard(base, "--", "sleep", "1.5") == (0, "", "")


def test_a_hang_is_restarted_within_the_budget(base: Path) -> None:
    """It hangs, is started again, hangs again, and is given up: the guard ends, and says why."""
    args = ("--timeout", "1s", "--grace", "40s", "--restart", "--budget", "1 per 10m")
    code, _, err = guard(base, *args, "--", sys.executable, "-c", FEEDS_THEN_HANGS)
    assert code == 128 + signal.SIGTERM
    assert err.count("it starts again in") == 1
    assert err.count("expired (timeout)") == 2
    assert "given up: 1 restart within 10m" in err


def test_failures_are_restarted_and_a_good_end_is_the_end(base: Path) -> None:
    """Exit status 3 twice, then 0: three runs, and 0."""
    runs = base.parent / f"{base.name}.runs"
    script = f"echo x >> {runs}; test $(wc -l < {runs}) = 3 || exit 3"
    try:
        code, _, err = guard(base, "--restart", "--", "sh", "-c", script)
        assert (code, err.count("it starts again in")) == (0, 2)
        assert runs.read_text() == "x\n" * 3
    finally:
        runs.unlink(missing_ok=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_are_passed_on_and_the_command_may_answer(base: Path, number: signal.Signals) -> None:
    """The command gets the very signal, ends as it likes, and is not started again; the guard ends with it."""
    short = number.name.removeprefix("SIG")
    script = f"trap 'echo got {short}; exit 5' {short}; echo ready; while :; do sleep 0.05; done"
    process = start(base, "--restart", "--", "sh", "-c", script)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, _ = process.communicate(timeout=LIMIT_S)
        assert (process.returncode, out) == (5, f"got {short}\n")
        assert os.listdir(base) == []
    finally:
        end(process)


def test_one_that_ignores_the_signal_is_killed_with_all_it_started(base: Path) -> None:
    """SIGTERM is ignored by the command and its child: after the stop timeout both are dead, and the code
    is 137."""
    script = "trap '' TERM; sleep 1000 & echo $!; wait; sleep 1000"
    process = start(base, "--stop-timeout", "500ms", "--", "sh", "-c", script)
    try:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.terminate()
        assert process.wait(LIMIT_S) == 128 + signal.SIGKILL
        gone(child)
    finally:
        end(process)


def test_a_second_signal_kills_at_once_and_the_code_says_so(base: Path) -> None:
    """The command takes note of the first and goes on; the second ends it all: 137, and nothing is left."""
    process = start(base, "--", "sh", "-c", "trap 'echo got' TERM; echo $$; while :; do sleep 0.1; done")
    try:
        assert process.stdout is not None
        command = int(process.stdout.readline())
        process.terminate()
        assert process.stdout.readline() == "got\n"
        time.sleep(ONE_CAUSE_S)  # sooner it would not be a second one
        process.terminate()
        assert process.wait(LIMIT_S) == 128 + signal.SIGKILL
        gone(command)
    finally:
        end(process)


def test_two_signals_of_one_cause_let_the_command_save_its_work(base: Path) -> None:
    """`timeout` and what passes Ctrl-C on send two at once; a closed terminal sends two SIGHUPs, the second when
    its shell has ended. The command gets one, and ends as it likes."""
    script = "trap 'echo got; read line; echo saved; exit 5' INT TERM; echo ready; while :; do sleep 0.05; done"
    process = start(base, "--", "sh", "-c", script)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGSTOP)  # so that it is told of both at once, on a busy machine, too
        process.terminate()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline() == "got\n"
        time.sleep(ONE_CAUSE_S)
        process.send_signal(signal.SIGHUP)
        out, _ = process.communicate("go on\n", LIMIT_S)
        assert (process.returncode, out) == (5, "saved\n")
    finally:
        end(process)


def test_the_command_does_not_outlive_a_guard_that_is_killed(base: Path) -> None:
    """kill -9 of the guard: the command, which nobody would watch any more, ends."""
    process = start(base, "--", "sh", "-c", "echo $$; exec sleep 1000")
    try:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", "it runs", START_S)
        process.kill()
        process.wait(LIMIT_S)
        gone(pid)
    finally:
        end(process)
        if state(pid) not in "ZX":
            os.kill(pid, signal.SIGKILL)


def test_with_too_few_descriptors_it_says_so_and_ends(base: Path) -> None:
    """However many are missing, and wherever that is noticed: nothing waits for a command that does not start."""
    guards = {}
    try:
        for limit in range(14, 22):
            script = f"ulimit -n {limit}; exec {sys.executable} -m banken_supervisor guard -- echo started"
            guards[limit] = subprocess.Popen(
                ["sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "TMPDIR": str(base)},
            )
        for limit, process in guards.items():
            out, err = process.communicate(timeout=LIMIT_S)
            ran = (process.returncode, out) == (0, "started\n")
            assert ran or (process.returncode in (1, 126) and err), (limit, process.returncode, out, err)
    finally:
        for process in guards.values():
            process.kill()
            process.communicate()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--grace", "3s", "--", "true"), "--grace goes with --timeout"),
        (("--budget", "3 per 1m", "--", "true"), "--budget goes with --restart"),
        (("--restart", "--budget", "often", "--", "true"), "a count from 1 to"),
        ((), "Missing argument"),
    ],
)
def test_wrong_options_are_refused_before_anything_runs(base: Path, args: tuple[str, ...], said: str) -> None:
    """Exit code 2, and what is allowed."""
    code, _, err = guard(base, *args)
    assert code == 2
    assert said in err
