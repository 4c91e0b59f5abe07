"""Addresses, and the lock that makes one supervisor of each."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from banken import address
from banken.address import default_address, option_for, resolve
from banken.client import Client
from banken.control import Control, Events
from banken.errors import AddressInUse, AddressRefused, KeyRefused, Unreachable
from banken_supervisor import cli
from banken_supervisor.operator_client.state_directory import state_directory
from banken_supervisor.runtime.lock import AddressLock


def test_a_directory_holds_three_sockets() -> None:
    """As a path, as a Path, and as ipc://."""
    for given in ("/run/banken", Path("/run/banken"), "ipc:///run/banken"):
        assert resolve(given)[1:4] == (
            "ipc:///run/banken/feed",
            "ipc:///run/banken/control",
            "ipc:///run/banken/events",
        )


def test_tcp_means_three_ports_in_a_row() -> None:
    """The given one and the two that follow; 7767 where none is given."""
    assert resolve("tcp://10.0.0.1:9000")[1:4] == (
        "tcp://10.0.0.1:9000",
        "tcp://10.0.0.1:9001",
        "tcp://10.0.0.1:9002",
    )
    assert resolve("tcp://host").feed == "tcp://host:7767"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "http://x",
        "ipc://relative",
        "ipc:/one-slash",
        "tcp:/h:1",
        "tcp://:1",
        "tcp://h:x",
        "tcp://h:0",
        "tcp://h:65534",
        "/" + "x" * 120,
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """With what is allowed."""
    with pytest.raises(AddressRefused, match="address|absolute|long|empty"):
        resolve(text)


def test_the_default_is_the_same_from_a_login_cron_su_and_a_unit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whether $XDG_RUNTIME_DIR is this user's, missing, or left by another; root's is the system's in any case."""
    monkeypatch.delenv("BANKEN_ADDRESS", raising=False)
    monkeypatch.setattr(address, "LOGINS", str(tmp_path))
    mine = os.stat(tmp_path).st_uid or 1000
    own = tmp_path / str(mine)
    own.mkdir()
    if not os.geteuid():
        os.chown(own, mine, mine)
    for runtime in (str(own), None, str(tmp_path / "0"), f"{tmp_path}/{mine + 1}/"):
        if runtime is None:
            monkeypatch.delenv("XDG_RUNTIME_DIR")
        else:
            monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        monkeypatch.setattr(os, "geteuid", lambda: mine)
        assert default_address() == str(own / "banken")
        assert str(state_directory(resolve())).endswith(".local/state/banken")
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert default_address() == "/run/banken"
        assert state_directory(resolve()) == "/var/lib/banken"


def test_the_default_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """$BANKEN_ADDRESS, then $XDG_RUNTIME_DIR, then root's, then home's."""
    monkeypatch.setattr(address, "LOGINS", "/nowhere")
    monkeypatch.setenv("BANKEN_ADDRESS", "/a")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/b")
    assert default_address() == "/a"
    monkeypatch.delenv("BANKEN_ADDRESS")
    assert default_address() == "/b/banken"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_address() == "/run/banken"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/inu")
    assert default_address() == "/home/inu/.local/state/banken/run"


def test_the_second_one_is_told_who_holds_it(tmp_path: Path) -> None:
    """And after the first has gone the address is free."""
    directory = str(tmp_path / "s")
    first = AddressLock(directory)
    with pytest.raises(AddressInUse, match=f"pid {os.getpid()}"):
        AddressLock(directory)
    first.release()
    AddressLock(directory).release()


def test_the_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    """0700 when it is made; one that others may enter is refused; so are files and links."""
    made = tmp_path / "made"
    AddressLock(str(made)).release()
    assert made.stat().st_mode & 0o777 == 0o700
    made.chmod(0o755)
    with pytest.raises(AddressRefused, match="0755"):
        AddressLock(str(made))
    made.chmod(0o700)
    link = tmp_path / "link"
    link.symlink_to(made)
    file = tmp_path / "file"
    file.write_text("")
    for bad in (link, file):
        with pytest.raises(AddressRefused, match="not a directory"):
            AddressLock(str(bad))
    with pytest.raises(AddressRefused, match="cannot make"):
        AddressLock(str(file / "below"))


def test_tcp_wants_a_key(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is sent without one: who listens at a port would get a worker's feeds. What to do is said."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        far = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        for reach in (Control, Events, lambda given: Client(given).feed("w")):
            with pytest.raises(KeyRefused, match=r"needs a key: name its file in \$BANKEN_KEY"):
                reach(far)
        for words, code, says in (
            ("status", 2, "needs a key"), ("feed w", 2, "needs a key"), ("check", 3, "needs a key"),
            ("events", 2, "needs a key"), ("run", 6, "--listen"),
        ):  # fmt: skip
            monkeypatch.setattr(sys, "argv", ["banken", *words.split(), "--address", far])
            assert cli._run() == code, words
            assert says in "".join(capsys.readouterr())
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_a_hint_repeats_no_address_that_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where $BANKEN_ADDRESS names it, `banken run` is enough; any other is given, quoted for a shell."""
    monkeypatch.setenv("BANKEN_ADDRESS", str(tmp_path))
    with Control(None, 0.05) as control, pytest.raises(Unreachable, match="with `banken run`$"):
        control.request("ping")
    other = tmp_path / "an other"
    with Control(str(other), 0.05) as control, pytest.raises(Unreachable) as found:
        control.request("ping")
    assert str(found.value).endswith(f"`banken run --address '{other}'`")
    monkeypatch.setenv("BANKEN_ADDRESS", "http://nonsense")
    assert option_for("/run/banken") == " --address /run/banken"


def test_the_socket_of_a_dead_supervisor_blocks_nobody(tmp_path: Path) -> None:
    """Neither the file that it left, nor a child that it forked and that still holds the listening socket."""
    tmp_path.chmod(0o700)
    parent = os.fork()
    if not parent:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "control"))
        listening.listen()
        if not os.fork():
            tmp_path.joinpath("child").write_text(str(os.getpid()))
            time.sleep(60)
        os._exit(0)
    os.waitpid(parent, 0)
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
        time.sleep(0.01)
    AddressLock(str(tmp_path)).release()
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
    AddressLock(str(tmp_path)).release()
