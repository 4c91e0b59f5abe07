"""A command whose stdout is closed (``banken … >&-``) does what it is for, and prints nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from banken.client import Client
from banken.control import Control
from banken_supervisor import Supervisor
from recovery_kit import until


@pytest.mark.parametrize(
    "args", [("ping-key", "nightly"), ("history", "nightly"), ("status",), ("journal", "export")], ids="-".join
)
def test_stdout_is_closed(tmp_path: Path, address: str, args: tuple[str, ...]) -> None:
    with Supervisor(address, journal=tmp_path / "j.db"), Control(address) as control:
        client = Client(address)
        try:
            for _ in range(4):
                client.feed("nightly")
                time.sleep(0.05)
            asked = {"names": ["nightly"], "feeds": True}
            until(lambda: any(row["feeds"] for row in control.request("look", **asked)["rows"]), "it has gaps")
            banken = [sys.executable, "-m", "banken_supervisor", *args, "--address", address]
            command = ["sh", "-c", 'exec "$@" >&-', "sh", *banken]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        finally:
            client.close()
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "fault of banken" not in done.stderr
