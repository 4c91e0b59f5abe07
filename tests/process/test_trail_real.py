"""What a supervisor knows of its feeders beyond their word: when they fed, and which processes have connected."""

from __future__ import annotations

import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import zmq

from banken.address import resolve
from banken.process_identity import boot_id, process_start
from banken.protocol.codec import encode
from banken.protocol.messages import Kind, Message, ProcessIdentity
from banken_supervisor.journal import restore
from process.kit import until
from process.ladder_kit import LONG, House

CONFIG = """
[[watchdog]]
name = "*"
timeout = "1s"
ladder = [ { do = "dump" }, { do = "signal", signal = "SIGKILL" } ]
"""


def test_a_feed_is_evidence_but_its_word_kills_nobody(house: House) -> None:
    """The last feeds are in the incident. A process that a feed names and that never connected gets no signal, and
    nothing of it is shown; nor does another worker, whose process the feed of a third one names. One that names
    itself gets it."""
    stream = house.run(CONFIG)
    worker = house.worker("feeder", "honest", 1, 0.1)

    def noted() -> int:
        return sum(len(row["feeds"]) for row in house.ask("look", names=["honest"], feeds=True)["rows"])

    until(lambda: noted() >= 5, "five feeds of it are noted", LONG)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        claimed = ProcessIdentity(boot_id(), bystander.pid, process_start(bystander.pid), b"liar")
        with zmq.Context() as context, context.socket(zmq.PUSH) as liar:
            liar.connect(resolve(house.address).feed)
            liar.send(encode(Message(Kind.FEED, "lie", claimed, 0.0, None)))
            connected = ProcessIdentity(boot_id(), worker.pid, process_start(worker.pid), b"liar")
            liar.send(encode(Message(Kind.FEED, "other", connected, 0.0, None)))
            failed = stream.until(LONG, "action-failed", "lie", do="signal")
        assert f"pid {bystander.pid} is not known for certain" in failed["text"]
        assert "did not come from it" in failed["text"]
        (seen,) = house.incident(stream.until(LONG, "expired", "lie")["incident"])["evidence"]
        assert "that did not come from it" in seen["headline"]
        failed = stream.until(LONG, "action-failed", "other", do="signal")
        assert "no process is known that feeds other" in failed["text"]
        refused = stream.until(LONG, "refused", "other")
        assert f"named process {worker.pid} as its own" in refused["text"]
        assert "input()" not in str(seen)  # its command line
        assert bystander.poll() is None
        bystander.communicate(b"\n")

    worker.signal(signal.SIGSTOP)
    incident = stream.until(LONG, "expired", "honest")["incident"]
    done = stream.until(LONG, "action-done", "honest", do="signal")
    assert f"sent to pid {worker.pid}" in done["text"]
    assert worker.process.wait(LONG) == -signal.SIGKILL
    story = house.incident(incident)
    (expired,) = (each for each in story["events"] if each["type"] == "expired")
    (evidence,) = story["evidence"]
    feeds = expired["feeds"]
    assert len(feeds) >= 5
    for (before, _), (age, gap) in pairwise(feeds):
        assert before - age == pytest.approx(gap, abs=0.001)
    assert feeds[-1][0] == pytest.approx(expired["silence"], abs=0.001)
    assert evidence["said"]["feeds"] == feeds
    assert "apart; then " in house.banken("incident", incident)


def test_who_was_known_before_a_restart_gets_its_signal_although_it_cannot_connect(house: House) -> None:
    """A worker is stopped, the supervisor is killed: the next one never met the worker, and still may kill it."""
    house.run(CONFIG)
    worker = house.worker("feeder", "stopped", 1, 0.1)
    worker.hear()
    # What a killed supervisor had not yet on disk is lost (docs/restarts.md).
    until(lambda: _on_disk(house) == {"stopped": "alive"}, "it is fed, and that is on disk", LONG)
    house.run_by.kill()
    worker.signal(signal.SIGSTOP)
    stream = house.run(CONFIG)
    done = stream.until(LONG, "action-done", "stopped", do="signal")
    assert f"sent to pid {worker.pid}" in done["text"]
    assert worker.process.wait(LONG) == -signal.SIGKILL


def _on_disk(house: House) -> dict[str, str]:
    path = Path(house.address) / "journal.db"
    return {each.name: each.state.value for each in restore(str(path)).registry} if path.exists() else {}
