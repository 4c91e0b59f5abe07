"""A config file that is being written, or that a full disk cut, stops nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from banken_supervisor.runtime.runtime_config import QUIET_S
from process.kit import START_S, until
from process.run_kit import running, table

pytestmark = pytest.mark.process


@pytest.mark.parametrize("content", ["", "# nothing but a comment\n\n", "\ufeff"])
def test_an_empty_file_is_refused_and_stops_nothing(content: str) -> None:
    """By a reload and by SIGHUP, however empty it is; with --allow-empty it is taken."""
    with running(table("p", ["sleep", "3062"])) as one:
        pid = until(lambda: one.program("p")["pid"], "it runs", START_S)
        file = one.place / "banken.toml"
        file.write_text(content)
        events = one.home.events()
        said = _banken("reload", "--address", one.address)
        assert said.returncode == 4, said.stderr
        assert "is empty" in said.stderr
        assert "--allow-empty" in said.stderr
        assert "is empty" in events.until(START_S, "reload-failed")["text"]
        events.seen.clear()
        one._started[0].send_signal(signal.SIGHUP)
        assert "is empty" in events.until(START_S, "reload-failed")["text"]
        assert one.program("p")["pid"] == pid
        assert _banken("reload", "--allow-empty", "--address", one.address).returncode == 0
        until(lambda: not one.home.ask("programs")["rows"], "no program is left", START_S)
        assert _banken("reload", "--address", one.address).returncode == 0  # it was empty before


def test_a_reload_waits_for_a_file_that_is_being_written() -> None:
    """A writer that comes to its second half a moment later: the first half is never in force."""
    halves = [table("p", ["sleep", "3063"]), table("q", ["sleep", "3064"])]
    with running("".join(halves)) as one:
        in_time = False
        while not in_time:  # on a busy machine the second half may come later than anybody waits for it
            pid = one.up("q")
            began = time.monotonic()
            with open(one.place / "banken.toml", "w") as file:
                file.write(halves[0])
                file.flush()
                number = one.home.ask("reload")["number"]
                time.sleep(QUIET_S / 2)
                file.write(halves[1])
            in_time = time.monotonic() - began < QUIET_S
            until(lambda: one.home.ask("reloaded")["number"] >= number, "it is read", START_S)  # noqa: B023
            assert one.home.ask("reloaded")["ok"]
            if not in_time:
                number = one.home.ask("reload")["number"]
                until(lambda: one.home.ask("reloaded")["number"] >= number, "it is read", START_S)  # noqa: B023
        assert one.program("q")["pid"] == pid


def _banken(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "banken_supervisor", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)
