"""``output``: the program writes lines, or lines that fit a pattern. Its log is read, where all that it writes is.

A pattern may take longer than anybody can wait, and Python's ``re`` holds the interpreter meanwhile. So lines are
matched in a process of their own (pattern_matching.py), which the kernel ends when that takes too long.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

from pydantic import Field

from banken_supervisor.actions import options
from banken_supervisor.checks.base import CheckFields
from banken_supervisor.checks.outcome import NotRunError, Outcome
from banken_supervisor.checks.pattern_matching import TooSlowError, newest_fit
from banken_supervisor.checks.progress import Progress
from banken_supervisor.checks.subject import Subject
from banken_supervisor.files.trusted_files import open_file
from banken_supervisor.text.durations import format_s
from banken_supervisor.text.quoting import quoted
from banken_supervisor.text.sanitize import line

PATTERN_MAX = 500
"""Characters of a pattern."""

READ_MAX = 1024 * 1024
"""Bytes of one look; of more, the newest."""

LINE_MAX = 4096
"""Bytes of one line that are matched, its first."""

LINES_MAX = 10_000
"""Lines of one look that are matched, the newest."""

SHOWN_MAX = 120
"""Characters of a line that a text shows."""

SLOW_S = 600.0
"""Seconds for which a pattern that took too long is not tried again."""

_end = re.compile(rb"[\r\n]+")


def wanted(value: object) -> str:
    """What a line must hold: a regular expression; true is any line, which is an empty one."""
    if value is True:
        return ""
    if not isinstance(value, str) or not value:
        raise ValueError('must be true, for any line, or a regular expression in quotes, such as "step \\\\d+"')
    if len(value) > PATTERN_MAX:
        raise ValueError(f"has {len(value):,} characters; at most {PATTERN_MAX} are allowed")
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as fault:
        raise ValueError(f"{quoted(value)} is no regular expression: {fault}") from None
    return value


@dataclass(slots=True)
class Read:
    """How far the log was read."""

    of: tuple[int, int]
    """pid and start of the process that wrote it"""
    file: tuple[int, int]
    """device and inode"""
    size: int = 0
    """bytes that it had at the last look"""
    begin: int = 0
    """where the line begins that was not finished then"""
    fit_at: float = 0.0
    """monotonic seconds: when a line last fitted, or when it was first looked at"""
    last: str = ""
    slow_until: float = 0.0


_WANTED = {"anyOf": [{"const": True}, {"type": "string", "minLength": 1, "maxLength": PATTERN_MAX}]}


class Output(CheckFields):
    """It wrote a line since the last look."""

    kind: ClassVar[str] = "output"

    output: Annotated[str, *options.kind(wanted, _WANTED)] = Field(
        description="true: any line; or a regular expression that a line must hold. Looked for each every."
    )
    log: options.PathField | None = Field(None, description="The file to read; default: the program's own log.")

    @property
    def label(self) -> str:
        return f"output {line(self.output, SHOWN_MAX)}" if self.output else "output"

    async def look(self, subject: Subject, progress: Progress) -> Outcome:
        """Read what was written since the last look, on a thread."""
        from banken_supervisor.checks.blocking import call

        if self.log is None:
            return Outcome(False, "it has no log in which its output could be read")
        progress.text = "to read its log, and to match what it wrote, takes too long"
        return await call(("output", id(subject)), partial(self._read, self.log, subject))

    def _read(self, log: str, subject: Subject) -> Outcome:
        owners: list[int] = []
        with contextlib.suppress(OSError):  # it has just ended
            owners += [os.stat(f"/proc/{subject.pid}").st_uid] if subject.pid else []
        try:
            fd, _ = open_file(log, os.O_RDONLY | os.O_NONBLOCK, owners=owners)
        except FileNotFoundError:
            return Outcome(False, f"its log {log} is not there")
        except OSError as fault:
            return Outcome(False, f"its log {log} cannot be read: {fault.strerror or fault}")
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                return Outcome(False, f"its log {log} is no file: what it writes cannot be read")
            return self._judge(log, fd, found, subject)
        finally:
            os.close(fd)

    def _judge(self, log: str, fd: int, found: os.stat_result, subject: Subject) -> Outcome:
        now, of, file = time.monotonic(), (subject.pid, subject.start), (found.st_dev, found.st_ino)
        kept = subject.kept
        if not isinstance(kept, Read) or kept.of != of:
            kept = subject.kept = self._first(fd, found, subject, now, is_new=isinstance(kept, Read))
        read = kept.file, kept.size, kept.begin
        grew = found.st_size > kept.size
        rest = b""
        if kept.file != file or found.st_size < kept.size:  # it was moved, or rotated: copied, and cut to nothing
            rest = _rest_of_copy(log, kept.begin) if kept.file == file else b""
            grew, kept.begin = bool(rest) or found.st_size > 0, 0
        begin = max(kept.begin, found.st_size - READ_MAX)
        text = rest + os.pread(fd, found.st_size - begin, begin)
        kept.file, kept.size, kept.begin = file, found.st_size, begin + _unfinished(text, found.st_size - begin)
        lines = [each[:LINE_MAX].decode("utf-8", "replace") for each in _end.split(text) if each.strip()]
        if lines and grew:
            kept.last = lines[-1]
        try:
            return self._outcome(kept, lines[-LINES_MAX:] if grew else [], now)
        except NotRunError:
            kept.file, kept.size, kept.begin = read  # the next look has these lines, too
            raise

    def _first(self, fd: int, found: os.stat_result, subject: Subject, now: float, *, is_new: bool) -> Read:
        """Nothing was read of this process's. ``is_new``: it was made since the last look, and lines before are
        another's; else this look itself may be the first of many, and what was written of late counts."""
        file = found.st_dev, found.st_ino
        running = time.clock_gettime(time.CLOCK_BOOTTIME) - subject.start / os.sysconf("SC_CLK_TCK")
        recent = min(self.every, running) if subject.start else self.every
        if is_new or time.time() - found.st_mtime > recent:
            return Read((subject.pid, subject.start), file, found.st_size, found.st_size, now)
        begin = max(0, found.st_size - READ_MAX // 16)
        return Read((subject.pid, subject.start), file, max(0, found.st_size - 1), begin, now)

    def _outcome(self, kept: Read, lines: list[str], now: float) -> Outcome:
        what = f" that fits {quoted(self.output, SHOWN_MAX)}" if self.output else ""
        if lines and kept.slow_until > now:
            return Outcome(False, f"the pattern {quoted(self.output, SHOWN_MAX)} took too long: make it simpler")
        try:
            fit = newest_fit(self.output, lines, self.limit) if lines else None
        except TooSlowError as fault:
            kept.slow_until = now + SLOW_S
            return Outcome(False, f"the pattern {quoted(self.output, SHOWN_MAX)} {fault}: make it simpler")
        if fit is not None:
            kept.fit_at = now
            return Outcome(True, f"wrote {quoted(line(lines[fit], SHOWN_MAX), SHOWN_MAX)}")
        text = f"no line{what} for {format_s(round(max(now - kept.fit_at, self.every), 1))}"
        return Outcome(
            False, f"{text}; the last: {quoted(line(kept.last, SHOWN_MAX), SHOWN_MAX)}" if kept.last else text
        )


def _unfinished(text: bytes, new: int) -> int:
    """Where, after the beginning of what is new in the file, the last line begins if it is not finished; a very
    long one is given up."""
    last = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
    before = len(text) - new
    return new if len(text) - last > LINE_MAX else max(0, last - before)


def _rest_of_copy(log: str, begin: int) -> bytes:
    """What came into a log between the last look and its rotation (programs/log_files.py copies it to NAME.1)."""
    try:
        fd, _ = open_file(f"{log}.1", os.O_RDONLY | os.O_NONBLOCK, owners=[os.stat(log).st_uid])
    except OSError:
        return b""
    try:
        return os.pread(fd, READ_MAX, max(begin, os.fstat(fd).st_size - READ_MAX))
    except OSError:
        return b""
    finally:
        os.close(fd)
