"""A step that runs while its supervisor is stopped in order: the next one does not begin it again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from http_kit import Server, status
from process.kit import START_S, until
from process.run_kit import Running, running
from recovery_kit import gone

pytestmark = pytest.mark.process

HANGS = """
import signal, sys, time
from banken import client
signal.signal(signal.SIGTERM, lambda *_: print("heard", flush=True))
client.watchdog("w", timeout=1.0).feed()
while True:
    time.sleep(60)
"""


def config(step: str) -> str:
    return f'[[watchdog]]\nname = "w"\ntimeout = "1s"\nladder = [{{ {step} }}]\n'


@contextmanager
def hanging(run: Running) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that was fed once."""
    process = subprocess.Popen(
        [sys.executable, "-c", HANGS, run.address],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": ":".join(sys.path), "BANKEN_ADDRESS": run.address},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def banken(run: Running, *words: str) -> Any:
    command = [sys.executable, "-m", "banken_supervisor", *words, "--address", run.address, "--json"]
    return json.loads(subprocess.run(command, capture_output=True, timeout=60, check=True).stdout)


def step(run: Running) -> dict[str, Any]:
    """What the journal has of the only step."""
    (incident,) = [each for each in banken(run, "incidents") if each["cause"] == "timeout"]
    (found,) = banken(run, "incident", incident["id"])["steps"]
    return found


def test_a_kill_in_its_wait_is_finished() -> None:
    with running(config('do = "kill", wait = "60s"')) as run, hanging(run) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"heard\n"
        run.stop()
        until(lambda: gone(worker.pid), "it is killed", START_S)
        run.run()
        found = step(run)
        assert found["ok"] is True
        assert "ended by SIGKILL" in found["text"]
        assert found["text"].endswith("for the supervisor stops")


def test_a_step_that_waits_behind_another_is_done_by_the_next_supervisor(tmp_path: Path) -> None:
    """It was on record as begun. The stop tells that it was dropped, once."""
    lines = tmp_path / "lines"
    first = f'{{ do = "exec", command = ["sh", "-c", "echo first >>{lines}; exec sleep 60"], timeout = "90s" }}'
    second = f'{{ after = "10ms", do = "exec", command = ["sh", "-c", "echo second >>{lines}"] }}'
    text = f'[[watchdog]]\nname = "w"\ntimeout = "1s"\nladder = [{first}, {second}]\n'
    with running(text) as run, hanging(run):
        until(lambda: _events(run, "action") == ["exec", "exec"], "both are due", START_S)
        until(lines.exists, "the first one runs", START_S)
        run.stop()
        assert lines.read_text() == "first\n"
        run.run()
        until(lambda: lines.read_text() == "first\nsecond\n", "the second one is done", START_S)
        until(lambda: _events(run, "action-done"), "it is told", START_S)
        (dropped,) = [each for each in _timeline(run) if each["type"] == "action-dropped"]
        assert dropped["step"] == 1
        assert dropped["text"] == "the supervisor stopped before it began"


def _timeline(run: Running) -> list[dict[str, Any]]:
    """The events of the incident; none: there is no incident yet."""
    found = [each for each in banken(run, "incidents") if each["cause"] == "timeout"]
    return banken(run, "incident", found[0]["id"])["events"] if found else []


def _events(run: Running, type_: str) -> list[str]:
    return [each["do"] for each in _timeline(run) if each["type"] == type_]


@pytest.mark.parametrize(("then", "ok"), [(200, True), (503, False)])
def test_a_message_in_the_pause_after_an_attempt_is_sent_once_more(then: int, ok: bool) -> None:
    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        status(503 if number == 1 else then, Retry_After="30")(handler, number)

    with closing(Server(answer)) as service:
        text = config(f'do = "webhook", url = "{service.url}/hook", timeout = "60s", retries = 9')
        with running(text) as run, hanging(run):
            until(lambda: len(service.seen) == 1, "the first attempt", START_S)
            run.stop()
            assert len(service.seen) == 2
            run.run()
            found = step(run)
        assert found["ok"] is ok
        assert ok or found["text"].endswith("not tried again, for the supervisor stops")
