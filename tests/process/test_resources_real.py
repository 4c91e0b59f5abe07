"""A supervisor whose limits are lowered while it runs: descriptors and memory that are short, and are not again."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq

from banken.address import resolve
from banken.control import Control
from banken.process_identity import boot_id, process_start
from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity
from process.kit import Child, Home, until
from process.run_kit import running, table

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="prlimit, pidfd"),
]

HOUR = Declaration(3600.0, 3600.0, 3600.0)


@contextmanager
def limited(child: Child, what: int, limit: int) -> Iterator[None]:
    """Another soft limit for a process that runs."""
    soft, hard = resource.prlimit(child.pid, what)
    resource.prlimit(child.pid, what, (limit, hard))
    try:
        yield
    finally:
        resource.prlimit(child.pid, what, (soft, hard))


def feed(home: Home, name: str, pid: int) -> None:
    who = ProcessIdentity(boot_id(), pid, process_start(pid), b"1234")
    home.ask("tell", frame=encode(Message(Kind.FEED, name, who, 0.0, HOUR)))


def test_workers_without_a_descriptor_are_judged_by_silence_and_later_by_their_end_again(home: Home) -> None:
    """Twenty workers, and room for a part of their handles: told, shown, and who has ended is found when there is
    room. Requests are answered all the time."""
    supervisor = home.supervisor()
    events = home.events()
    workers = [subprocess.Popen(["sleep", "100"]) for _ in range(20)]
    try:
        for number, worker in enumerate(workers):
            feed(home, f"w{number}", worker.pid)
        until(lambda: home.ask("summary")["processes_watched"] == 20, "all are watched")
        used = home.ask("summary")["descriptors"]
        with limited(supervisor, resource.RLIMIT_NOFILE, used):
            until(lambda: home.ask("summary")["descriptors_short"], "it looks")  # an idle one does every 5 s
            told = events.until(20.0, "resources", what="descriptors", state="short")
            assert told["limit"] == used
            unseen = until(lambda: home.ask("summary")["processes_unseen"], "handles give way")
            assert 3 <= unseen < 20
            rows = home.rows("w*")
            assert not rows["w0"]["end_unseen"], "the newest give way"
            assert rows["w19"]["end_unseen"]
            workers[19].kill()
            workers[19].wait()
            workers[0].kill()
            assert events.until(20.0, "expired", "w0")["cause"] == "exited"
        events.until(20.0, "resources", what="descriptors", state="ok")
        assert events.until(20.0, "expired", "w19")["cause"] == "exited"
        until(lambda: home.ask("summary")["processes_unseen"] == 0, "the others are watched again")
        workers[18].kill()
        events.until(20.0, "expired", "w18")
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def test_a_flood_of_long_texts_under_a_limit_of_memory_ends_nothing(home: Home) -> None:
    """16 MB are left: names are refused before that is used up, the silence of another one is found, and after the
    limit names are taken again."""
    supervisor = home.supervisor()
    events = home.events()

    def size() -> int:
        with open(f"/proc/{supervisor.pid}/statm") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")

    short = HOUR._replace(timeout=1.0)
    context: zmq.Context[Any] = zmq.Context()
    with limited(supervisor, resource.RLIMIT_AS, size() + 16 * 1024 * 1024), context.socket(zmq.PUSH) as flood:
        flood.set(zmq.SNDHWM, 100)
        flood.set(zmq.SNDTIMEO, 20_000)
        flood.connect(resolve(home.address).feed)
        home.ask("tell", frame=encode(Message(Kind.FEED, "other", None, 0.0, short)))
        sent = 0
        while not home.refused().get("memory"):
            assert sent < 10_000
            for number in range(sent, sent + 250):
                text = "\N{DOG FACE}" * 1000 + str(number)
                flood.send(encode(Message(Kind.NOTE, f"n{number}", None, 0.0, HOUR, (None, text))))
            sent += 250
            until(lambda read=sent: home.ask("summary")["messages"] >= read, "they are read", 20.0)
        events.until(20.0, "resources", what="memory", state="short")
        events.until(20.0, "expired", "other")
        assert supervisor.running()
    context.term()
    events.until(20.0, "resources", what="memory", state="ok")
    home.ask("tell", frame=encode(Message(Kind.FEED, "late", None, 0.0, HOUR)))
    assert home.row("late")
    supervisor.signal(signal.SIGTERM)
    assert supervisor.ended(10.0)[0] == 0


def test_a_program_is_started_again_when_there_are_descriptors_for_it() -> None:
    """It is killed while the table is full: each attempt is told, none is charged, and it runs as soon as it can.
    Meanwhile another one's verdict falls, and the journal writes."""
    with (
        running(table("p", ["sleep", "1000"]), "--journal", "journal.db") as one,
        Control(one.address, 20.0) as control,
    ):
        events, supervisor = one.home.events(), one._started[-1]
        program = one.up("p")
        used = control.request("summary")["descriptors"]
        soft, hard = resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE, (used - 1, hard))  # its pidfd's number goes, too
        os.kill(program, signal.SIGKILL)
        frame = encode(Message(Kind.FEED, "other", None, 0.0, Declaration(0.2, 60.0, 0.2)))
        control.request("tell", frame=frame)
        for attempt in range(1, 6):  # more than its budget
            events.until(20.0, "program", "p", what="program-backoff", attempt=attempt)
        told = events.until(20.0, "program", "p", what="program-failed")
        assert "Too many open files" in told["reason"]
        events.until(20.0, "expired", "other")
        resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE, (soft, hard))
        events.until(20.0, "program", "p", what="program-started")
        summary = control.request("summary")
        assert summary["journal"]["state"] == "ok"
        assert not summary["internal_errors"]
