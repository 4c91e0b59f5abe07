"""Where the journal is: it outlives a reboot for the default address, and no two addresses share a place."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from banken.address import resolve
from banken_supervisor.operator_client.state_directory import make_state_directory, state_directory


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An ordinary user with a session."""
    for name in ("BANKEN_ADDRESS", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/u")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    return monkeypatch


def test_the_default_address_of_a_user(user: pytest.MonkeyPatch) -> None:
    assert state_directory(resolve()) == "/home/u/.local/state/banken"
    assert state_directory(resolve("/run/user/7/banken")) == "/home/u/.local/state/banken"
    user.setenv("XDG_STATE_HOME", "/home/u/state")
    assert state_directory(resolve()) == "/home/u/state/banken"
    user.delenv("XDG_RUNTIME_DIR")
    assert state_directory(resolve()) == "/home/u/.local/state/banken/run"  # which is not emptied


def test_the_default_address_of_root(user: pytest.MonkeyPatch) -> None:
    user.setattr(os, "geteuid", lambda: 0)
    assert state_directory(resolve()) == "/var/lib/banken"
    user.setenv("XDG_RUNTIME_DIR", "/srv/runtime")
    assert state_directory(resolve()) == "/var/lib/banken/srv-runtime-banken"
    user.delenv("XDG_RUNTIME_DIR")
    assert state_directory(resolve()) == "/var/lib/banken"


def test_an_address_of_ones_own_has_its_state_with_it(user: pytest.MonkeyPatch) -> None:
    for uid in (0, 7):
        user.setattr(os, "geteuid", lambda uid=uid: uid)
        assert state_directory(resolve("/srv/other")) == "/srv/other"
        assert state_directory(resolve("ipc:///srv/other")) == "/srv/other"
        user.setenv("BANKEN_ADDRESS", "/srv/third")
        assert state_directory(resolve()) == "/srv/third"
        user.delenv("BANKEN_ADDRESS")
    assert state_directory(resolve("tcp://host:7767")) is None


def test_where_it_cannot_be_made_the_address_has_it(user: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    user.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert make_state_directory(resolve()) == "/run/user/7/banken"
    user.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert make_state_directory(resolve()) == str(tmp_path / "state" / "banken")
    assert (tmp_path / "state" / "banken").stat().st_mode & 0o777 == 0o700


@pytest.mark.process
def test_the_journal_is_there_after_the_runtime_directory_is_emptied(tmp_path: Path) -> None:
    """A real supervisor at the default address; what it had seen is there after a reboot, for every command."""
    ordinary = ["unshare", "--user"] if os.geteuid() == 0 else []  # root's place is one of the system
    if ordinary and (
        shutil.which("unshare") is None or subprocess.run([*ordinary, "true"], check=False).returncode
    ):
        pytest.skip("root can be no ordinary user here")
    state, runtime = tmp_path / "state", tmp_path / "runtime"
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("BANKEN_")},
        "XDG_RUNTIME_DIR": str(runtime), "XDG_STATE_HOME": str(state),
    }  # fmt: skip
    runtime.mkdir()

    def banken(*words: str) -> list[str]:
        return [*ordinary, sys.executable, "-m", "banken_supervisor", *words]

    def ask(*words: str) -> str:
        done = subprocess.run(banken(*words), env=environment, cwd="/", capture_output=True, text=True, check=False)
        return done.stdout

    def until(words: list[str], what: str) -> None:
        deadline = time.monotonic() + 40.0
        while what not in ask(*words):
            assert time.monotonic() < deadline, ask(*words)
            time.sleep(0.05)

    quiet = subprocess.DEVNULL
    with subprocess.Popen(banken("run"), env=environment, cwd="/", stdout=quiet, stderr=quiet) as supervisor:
        try:
            until(["status"], "supervisor at")
            ask("fail", "w", "seen")
            until(["incidents"], "seen")
        finally:
            supervisor.kill()
    subprocess.run(["rm", "-rf", str(runtime / "banken")], check=True)
    assert (state / "banken" / "journal.db").exists()
    assert "seen" in ask("incidents", "--json")
    assert "seen" in ask("incidents", "--json", "--address", str(runtime / "banken"))
