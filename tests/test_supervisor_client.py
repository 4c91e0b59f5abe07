"""Finding out who holds an address: it never raises, whatever the lock file is or says."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from banken.address import resolve
from banken.errors import Unreachable
from banken_supervisor.operator_client.supervisor_client import connect, explained, is_absent, lock_holder


def lock(directory: Path, content: object) -> str:
    """A lock file with this content; str and bytes as they are, else JSON."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    (directory / "lock").write_bytes(data)
    return str(directory)


def test_a_living_process_holds_it(tmp_path: Path) -> None:
    """Its pid; the message says it, and how to look at it."""
    directory = lock(tmp_path, {"pid": os.getpid()})
    assert lock_holder(directory) == os.getpid()
    found = str(explained(Unreachable("none"), resolve(directory), 0.5))
    assert f"(pid {os.getpid()}) did not answer within 0.5 s" in found
    assert not is_absent(resolve(directory))


@pytest.mark.parametrize(
    "content", [{"pid": 2**22 + 1}, {"pid": 2**63}, {"pid": "x"}, {}, [], b"", b"\xff", b"{", {"pid": None}]
)
def test_nobody_holds_it(tmp_path: Path, content: object) -> None:
    """A process that has ended, a pid that none can have, and a file that is damaged."""
    directory = lock(tmp_path, content)
    assert lock_holder(directory) is None
    fault = Unreachable("none")
    assert explained(fault, resolve(directory), 0.5) is fault


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_lock_that_may_not_be_read(tmp_path: Path) -> None:
    """Another user's directory: the request fails as Unreachable, not with a traceback."""
    directory = lock(tmp_path, {"pid": os.getpid()})
    os.chmod(tmp_path, 0o700)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setuid(65534)
            code = 0 if lock_holder(directory) is None else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_request_to_a_stopped_supervisor_says_so(tmp_path: Path) -> None:
    """The lock is held, and no answer comes."""
    directory = lock(tmp_path, {"pid": os.getpid()})
    with (
        pytest.raises(Unreachable, match=r"stopped, starved or ending"),
        connect(directory, timeout=0.05) as control,
    ):
        control.request("ping")
