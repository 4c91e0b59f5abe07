"""The example of a cluster, as somebody runs it who reads the docs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .etcd_kit import ETCD

pytestmark = [pytest.mark.process, pytest.mark.etcd, pytest.mark.timeout(120)]

DEMO = Path(__file__).parents[2] / "examples" / "cluster" / "demo.py"


def demo(*args: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": os.environ.get("HOME", "/"), "PATH": os.environ["PATH"] if path is None else path}
    return subprocess.run(
        [sys.executable, str(DEMO), *args],
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip


def rounds(*args: str) -> list[dict[str, Any]]:
    """What it prints with ``--json``, which is one object and nothing else."""
    done = demo("--json", *args)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["ttl_s"] == 2.0
    assert not [each for each in found["rounds"] if each["deeds_twice"] or each["deeds_missing"]], found
    assert not [each for each in found["rounds"] if each["deeds_on_living"]], found
    return list(found["rounds"])


@pytest.mark.skipif(ETCD is None, reason="needs etcd")
def test_the_leader_is_killed() -> None:
    """Another one leads, and does what is to be done, once."""
    (done,) = rounds("--ttl", "2", "--fault", "kill-leader")
    assert 0.5 < done["takeover_s"] < 10.0  # 2.3 s; the rest is for a busy machine


@pytest.mark.root
@pytest.mark.skipif(ETCD is None, reason="needs etcd")
def test_the_leaders_host_is_cut_off() -> None:
    """And is back later: its supervisor does nothing then."""
    (done,) = rounds("--ttl", "2", "--fault", "cut-leader")
    assert 0.5 < done["takeover_s"] < 20.0


@pytest.mark.root
@pytest.mark.skipif(ETCD is None, reason="needs etcd")
def test_a_followers_host_is_cut_off() -> None:
    """It does not matter, but for the time that etcd needs where its leader was there."""
    (done,) = rounds("--ttl", "2", "--fault", "cut-follower")
    assert done["late_s"] < 15.0


def test_it_says_what_is_wrong() -> None:
    """Wrong arguments, and no etcd: in words."""
    for args, path, says in (
        (["--fault", "flood"], None, "invalid choice"),
        (["--rounds", "-1"], None, "--rounds is 0 or more"),
        (["--ttl", "0.1"], None, "--ttl from 1 to 60"),
        ([], "/nowhere", "apt-get install etcd-server"),
    ):
        done = demo(*args, path=path)
        assert done.returncode != 0
        assert says in done.stderr
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
