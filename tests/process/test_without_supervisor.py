"""Workers whose supervisor is absent, stopped or dead: feeding costs next to nothing and nothing waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from process.kit import START_S, Child, Home, until

pytestmark = pytest.mark.process

CALLS = 30_000
NAMES = 20

FIRST_S = 0.8
"""Seconds that the first feed may take: 0.1 s that it waits; the rest is for a busy machine."""

CONNECTED = "connected"
"""An argument of the worker ``hot``; once more: it is expected to be connected after its burst as well."""


def _harmless(report: dict[str, float]) -> None:
    print(f"median {report['median'] * 1e6:.1f} µs, p99.9 {report['p999'] * 1e6:.0f} µs, max {report['max']:.6f}")
    # That p99.9 is under a millisecond is for benchmarks/harmless.py to say. Here: nothing waits for a supervisor.
    assert report["median"] <= 0.001
    assert report["max"] <= 2.0  # the scheduler's doing, if anything


def _ends_quickly(worker: Child) -> None:
    worker.tell()
    code, seconds = worker.ended(10)
    assert code == 0
    assert seconds <= 1.8  # with 0.8 s for a busy machine; a tenth of a second for each of its names would be more


def test_without_a_supervisor_feeding_is_harmless_and_the_exit_quick(home: Home) -> None:
    """No supervisor: the first feed may wait 0.1 s, once; after that nothing waits, every feed counts as
    dropped, and the interpreter ends within 1 s."""
    worker = home.worker("hot", CALLS, NAMES)
    told = worker.hear()
    assert told["first"] <= FIRST_S
    assert not told["reachable"]
    worker.tell()
    report = worker.hear()
    _harmless(report)
    assert (report["sent"], report["dropped"], report["reachable"]) == (0, CALLS + 1, False)
    _ends_quickly(worker)


def test_with_a_stopped_supervisor_that_never_answered_nothing_is_promised(home: Home) -> None:
    """A supervisor that is stopped before a worker connects is as good as none, and stats() says so."""
    supervisor = home.supervisor()
    supervisor.signal(signal.SIGSTOP)
    worker = home.worker("hot", CALLS, NAMES)
    assert worker.hear()["first"] <= FIRST_S
    worker.tell()
    report = worker.hear()
    _harmless(report)
    assert (report["sent"], report["dropped"], report["reachable"]) == (0, CALLS + 1, False)
    _ends_quickly(worker)


def test_the_only_feed_of_a_short_job_arrives_though_the_connection_came_late(home: Home) -> None:
    """It is said again at the end of the process, before the word that it is leaving."""
    supervisor = home.supervisor()
    events = home.events()
    supervisor.signal(signal.SIGSTOP)
    worker = home.worker("once", "job")
    told = worker.hear()
    assert (told["sent"], told["dropped"]) == (0, 1)
    supervisor.signal(signal.SIGCONT)
    worker.tell()
    assert worker.ended(10)[0] == 0
    events.until(START_S, "first-fed", "job")
    events.until(START_S, "released", "job")


def test_a_full_queue_drops_and_never_blocks(home: Home) -> None:
    """A supervisor stopped after the worker connected: the queue takes what fits, the rest is dropped at once
    and counted; what was counted as sent arrives, and nothing else."""
    supervisor = home.supervisor()
    worker = home.worker("hot", CALLS, NAMES, CONNECTED)
    told = worker.hear()
    assert told["reachable"]
    supervisor.signal(signal.SIGSTOP)
    worker.tell()
    report = worker.hear()
    _harmless(report)
    assert report["dropped"] > CALLS / 2
    assert report["sent"] + report["dropped"] == CALLS + 1
    assert not report["reachable"]
    supervisor.signal(signal.SIGCONT)
    arriving = report["sent"] + NAMES  # and a declaration for each watchdog
    until(lambda: home.ask("summary")["messages"] >= arriving, "all that was sent arrives")
    assert home.ask("summary")["messages"] == arriving
    _ends_quickly(worker)
    until(lambda: home.ask("summary")["watchdogs"] == 0, "what it fed was released")


def test_with_a_supervisor_that_stays_stopped_the_exit_is_quick(home: Home) -> None:
    """A full queue to a stopped supervisor does not hold up the interpreter's end, however many names it fed."""
    supervisor = home.supervisor()
    worker = home.worker("hot", CALLS, NAMES, CONNECTED)
    worker.hear()
    supervisor.signal(signal.SIGSTOP)
    worker.tell()
    assert worker.hear()["dropped"] > 0
    _ends_quickly(worker)


def test_with_a_dead_supervisor_feeding_is_harmless_and_the_exit_quick(home: Home) -> None:
    """kill -9 of the supervisor under a worker that has fed: nothing waits, it ends within 1 s, and stats()
    says that nobody is there."""
    supervisor = home.supervisor()
    worker = home.worker("hot", CALLS, NAMES, CONNECTED)
    told = worker.hear()
    assert told["reachable"]
    supervisor.kill()
    worker.tell()
    report = worker.hear()
    _harmless(report)
    assert report["sent"] + report["dropped"] == CALLS + 1
    assert not report["reachable"]
    _ends_quickly(worker)


def test_with_a_supervisor_nothing_is_dropped_at_a_walking_pace(home: Home) -> None:
    """A supervisor that reads: reachable, and what is fed at an ordinary pace is all sent."""
    home.supervisor()
    worker = home.worker("hot", 500, NAMES, CONNECTED, CONNECTED)
    assert worker.hear()["reachable"]
    worker.tell()
    report = worker.hear()
    assert (report["sent"], report["dropped"], report["reachable"]) == (501, 0, True)
    _ends_quickly(worker)
    until(lambda: home.ask("summary")["watchdogs"] == 0, "what it fed was released")


def test_declaring_many_watchdogs_without_a_supervisor_waits_once(home: Home) -> None:
    """After the first message of a process nothing waits for a supervisor that is not there."""
    assert home.worker("declares", 30).hear()["seconds"] <= 1.5  # thirty waits are 3 s


def test_a_section_that_ended_while_the_supervisor_was_stopped_is_not_judged(home: Home) -> None:
    """The end of a section is told, with the next feed at the latest, even if the queue was full then."""
    supervisor = home.supervisor()
    events = home.events()
    worker = home.worker("section")
    name = worker.hear()["name"]
    events.until(START_S, "declared", name)
    supervisor.signal(signal.SIGSTOP)
    worker.tell()
    assert worker.hear()["dropped"] > 0
    supervisor.signal(signal.SIGCONT)
    events.until(START_S, "released", name)
    assert events.convicted() == set()


SHUT_OUT = """
import logging, os, sys
from banken import client
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
for _ in range(3):
    client.feed("w")
client.feed("v")
assert not client.stats()["sent"]
"""


@pytest.mark.every_python
@pytest.mark.parametrize("shut", [True, False])
def test_who_may_not_enter_the_address_is_told_once(shut: bool) -> None:
    """A program that gave up its rights: nothing of it arrives, and its verdict would be a riddle. No supervisor is
    no reason for a word."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        address = Path(place, "a")
        if shut:
            address.mkdir(mode=0o700 if os.getuid() == 0 else 0o000)
        done = subprocess.run(
            [sys.executable, "-c", SHUT_OUT],
            env={"BANKEN_ADDRESS": str(address)},
            capture_output=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(b"may not enter") == done.stderr.count(b"\n") == int(shut)
