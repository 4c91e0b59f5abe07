"""Processes that keep a journal: ``keep.py WORK PATH [ARGUMENT …]``. Each work is a function below."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration
from banken_supervisor.engine.states import State
from banken_supervisor.journal import (
    Declared,
    Entry,
    EventSeen,
    EvidenceTaken,
    IncidentClosed,
    IncidentRecord,
    Journal,
    Limits,
    StepRun,
    reading,
    restore,
    squeeze,
)

KINDS = 6
"""Entries of one incident, see ``entry``."""

EPOCH = 2_000_000_000.0
"""A time that is not too old in any year in which this runs."""


def entry(ticket: int) -> Entry:
    """What is recorded under this ticket: told by its number alone, so that the test knows it as well."""
    number, kind = divmod(ticket - 1, KINDS)
    incident, name, now = f"k-{number:07}", f"w-{number % 500}", EPOCH + number
    match kind:
        case 0:
            return Declared(name, Declaration(), state=State.EXPIRED, incidents=number, changed=now)
        case 1:
            return IncidentRecord(incident, name, Cause.TIMEOUT, now, 1.5, 1.0, "r" * (number % 200), pid=number)
        case 2:
            return EventSeen(number, now, "expired", name, {"incident": incident, "n": number})
        case 3:
            return StepRun(incident, 0, 1, "dump", now, True, f"run {number}")
        case 4:
            return EvidenceTaken(incident, now, squeeze({"n": number}))
    return IncidentClosed(incident, now + 5, "fed", number)


def say(what: Any) -> None:
    """One line to whoever started this process."""
    os.write(1, json.dumps(what).encode() + b"\n")


def told() -> str:
    """Wait for a line."""
    return sys.stdin.readline().strip()


def load(path: str) -> None:
    """Record without end, and say each ticket that is committed, as a supervisor announces it."""
    journal = Journal(path, "run", committed=say, limits=Limits(events_age=1e12, incidents_age=1e12))
    for ticket in itertools.count(1):
        assert journal.record(entry(ticket)) == ticket
        while ticket - journal.durable > 3_000:
            time.sleep(0.001)


def again(path: str, last: str) -> None:
    """After a kill: record the first ``last`` entries once more, and those that follow for a while."""
    journal = Journal(path, "run", limits=Limits(events_age=1e12, incidents_age=1e12))
    for ticket in range(1, int(last) + 1):
        assert journal.record(entry(ticket)) == ticket
    assert journal.flush(30.0), journal.state()
    say(journal.state())
    assert journal.close(10.0)


def hold(path: str) -> None:
    """Open the journal, write one incident for each line heard, and say the state after each."""
    journal = Journal(path, f"run-{os.getpid()}")
    say(os.getpid())
    for number in itertools.count(1):
        if told() == "end":
            break
        journal.record(IncidentRecord(f"{os.getpid()}-{number}", "w", Cause.TIMEOUT, EPOCH))
        wait(lambda: journal.flush(0.05) or journal.condition.state == "failing", journal)
        say(journal.state())
    journal.close()


def forked(path: str, by: str) -> None:
    """Write one incident, fork a child that only waits, say its pid, and wait, too. ``by``: os, or libc, which runs
    none of Python's hooks."""
    journal = Journal(path, "run")
    journal.record(IncidentRecord("forked-1", "w", Cause.TIMEOUT, EPOCH))
    assert journal.flush(20.0)
    libc = ctypes.PyDLL(None)  # keeps the interpreter's lock over the fork
    child = os.fork() if by == "os" else libc.fork()
    if child == 0:
        libc.alarm(60)  # whatever becomes of the test
        libc.pause()
    say(child)
    told()


def full(path: str) -> None:
    """On a file system of 2 MiB of this process's own: full while the journal is open, and room again."""
    if not own_disk(os.path.dirname(path), "2m"):
        return
    journal = Journal(path, "run", limits=Limits(queue_max=5_000))
    filler = os.path.join(os.path.dirname(path), "filler")
    ticket, slowest = 0, 0.0

    def record(count: int) -> None:
        nonlocal ticket, slowest
        for _ in range(count):
            began = time.thread_time()
            journal.record(entry(ticket + 1))
            slowest = max(slowest, time.thread_time() - began)
            ticket += 1

    record(600)
    assert journal.flush(20.0), journal.state()
    fill(filler)
    record(4_000)
    wait(lambda: journal.condition.state == "failing", journal)
    say({"at": "full", **journal.state(), "threads": threading.active_count()})
    os.unlink(filler)
    assert journal.flush(20.0), journal.state()
    wait(lambda: journal.condition.state == "ok", journal)
    incidents = sum(isinstance(entry(number), IncidentRecord) for number in range(1, ticket + 1))
    found = len(reading.incidents(path, limit=10**6))
    say({"at": "room again", **journal.state(), "incidents": incidents, "found": found})
    say({"at": "slowest", "seconds": slowest})
    journal.close(10.0)


def reopened(path: str) -> None:
    """A journal that a killed supervisor left, and a disk that is full when the next one starts; then read-only."""
    if not own_disk(os.path.dirname(path), "2m"):
        return
    filler = os.path.join(os.path.dirname(path), "filler")
    left = subprocess.Popen([sys.executable, __file__, "load", path], stdout=subprocess.PIPE)
    assert left.stdout is not None
    last = 0
    while last < 600:
        last = int(left.stdout.readline())
    left.kill()
    last = ([last] + [int(line) for line in left.stdout.read().split(b"\n")[:-1]])[-1]
    left.wait()
    os.unlink(f"{path}-shm")
    fill(filler)
    found = restore(path)
    say({"at": "restored", "last": last, "incidents": sum(found.counts.values()), "problems": found.problems})
    journal = Journal(path, "run-2")
    verdict = IncidentRecord("new", "w", Cause.TIMEOUT, EPOCH)
    journal.record(verdict)
    wait(lambda: journal.condition.state == "failing", journal)
    say({"at": "full", **journal.state()})
    os.unlink(filler)
    assert journal.flush(20.0), journal.state()
    wait(lambda: journal.condition.state == "ok", journal)
    say({"at": "room again", **journal.state(), "found": len(reading.incidents(path, limit=10**6))})
    assert journal.close(10.0)
    subprocess.run(["mount", "-o", "remount,ro", os.path.dirname(path)], check=True)
    found = restore(path)
    journal = Journal(path, "run-3")
    journal.record(verdict)
    wait(lambda: journal.condition.state == "failing", journal)
    say({"at": "read-only", **journal.state(), "incidents": sum(found.counts.values()), "problems": found.problems})
    subprocess.run(["mount", "-o", "remount,rw", os.path.dirname(path)], check=True)
    assert journal.flush(20.0), journal.state()
    wait(lambda: journal.condition.state == "ok", journal)
    say({"at": "writable", **journal.state()})
    assert journal.close(10.0)


def own_disk(directory: str, size: str) -> bool:
    """Mount a small file system there that only this process sees; False, after saying why, where it may not."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000) != 0:  # CLONE_NEWNS
        say({"at": "skip", "reason": f"no mount namespace of one's own: {os.strerror(ctypes.get_errno())}"})
        return False
    for command in (
        ["mount", "--make-rprivate", "/"],
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "t", directory],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            say({"at": "skip", "reason": done.stderr.strip()})
            return False
    say({"at": "mounted"})
    return True


def fill(path: str) -> None:
    """Take all room that is left, to the last byte."""
    with open(path, "wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass


def wait(condition: Callable[[], bool], journal: Journal) -> None:
    """Until it is so."""
    deadline = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < deadline, journal.state()
        time.sleep(0.005)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
