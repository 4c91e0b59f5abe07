"""What a Supervisor holds is given back: after a run, after a start that failed at any step, and in time."""

from __future__ import annotations

import gc
import importlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from banken.protocol.messages import Declaration
from banken_supervisor import Supervisor
from banken_supervisor.actions.base import Action, ActionContext, ActionTarget, Outcome
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import Policy
from banken_supervisor.runtime import supervisor as module
from recovery_kit import until

STEPS = [
    "runtime.supervisor.LogQueue", "runtime.supervisor.AddressLock", "runtime.supervisor.Sockets",
    "runtime.supervisor.PeerCredentials", "runtime.supervisor.ProgramWatchdogs",
    "runtime.supervisor.start_sweeping", "runtime.supervisor.ActionContext", "runtime.supervisor.Dispatcher",
    "runtime.supervisor.Loop",
    "runtime.supervisor.AddressMonitor", "runtime.supervisor.Supervisor._opened", "runtime.loop.Driver",
    "runtime.loop.Outbox", "runtime.loop.Checkpoints", "runtime.loop.ProcessWatcher", "runtime.loop.KeyedExecutor",
    "runtime.loop.MaintenanceClock", "outbox.outbox.Journal", "outbox.outbox.place_of",
    "sources.sockets.Door", "sources.sockets.Listener", "sources.sockets.ControlSocket",
    "sources.sockets.EventSocket",
    "programs.program_watchdogs.ProgramManager", "programs.program_manager.ChildTable", "threading.Thread.start",
]  # fmt: skip
"""Everything that the start makes, in any order. Each is refused once, as a system without memory would."""


def ours() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name.startswith("banken")}


def held() -> tuple[int, set[threading.Thread]]:
    """Descriptors, and threads of ours."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), ours()


def given_back(before: tuple[int, set[threading.Thread]]) -> None:
    """No more is held than before: what other tests have left here may end meanwhile."""

    def is_no_more() -> bool:
        descriptors, threads = held()
        return descriptors <= before[0] and threads <= before[1]

    until(is_no_more, f"{before} again")


def works(supervisor: Supervisor) -> None:
    """It judges."""
    ran = threading.Event()
    supervisor.watchdog("w", timeout=0.05, interval=60, callback=ran.set)
    with supervisor:
        assert ran.wait(10)


@pytest.fixture
def warm(tmp_path: Path) -> None:
    """What the first supervisor of a process opens for good is open. Threads of other tests may be there: that of
    open work stays as long as its process."""
    others = ours()
    works(Supervisor(tmp_path / "warm", journal=tmp_path / "warm.db"))
    until(lambda: ours() <= others, "its threads have ended")


def test_a_supervisor_gives_everything_back(tmp_path: Path, warm: None) -> None:
    """Five in a row at one address, with a journal and callbacks: as many descriptors and threads as before."""
    before = held()
    for number in range(5):
        works(Supervisor(tmp_path / "a", journal=tmp_path / f"{number}.db"))
    given_back(before)


@pytest.mark.parametrize("step", STEPS)
def test_a_start_that_fails_holds_nothing_and_can_be_repeated(
    step: str, tmp_path: Path, warm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same object and at the same address, whatever step was refused, however often."""
    owner, _, name = step.rpartition(".")
    target: Any = threading.Thread if step == "threading.Thread.start" else _find(owner)
    supervisor = Supervisor(tmp_path / "a", journal=tmp_path / "j.db")
    before = held()

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(f"{step} is refused")

    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, refuse)
            with pytest.raises(RuntimeError, match="is refused"):
                supervisor.start_in_thread()
        given_back(before)
    works(supervisor)
    del supervisor
    given_back((before[0] - 2, before[1]))  # its mailbox is closed, too


@pytest.mark.parametrize("number", range(1, 6))
def test_each_thread_of_the_start_may_be_refused(
    number: int, tmp_path: Path, warm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first, the second, … that the system refuses."""
    supervisor = Supervisor(tmp_path / "a", journal=tmp_path / "j.db")
    before = held()
    real, count = threading.Thread.start, [0]

    def start(thread: threading.Thread) -> None:
        count[0] += 1
        if count[0] == number:
            raise RuntimeError("can't start new thread")
        real(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        try:
            supervisor.start_in_thread()
        except RuntimeError:
            given_back(before)
        else:
            assert number > 4, "log_queue, peers, journal and the loop's own are what the start needs"
            supervisor.stop()
            return
    works(supervisor)


def _find(path: str) -> Any:
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module("banken_supervisor." + ".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise AssertionError(path)


class Slow(Action):
    """Ends 0.2 s after it was told that the supervisor stops."""

    name = "slow"

    def run(self, subject: ActionTarget, world: ActionContext, ended: threading.Event) -> Outcome:
        BEGAN.set()
        assert ended.wait(30)
        time.sleep(0.2)
        return Outcome(True, "ended while the supervisor stopped")


BEGAN = threading.Event()


def test_what_ends_while_the_supervisor_stops_is_on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outcome of an action, and a callback that failed, both after the last turn of the loop."""
    BEGAN.clear()
    stopping, called = threading.Event(), threading.Event()

    def fails() -> None:
        called.set()
        assert stopping.wait(10)
        time.sleep(0.2)
        raise ValueError("while it stopped")

    monkeypatch.setattr(module, "build", lambda *args: Slow())
    monkeypatch.setattr("banken_supervisor.actions.dispatcher.build", lambda *args: Slow())
    supervisor = Supervisor(tmp_path / "a", journal=tmp_path / "j.db")
    supervisor.policy("w", Policy(Declaration(0.05, 60.0, 0.05), Ladder((Step("slow"),))))
    supervisor._callbacks.bind("w", fails)
    supervisor.start_in_thread()
    assert BEGAN.wait(10)
    assert called.wait(10)
    stopping.set()
    supervisor.stop()
    with closing(sqlite3.connect(tmp_path / "j.db")) as journal:
        rows = [*journal.execute("select * from steps"), *journal.execute("select * from events")]
    assert "ended while the supervisor stopped" in str(rows)
    assert "callback-failed" in str(rows)


@pytest.mark.parametrize("seconds", [0.5, 1.5])
@pytest.mark.parametrize("how", ["argument", "setting"])
def test_stopping_takes_as_long_as_it_may_and_no_longer(seconds: float, how: str, tmp_path: Path) -> None:
    """A callback and an action hang: with 0.5 s asked for it is over in 0.5 s, its lock free."""
    gate, called = threading.Event(), threading.Event()
    settings: dict[str, Any] = {"stop_timeout": seconds} if how == "setting" else {}
    supervisor = Supervisor(tmp_path / "a", journal=tmp_path / "j.db", **settings)
    supervisor.watchdog("w", timeout=0.05, interval=60, callback=lambda: called.set() or (gate.wait(30) and None))
    supervisor.start_in_thread()
    assert called.wait(10)
    began = time.monotonic()
    stop: Callable[[], None] = supervisor.stop if how == "setting" else lambda: supervisor.stop(seconds)
    stop()
    took = time.monotonic() - began
    assert supervisor._ended.is_set()
    assert took <= seconds + 1.0  # which is less than without the 0.5 s that were asked for, on a busy machine too
    gate.set()
    works(Supervisor(tmp_path / "a"))
