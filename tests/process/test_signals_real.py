"""Signals that end a process by default, sent to the real `banken run`."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from banken_supervisor.cli.process import MEANINGLESS
from banken_supervisor.runtime.signals import ONE_CAUSE_S
from process.kit import START_S, until
from process.run_kit import running, table

pytestmark = pytest.mark.process

LEFT_ALONE = {
    "SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGSTOP", "SIGQUIT", "SIGABRT", "SIGILL", "SIGTRAP", "SIGBUS",
    "SIGFPE", "SIGSEGV", "SIGSYS",
}  # fmt: skip
"""They end or stop it on purpose, or are a crash."""


def mask(pid: int, which: str) -> int:
    """A set of signals, as /proc has it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(f"{which}:")), 16)


def test_no_signal_that_means_nothing_ends_it() -> None:
    """Each that the system has, three times; told once. What it starts handles them as ever. SIGTERM ends it."""
    sent = [number for number in signal.valid_signals() if getattr(number, "name", "") not in LEFT_ALONE]
    assert {signal.SIGUSR1, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGRTMIN + 3} <= set(sent)
    with running(table("p", ["sleep", "1000"])) as one:
        process, program = one._started[-1], one.up("p")
        for number in sent * 3:
            process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # after SIGTSTP and the like
        names = [name for name in MEANINGLESS if hasattr(signal, name)] + ["SIGRTMIN", "SIGRTMAX"]
        until(lambda: all(f"{name} came" in one.log.read_text() for name in names), "they are logged")
        assert one.home.ask("ping")["pid"] == process.pid
        assert one.log.read_text().count("SIGUSR2 came") == 1
        # 32 and 33 are glibc's, whose posix_spawn ignores them.
        assert mask(program, "SigIgn") & ~(0b11 << 31) == 0
        one.stop()
        assert process.returncode == 0


BLOCKING = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_signals_that_its_starter_has_blocked_are_heard() -> None:
    """Some programs block them in the thread that starts others. SIGHUP reads the config again, SIGTERM ends it."""
    with running("", under=(sys.executable, "-c", BLOCKING)) as one:
        process = one._started[-1]
        process.send_signal(signal.SIGHUP)
        until(lambda: "was loaded" in one.log.read_text(), "the config is read again", START_S)
        one.stop()
        assert process.returncode == 0


def test_two_signals_of_one_cause_are_one_and_a_later_one_ends_it_at_once() -> None:
    """It waits for its program (`--init`) after both, as after one; then the next does not let it."""
    script = "exec >> @PLACE@/told; trap 'echo got' TERM; echo up; while :; do sleep 0.1; done"
    with running(table("slow", ["sh", "-c", script], stop_timeout="10m"), "--init") as one:
        process = one._started[-1]
        until(lambda: one.lines() == ["up"], "its program runs", START_S)
        process.send_signal(signal.SIGSTOP)  # so that it is told of both at once, on a busy machine, too
        process.terminate()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        until(lambda: one.lines() == ["up", "got"], "its program is to end", START_S)
        time.sleep(ONE_CAUSE_S)
        assert process.poll() is None
        process.terminate()
        assert process.wait(START_S) == 128 + signal.SIGTERM
