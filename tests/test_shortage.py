"""What needs a descriptor waits a little where there is none, and fails softly where none comes."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from banken.process_identity import boot_id, process_start
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.actions.running_command import RunningCommand
from banken_supervisor.evidence import collect
from banken_supervisor.processes import shortage
from banken_supervisor.processes.handle import ProcessHandle, ProcessUnheld
from banken_supervisor.processes.process_handles import ProcessHandles

SOON_S = 0.2


@contextmanager
def no_descriptor(seconds: float, but: int = 0) -> Iterator[None]:
    """This process may open none, ``but`` so many, for so long."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def end() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    timer = threading.Timer(seconds, end)
    timer.start()
    free = [os.dup(0) for _ in range(but)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(free, default=-1) + 1, hard))
    for descriptor in free:
        os.close(descriptor)
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        end()


@contextmanager
def sleeper() -> Iterator[ProcessIdentity]:
    """A process that waits."""
    process = subprocess.Popen(["sleep", "100"])
    try:
        yield ProcessIdentity(boot_id(), process.pid, process_start(process.pid), b"1234")
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd")
def test_a_command_and_a_signal_wait_for_a_descriptor() -> None:
    """A ladder's command starts and its signal is sent as soon as there is one."""
    with no_descriptor(SOON_S), RunningCommand.start(["true"], 1000, dict(os.environ)) as command:
        assert command.wait(20.0)
    with sleeper() as who:
        with no_descriptor(SOON_S):
            assert ProcessHandles().signal(who, signal.SIGKILL)
        assert os.waitpid(who.pid, 0)[1] == signal.SIGKILL


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd")
def test_a_process_that_cannot_be_looked_at_now_is_not_unknown_for_good(tmp_path: Path) -> None:
    """There is a descriptor for its handle, and none to read when it started: evidence waits for that."""
    with sleeper() as who:
        with no_descriptor(10.0, but=1), pytest.raises(ProcessUnheld, match="Too many open files"):
            ProcessHandle.open(who)
        with no_descriptor(SOON_S, but=1):
            evidence = collect(who, address_directory=str(tmp_path), seconds_max=20.0, py_spy=False)
        assert evidence["identity"] == "verified", evidence["headline"]


def test_where_none_comes_the_fault_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time, and at once if it is another fault."""
    monkeypatch.setattr(shortage, "WAIT_S", 0.2)
    with no_descriptor(10.0), pytest.raises(OSError, match="Too many open files"):
        RunningCommand.start(["true"], 1000, dict(os.environ))
    monkeypatch.setattr(shortage, "WAIT_S", 60.0)
    with pytest.raises(FileNotFoundError):
        RunningCommand.start(["/no/such/command"], 1000, dict(os.environ))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC])
def test_a_fault_that_stands_behind_another_counts(number: int) -> None:
    """As where its text is made for people."""

    def start() -> None:
        try:
            raise OSError(number, "short")
        except OSError:
            raise ValueError("words for people") from None

    with pytest.raises(ValueError, match="words") as found:
        start()
    assert shortage.is_shortage(found.value)
    assert shortage.is_shortage(MemoryError())
    assert not shortage.is_shortage(FileNotFoundError(errno.ENOENT, "none"))
    assert not shortage.is_shortage(None)
