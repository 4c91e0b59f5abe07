"""``output`` on real logs: lines that come, stop, fit or not; rotation; what nobody could match."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.checks.kit import fails, look, made, passes

from banken.errors import Refused
from banken.process_identity import process_start
from banken_supervisor.checks import output
from banken_supervisor.checks.outcome import NotRunError
from banken_supervisor.checks.pattern_matching import TooSlowError, _Matcher
from banken_supervisor.checks.subject import Subject
from banken_supervisor.config.checks import parse_checks
from banken_supervisor.programs.log_files import rotate

HOSTILE = r"(a+)+$"


def write(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """One to which nothing was written for an hour."""
    made = tmp_path / "log"
    made.write_text("step 0\n")
    os.utime(made, (time.time() - 3600,) * 2)
    return made


def check(log: Path, output: Any = True, **more: Any) -> dict[str, Any]:
    return {"output": output, "log": str(log), "every": "2s", "limit": "2s"} | more


@pytest.mark.timeout(60)
@pytest.mark.parametrize("length", [1, 1_000_000])
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_a_matcher_that_is_killed_or_stands_still_says_nothing_of_the_pattern(
    sent: signal.Signals, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For want of memory, say, or with the whole host: it is asked once more. The thread that asks does not stand
    still with it, though the question is longer than a pipe holds."""
    matcher, started = _Matcher(), list[subprocess.Popen[bytes]]()
    start = matcher._start

    def started_and_struck() -> subprocess.Popen[bytes]:
        process = start()
        started.append(process)
        if len(started) in strikes:
            process.send_signal(sent)
        return process

    monkeypatch.setattr(matcher, "_start", started_and_struck)
    strikes = {1}
    try:
        assert matcher.ask("b", ["a" * length, "b" * length, "c"], 0.2) == 1
        assert len(started) == 2
        matcher.close()
        strikes = {3, 4}
        with pytest.raises(NotRunError):
            matcher.ask("b", ["b" * length], 0.2)
        with pytest.raises(TooSlowError):
            matcher.ask(HOSTILE, ["a" * 4000 + "!"], 5.0)
    finally:
        matcher.close()


