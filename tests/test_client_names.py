"""What users of the client type, and what importing it loads."""

from __future__ import annotations

import json
import subprocess
import sys
from inspect import signature

import pytest

import banken
from banken import client, presets, testing
from banken_supervisor import Supervisor

PROGRAM = """
import json, sys
before = set(sys.modules)
{}
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_the_public_names_stay() -> None:
    """A name that is added, renamed or dropped is a decision: it changes this test."""
    assert set(banken.__all__) == {
        *("BankenError", "Cause", "Incident", "Watchdog", "__version__", "client", "errors", "presets"),
    }
    assert set(client.__all__) == {
        *("Client", "Section", "close", "connect", "enable_dumps", "extend", "fail", "feed", "pause", "release"),
        *("busy", "idle", "leave", "resume", "section", "stats", "watchdog", "watched"),
    }
    assert _public(client.Client) == {
        *(
            "address",
            "close",
            "connect",
            "extend",
            "fail",
            "feed",
            "pause",
            "release",
            "resume",
            "section",
            "stats",
        ),
        *("busy", "idle", "leave", "watchdog", "watched"),
    }
    assert _public(banken.Watchdog) == {
        *("callback", "feed", "grace", "interval", "last_feed_time", "run_callback", "setCallback", "set_callback"),
        *("busy", "idle", "start", "start_in_thread", "stop", "timeout", "work"),
    }
    assert _public(testing.Recorder) - _public(client.Client) == {"fed", "kinds", "line"}
    kinds = (presets.REALTIME, presets.SERVICE, presets.BATCH, presets.BACKGROUND)
    assert kinds == ((10, 2), (60, 15), (300, 60), (1800, 300))


def _public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize("name", banken.__all__)
def test_each_name_of_the_package_is_there_when_it_is_asked_for(name: str) -> None:
    """Also those that are loaded when they are first used."""
    assert getattr(banken, name) is not None
    assert name in dir(banken)


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import banken", ("banken.", "zmq", "logging")),
        (
            "import banken.client",
            ("banken.watchdog", "banken.diagnostics", "banken.control", "banken.protocol.incidents"),
        ),
        (
            "from banken import Watchdog",
            ("zmq", "banken.client", "banken.diagnostics", "banken.watchdog.remote_timer"),
        ),
    ],
)
def test_an_import_loads_only_what_it_needs(statement: str, absent: tuple[str, ...]) -> None:
    """A worker that only feeds loads no handle; a watchdog of its own process loads no ZeroMQ."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(statement)], capture_output=True, text=True, timeout=30, check=True
    )
    loaded = json.loads(done.stdout)
    assert [each for each in loaded if each.startswith(absent)] == []


def test_a_supervisors_watchdog_takes_what_a_clients_does() -> None:
    """But for the resolution, which is of what travels; and what is given travels."""
    wanted, there = (set(signature(each.watchdog).parameters) for each in (client.Client, Supervisor))
    assert wanted - there == {"resolution"}
    assert there <= wanted
    sent = testing.Recorder()
    dog = sent.watchdog("w", exit="never", clean=[3, "USR1"])
    dog.timeout = 5
    for message in sent.messages:
        assert message.declaration is not None
        assert (message.declaration.exit, message.declaration.clean) == ("never", (-10, 3))
