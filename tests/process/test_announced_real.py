"""What was announced is kept: kill -9 of the real supervisor under load, and then a look at its journal."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from banken.control import Events
from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message
from process.kit import START_S, Home, until
from process.test_adoption_real import Runner

pytestmark = pytest.mark.process

BANKEN = (sys.executable, "-m", "banken_supervisor")

KILLS = 20 if os.environ.get("BANKEN_LONG") else 5

WATCHDOGS = 200
"""Each falls due again and again, so that verdicts, ends and runs of callbacks come in hundreds a second."""

ENOUGH = 50
"""Incidents that must have been heard of before the kill, or it proves nothing."""


@pytest.fixture
def runner(home: Home) -> Iterator[Runner]:
    """`banken run -c`, with a journal; ended whatever happens."""
    one = Runner(home.address)
    one.configure('[supervisor]\njournal = "journal.db"\n')
    yield one
    one.kill()


@pytest.mark.timeout(60 + 15 * KILLS)
def test_every_incident_that_was_announced_is_in_the_journal(home: Home, runner: Runner) -> None:
    """The supervisor is killed at a random moment while hundreds of incidents open and close. Whatever id was heard
    on the event socket, `banken incidents` lists it afterwards, once; and what was heard to be over is closed."""
    chance = random.Random(os.environ.get("BANKEN_SEED", "announced"))
    heard: dict[str, str] = {}
    opened: set[str] = set()
    for turn in range(KILLS):
        new, fresh = _one_night(home, runner, chance.uniform(0.05, 0.6))
        assert len(new) >= ENOUGH, f"kill {turn}: only {len(new)} incidents were heard of"
        assert len(fresh) == len(set(fresh)), "an id was opened twice"
        assert not opened & set(fresh), "what was opened before was opened again"
        opened.update(fresh)
        heard.update(new)
        kept = _kept(runner)
        ids = [each["id"] for each in kept]
        assert len(ids) == len(set(ids))
        assert heard.keys() <= set(ids), f"kill {turn}: announced and lost: {sorted(heard.keys() - set(ids))[:5]}"
        closed = {each["id"] for each in kept if each["closed"] is not None}
        ended = {id_ for id_, how in heard.items() if how == "recovered"}
        assert ended <= closed, f"kill {turn}: the end was announced and lost: {sorted(ended - closed)[:5]}"
    print(f"{KILLS} kills: {len(heard)} incidents announced, 0 lost")


def _one_night(home: Home, runner: Runner, until_s: float) -> tuple[dict[str, str], list[str]]:
    """A supervisor under load, killed ``until_s`` after enough was heard: id to the last that was heard of it, and
    the ids of those that were opened."""
    runner.start()
    heard: dict[str, str] = {}
    opened: list[str] = []
    declared = Declaration(0.05, 3600.0, 0.05)
    frames = [encode(Message(Kind.FEED, f"w-{n}", None, 0.0, declared)) for n in range(WATCHDOGS)]
    client = home.client()
    with Events(home.address) as events:
        began = time.monotonic()
        kill_at = None
        turn = 0
        while kill_at is None or time.monotonic() < kill_at:
            for frame in frames[turn % 4 :: 4]:
                client._deliver(frame)
            turn += 1
            give_over = time.monotonic() + 0.03
            while (left := give_over - time.monotonic()) > 0:
                _note(events.next(left), heard, opened)
            if kill_at is None and len(heard) >= ENOUGH:
                kill_at = time.monotonic() + until_s
            assert time.monotonic() - began < START_S, f"only {len(heard)} incidents were heard of"
        runner.kill()
        while (event := events.next(0.3)) is not None:  # what the kernel still had
            _note(event, heard, opened)
    client.close()
    return heard, opened


def _note(event: dict[str, object] | None, heard: dict[str, str], opened: list[str]) -> None:
    if event is not None and isinstance(event.get("incident"), str):
        heard[str(event["incident"])] = str(event["type"])
        if event["type"] == "expired":
            opened.append(str(event["incident"]))


def _kept(runner: Runner) -> list[dict[str, object]]:
    """What the command line lists, with no supervisor running."""
    done = subprocess.run(
        [*BANKEN, "incidents", "--json", "--limit", "1000000", "--journal", runner.config.parent / "journal.db"],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    kept: list[dict[str, object]] = json.loads(done.stdout)
    return kept


def test_an_incident_left_open_goes_on_under_the_next(home: Home, runner: Runner) -> None:
    """It was open when the supervisor was killed: it is open again under the next, with its id and without another
    word, listed once; a feed closes it."""
    runner.start()
    client = home.client()
    stream = home.events()
    dog = client.watchdog("gone", 0.1, 3600.0)
    event = stream.until(10, "expired", "gone")
    runner.kill()
    stream.close()
    runner.start()
    assert home.row("gone")["incident"]["id"] == event["incident"]
    stream = home.events()
    until(lambda: dog.feed() or stream.all("recovered", "gone"), "it is fed again")
    over = stream.until(10, "recovered", "gone")  # it may fall due again at once
    assert over["incident"] == event["incident"]
    assert over["lasted"] > 0.1
    assert stream.convicted() <= {"gone"}
    assert event["incident"] not in [each["incident"] for each in stream.all("expired")]
    found = [each for each in _kept(runner) if each["id"] == event["incident"]]
    assert [(each["closed"] is not None, each["how"]) for each in found] == [(True, "fed")]
    client.close()
    runner.kill()
