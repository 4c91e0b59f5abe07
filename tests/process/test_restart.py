"""kill -9 of the supervisor, a new one at its address, and two that want the same."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from process.kit import START_S, Home, until

pytestmark = pytest.mark.process


def test_a_new_supervisor_knows_every_worker_from_its_next_feed(home: Home) -> None:
    """kill -9 and a restart: every worker is known again, with its declaration, without a call in the worker;
    and nobody is convicted for the time in between."""
    old = home.supervisor()
    pids = home.worker("herd", 20, 1.5, 0.1).hear()["pids"]
    until(lambda: home.ask("summary")["states"]["alive"] == 20, "all are fed")
    old.kill()
    time.sleep(0.5)
    new = home.supervisor()
    began = time.monotonic()
    until(lambda: home.ask("summary")["states"]["alive"] == 20, "all are known again", START_S)
    assert time.monotonic() - began < 3.0  # a client tries again at least once a second
    rows = home.rows("w-*")
    assert {row["pid"] for row in rows.values()} == set(pids)
    assert {row["timeout"] for row in rows.values()} == {1.5}
    events = home.events()
    events.during(1.8)
    assert events.convicted() == set()
    assert new.running()


def test_whoever_expired_under_the_old_supervisor_has_a_whole_timeout_under_the_new(home: Home) -> None:
    """A watchdog that had an open incident, and is fed once more under a new supervisor, opens another incident
    there, only after its full timeout, with an id that was never used."""
    old = home.supervisor()
    events = home.events()
    worker = home.worker("feeder", "hangs", 0.8, 0.02)
    worker.hear()
    events.until(START_S, "first-fed", "hangs")
    worker.signal(signal.SIGSTOP)
    first = events.until(START_S, "expired", "hangs")
    old.kill()
    events.close()
    home.supervisor()
    events = home.events()
    worker.signal(signal.SIGCONT)
    fed = events.until(START_S, "first-fed", "hangs")
    worker.signal(signal.SIGSTOP)
    second = events.until(START_S, "expired", "hangs")
    assert second["time"] - fed["time"] > 0.8 - 0.1
    assert second["silence"] >= 0.8
    assert second["cause"] == "timeout"
    assert second["incident"] != first["incident"]
    assert len(events.all("expired")) == 1


def test_what_the_operator_declared_has_its_whole_grace_under_the_new_supervisor(home: Home) -> None:
    """A watchdog of the operator's that expired is not convicted by a new supervisor before its full grace."""
    old = home.supervisor("operators")

    def incident() -> dict[str, Any]:  # which may be older than any subscription
        found: dict[str, Any] = until(lambda: home.row("operators").get("incident"), "it has expired")
        return found

    first = incident()
    old.kill()
    began = time.monotonic()
    home.supervisor("operators")
    second = incident()
    assert time.monotonic() - second["age"] - began >= 1.0
    assert second["cause"] == "grace"
    assert second["id"] != first["id"]


def test_a_second_supervisor_is_refused_and_told_who_holds_the_address(home: Home) -> None:
    """One supervisor per address, also while it is stopped; after kill -9 the address is free at once."""
    first = home.supervisor()
    for stopped in (False, True):
        if stopped:
            first.signal(signal.SIGSTOP)
        second = home.start("supervise", "plain")
        code, _ = second.ended(START_S)
        assert code != 0
        assert f"AddressInUse: {home.address} is held by another supervisor: pid {first.pid}" in second.errors()
    first.kill()
    third = home.supervisor()
    assert home.ask("ping")["pid"] == third.pid


def test_a_supervisor_that_ends_in_order_leaves_the_address_free(home: Home) -> None:
    """SIGTERM ends it with code 0 at once, and its workers feed the next one."""
    first = home.supervisor()
    home.worker("feeder", "steady", 5, 0.05).hear()
    first.signal(signal.SIGTERM)
    code, seconds = first.ended(START_S)
    assert code == 0
    assert seconds < 1.9  # nothing is waited for, which would take 2 s
    home.supervisor()
    until(lambda: home.row("steady").get("state") == "alive", "it is known again", START_S)


def test_what_a_callback_forked_keeps_no_worker_from_the_next_supervisor(home: Home) -> None:
    """It has copies of all connections, by which workers would go on feeding a supervisor that has ended."""
    first = home.supervisor("forking", 4.0)
    home.worker("herd", 5, 1.0, 0.1).hear()
    until(lambda: home.ask("summary")["states"].get("alive", 0) == 5, "all are fed")
    assert first.silent(0.0)
    child = first.hear()["forked"]
    os.kill(first.pid, signal.SIGKILL)
    first.ended(5)
    home.supervisor()
    until(lambda: home.ask("summary")["states"].get("alive", 0) == 5, "all are known again", 5.0)
    assert os.path.exists(f"/proc/{child}")


def test_what_a_callback_forked_does_not_hold_the_address(home: Home) -> None:
    """The address is free after kill -9 even while a process that a callback forked lives on."""
    first = home.supervisor("forking")
    child = first.hear()["forked"]
    os.kill(first.pid, signal.SIGKILL)
    first.ended(5)
    assert os.path.exists(f"/proc/{child}")
    home.supervisor()
