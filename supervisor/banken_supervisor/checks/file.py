"""``file``: that it is there, was changed of late, has a size, grows. It is only looked at, never opened."""

from __future__ import annotations

import os
import stat
import time
from functools import partial
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field, model_validator

from banken_supervisor.actions import options
from banken_supervisor.checks.base import CheckFields
from banken_supervisor.checks.outcome import Outcome
from banken_supervisor.checks.progress import Progress
from banken_supervisor.checks.subject import Subject
from banken_supervisor.checks.thresholds import BYTES, Threshold, comparison, shown
from banken_supervisor.text.durations import format_s

AHEAD_S = 2.0
"""Seconds by which a file may be newer than now: the clocks of file servers differ."""

_KINDS = ((stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"))


def growth(value: object) -> float:
    """Seconds within which it must grow; true: between two looks, which is 0."""
    if value is True:
        return 0.0
    try:
        return options.duration(value)
    except ValueError as fault:
        raise ValueError(f"{fault}; or true: from one look to the next") from None


class Last(NamedTuple):
    """What was seen last, and since when."""

    inode: int
    size: int
    changed: int
    """its time of change, ns"""
    grown_at: float
    """monotonic seconds"""
    changed_at: float
    has_grown: bool
    """it was seen to grow, or to be made, since the first look"""
    has_changed: bool

    @classmethod
    def absent(cls) -> Last:
        """It was not there: when it is there, it has grown."""
        return cls(0, 0, 0, 0.0, 0.0, has_grown=True, has_changed=True)

    @classmethod
    def first(cls, found: os.stat_result, now: float) -> Last:
        """There is nothing to compare with."""
        return cls(found.st_ino, found.st_size, found.st_mtime_ns, now, now, has_grown=False, has_changed=False)

    def then(self, found: os.stat_result, now: float) -> Last:
        """What follows it."""
        has_grown = found.st_ino != self.inode or found.st_size > self.size
        has_changed = found.st_ino != self.inode or found.st_mtime_ns != self.changed
        return Last(
            found.st_ino,
            found.st_size,
            found.st_mtime_ns,
            now if has_grown else self.grown_at,
            now if has_changed else self.changed_at,
            self.has_grown or has_grown,
            self.has_changed or has_changed,
        )


_GROWS = {"anyOf": [{"const": True}, options.duration_schema(0.001)]}


class File(CheckFields):
    """It is there, and as it should be."""

    kind: ClassVar[str] = "file"

    file: options.PathField = Field(
        description="Its path; a directory's time is that of its last new or removed entry."
    )
    age: Annotated[float, *options.seconds(0.1, 10 * 365 * 86400)] | None = Field(
        None, description="It was changed within so long."
    )
    exists: bool = Field(True, description="False: it must not be there.")
    size: Annotated[Threshold, *comparison(BYTES)] | None = Field(None, description="Its size, such as > 1kB.")
    grows: Annotated[float, *options.kind(growth, _GROWS)] | None = Field(
        None, description="It must grow within so long, or be replaced; true: from one look to the next."
    )

    @model_validator(mode="after")
    def _there(self) -> File:
        if not self.exists and (self.age, self.size, self.grows) != (None, None, None):
            raise ValueError("exists = false: a file that is not there has no age and no size")
        return self

    @property
    def label(self) -> str:
        return f"file {self.file}"

    async def look(self, subject: Subject, progress: Progress) -> Outcome:
        """Ask its file system, on a thread: that of a dead mount never answers."""
        from banken_supervisor.checks.blocking import call

        progress.text = "its file system does not answer"
        try:
            found = await call(("file", self.file), partial(os.stat, self.file))
        except FileNotFoundError:
            subject.kept = Last.absent()
            return Outcome(not self.exists, "it is not there")
        if not self.exists:
            return Outcome(False, "it is there, and should not be")
        kind = next((words for test, words in _KINDS if test(found.st_mode)), None)
        if kind is not None and (self.size is not None or self.grows is not None):
            return Outcome(False, f"it is {kind}, which has no size")
        return self._judge(found, subject)

    def _judge(self, found: os.stat_result, subject: Subject) -> Outcome:
        now = time.monotonic()
        before = subject.kept
        last = before.then(found, now) if isinstance(before, Last) else Last.first(found, now)
        subject.kept = last
        provisional = self.grows is not None and not last.has_grown
        age = time.time() - found.st_mtime
        words = [f"changed {format_s(max(0.0, age))} ago", shown(found.st_size, BYTES)]
        if age < -AHEAD_S:  # a clock was ahead, here or there: only what is seen to change counts
            words[0] = f"changed {format_s(-age)} in the future"
            age = now - last.changed_at
            provisional |= self.age is not None and not last.has_changed
        wrong = []
        if self.age is not None and age > self.age:
            wrong.append(f"not changed for {format_s(age)}; {format_s(self.age)} are allowed")
        if self.size is not None and not self.size.passes(found.st_size):
            wrong.append(f"its size is {shown(found.st_size, BYTES)}, {self.size} was expected")
        still = now - last.grown_at
        if self.grows is not None and before is not None and last.grown_at < now and still >= self.grows:
            wrong.append(f"it has not grown for {format_s(still)}, and has {shown(found.st_size, BYTES)}")
        return Outcome(not wrong, "; ".join(wrong or words), provisional=provisional and not wrong)
