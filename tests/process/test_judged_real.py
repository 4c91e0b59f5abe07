"""What is judged, with real programs: servers that never heard of banken, workers that do not come."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

import pytest

from process import servers
from process.kit import START_S, until
from process.ladder_kit import LONG, House
from process.program_kit import Row
from process.servers import serves, table

pytestmark = pytest.mark.process

QUIET_S = 2.0
"""Seconds of silence that must bring nothing; the hidden timeout that there was is set to a fifth of it."""


@pytest.fixture
def house(address: str) -> Iterator[House]:
    made = House(address)
    yield made
    servers.end(made)


def incident(house: House, name: str) -> Row:
    """The row of a watchdog, as soon as it has an incident. The verdict may be older than any subscription."""
    row: Row = until(lambda: (found := house.row(name)).get("incident") and found, f"{name} has an incident", LONG)
    return row


@pytest.mark.parametrize("server", servers.NAMES)
def test_a_server_that_never_feeds_is_judged_by_its_end_alone(house: House, server: str) -> None:
    """With a ladder, a dependency, and no timeout: no incident while it serves; killed, it is noticed at once."""
    why = servers.refused(server)
    if why is not None:
        pytest.skip(why)
    command, path = servers.prepared(server, house.place)
    house.run(
        f'[supervisor]\ndefaults = {{ timeout = "{QUIET_S / 5}s", grace = "{QUIET_S / 5}s" }}\n'
        + table("program", "db", command=command, ladder='[{ do = "restart" }]')
        + table("watchdog", "other", timeout='"1h"')
        + table("program", "api", command=["sleep", "1000"], depends_on=["db"], backoff='"50ms..100ms"')
    )
    until(lambda: serves(path), "it serves", START_S)
    time.sleep(QUIET_S)
    rows = {row["name"]: row for row in house.ask("status")["rows"]}
    assert {name: row["incidents"] for name, row in rows.items()} == {"db": 0, "other": 0, "api": 0}
    assert rows["api"]["state"] == "running"
    assert rows["db"]["state"] in ("running", "alive")  # PostgreSQL may say READY=1, which is a first feed
    shown = house.banken("status")
    assert shown.count("only its end is watched") == 2
    assert shown.count("not judged before its first feed") == 1
    for name in ("db", "api"):
        assert max(servers.noticed_within(house, name)) < 5.0
        servers.runs_again(house, name)


def test_a_program_that_feeds_without_a_timeout_gets_the_default(house: House) -> None:
    """Its own feeds bring it, and it is shown as such; the environment names none."""
    feeds = (
        "import os, time\nfrom banken import client\nassert 'BANKEN_TIMEOUT' not in os.environ\n"
        "while client.stats()['sent'] < 5:\n    client.feed(); time.sleep(0.1)\ntime.sleep(1000)"
    )
    house.run(
        '[supervisor]\ndefaults = { timeout = "1s" }\n'
        + table("program", "p", command=[sys.executable, "-c", feeds], ladder='[{ do = "log", text = "hung" }]')
    )
    row = incident(house, "p")
    assert (row["incident"]["cause"], row["timeout"], row["by"]) == ("timeout", 1.0, "default")
    assert "1 s default" in house.banken("status")


def test_a_worker_that_is_not_there_yet_is_not_stopped(house: House) -> None:
    """50 ms, and what stops the machine: not before any worker exists, and at once when one falls silent.

    What is expected all the same is told as never fed.
    """
    stopped = house.place / "stopped"
    step = json.dumps(["touch", str(stopped)])
    events = house.run(
        table("watchdog", "arm", timeout='"50ms"', ladder=f'[{{ do = "exec", command = {step} }}]')
        + table("watchdog", "base", timeout='"50ms"', expect=True, grace='"300ms"')
    )
    assert incident(house, "base")["incident"]["reason"] == "never fed in its 0.3 s grace: does it call banken?"
    time.sleep(0.3)
    assert not stopped.exists()
    assert house.ask("status", name="arm")["rows"][0]["incidents"] == 0
    house.client().feed("arm")
    assert events.until(LONG, "expired", "arm")["cause"] == "timeout"
    until(stopped.exists, "its ladder ran", LONG)


def test_a_program_has_a_minute_to_start(house: House) -> None:
    """Its timeout is shorter than its start: 60 s from each start, and a restart without a budget has one."""
    ladder = '[{ do = "restart", backoff = "1s..2s" }]'
    house.run(table("program", "slow", command=["sleep", "1000"], timeout='"100ms"', ladder=ladder))
    until(lambda: house.program("slow")["state"] == "running", "it runs", LONG)
    time.sleep(0.5)
    (row,) = house.ask("status", name="slow")["rows"]
    assert (row["state"], row["grace"], row["incidents"]) == ("waiting", 60.0, 0)


def test_a_dump_that_comes_too_late_says_so(house: House) -> None:
    """The worker stalls for a little longer than its timeout: it is fed before its stacks were taken."""
    stalls = (
        "import random, time\nfrom banken import client\n"
        "while True:\n    client.feed(); time.sleep(random.uniform(0.32, 0.45))\n"
        "    until = time.monotonic() + 0.5\n"
        "    while time.monotonic() < until:\n        client.feed(); time.sleep(0.02)\n"
    )
    events = house.run(
        table("program", "p", command=[sys.executable, "-c", stalls], timeout='"300ms"', ladder='[{ do = "dump" }]')
    )
    late = until(
        lambda: [
            each for each in events.all("action-done", "p") if each["text"].startswith("it moves again: taken ")
        ],
        "a dump came too late",
        LONG,
    )
    done = late[0]
    assert " after the verdict" in done["text"]
    evidence = house.incident(done["incident"])["evidence"][0]
    assert evidence["headline"] == done["text"]
    assert evidence["moved"] in ("before", "meanwhile")
    assert ";" not in done["text"] or evidence["moved"] == "meanwhile"
