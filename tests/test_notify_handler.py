"""What datagrams of sd_notify come to in the engine, without a socket and a process."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from banken.protocol.messages import Declaration, ProcessIdentity
from banken_supervisor.engine.effects import Effect
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.policy import EXIT_ONLY, NEVER, By, Policy
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.states import State
from banken_supervisor.runtime.notify_handler import NotifyHandler
from banken_supervisor.sources.notify_datagram import Datagram
from banken_supervisor.sources.notify_fields import parse


class NoPrograms(dict[str, Any]):
    """There are none."""

    def __init__(self) -> None:
        self.manager = SimpleNamespace(reloading=set[str]())
        self.last_words: dict[str, str] = {}
        self.is_spawning: Callable[[str], bool] = lambda name: False
        self.notify_access: Callable[[str], str] = lambda name: "main"
        self.process: Callable[[str], None] = lambda name: None
        self.readiness: Callable[[str], None] = lambda name: None
        self.stop_timeout: Callable[[str], float] = lambda name: 10.0


class House:
    """``db`` speaks by sd_notify, and has no timeout yet. ``watched``: else its former process has released it."""

    def __init__(self, policy: Policy | None, *, watched: bool) -> None:
        rules = Rules(Declaration(60.0))
        self.engine, self.out = Engine(rules, "run", b"token"), list[Effect]()
        if policy is not None:
            rules.declare("db", policy)
        if watched:
            self.engine.watch("db", 0.0, self.out, awaited=False)
        driver = SimpleNamespace(engine=self.engine, now=100.0, out=self.out, time_of=lambda at: at)
        sockets = SimpleNamespace(look_again=None, catch_up=None, path=None, open_pipe=None)
        self.allowed: list[ProcessIdentity] = []
        self.handler = NotifyHandler(
            driver, NoPrograms(), sockets, lambda call: None, lambda fault: None, self.allowed.append  # type: ignore[arg-type]
        )  # fmt: skip

    def say(self, text: bytes, pid: int = 4711) -> None:
        assert self.handler.handle(Datagram("db", parse(text), 100.0, len(text), pid, os.getuid()))


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("policy", [EXIT_ONLY, None])
@pytest.mark.parametrize(
    "beside", ["", "X_BANKEN_PROGRESS=7", "WATCHDOG=1\nX_BANKEN_PROGRESS=7", "WATCHDOG=trigger"]
)
def test_a_timeout_counts_whatever_is_beside_it(beside: str, policy: Policy | None, watched: bool) -> None:
    """WATCHDOG_USEC is the worker's timeout, and what else the same datagram says counts, too."""
    house = House(policy, watched=watched)
    house.say(f"READY=1\n{beside}\nWATCHDOG_USEC=2000000".encode())
    record = house.engine.get("db")
    assert record is not None
    assert (record.declaration.timeout, record.by) == (2.0, By.WORKER)
    assert record.state is (State.EXPIRED if "trigger" in beside else State.ALIVE)
    assert record.detailed().progress == (7 if "PROGRESS" in beside else None)


def test_a_timeout_is_taken_back() -> None:
    """The greatest number means none; progress beside it counts."""
    house = House(EXIT_ONLY, watched=True)
    house.say(b"WATCHDOG_USEC=2000000")
    house.say(b"X_BANKEN_PROGRESS=7\nWATCHDOG_USEC=18446744073709551615")
    record = house.engine.get("db")
    assert record is not None
    assert (record.declaration.timeout, record.detailed().progress) == (NEVER, 7)


@pytest.mark.parametrize("of_itself", [True, False])
def test_who_names_itself_may_be_acted_upon(of_itself: bool) -> None:
    """And nobody whom another one names, of the same user or not."""
    house = House(EXIT_ONLY, watched=True)
    house.say(f"WATCHDOG=1\nMAINPID={os.getpid()}".encode(), os.getpid() if of_itself else os.getppid())
    record = house.engine.get("db")
    assert record is not None
    assert record.owner is not None
    assert record.owner.pid == os.getpid()
    assert house.allowed == ([record.owner] if of_itself else [])
