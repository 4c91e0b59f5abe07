"""``file`` on real files: heartbeats, logs, FIFOs, directories, and a mount that is dead."""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from pathlib import Path

import pytest
from tests.checks.frozen import dead_mount
from tests.checks.kit import fails, footprint, look, made, many, passes

from banken.errors import Refused
from banken_supervisor.checks.subject import Subject
from banken_supervisor.config.checks import parse_checks


def test_a_heartbeat_passes_grows_old_and_recovers(tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    check = {"file": str(beat), "age": "30s"}
    assert fails(check) == "it is not there"
    beat.write_text("1")
    assert re.fullmatch(r"changed [\d.]+ m?s ago; 1 bytes", passes(check))
    os.utime(beat, (0, time.time() - 61))
    assert fails(check) == "not changed for 1m01s; 30 s are allowed"
    beat.write_text("2")
    passes(check)
    beat.unlink()
    fails(check)


def test_one_that_must_not_be_there(tmp_path: Path) -> None:
    check = {"file": str(tmp_path / "failed"), "exists": False}
    assert passes(check) == "it is not there"
    (tmp_path / "failed").touch()
    assert fails(check) == "it is there, and should not be"


def test_its_size(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 3000)
    passes({"file": str(log), "size": "> 1kB"})
    assert fails({"file": str(log), "size": "< 2KiB"}) == "its size is 2.9 KiB, < 2KiB was expected"


def test_a_log_that_grows_stands_still_and_is_rotated(tmp_path: Path) -> None:
    """From one look to the next, or within a time."""
    log = tmp_path / "log"
    log.write_text("a\n")
    check, subject = {"file": str(log), "grows": True}, Subject("it")
    passes(check, subject)  # there is nothing to compare it with
    assert "it has not grown for " in fails(check, subject)
    with log.open("a") as file:
        file.write("b\n")
    passes(check, subject)
    fails(check, subject)
    log.rename(tmp_path / "log.1")
    log.touch()
    passes(check, subject)
    fails(check, subject)
    log.unlink()
    fails(check, subject)
    log.write_text("again\n")
    passes(check, subject)
    slow, subject = {"file": str(log), "grows": "400ms"}, Subject("it")
    passes(slow, subject)
    passes(slow, subject)
    time.sleep(0.45)
    fails(slow, subject)


def test_a_pass_is_provisional_until_it_was_seen_to_grow_or_to_change(tmp_path: Path) -> None:
    """The first look has nothing to compare with, and neither has the next, if nothing happens."""
    log, ahead = tmp_path / "log", time.time() + 3600
    log.write_text("a\n")
    os.utime(log, (ahead, ahead))
    for check in ({"file": str(log), "grows": "1h"}, {"file": str(log), "age": "1h"}):
        subject = Subject("it")
        assert [look(check, subject)[::4] for _ in range(2)] == [(True, True)] * 2
        with log.open("a") as file:
            file.write("b\n")
        ahead += 60
        os.utime(log, (ahead, ahead))
        assert [look(check, subject)[::4] for _ in range(2)] == [(True, False)] * 2
    log.unlink()
    subject = Subject("it")
    assert not look({"file": str(log), "grows": "1h"}, subject).passed
    log.write_text("")
    assert look({"file": str(log), "grows": "1h"}, subject)[::4] == (True, False), "it was made meanwhile"
    assert look({"file": str(log), "age": "1h"})[::4] == (True, False), "this needs no earlier look"
    assert look({"file": str(log), "size": "> 1kB", "grows": "1h"})[::4] == (False, False), "it is no pass"


def test_a_file_from_the_future_is_judged_by_what_is_seen(tmp_path: Path) -> None:
    """A clock was ahead: its age by the clock would never end."""
    beat = tmp_path / "beat"
    beat.touch()
    os.utime(beat, (0, time.time() + 3600))
    check, subject = {"file": str(beat), "age": "200ms"}, Subject("it")
    assert re.match("changed (59m59s|1h|1h00m) in the future", passes(check, subject))
    time.sleep(0.25)
    assert "not changed for" in fails(check, subject)
    os.utime(beat, (0, time.time() + 3700))
    passes(check, subject)


def test_what_is_no_plain_file(tmp_path: Path) -> None:
    """Nothing is opened, so a FIFO without a writer blocks nobody."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    passes({"file": str(fifo), "age": "1h"})
    assert fails({"file": str(fifo), "size": "> 1kB"}) == "it is a FIFO, which has no size"
    assert fails({"file": str(tmp_path), "grows": True}) == "it is a directory, which has no size"
    passes({"file": str(tmp_path), "age": "1h"})
    (tmp_path / "loop").symlink_to("loop")
    assert "Too many levels of symbolic links" in fails({"file": str(tmp_path / "loop")})
    assert "Not a directory" in fails({"file": "/etc/hostname/x"})


@pytest.mark.root
@pytest.mark.process
def test_a_dead_mount_holds_one_thread_however_often_it_is_looked_at(tmp_path: Path) -> None:
    """And each look ends by its limit. When it answers again, the thread goes."""
    check = made({"file": str(tmp_path / "dead" / "x"), "limit": "100ms"})
    pid = made({"pidfile": str(tmp_path / "dead" / "pid"), "limit": "100ms"})
    (tmp_path / "dead").mkdir()
    before = footprint()

    async def all_runs() -> None:
        for outcome in [*await many(check, 200, 50), *await many(pid, 200, 50)]:
            assert outcome[:2] == (False, "no result within 0.1 s: its file system does not answer")
        assert threading.active_count() == before[1] + 2  # one for each path

    with dead_mount(tmp_path / "dead"):
        asyncio.run(all_runs())
    until = time.monotonic() + 10
    while footprint() != before:
        assert time.monotonic() < until, (before, footprint())
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"file": ""}, "file: must be a path, and is empty"),
        ({"age": "old"}, "age: .*no duration"),
        ({"size": "1kB"}, 'size: "1kB" is no comparison; allowed is one such as "< 2GiB"'),
        ({"size": "> 5"}, 'size: "> 5": has no unit; allowed is one such as "< 2GiB"'),
        ({"size": "> 5 %"}, 'size: "> 5 %": "%" is no unit of this'),
        ({"size": "> 1kB for 5m"}, "for is not allowed here; fails = "),
        ({"grows": False}, "grows: .*or true"),
        ({"exists": False, "age": "1s"}, "exists = false: a file that is not there has no age"),
    ],
)
def test_what_is_wrong_is_said(more: dict[str, object], words: str) -> None:
    with pytest.raises(Refused, match=words):
        parse_checks({"file": "/x", **more})
