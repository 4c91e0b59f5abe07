"""What `banken run` does with its stdout, with what stands where its own files belong, and how long it stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from process.kit import until

pytestmark = pytest.mark.process

CONFIG = """
[callbacks]
says = "says:callback"

[actions]
says = "says:Says"

[[watchdog]]
name = "w"
timeout = "100ms"
grace = "100ms"
expect = true
callback = "says"
ladder = [{ do = "says" }]
"""

SAYS = """
from banken_supervisor.actions.base import Action, Outcome

def callback():
    print("the callback was here")

class Says(Action):
    name = "says"
    def run(self, subject, world, ended):
        print("the action was here")
        return Outcome(True)
"""


@contextmanager
def run(place: Path, config: str = "") -> Iterator[tuple[subprocess.Popen[bytes], Path, Path]]:
    """`banken run > log` in an otherwise empty environment; the process, its stdout and its stderr."""
    place.joinpath("banken.toml").write_text(config)
    out, errors = place / "out", place / "errors"
    command = [sys.executable, "-m", "banken_supervisor", "run", "-c", "banken.toml", "--address", str(place / "a")]
    environment = {"HOME": str(place), "PATH": os.environ["PATH"]}
    with open(out, "wb") as log, open(errors, "wb") as told:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=told, env=environment, cwd=place
        )
    try:
        yield process, out, errors
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(20)
    assert code == 0, errors.read_text()


def test_what_a_callback_or_an_action_prints_is_in_the_file_at_once(tmp_path: Path) -> None:
    """While the supervisor runs on, without PYTHONUNBUFFERED."""
    tmp_path.joinpath("says.py").write_text(SAYS)
    with run(tmp_path, CONFIG) as (process, out, _):
        until(lambda: "the callback was here\n" in out.read_text(), "the callback's line", 20)
        until(lambda: "the action was here\n" in out.read_text(), "the action's line", 20)
        assert process.poll() is None


@pytest.mark.parametrize("kind", ["file", "link", "half written"])
def test_a_file_in_the_place_of_the_programs_directory_is_put_aside(kind: str, tmp_path: Path) -> None:
    """It is kept, that is told, and a program starts; so with a directory where a half-written file would be."""
    address = tmp_path / "a"
    address.mkdir(mode=0o700)
    if kind == "file":
        address.joinpath("programs").write_text("stray")
    elif kind == "link":
        address.joinpath("programs").symlink_to("nowhere")
    else:
        address.joinpath("programs", "p.new").mkdir(parents=True)
    started = tmp_path / "started"
    config = f'[[program]]\nname = "p"\ncommand = ["touch", "{started}"]\nrestart = "never"\n'
    with run(tmp_path, config) as (process, _, errors):
        until(started.exists, "the program has run", 20)
        assert process.poll() is None
        if kind != "half written":
            until(lambda: "is put aside" in errors.read_text(), "it is told", 20)
            (aside,) = [each for each in os.listdir(address) if each.endswith(".damaged")]
            assert kind == "link" or address.joinpath(aside).read_text() == "stray"


HANGS = """
import time

def callback():
    print("the callback was here")
    time.sleep(60)
"""


def test_the_configs_stop_timeout_bounds_the_stop(tmp_path: Path) -> None:
    """A callback hangs; half a second is allowed. (A default stop would wait 2 s for it.)"""
    tmp_path.joinpath("says.py").write_text(HANGS)
    config = '[supervisor]\nstop_timeout = "500ms"\n' + CONFIG.replace('[actions]\nsays = "says:Says"\n', "")
    config = config.replace('ladder = [{ do = "says" }]\n', "")
    with run(tmp_path, config) as (process, out, _):
        until(lambda: "the callback was here\n" in out.read_text(), "the callback hangs", 20)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        assert time.monotonic() - began <= 1.8
