"""Forks, threads, signal handlers and ends of worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from banken.process_identity import process_start
from banken.protocol.codec import encode
from banken.protocol.limits import REASON_MAX
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity
from banken_supervisor.processes.handle import STATUS_KNOWN
from banken_supervisor.processes.namespaces import SPACE
from process.kit import START_S, Home, Stream, until

pytestmark = [pytest.mark.process, pytest.mark.every_python]

ENDS_S = 10.0
"""Seconds within which a process ends that nothing holds up, on a busy machine."""


def _both(worker: object) -> tuple[dict, dict]:
    reports = {}
    for _ in range(2):
        report = worker.hear()  # type: ignore[attr-defined]
        reports[report["who"]] = report
    return reports["parent"], reports["child"]


def test_a_forked_child_feeds_a_name_of_its_own_and_its_parent_goes_on(home: Home) -> None:
    """After os.fork in a worker that has fed, both feed: each name is known with its own pid, nobody expires, and
    the child neither hangs nor spins."""
    home.supervisor()
    events = home.events()
    worker = home.worker("fork", "child", "latest", 2.5)
    until(lambda: home.row("child").get("state") == "alive", "the child is known")
    rows = home.rows("*")
    assert rows["parent"]["pid"] == worker.pid
    assert rows["child"]["pid"] not in (worker.pid, None)
    parent, child = _both(worker)
    assert child["pid"] == rows["child"]["pid"]
    assert events.convicted() == set()
    assert events.all("contest") == []
    for report, more in ((parent, 1), (child, 0)):
        assert report["sent"] == report["calls"] + more
        assert report["dropped"] == 0
        assert report["cpu"] < 0.3
    assert child["idle_cpu"] < 0.05


@pytest.mark.parametrize("feeders", ["latest", "any"])
def test_a_forked_child_that_feeds_its_parents_name(home: Home, feeders: str) -> None:
    """Child and parent feed one name: with "latest" the child, the newer process, owns it and the contest is
    told; with "any" both are taken. Either way nobody expires."""
    home.supervisor()
    events = home.events()
    worker = home.worker("fork", "parent", feeders, 2.5)
    parent, child = _both(worker)
    assert parent["sent"] == parent["calls"] + 1
    assert child["sent"] == child["calls"]
    assert events.convicted() == set()
    refused = home.refused().get("contest", 0)
    if feeders == "latest":
        assert home.row("parent")["pid"] == child["pid"]
        assert len(events.all("contest", "parent")) == 1
        assert refused > 10
    else:
        assert events.all("contest") == []
        assert refused == 0


def test_forks_while_other_threads_are_inside_feed_do_not_hang(home: Home) -> None:
    """30 forks under four threads that feed without a pause: each child feeds and ends quickly."""
    home.supervisor()
    events = home.events()
    worker = home.worker("fork_storm", 30)
    assert worker.hear(60)["slowest"] < 4.5  # what hangs is killed after 5 s
    for number in range(30):  # what a child fed is released with its end
        events.until(START_S, "first-fed", f"kid-{number}")
    assert home.row("busy")["state"] == "alive"


def test_every_start_method_of_multiprocessing_feeds(home: Home) -> None:
    """fork, spawn and forkserver children feed names of their own, and end at once."""
    home.supervisor()
    events = home.events()
    worker = home.worker("pools")
    done = worker.hear(30)
    for method, (pid, code, _) in done.items():
        assert code == 0
        assert events.until(START_S, "first-fed", f"pool-{method}")["pid"] == pid
    assert home.row("pool-parent")["state"] == "alive"


def test_children_of_multiprocessing_release_what_they_fed_when_they_end(home: Home) -> None:
    """The normal end of a multiprocessing child is a normal end, whatever its start method."""
    home.supervisor()
    events = home.events()
    home.worker("pools").hear(30)
    for method in ("fork", "spawn", "forkserver"):
        events.until(START_S, "released", f"pool-{method}")


def test_eight_threads_in_one_client_lose_and_invent_nothing(home: Home) -> None:
    """8 threads feed one client hard for a second: every call is counted once, and what counts as sent is what
    the supervisor got."""
    home.supervisor()
    worker = home.worker("threads", 8, 1.0)
    report = worker.hear()
    assert report["sent"] + report["dropped"] + report["coalesced"] == report["calls"]
    assert report["sent"] > 1000
    arriving = report["sent"] + 1  # and the declaration
    until(lambda: home.ask("summary")["messages"] >= arriving, "all that was sent arrives")
    assert home.ask("summary")["messages"] == arriving
    assert home.refused() == {}


@pytest.mark.parametrize("there", [True, False])
def test_a_signal_handler_may_feed_while_its_thread_feeds(home: Home, there: bool) -> None:
    """A handler that feeds, every half millisecond, inside a loop that feeds: no deadlock, no crash, and every
    call is counted, with a supervisor and without."""
    if there:
        home.supervisor()
    worker = home.worker("interrupted", 1.0)
    report = worker.hear()
    assert report["handler"] > 50
    assert report["loop"] > 500
    assert report["sent"] + report["dropped"] + report["coalesced"] == report["calls"]
    # 0.1 s, also when each signal interrupts the wait for the connection; the rest is for a busy machine.
    assert report["first"] <= 0.8
    worker.tell()
    assert worker.ended(ENDS_S)[0] == 0


@pytest.mark.parametrize(("how", "code"), [("end", 0), ("interrupt", -2)])
def test_a_normal_end_of_the_interpreter_releases_what_it_fed(home: Home, how: str, code: int) -> None:
    """Falling off the end and Ctrl-C release; nothing expires."""
    home.supervisor()
    events = home.events()
    worker = home.worker("ends", "mine", how)
    worker.hear()
    events.until(START_S, "first-fed", "mine")
    worker.tell()
    assert worker.ended(ENDS_S)[0] == code
    events.until(START_S, "released", "mine")
    assert home.row("mine") == {}
    assert events.convicted() == set()


def verdict_on(home: Home, how: str, code: int) -> tuple[Stream, dict[str, Any]]:
    """A worker that feeds ``mine`` and ends so, with this exit status; what is said of it."""
    home.supervisor()
    events = home.events()
    worker = home.worker("ends", "mine", how)
    worker.hear()
    worker.tell()
    assert worker.ended(ENDS_S)[0] == code
    return events, events.until(START_S, "expired", "mine")


@pytest.mark.skipif(not STATUS_KNOWN, reason="needs Linux 6.15")
def test_an_exit_status_is_an_incident(home: Home) -> None:
    """``sys.exit(4)`` runs the interpreter's end in order, and is no clean end."""
    _, verdict = verdict_on(home, "exit", 4)
    assert (verdict["cause"], "exit status 4" in verdict["reason"]) == ("exited", True)


