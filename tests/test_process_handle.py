"""One handle for a process: it is this process and no other, for all that may be at its pid."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from banken.process_identity import boot_id, own_identity, process_start
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.processes import shortage
from banken_supervisor.processes.handle import (
    STATUS_KNOWN,
    ProcessError,
    ProcessGone,
    ProcessHandle,
    ProcessRemote,
    ProcessReplaced,
)
from banken_supervisor.processes.process_handles import ProcessHandles
from banken_supervisor.processes.process_watcher import ProcessWatcher

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd")


@contextmanager
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits, and is reaped at the end."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def identity(pid: int, start: int | None = None) -> ProcessIdentity:
    """What a worker of this host with this pid would say."""
    return ProcessIdentity(boot_id(), pid, process_start(pid) if start is None else start, bytes(8))


def test_a_process_is_signalled_waited_for_and_its_status_collected() -> None:
    """Through one descriptor, from its life to its end."""
    with sleeper() as process, ProcessHandle.open(identity(process.pid)) as handle:
        assert handle.alive
        assert handle.owns_pid
        assert not handle.wait(0.01)
        assert handle.signal(signal.SIGTERM)
        assert handle.wait(10)
        assert not handle.alive
        assert handle.owns_pid, "a zombie keeps its pid"
        assert handle.exit_status() == -signal.SIGTERM
        assert handle.exit_status() is None, "it was collected"
        assert not handle.owns_pid
        assert not handle.signal(signal.SIGTERM)
        process.returncode = 0


@pytest.mark.parametrize(
    ("who", "error", "kind"),
    [
        (identity(os.getpid(), 1), ProcessReplaced, "reused"),
        (identity(2**22 + 1, 1), ProcessGone, "gone"),
        (identity(2**31, 1), ProcessGone, "gone"),
        (identity(2**63, 1), ProcessGone, "gone"),
        (identity(0, 1), ProcessError, "unknown"),
        (identity(-5, 1), ProcessError, "unknown"),
        (identity(os.getpid(), 0), ProcessError, "unknown"),
        (own_identity()._replace(boot=b"\1" * 8), ProcessRemote, "remote"),
    ],
)
def test_what_is_not_this_process_is_refused(who: ProcessIdentity, error: type[ProcessError], kind: str) -> None:
    """Each with a named error; and the two shells answer, and do not raise."""
    with pytest.raises(error) as caught:
        ProcessHandle.open(who)
    assert type(caught.value) is error
    assert caught.value.kind == kind
    handles, watcher = ProcessHandles(), ProcessWatcher()
    try:
        assert not handles.alive(who)
        assert not handles.signal(who, 0)
        assert handles.wait_gone(who, 0.0)
        assert handles.state(who) == "gone"
        assert not watcher.watch(who)
        assert watcher.ended(who) == issubclass(error, ProcessGone)
    finally:
        watcher.close()


def test_without_a_descriptor_a_living_process_is_not_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not to know is no end: a named error, an OSError for actions, and no verdict."""
    monkeypatch.setattr(shortage, "WAIT_S", 0.0)
    handles, watcher = ProcessHandles(), ProcessWatcher()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with sleeper() as process:
        who = identity(process.pid)
        full: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        try:
            with contextlib.suppress(OSError):
                while True:
                    full.append(os.dup(0))
            with pytest.raises(ProcessError, match="cannot be held") as none_left:
                ProcessHandle.open(who)
            assert not isinstance(none_left.value, ProcessGone)
            os.close(full.pop())  # one for the pidfd, none for /proc
            with pytest.raises(ProcessError, match="cannot be read") as unreadable:
                ProcessHandle.open(who)
            assert not isinstance(unreadable.value, ProcessGone)
            with pytest.raises(OSError, match="cannot be read"):
                handles.alive(who)
            assert not watcher.ended(who)
            assert not watcher.watch(who)
        finally:
            for fd in full:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            watcher.close()
        assert handles.alive(who)


def test_refused_and_closed_handles_leak_no_descriptor() -> None:
    """However they end."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        with pytest.raises(ProcessReplaced):
            ProcessHandle.open_pid(os.getpid(), 1)
        with ProcessHandle.open_pid(os.getpid()) as handle:
            handle.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert handle.fileno() == -1


GRANDCHILD = (
    "import os, sys, time\n"
    "pid = os.fork()\n"
    "if not pid:\n"
    "    sys.stdin.readline()\n"
    "    {end}\n"
    "print(pid, flush=True)\n"
    "{collect}\n"
    "sys.stdin.read()\n"
)


@pytest.mark.parametrize("collect", ["os.waitpid(pid, 0)", "time.sleep(1000)"])
@pytest.mark.parametrize(
    ("end", "status"), [("os._exit(0)", 0), ("os._exit(3)", 3), ("os.kill(os.getpid(), 9)", -9)]
)
def test_how_any_process_ended(end: str, status: int, collect: str) -> None:
    """No child of ours; collected by its parent, or a zombie."""
    if collect.startswith("os") and not STATUS_KNOWN:
        pytest.skip("needs Linux 6.15")
    code = GRANDCHILD.format(end=end, collect=collect)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        try:
            assert parent.stdout is not None
            assert parent.stdin is not None
            with ProcessHandle.open_pid(int(parent.stdout.readline())) as handle:
                assert handle.ended_with() is None, "it lives"
                parent.stdin.write("\n")
                parent.stdin.flush()
                assert handle.wait(10)
                assert handle.ended_with() == status
        finally:
            parent.kill()
