"""Which address a supervisor takes and says, and where commands look that were given none."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from process.kit import START_S, until

pytestmark = pytest.mark.process


@pytest.fixture
def place() -> Iterator[Path]:
    """A home directory, with a short path."""
    with tempfile.TemporaryDirectory(prefix="bkf-") as made:
        yield Path(made)


def environment(place: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(place), "PATH": os.environ["PATH"], **more}


def banken(place: Path, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "banken_supervisor", *args]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment(place, **more), cwd=place
    )


@contextmanager
def supervising(place: Path, *args: str, **more: str) -> Iterator[str]:
    """A supervisor; the first line that it says."""
    command = [sys.executable, "-m", "banken_supervisor", "run", *args]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(place, **more), cwd=place
    ) as run:
        try:
            assert run.stdout is not None
            yield run.stdout.readline().decode()
        finally:
            run.kill()


def test_the_first_line_names_what_is_in_force(place: Path) -> None:
    """Config, journal, page and address; a config that was taken because it lies there is said to be so."""
    (place / "banken.toml").write_text('[supervisor]\naddress = "c"\n')
    with supervising(place, "--web", "127.0.0.1:0") as line:
        assert f"supervises at {place}/c (pid " in line
        assert f"config {place}/banken.toml (./banken.toml was taken)" in line
        assert f"journal {place}/c/journal.db" in line
        assert "page http://127.0.0.1:0" in line
    (place / "banken.toml").unlink()
    with supervising(place, "--address", f"{place}/o", "--no-journal") as line:
        assert "config none; journal none; no page. Feed it with: " in line


def test_the_variable_wins_over_the_config_and_the_option_over_both(place: Path) -> None:
    """And the first line says which address does not count."""
    (place / "mine.toml").write_text('[supervisor]\naddress = "c"\n')
    with supervising(place, "-c", "mine.toml", BANKEN_ADDRESS=f"{place}/v") as line:
        assert f"supervises at {place}/v (pid " in line
        assert f"config {place}/mine.toml, but not its address {place}/c" in line
        assert "was taken" not in line
        until(lambda: banken(place, "status", BANKEN_ADDRESS=f"{place}/v").returncode == 0, "it answers")
    with supervising(place, "-c", "mine.toml", "--address", "o", BANKEN_ADDRESS=f"{place}/v") as line:
        assert f"supervises at {place}/o (pid " in line


def test_a_command_without_an_address_finds_the_supervisor_of_its_user(place: Path) -> None:
    """A reading one uses it and says so; a changing one names it, does nothing, and ends with 3; both at once."""
    runtime = place / "runtime"
    runtime.mkdir(mode=0o700)
    elsewhere = place / ".local/state/banken/run"
    with supervising(place, "--address", str(elsewhere), "--no-journal"):
        until(lambda: (elsewhere / "control").exists(), "it listens", START_S)
        read = banken(place, "status", XDG_RUNTIME_DIR=str(runtime))
        assert read.returncode == 0, read.stderr
        assert read.stderr == f"no supervisor runs at {runtime}/banken; this is the one at {elsewhere}\n"
        assert str(elsewhere) in read.stdout
        changing = [["feed", "w"], ["stop"], ["pause", "w"]]
        began = time.monotonic()
        for args in changing:
            assert banken(place, *args, "--help").returncode == 0
        starts = time.monotonic() - began  # what the interpreter's own starts take on this machine
        began = time.monotonic()
        for args in changing:
            refused = banken(place, *args, XDG_RUNTIME_DIR=str(runtime))
            assert refused.returncode == 3
            assert f"say --address {elsewhere}" in refused.stderr
        # Two seconds is the wait for an answer: six in all. A start takes another time each time.
        assert time.monotonic() - began < 1.5 * starts + 4.0
        assert banken(place, "status", "w", "--address", str(elsewhere)).returncode == 1  # it was not fed
        given = banken(place, "status", "--address", str(place / "none"), XDG_RUNTIME_DIR=str(runtime))
        assert given.returncode == 3
        assert str(elsewhere) not in given.stderr
        variable = banken(place, "status", BANKEN_ADDRESS=str(place / "none"))
        assert variable.returncode == 3


@pytest.mark.root
def test_the_directory_of_another_user_is_not_looked_at(place: Path) -> None:
    """Root's commands do not go to somebody else's supervisor, nor does a directory's name make it ours."""
    runtime = place / "runtime"
    runtime.mkdir(mode=0o700)
    elsewhere = place / ".local/state/banken/run"
    with supervising(place, "--address", str(elsewhere), "--no-journal"):
        os.chown(elsewhere, 65534, 65534)
        assert banken(place, "status", XDG_RUNTIME_DIR=str(runtime)).returncode == 3
