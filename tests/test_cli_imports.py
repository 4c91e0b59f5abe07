"""What the command line loads: a command that cron runs, or that answers a Tab, must be quick."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "banken_supervisor.runtime.supervisor",
    "banken_supervisor.runtime.loop",
    "rich",
    "textual",
    "pydantic",
    "sqlite3",
    "zmq",
    "urllib3",
)

LOADED = """
import json, sys
from banken_supervisor import cli
try:
    sys.argv = ["banken", *sys.argv[1:]]
    cli.main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "args", [("--help",), ("--version",), ("feed", "--help"), ("completion", "bash"), ("top", "--help")]
)
def test_what_needs_no_supervisor_loads_none(args: tuple[str, ...]) -> None:
    """Neither the supervisor itself nor what draws, reads files or speaks to sockets."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *args], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert done.stdout
    assert loaded.isdisjoint(HEAVY), loaded & set(HEAVY)


@pytest.mark.parametrize("command", ["status", "events", "history", "incidents"])
def test_only_top_loads_what_draws_a_whole_screen(command: str, address: str) -> None:
    """Not even those that share the rest with it, at work."""
    args = [command, *(["worker-1"] if command == "history" else []), "--address", address]
    done = subprocess.run([sys.executable, "-c", LOADED, *args], capture_output=True, text=True, timeout=60)
    loaded = json.loads(done.stderr.splitlines()[-1])
    assert done.returncode in (1, 3)
    assert "textual" not in loaded


def test_the_supervisor_is_there_when_it_is_asked_for() -> None:
    """``from banken_supervisor import Supervisor``, and no other name."""
    import banken_supervisor
    from banken_supervisor.runtime.supervisor import Supervisor

    assert banken_supervisor.Supervisor is Supervisor
    with pytest.raises(AttributeError, match="no attribute 'Superviser'"):
        _ = banken_supervisor.Superviser
