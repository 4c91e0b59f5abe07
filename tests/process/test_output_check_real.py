"""The ``output`` check of real programs, by a real supervisor and its process that runs the checks."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from process.kit import START_S, until
from process.run_kit import running, table

pytestmark = pytest.mark.process

TRAINING = "import time\nfor step in range(10**6):\n    print('step', step)\n    time.sleep(0.05)\n"
"""It imports nothing of banken, and flushes nothing."""

CHATTER = "import time\nwhile True:\n    print('still loading')\n    time.sleep(0.05)\n"
SHELL = "while :; do echo $PYTHONUNBUFFERED; sleep 0.05; done"


def test_a_training_script_is_watched_without_a_line() -> None:
    """It passes while it writes; stopped, it is noticed, and the ladder acts on it; started again, it passes."""
    check = 'check = { output = "step \\\\d+", every = "300ms", fails = 2 }\ngrace = "20s"\n'
    config = table("t", [sys.executable, "-c", TRAINING]) + check + 'ladder = [{ do = "restart" }]\n'
    with running(config) as one:
        events, pid = one.home.events(), one.up("t")
        until(lambda: one.watchdogs().get("t/check", {}).get("state") == "alive", "it writes", START_S)
        os.kill(pid, signal.SIGSTOP)
        told = events.until(START_S, "expired", "t/check")
        assert told["cause"] == "check"
        assert 'no line that fits "step' in told["reason"]
        assert 'the last: "step ' in told["reason"]
        assert events.until(START_S, "closed", "t/check")["how"] == "reborn"
        assert one.up("t") != pid
        until(lambda: one.watchdogs()["t/check"]["state"] == "alive", "it writes again", START_S)


def test_lines_that_do_not_fit_are_none_and_true_takes_all() -> None:
    """And such a program gets PYTHONUNBUFFERED, another does not."""
    often = 'every = "300ms", fails = 2 }\ngrace = "1s"\n'
    config = (
        table("chatter", [sys.executable, "-c", CHATTER])
        + f'check = {{ output = "step", {often}'
        + table("shell", ["sh", "-c", SHELL])
        + f"check = {{ output = true, {often}"
        + table("other", ["sh", "-c", "env > @PLACE@/told; exec sleep 1000"])
    )
    with running(config) as one:
        told = one.home.events().until(START_S, "expired", "chatter/check")
        assert "still loading" in told["reason"]
        until(lambda: one.watchdogs()["shell/check"]["state"] == "alive", "it writes", START_S)
        result = one.home.ask("checks", name="shell")["rows"][0]["results"][-1]
        assert result["text"] == 'wrote "1"'
        assert not any(line.startswith("PYTHONUNBUFFERED") for line in one.lines())


def test_a_hostile_pattern_harms_no_other_check() -> None:
    """Its own check fails and says why; others pass on time, and the process that runs them is never convicted."""
    lines = "import time\nwhile True:\n    print('a' * 4000 + '!')\n    time.sleep(0.05)\n"
    config = (
        table("bad", [sys.executable, "-c", lines])
        + 'check = { output = "(a+)+$", every = "500ms", fails = 2 }\ngrace = "1s"\n'
        + table("good", [sys.executable, "-c", TRAINING])
        + 'check = { output = "step", every = "500ms", fails = 3 }\ngrace = "20s"\n'
    )
    with running(config) as one:
        events = one.home.events()
        told = events.until(START_S, "expired", "bad/check")
        assert "too long" in told["reason"]
        number = lambda: one.home.ask("checks", name="good")["rows"][0]["number"]  # noqa: E731
        before = number()
        until(lambda: number() >= before + 4, "the other goes on", START_S)
        assert {each["name"] for each in events.all("expired")} == {"bad/check"}
        assert one.watchdogs()["good/check"]["state"] == "alive"
