"""Where a supervisor listens for other hosts, and what needs that: what the config says, and the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from banken_supervisor.config import examine
from banken_supervisor.coordination.settings import is_everywhere
from banken_supervisor.keys import needed_keys
from banken_supervisor.keys.directory import KeyDirectory

CLUSTER = '[cluster]\nname = "c"\nmember = "a"\nendpoints = ["http://127.0.0.1:1"]\n'
NEEDS = "needs listen in [supervisor], or `banken run --listen`"


def faults(directory: Path, text: str) -> list[str]:
    """By ``config check``, each by its key."""
    KeyDirectory(directory / "keys").new("watch", server=True)
    file = directory / "banken.toml"
    file.write_text(text)
    return [f"{each.key}: {each.text}" for each in examine(file, more=needed_keys.problems)[1]]


@pytest.mark.parametrize(
    ("listen", "address", "told"),
    [
        ("", "", f"cluster: {NEEDS}"),
        ("tcp://0.0.0.0:7767", "", "cluster: no other member reaches tcp://0.0.0.0:7767: address has to name this"),
        ("tcp://[::]:7767", "", "cluster: no other member reaches tcp://[::]:7767"),
        ("tcp://0.0.0.0:7767", "tcp://0.0.0.0:7767", 'cluster.address: "tcp://0.0.0.0:7767" is all addresses of a'),
        ("tcp://0.0.0.0:7767", "tcp://h:7767", None),
        ("tcp://10.0.0.1:7767", "", None),
    ],
)
def test_the_others_of_a_cluster_have_to_reach_it(
    tmp_path: Path, listen: str, address: str, told: str | None
) -> None:
    text = '[supervisor]\nkeys = "keys"\n' if listen else ""
    text += f'listen = ["{listen}"]\n' if listen else ""
    found = faults(tmp_path, text + CLUSTER + (f'address = "{address}"\n' if address else ""))
    assert len(found) == (0 if told is None else 1), found
    assert told is None or found[0].startswith(told)


def test_an_address_above_has_to_be_reached_from_here(tmp_path: Path) -> None:
    found = faults(tmp_path, '[upward]\naddresses = ["tcp://0.0.0.0:7767"]\nkey = "k"\n')
    assert 'upward.addresses[0]: "tcp://0.0.0.0:7767" is all addresses of a host' in found[0]


def test_keys_where_nothing_listens(tmp_path: Path) -> None:
    """A fault of the file, which is named as such at the start, too."""
    text = '[supervisor]\nkeys = "keys"\n'
    told = 'supervisor.keys: is for workers of other hosts: it needs listen = ["tcp://HOST:PORT"]'
    assert faults(tmp_path, text) == [told]
    done = run(tmp_path)
    assert done.returncode == 2
    assert f"banken.toml: {told}" in done.stderr
    assert "--keys" not in done.stderr


def test_a_cluster_where_nothing_listens_does_not_start(tmp_path: Path) -> None:
    """What it would write into the store is a member without a key."""
    (tmp_path / "banken.toml").write_text(CLUSTER)
    done = run(tmp_path)
    assert done.returncode == 6
    assert f"[cluster] {NEEDS}" in done.stderr


def test_a_name_that_cannot_be_resolved_is_said_to_be_one(tmp_path: Path) -> None:
    KeyDirectory(tmp_path / "keys").new("watch", server=True)
    (tmp_path / "banken.toml").write_text('[supervisor]\nlisten = ["tcp://nosuch.invalid:31007"]\nkeys = "keys"\n')
    done = run(tmp_path)
    assert done.returncode == 6
    assert (
        "nosuch.invalid is no address and no interface of this host, and a name that cannot be res" in done.stderr
    )


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("tcp://0.0.0.0:1", True), ("tcp://[::]:1", True), ("tcp://[::ffff:0.0.0.0]:1", True), ("tcp://*:1", True),
        ("tcp://127.0.0.1:1", False), ("tcp://[::1]:1", False), ("tcp://h:1", False),
    ],
)  # fmt: skip
def test_what_means_all_addresses(address: str, expected: bool) -> None:
    assert is_everywhere(address) is expected


def run(directory: Path) -> subprocess.CompletedProcess[str]:
    """``banken run`` with the config there, which does not start."""
    command = [sys.executable, "-m", "banken_supervisor", "run", "-c", "banken.toml", "--allow-empty"]
    return subprocess.run(
        [*command, "--address", str(directory / "a"), "--no-journal"],
        cwd=directory, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
