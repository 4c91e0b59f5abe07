"""How programs end, with real ones: after an adoption, in the middle of a restart, by their ladder."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from banken_supervisor.processes.handle import STATUS_KNOWN
from process.kit import START_S, until
from process.program_kit import state
from process.run_kit import Running, running, table

pytestmark = pytest.mark.process

WAITS = "while [ ! -e @PLACE@/go ]; do sleep 0.05; done; exit "
"""Runs until the file is there."""

SLOW = "trap 'echo NAME asked >> @PLACE@/told; while [ ! -e @PLACE@/FILE ]; do sleep 0.05; done; exit 0' TERM; " + (
    "echo NAME up >> @PLACE@/told; while :; do sleep 0.05; done"
)
"""Ends in order as soon as the file is there."""

HANGS = (
    "import signal, sys, time\nfrom banken import client\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
    "while not client.stats()['sent']:\n    client.feed()\ntime.sleep(1000)"
)
"""Falls silent after a feed that was taken, and ends in order when it is asked to."""


def is_down(one: Running, *names: str) -> bool:
    return all(one.program(name)["state"] == "stopped" for name in names)


def slow(name: str, file: str, **fields: int) -> str:
    """A program that ends as soon as it was asked to and this file is there; only a request starts it."""
    command = ["sh", "-c", SLOW.replace("NAME", name).replace("FILE", file)]
    return table(name, command, autostart=False, **fields)


@pytest.mark.every_python
def test_ends_over_a_kill_of_the_supervisor() -> None:
    """The end of an adopted program is known though it is no child: 0 is no incident and not started again, 3 is
    named. A restart that had begun is finished, whether its process lives, has ended, or waits for its turn in a
    group's; a stop stays one."""
    ends = {"zero": (0, "on-failure"), "three": (3, "never"), "once": (0, "never")}
    config = "".join(
        table(name, ["sh", "-c", f"{WAITS}{status}"], restart=policy) for name, (status, policy) in ends.items()
    )
    config += (
        slow("waits", "go", order=1) + slow("lives", "go", order=2) + slow("gone", "first") + slow("stops", "go")
    )
    config += '[[group]]\nname = "g"\nmembers = ["waits", "lives"]\nstrategy = "rest-for-one"\n'
    with running(config) as one:
        for name in ("waits", "lives", "gone", "stops"):
            one.ask("start", name)
        until(lambda: len(one.lines()) == 4, "they run", START_S)
        for name, what in (("waits", "restart"), ("gone", "restart"), ("stops", "stop")):
            one.home.ask("program", what=what, name=name)
        until(lambda: len(one.lines()) == 7, "they were asked to end, but the one that waits", START_S)
        again = ("waits", "lives", "gone")
        pids = {name: one.up(name) for name in (*ends, *again)}
        one.kill()
        (one.place / "first").touch()
        until(lambda: state(pids["gone"]) in "ZX", "one has ended while no supervisor runs", START_S)
        one.run()
        assert {name: one.up(name) for name in ends} == {name: pids[name] for name in ends}
        (one.place / "go").touch()
        until(lambda: is_down(one, *ends, "stops"), "those are down", START_S)
        until(lambda: all(one.lines().count(f"{name} up") == 2 for name in again), "these run", START_S)
        assert one.lines().count("stops up") == 1
        assert {one.up(name) for name in again}.isdisjoint(pids.values())
        row = until(lambda: one.watchdogs()["three"].get("incident"), "its end is an incident", START_S)
        if STATUS_KNOWN:
            until(lambda: set(one.watchdogs()) == {"three", *again}, "the others are released", START_S)
        rows = one.watchdogs()
        assert [rows[name]["incidents"] for name in again] == [0, 0, 0]
        if STATUS_KNOWN:
            assert row["reason"] == "exit status 3"


def test_ends_are_judged_as_the_config_says() -> None:
    """``clean``, ``exit``, a signal of somebody else's, an end of ``always``; and what its ladder ended, which ends
    with status 0: its incident is open until it runs again."""
    config = (
        table("seven", ["sh", "-c", f"{WAITS}7"], clean=[0, 7])
        + table("strict", ["sh", "-c", f"{WAITS}0"], exit="incident")
        + table("often", ["sh", "-c", f"{WAITS}0"], restart="always", budget="1000 per 1m")
        + table("killed", ["sleep", "1000"])
        + table("hangs", [sys.executable, "-c", HANGS], timeout="200ms", grace="30s")
        + 'ladder = [{ do = "kill", budget = "1 per 10m" }]\n'
    )
    with running(config) as one:
        hung, pid = one.up("hangs"), one.up("killed")
        os.kill(pid, signal.SIGTERM)
        until(lambda: one.program("killed")["pid"] not in (None, pid), "it runs again", START_S)
        (one.place / "go").touch()
        until(lambda: is_down(one, "seven", "strict"), "they are down", START_S)
        until(lambda: one.program("hangs")["pid"] not in (None, hung), "it was ended, and runs again", START_S)
        strict = until(lambda: one.watchdogs().get("strict", {}).get("incident"), "it is an incident", START_S)
        assert strict["reason"] == "exit status 0"
        rows = one.watchdogs()
        assert "seven" not in rows
        assert rows["killed"]["incidents"] == 0
        assert rows.get("often", {"incidents": 0})["incidents"] == 0
        until(lambda: one.watchdogs()["hangs"]["state"] == "given-up", "it hung twice", START_S)
        assert one.watchdogs()["hangs"]["incidents"] == 2
