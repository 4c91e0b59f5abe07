"""A program that ends in an operator's pause, in which the supervisor is restarted, too."""

from __future__ import annotations

from typing import Any

import pytest

from banken.protocol.codec import encode
from banken.protocol.messages import Kind, Message
from process.kit import START_S, until
from process.run_kit import Running, running, table

pytestmark = pytest.mark.process

FAILS = ["sh", "-c", "sleep 1; exit 3"]


def pause(name: str) -> bytes:
    return encode(Message(Kind.PAUSE, name, None, 0.0, None, (600.0,)))


def resume(name: str) -> bytes:
    return encode(Message(Kind.RESUME, name, None, 0.0, None))


def row(run: Running, name: str) -> dict[str, Any]:
    return run.home.row(name)


@pytest.mark.parametrize("is_killed", [False, True])
def test_one_that_is_not_started_by_itself_is_an_incident_after_the_pause(is_killed: bool) -> None:
    """It was started by hand, and nothing starts it again: it was shown as running. One that an operator has
    stopped is none, and one that runs neither."""
    config = "".join(
        table(name, command, autostart=False, restart="never")
        for name, command in (("fails", FAILS), ("lives", ["sleep", "600"]), ("stopped", ["sleep", "600"]))
    )
    with running(config) as run:
        for name in ("fails", "lives", "stopped"):
            run.ask("start", name)
            run.home.ask("tell", frame=pause(name))
        run.ask("stop", "stopped")
        until(lambda: run.program("fails")["state"] == "stopped", "it has ended", START_S)
        (run.kill if is_killed else run.stop)()
        run.run()
        assert row(run, "fails")["state"] == "paused"
        for name in ("fails", "lives"):
            run.home.ask("tell", frame=resume(name))
        until(lambda: row(run, "fails")["state"] == "expired", "it is an incident", START_S)
        assert row(run, "fails")["incident"]["cause"] == "exited"
        assert row(run, "lives")["state"] == "running"
        assert row(run, "stopped") == {}


def test_one_that_is_given_up_is_so_after_the_pause_with_its_whole_group() -> None:
    """The budget of a group: one program is given up, and the other taken down, which is no incident."""
    config = (
        table("one", FAILS)
        + table("two", ["sleep", "600"])
        + '[[group]]\nname = "both"\nmembers = ["one", "two"]\nstrategy = "one-for-all"\nbudget = "1 per 10m"\n'
    )
    with running(config) as run:
        run.up("one")
        for name in ("one", "two"):
            run.home.ask("tell", frame=pause(name))
        until(lambda: run.program("one")["state"] == "given-up", "it is given up", START_S)
        until(lambda: run.program("two")["state"] == "stopped", "the other one is taken down", START_S)
        assert row(run, "one")["state"] == "paused"
        run.home.ask("tell", frame=resume("one"))
        until(lambda: row(run, "one")["state"] == "given-up", "its incident is given up", START_S)
        assert row(run, "two") == {}
