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

import pytest

from banken.process_identity import boot_id, process_start
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.actions.running_command import RunningCommand
from banken_supervisor.processes import shortage
from banken_supervisor.processes.process_handles import ProcessHandles

SOON_S = 0.2


@contextmanager
def no_descriptor(seconds: float) -> Iterator[None]:
    """This process may open none, for so long."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def end() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    timer = threading.Timer(seconds, end)
    timer.start()
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        end()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd")
def test_a_command_and_a_signal_wait_for_a_descriptor() -> None:
    """A ladder's command starts and its signal is sent as soon as there is one."""
    with no_descriptor(SOON_S), RunningCommand.start(["true"], 1000, dict(os.environ)) as command:
        assert command.wait(20.0)
    with subprocess.Popen(["sleep", "100"]) as process:
        who = ProcessIdentity(boot_id(), process.pid, process_start(process.pid), b"1234")
        with no_descriptor(SOON_S):
            assert ProcessHandles().signal(who, signal.SIGKILL)
        assert process.wait(20) == -signal.SIGKILL


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
