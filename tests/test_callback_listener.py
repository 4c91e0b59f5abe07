"""The listener of a client: its callbacks outlive a close and follow the client to another supervisor."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from banken import Incident
from banken.client import Client, callback_listener
from banken_supervisor import Supervisor

pytestmark = pytest.mark.process


def _until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_callbacks_follow_the_client_to_another_supervisor(tmp_path: Path) -> None:
    """Set at the first supervisor, it runs for a verdict of the second."""
    heard = threading.Event()
    with Supervisor(tmp_path / "a"), Supervisor(tmp_path / "b"):
        client = Client(tmp_path / "a")
        client.watchdog("w", timeout=60, callback=heard.set)
        client.connect(tmp_path / "b")
        _until(lambda: client.fail("w", "asked for"), "the second supervisor is connected")
        assert heard.wait(20)
        client.close()


def test_a_run_that_waits_for_a_thread_ends_with_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not run when the client listens again, and it keeps no later run away."""
    incidents: list[Incident] = []
    start = callback_listener.start_daemon

    def none_for_callbacks(work, name, *args):  # type: ignore[no-untyped-def]
        return None if name.startswith("banken-callback") else start(work, name, *args)

    with Supervisor(tmp_path / "a"):
        client = Client(tmp_path / "a")
        client.watchdog("w", timeout=60, interval=1000, callback=incidents.append, resolution=0)
        monkeypatch.setattr(callback_listener, "start_daemon", none_for_callbacks)
        listener = client._listener
        assert listener is not None
        _until(lambda: client.fail("w", "first"), "the supervisor is connected")
        _until(lambda: listener._waiting, "a run waits")
        client.close()
        monkeypatch.undo()
        _until(lambda: client.feed("w") or (client.fail("w", "second") and incidents), "the next incident's runs")
        assert incidents[0].reason == "second"
        client.close()


def test_each_incident_of_several_supervisors_runs_once(tmp_path: Path) -> None:
    """They repeat what is open whenever anybody subscribes, each its own."""
    ran: list[str] = []
    client = Client(tmp_path / "a")
    client.watchdog("w", timeout=60, callback=lambda incident: ran.append(incident.id))
    listener = client._listener
    assert listener is not None
    told = {"type": "expired", "name": "w", "cause": "timeout", "time": 2.0, "age": 1.0, "silence": 1.0}
    for number, (incident, run) in enumerate(
        [("a", 1), ("b", 1), ("a", 1), ("b", 1), ("b", 2), ("a", 1), ("c", 1)]
    ):
        listener._on_event({**told, "incident": incident, "timeout": 60.0, "run": run})
        _until(lambda: not listener._running, f"run {number} has ended")
    client.close()
    assert ran == ["a", "b", "b", "c"]