def test_an_uncaught_exception_fails_what_it_fed_with_its_traceback(home: Home) -> None:
    """A worker that an exception ends has failed, and the incident says why."""
    events, verdict = verdict_on(home, "raise", 1)
    assert verdict["cause"] == "failed"
    assert verdict["reason"].startswith("Traceback (most recent call last):")
    assert verdict["reason"].endswith("RuntimeError: on purpose")
    assert "work.py" in verdict["reason"]
    assert events.all("released", "mine") == []


def test_what_had_ended_before_it_was_heard_of_is_not_left_behind(home: Home) -> None:
    """A short job's process: gone when the supervisor reads what it said. It was at work: that is an incident, at
    once and not after its timeout; nobody comes back who could end it, so it ends too."""
    home.supervisor()
    events = home.events()
    job = subprocess.Popen(["sleep", "1000"])
    who = ProcessIdentity(SPACE, job.pid, process_start(job.pid), b"nonc")
    job.kill()
    job.wait()
    name = f"job@{job.pid}"
    home.ask("tell", frame=encode(Message(Kind.WORK, name, who, 0.0, Declaration(60.0, 20.0, 60.0), (30.0, None))))
    assert events.until(START_S, "expired", name)["cause"] == "exited"
    assert events.until(START_S, "closed", name)["how"] == "ended"
    until(lambda: home.row(name) == {}, "it is left behind by nothing")


