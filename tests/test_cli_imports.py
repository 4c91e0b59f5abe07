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


@pytest.mark.parametrize("args", [("--help",), ("--version",), ("feed", "--help"), ("completion", "bash")])
def test_what_needs_no_supervisor_loads_none(args: tuple[str, ...]) -> None:
    """Neither the supervisor itself nor what draws, reads files or speaks to sockets."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *args], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert done.stdout
    assert loaded.isdisjoint(HEAVY), loaded & set(HEAVY)


def test_the_loop_loads_the_options_library_only_with_the_first_policy() -> None:
    """Without a config the supervisor needs no pydantic; with one, another build imports nothing."""
    code = (
        "import sys\n"
        "import banken_supervisor.runtime.supervisor\n"
        "from banken_supervisor.actions import NAMES, build\n"
        "before = [m for m in ('pydantic', 'banken_supervisor.actions.options', 'urllib3') if m in sys.modules]\n"
        "needed = {'callback': {'callback': 'c'}, 'exec': {'command': ['true']}, 'signal': {'signal': 'TERM'},\n"
        "          'webhook': {'url': 'http://h/'}, 'notify': {'to': 't'}}\n"
        "for name in NAMES: build(name, needed.get(name, {}))\n"
        "loaded = set(sys.modules)\n"
        "for name in NAMES: build(name, needed.get(name, {}), None, False)\n"
        "print(before, sorted(set(sys.modules) - loaded))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[] []"


def test_the_supervisor_is_there_when_it_is_asked_for() -> None:
    """``from banken_supervisor import Supervisor``, and no other name."""
    import banken_supervisor
    from banken_supervisor.runtime.supervisor import Supervisor

    assert banken_supervisor.Supervisor is Supervisor
    with pytest.raises(AttributeError, match="no attribute 'Superviser'"):
        _ = banken_supervisor.Superviser
