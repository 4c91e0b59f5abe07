"""Only one supervisor acts: files of its address that others remove are made again, or it gives way."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from banken.control import Events
from process.kit import START_S, until
from process.program_kit import state
from process.run_kit import Running, running, table

pytestmark = pytest.mark.process

SLEEPS = ["sleep", f"3061.{os.getpid():07}"]
"""No other process of the host has this command line."""


@pytest.fixture
def one() -> Iterator[Running]:
    """A supervisor with one program."""
    with running(table("p", SLEEPS, restart="always")) as made:
        until(lambda: len(made.commands(" ".join(SLEEPS))) == 1, "the program runs", START_S)
        yield made


def second(one: Running) -> subprocess.Popen[bytes]:
    """Another supervisor at the same address; its log is the first one's, too."""
    command = [sys.executable, "-m", "banken_supervisor", "run", "-c", "banken.toml", "--no-journal"]
    environment = {"HOME": str(one.place), "PATH": os.environ["PATH"], "BANKEN_ADDRESS": one.address}
    with open(one.log, "ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=one.place
        )
    one._started.append(process)
    return process


@contextmanager
def stopped(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """All its threads stand still meanwhile: none makes a file again in a directory that is being removed."""
    process.send_signal(signal.SIGSTOP)
    tasks = Path(f"/proc/{process.pid}/task")
    until(lambda: all(_state(task) in "TXZ" for task in tasks.iterdir()), "it stands still")
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def _state(task: Path) -> str:
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def says(one: Running, text: str) -> bool:
    return text in one.log.read_text()


@pytest.mark.parametrize("wait", [False, True])
def test_a_removed_lock_lets_no_second_one_in(one: Running, wait: bool) -> None:
    """Not before it is made again, because the first one's sockets are found, and not after."""
    (Path(one.address) / "lock").unlink()
    if wait:
        until(lambda: says(one, "holds it again"), "the lock is taken again", START_S)
    assert second(one).wait(START_S) == 5
    until(lambda: says(one, "holds it again"), "the lock is taken again", START_S)
    pid = one.program("p")["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: one.program("p")["pid"] not in (None, pid), "it starts again", START_S)
    until(lambda: len(one.commands(" ".join(SLEEPS))) == 1, "it runs once", START_S)


def test_a_stopped_one_keeps_its_address_without_its_lock(one: Running) -> None:
    """It cannot make the lock again meanwhile, but its sockets say that it lives."""
    first = one._started[0]
    with stopped(first):
        (Path(one.address) / "lock").unlink()
        assert second(one).wait(START_S) == 5
    assert one.home.ask("ping")["pid"] == first.pid


def test_who_lost_its_directory_to_another_one_ends(one: Running) -> None:
    """It ends with 5, says who holds the address, and leaves its program running."""
    first, (pid, _) = one._started[0], one.live(" ".join(SLEEPS))[0]
    with stopped(first):
        shutil.rmtree(one.address)
        other = second(one)
        until(lambda: one.home.ask("ping")["pid"] == other.pid, "the second one answers", START_S)
    assert first.wait(START_S) == 5
    assert says(one, f"held by another supervisor: pid {other.pid}")
    assert state(pid) not in "ZX"
    assert one.home.ask("ping")["pid"] == other.pid


def test_what_was_removed_is_made_again(one: Running) -> None:
    """Single files, a directory, and then all: old and new workers feed, commands and listeners find it."""
    old = one.home.worker("feeder", "old", 1.0, 0.05)
    until(lambda: one.home.row("old").get("state") == "alive", "the old one feeds", START_S)
    removed = [Path(one.address) / name for name in ("feed", "control", "events", "programs/p.json")]
    for path in removed:
        path.unlink()
    until(lambda: all(path.exists() for path in removed), "all are there again", START_S)
    _serves(one, "new")
    with stopped(one._started[0]):
        shutil.rmtree(one.address)
    until(lambda: all(path.exists() for path in removed), "all are there again", START_S)
    _serves(one, "newer")
    old.kill()
    until(lambda: one.home.row("old").get("state") == "expired", "the old one's end is noticed", START_S)
    assert one.home.row("new")["incidents"] == 0
    assert f'"pid": {one.program("p")["pid"]}' in removed[-1].read_text()
    one.ask("restart", "p")
    assert (Path(one.address) / "lock").read_text()


def test_a_directory_that_cannot_be_used_is_told_and_taken_when_it_can(one: Running) -> None:
    """Replaced by one that is open to others: who is connected is watched on, and it is bound once it is mended."""
    with stopped(one._started[0]):
        shutil.rmtree(one.address)
        Path(one.address).mkdir(mode=0o755)
    until(lambda: says(one, "was removed or replaced, and cannot be used"), "it is told", START_S)
    assert "lock" not in os.listdir(one.address)
    Path(one.address).chmod(0o700)
    until(lambda: _listens(one, "control"), "it is bound again", START_S)
    assert one.home.ask("ping")["pid"] == one._started[0].pid


def _listens(one: Running, name: str) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        return asking.connect_ex(f"{one.address}/{name}") == 0


def _serves(one: Running, name: str) -> None:
    """Each of the three sockets does its work; ``name``: of a new worker."""
    until(lambda: _listens(one, "feed") and _listens(one, "control"), "the sockets listen", START_S)
    one.home.worker("feeder", name, 1.0, 0.05)
    until(lambda: one.home.row(name).get("state") == "alive", "the new one feeds", START_S)
    with Events(one.address) as events:
        until(lambda: _hears(one, events), "events are heard", START_S)


def _hears(one: Running, events: Events) -> bool:
    """Whether something that is told now is heard."""
    one.home.client().feed(f"told-{time.monotonic_ns()}")
    return events.next(0.2) is not None
