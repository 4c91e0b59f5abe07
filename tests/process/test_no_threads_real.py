"""A host that gives no thread (RLIMIT_NPROC, as an ordinary user): a supervisor, its workers, and what is told."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_NPROC bounds threads on Linux"),
]

BEGINNING = """
import contextlib, json, logging, os, resource, sqlite3, sys, tempfile, threading, time
from banken.client import Client
from banken.control import Events, read_event
from banken.protocol.messages import Declaration
from banken_supervisor import Supervisor
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import Policy

ladder = Ladder((Step("log"),))

def until(true, what):
    end = time.monotonic() + 20
    while not true():
        if time.monotonic() > end:
            sys.exit(f"never: {what}")
        time.sleep(0.01)

def threads(given):
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    resource.setrlimit(resource.RLIMIT_NPROC, (hard if given else 1, hard))

def first():  # what is imported late is imported by now: the ordinary user may not be able to read it
    done = threading.Event()
    with tempfile.TemporaryDirectory() as place:
        with Supervisor(place + "/a", journal=place + "/j.db") as supervisor:
            supervisor.policy("w", Policy(Declaration(0.05, 60, 0.05), ladder))
            client = Client(place + "/a")
            client.watchdog("c", timeout=0.05, callback=done.set)
            assert done.wait(10)
            client.close()
first()
if os.geteuid() == 0:
    os.setgid(23456)
    os.setuid(23456)
place = tempfile.mkdtemp()
address = place + "/a"
said = {}
"""

SUPERVISOR = """
supervisor = Supervisor(address, journal=place + "/j.db")
called = threading.Event()
heard = []
with supervisor:
    events = Events(address)
    until(lambda: events.socket.poll(0) or supervisor._loop._sockets.events.has_subscribers, "it has a subscriber")
    threads(False)
    supervisor.watchdog("w", timeout=0.1, interval=60, callback=called.set)
    supervisor.policy("p", Policy(Declaration(0.1, 60, 0.1), ladder))

    def told(kind, name):
        while events.socket.poll(0):
            heard.append(read_event(events.socket))
        return any(each["type"] == kind and each.get("name") == name for each in heard)

    until(lambda: told("expired", "w") and told("expired", "p"), "the verdicts")
    until(lambda: told("callback-failed", "w") and told("action-failed", "p"), "what lacks a thread")
    supervisor.reload()
    turns = supervisor._loop.metrics.turns
    until(lambda: supervisor._loop.metrics.turns > turns + 3, "the loop turns on")
    said["called"] = called.is_set()
    threads(True)
    until(lambda: told("callback-done", "w") and told("action-done", "p"), "they run after all")
    said["failed"] = sum(each["type"] in ("callback-failed", "action-failed") for each in heard)
    said["text"] = next(each["text"] for each in heard if each["type"] == "callback-failed")
    events.close()
with contextlib.closing(sqlite3.connect(place + "/j.db")) as journal:
    said["incidents"] = journal.execute("select count(*) from incidents").fetchone()[0]
print(json.dumps(said))
"""

START = """
threads(False)
supervisor = Supervisor(address)
for attempt in range(3):
    try:
        supervisor.start_in_thread()
    except RuntimeError as fault:
        said[attempt] = str(fault)
threads(True)
with supervisor:
    said["runs"] = supervisor._loop is not None
print(json.dumps(said))
"""

WORKER = """
logging.basicConfig(stream=sys.stderr)
listening, late = threading.Event(), threading.Event()
with Supervisor(address) as supervisor:
    one = Client(address)
    one.watchdog("one", timeout=60, interval=60, callback=listening.set)
    until(lambda: supervisor._loop.driver.engine.get("one"), "it is declared")
    threads(False)
    assert one.fail("one", "now")
    other = Client(address)
    dog = other.watchdog("other", timeout=0.3, interval=60, callback=late.set)
    dog.feed()
    said["dropped"] = other.stats()["dropped"]
    until(lambda: one._listener._waiting, "the run of the one that listens lacks a thread")
    said["called"] = listening.is_set() or late.is_set()
    threads(True)
    assert listening.wait(20)
    until(lambda: dog.feed() or other.stats()["sent"], "it feeds after all")
    until(lambda: dog.feed() or other._listener._thread, "it listens after all")
    assert late.wait(20)
    other.close()
    one.close()
print(json.dumps(said))
"""


def run(code: str) -> tuple[dict[str, Any], str]:
    """What a process says that runs this as an ordinary user."""
    done = subprocess.run([sys.executable, "-c", BEGINNING + code], capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_verdicts_go_on_and_what_lacks_a_thread_is_told_and_runs_later() -> None:
    """A callback and an action: verdict, journal and event come at once, each is told as failed once, and runs."""
    said, _ = run(SUPERVISOR)
    assert not said["called"]
    assert said["failed"] == 2
    assert "no thread" in said["text"]
    assert said["incidents"] == 2


def test_a_start_without_threads_is_an_error_that_says_so() -> None:
    """Not the end of the process, which libzmq would make of it; later the same object starts."""
    said, _ = run(START)
    assert said["runs"]
    assert all("no thread" in said[str(attempt)] or "new thread" in said[str(attempt)] for attempt in range(3))


def test_a_worker_without_threads_lives_and_its_callbacks_run_later() -> None:
    """Its first feed is dropped and ends nothing; the callback of a client that listens already waits and runs."""
    said, errors = run(WORKER)
    assert said == {"dropped": 1, "called": False}
    assert "the callback of 'one' waits" in errors
    assert "callbacks cannot be run in this process" in errors