@pytest.mark.parametrize("to", ["the same file", "another file"])
def test_lines_that_nobody_could_match_are_those_of_the_next_look(
    log: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    subject, raw = Subject("it"), check(log, r"step \d+")
    fails(raw, subject)
    if to == "another file":  # no longer than the one before
        log.rename(log.with_name("old"))
    write(log, "step 1\n")

    def unable(*_: object) -> int | None:
        raise NotRunError(errno.EAGAIN, "it does not answer")

    with monkeypatch.context() as broken:
        broken.setattr(output, "newest_fit", unable)
        assert look(raw, subject)[:2] == (None, "could not be run: it does not answer")
    assert "step 1" in passes(raw, subject)


def test_a_line_since_the_last_look_passes(log: Path) -> None:
    """Also one that is not finished, and one that a carriage return ends."""
    subject, raw = Subject("it"), check(log)
    assert fails(raw, subject) == "no line for 2 s"
    for text in ("one\n", "half", " and half\n", "\r 42 %", "\r 43 %"):
        write(log, text)
        passes(raw, subject)
        assert "no line for 2 s; the last: " in fails(raw, subject)
    write(log, "\n")
    passes(raw, subject)  # the last is finished
    write(log, "\n\n")
    fails(raw, subject)  # there is nothing in these


def test_only_a_line_that_fits_passes(log: Path) -> None:
    subject, raw = Subject("it"), check(log, r"step \d+")
    fails(raw, subject)
    write(log, "loading\n")
    assert fails(raw, subject) == 'no line that fits "step \\\\d+" for 2 s; the last: "loading"'
    write(log, "x\nepoch 1 step 17 loss 0.3\nwarning\n")
    assert passes(raw, subject) == 'wrote "epoch 1 step 17 loss 0.3"'
    fails(raw, subject)
    write(log, "st")
    fails(raw, subject)
    write(log, "ep 18\n")
    assert passes(raw, subject) == 'wrote "step 18"'


def test_nothing_is_lost_at_a_rotation(log: Path) -> None:
    """By copying and cutting, as for programs; or by a new file."""
    subject, raw = Subject("it"), check(log, "step 2")
    fails(raw, subject)
    write(log, "step 2\n")
    rotate(str(log), 1000, 3)
    assert log.stat().st_size == 0
    passes(raw, subject)
    fails(raw, subject)
    write(log, "step 2\n")
    passes(raw, subject)
    log.rename(log.with_name("old"))
    assert "is not there" in fails(raw, subject)
    log.write_text("step 2\n")
    passes(raw, subject)


def test_the_first_look_counts_what_this_process_wrote_of_late(tmp_path: Path) -> None:
    """And not what another wrote before it. A look after a restart of the checks' own process is a first one."""
    log = tmp_path / "log"
    log.write_text("step 1\n")
    time.sleep(0.05)
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as process:
        start = process_start(process.pid)
        assert start
        fails(check(log), Subject("it", process.pid, start))
        time.sleep(0.05)
        write(log, "step 2\n")
        passes(check(log), Subject("it", process.pid, start))
        former = Subject("it", 1, 1)
        look(check(log), former)
        former.pid, former.start = process.pid, start
        fails(check(log), former)  # what it wrote until then may be the former's
        process.kill()


def test_a_hostile_pattern_holds_nobody(log: Path) -> None:
    """It is given up, and other patterns are matched; meanwhile other threads of the interpreter go on."""
    subject, raw = Subject("it"), check(log, HOSTILE)
    fails(raw, subject)
    write(log, "a" * 4000 + "!\n")
    gaps, ended = [], threading.Event()

    def beat() -> None:
        last = time.monotonic()
        while not ended.wait(0.005):
            gaps.append(time.monotonic() - last)
            last = time.monotonic()

    thread = threading.Thread(target=beat)
    thread.start()
    assert "takes too long" in fails(raw, subject)
    ended.set()
    thread.join()
    assert max(gaps) < 1.5, "it would hold the interpreter for years"
    other, good = Subject("other"), check(log, "b+")
    fails(good, other)
    write(log, "b\n")
    passes(good, other)
    began = time.monotonic()
    assert "took too long" in fails(raw, subject)
    assert time.monotonic() - began < 1.0, "it is not tried again at once"


def test_floods_long_lines_and_bytes_that_are_no_text(log: Path) -> None:
    """The newest megabyte is read, and the first 4 KiB of a line; it costs little."""
    subject, raw = Subject("it"), check(log, "step")
    fails(raw, subject)
    write(log, "step 1\n" + "x\n" * 2_000_000)
    assert "no line that fits" in fails(raw, subject)
    write(log, "x" * 5_000_000 + "step\n")
    fails(raw, subject)
    with log.open("ab") as file:
        file.write(b"\xff\xfe\0 step \x1b[31m\n")
    text = passes(raw, subject)
    assert "\x1b" not in text


@pytest.mark.parametrize(
    "fault", [PermissionError(13, "Permission denied"), IsADirectoryError(21, "Is a directory")]
)
def test_a_log_that_cannot_be_read_is_named(log: Path, fault: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which file it is, and why, as the system says."""

    def refuses(*args: object, **options: object) -> None:
        raise fault

    monkeypatch.setattr("banken_supervisor.checks.output.open_file", refuses)
    assert fails(check(log)) == f"its log {log} cannot be read: {fault.strerror}"


@pytest.mark.parametrize("what", ["fifo", "directory", "device", "none"])
def test_a_log_that_is_none(tmp_path: Path, what: str) -> None:
    path = tmp_path / "log"
    if what == "fifo":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    elif what == "device":
        path = Path("/dev/null")
    fails(check(path))
    assert fails({"output": True}) == "it has no log in which its output could be read"


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (False, "must be true"),
        ("", "must be true"),
        (5, "must be true"),
        ("(", "is no regular expression"),
        ("x" * 501, "at most 500"),
        (["a"], "must be true"),
    ],
)
def test_bad_values(output: Any, text: str) -> None:
    with pytest.raises(Refused, match=text):
        parse_checks({"output": output, "log": "/x"})
    assert made({"output": True}).label == "output"
    assert made({"output": "step"}).label == "output step"
