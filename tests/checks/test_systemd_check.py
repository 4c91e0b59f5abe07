"""``systemd``: the machines of CI run none, so systemctl is a double, which says what that of systemd 252 says.

Where systemd runs, the last test asks it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.checks.kit import fails, look, nothing_left, passes

from banken.errors import Refused
from banken_supervisor.config.checks import parse_checks

pytestmark = pytest.mark.process

ACTIVE = (
    "Result=success\nNRestarts=0\nMainPID={pid}\nLoadState=loaded\nActiveState=active\nSubState=running\n"
    "StatusText=Ready to accept connections\n"
)
FAILED = (
    "Result=exit-code\nNRestarts=5\nMainPID=0\nLoadState=loaded\nActiveState=failed\nSubState=failed\nStatusText=\n"
)
INACTIVE = "Result=success\nMainPID=0\nLoadState=loaded\nActiveState=inactive\nSubState=dead\n"
ACTIVATING = "Result=timeout\nMainPID=0\nLoadState=loaded\nActiveState=activating\nSubState=auto-restart\n"
UNKNOWN = "Result=success\nLoadState=not-found\nActiveState=inactive\nSubState=dead\n"
NO_SYSTEMD = (
    "System has not been booted with systemd as init system (PID 1). Can't operate.\n"
    "Failed to connect to bus: Host is down\n"
)


def double(where: Path, says: str, status: int = 0, before: str = ":") -> None:
    """A systemctl that has written down its arguments."""
    script = where / "systemctl"
    script.write_text(
        f"#!/bin/sh\n{before}\necho \"$@\" > {where}/arguments\ncat <<'END'\n{says}END\nexit {status}\n"
    )
    script.chmod(0o755)


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def test_a_unit_that_is_active_and_one_that_is_not(where: Path) -> None:
    """Its main process is what steps of a ladder act on."""
    check = {"systemd": "postgresql", "limit": "2s"}
    with nothing_left():
        double(where, ACTIVE.format(pid=os.getpid()))
        outcome = look(check)
        assert outcome[:2] == (True, "active (running): Ready to accept connections")
        assert outcome.process is not None
        assert outcome.process[0] == os.getpid()
        assert (where / "arguments").read_text().split()[-2:] == ["--", "postgresql.service"]
        for says, text in (
            (FAILED, "postgresql.service is failed (failed), by exit-code"),
            (INACTIVE, "postgresql.service is inactive (dead)"),
            (ACTIVATING, "postgresql.service is activating (auto-restart), by timeout"),
            (UNKNOWN, "postgresql.service is not-found"),
            ("\x1b[2J", "postgresql.service is not known"),
        ):
            double(where, says)
            assert fails(check) == text
        double(where, ACTIVE.format(pid="nonsense"))
        passes(check)
        double(where, ACTIVE.format(pid=0))
        passes({**check, "user": True})
        assert (where / "arguments").read_text().startswith("--user show ")


def test_a_systemctl_that_hangs_or_has_no_systemd(where: Path) -> None:
    check = {"systemd": "postgresql.service", "limit": "500ms"}
    double(where, NO_SYSTEMD, 1)
    assert "has not been booted with systemd" in fails({**check, "limit": "2s"})
    double(where, "", before="sleep 1000")
    with nothing_left():
        assert "systemctl did not end within 0.5 s and was killed" in fails(check)


@pytest.mark.skipif(not os.path.isdir("/run/systemd/system"), reason="no systemd runs here")
def test_systemd_itself() -> None:
    passes({"systemd": "systemd-journald.service", "limit": "5s"})
    assert "not-found" in fails({"systemd": "no-such-unit.service", "limit": "5s"})


@pytest.mark.parametrize("unit", ["", "--force.service", "a b.service", "x.conf", "a/b.service"])
def test_what_is_no_unit(unit: str) -> None:
    with pytest.raises(Refused, match="systemd: "):
        parse_checks({"systemd": unit})