@pytest.mark.parametrize("command", [["pause"], ["resume"], ["extend", "1h"], ["release"]])
def test_what_is_for_one_member_alone_is_refused_outside_a_cluster(home: Home, command: list[str]) -> None:
    """And nothing of it is done."""
    home.supervisor()
    home.ask("tell", frame=encode(Message(Kind.FEED, "w", None, 0.0, Declaration(60.0, 20.0, 60.0))))
    verb, *more = command
    words = [verb, "w", *more, "--here", "--address", str(home.address)]
    said = subprocess.run(
        [sys.executable, "-m", "banken_supervisor", *words], capture_output=True, text=True, timeout=60
    )
    assert said.returncode != 0
    assert "this supervisor is in no cluster" in said.stderr
    assert home.row("w")["state"] == "alive"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_an_exception_that_ends_a_child_of_multiprocessing_fails_what_that_fed(home: Home, method: str) -> None:
    """The child's names have failed, with the child's traceback; the parent's are released with its normal end."""
    home.supervisor()
    events = home.events()
    worker = home.worker("pool_raises", method)
    assert worker.hear(30)["exitcode"] == 1
    verdict = events.until(START_S, "expired", "pool-child")
    assert verdict["cause"] == "failed"
    assert verdict["reason"].endswith("RuntimeError: in the child")
    worker.tell()
    assert worker.ended(ENDS_S)[0] == 0
    events.until(START_S, "released", "pool-parent")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_that_imports_the_client_in_the_middle_of_its_work_fails_too(home: Home, method: str) -> None:
    """No hook of multiprocessing that is set before the child's work has begun would be there."""
    home.supervisor()
    events = home.events()
    assert home.start("late", method).hear(30) == {"exitcode": 1}
    verdict = events.until(START_S, "expired", "late-child")
    assert verdict["cause"] == "failed"
    assert verdict["reason"].endswith("RuntimeError: in the child")


def test_of_a_traceback_longer_than_a_message_takes_the_telling_parts_are_left(home: Home) -> None:
    """The innermost calls, the exception's type, and both ends of what it says."""
    home.supervisor()
    events = home.events()
    worker = home.worker("ends", "mine", "raise-long")
    worker.hear()
    worker.tell()
    assert worker.ended(ENDS_S)[0] == 1
    reason = events.until(START_S, "expired", "mine")["reason"]
    assert len(reason) <= REASON_MAX
    assert reason.startswith("…")
    assert "work.py" in reason
    assert "\nRuntimeError: " in reason
    assert reason.endswith("the end")


def test_a_normal_end_with_a_full_queue_releases_too(home: Home) -> None:
    """A worker that feeds faster than its queue empties, and ends, is not convicted of its end."""
    home.supervisor()
    events = home.events()
    for number in range(5):
        worker = home.worker("ends_full", f"mine-{number}")
        assert worker.hear()["dropped"] > 0
        assert worker.ended(ENDS_S)[0] == 0
    for number in range(5):
        events.until(START_S, "released", f"mine-{number}")


def test_a_client_that_was_a_local_variable_releases_what_it_fed(home: Home) -> None:
    """It makes no difference where a program keeps its client: its normal end releases."""
    home.supervisor()
    events = home.events()
    worker = home.worker("ends_local", "mine")
    worker.hear()
    worker.tell()
    assert worker.ended(ENDS_S)[0] == 0
    events.until(START_S, "released", "mine")
    assert events.convicted() == set()


@pytest.mark.parametrize("there", [True, False])
def test_a_client_that_becomes_garbage_hangs_nobody(home: Home, there: bool) -> None:
    """The garbage collector may find a client in a reference cycle, connected or not: the worker goes on."""
    if there:
        home.supervisor()
    worker = home.worker("cycle")
    assert worker.hear()["feeding"]
    assert worker.hear(ENDS_S)["collected"]
    assert worker.ended(ENDS_S)[0] == 0


def test_kill_9_releases_nothing(home: Home) -> None:
    """A worker that was killed is found by its end, long before its timeout, and is not taken for released."""
    home.supervisor()
    events = home.events()
    worker = home.worker("feeder", "mine", 30.0, 0.05)
    worker.hear()
    events.until(START_S, "first-fed", "mine")
    os.kill(worker.pid, signal.SIGKILL)
    verdict = events.until(START_S, "expired", "mine")
    assert verdict["cause"] == "exited"
    assert verdict["pid"] == worker.pid
    assert events.all("released", "mine") == []


def test_a_client_feeds_again_after_close(home: Home) -> None:
    """close() is no end: the next feed connects again, and arrives."""
    home.supervisor()
    worker = home.worker("closes")
    closed = worker.hear()
    assert closed["sent"] == 1
    assert not closed["reachable"]
    until(lambda: home.row("closed").get("state") == "alive", "the first feed arrived")
    before = home.ask("summary")["messages"]
    worker.tell()
    again = worker.hear()
    assert (again["sent"], again["reachable"]) == (3, True)
    until(lambda: home.row("closed-too").get("state") == "alive", "the later feeds arrived")
    assert home.ask("summary")["messages"] == before + 2
