"""The supervisor's side of the orphan killer, where no process can be made."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator

import pytest

from banken_supervisor.programs.orphan_killer_client import OrphanKiller


@pytest.fixture
def killer() -> Iterator[OrphanKiller]:
    made = OrphanKiller()
    yield made
    process = made._process
    made.close()
    if process is not None:
        process.returncode = None
        assert process.wait(10.0) == 0


def test_one_that_was_killed_and_cannot_be_replaced_is_an_os_error_until_it_is(
    killer: OrphanKiller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other fault would leave the program starting for ever."""

    def refuses(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    killer.expect("a" * 32)
    first = killer._process
    assert first is not None
    first.kill()
    first.wait()
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", refuses)
        killer.release("a" * 32)
        for _ in range(2):
            with pytest.raises(OSError, match="temporarily unavailable"):
                killer.expect("b" * 32)
            killer.release("b" * 32)
    killer.expect("c" * 32)
    assert killer._process not in (None, first)
    killer.release("c" * 32)
