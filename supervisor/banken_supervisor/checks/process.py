"""``process`` and ``pidfile``: a process is there. It is held, so that its end is noticed at once."""

from __future__ import annotations

import os
import stat
from functools import partial
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from banken.process_identity import process_start
from banken_supervisor.actions import options
from banken_supervisor.checks.base import CheckFields
from banken_supervisor.checks.outcome import Outcome
from banken_supervisor.checks.progress import Progress
from banken_supervisor.checks.subject import Subject
from banken_supervisor.checks.thresholds import COUNT, Threshold, threshold
from banken_supervisor.engine.exit_status import end_text
from banken_supervisor.processes.handle import real_user
from banken_supervisor.processes.scan import command_of

COMM_MAX = 15
"""Characters of a name that the kernel keeps."""

NAMED_MAX = 5
"""Processes that a text names."""

LOWER = (">", ">=", "==")
"""Comparisons that more processes may be needed for."""

FILE_MAX = 4096
"""Bytes of a pid file that are read; the pid is the first word."""

CMDLINE_MAX = 16 * 1024


def how_many(value: object) -> Threshold:
    """``">= 2"``; a number means exactly so many."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1_000_000:
        value = f"== {value}"
    return threshold(value, COUNT)


def too_few(found: int, count: Threshold) -> bool:
    """Whether so many processes are below the lower limit."""
    return found < count.limit if count.operator in (">=", "==") else count.operator == ">" and found <= count.limit


class Fit(NamedTuple):
    """A process that fits."""

    start: int
    pid: int


_COUNT = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}


class Process(CheckFields):
    """Processes of this name are there."""

    kind: ClassVar[str] = "process"

    process: Annotated[str, *options.kind(partial(options.text, longest=255), options.STRING)] = Field(
        description="Name of its program, or of its script."
    )
    count: Annotated[Threshold, *options.kind(how_many, _COUNT)] = Field(
        threshold(">= 1", COUNT), description="How many.", json_schema_extra={"default": ">= 1"}
    )
    contains: str | None = Field(
        None, min_length=1, max_length=options.TEXT_MAX, description="A text in its command line."
    )

    @property
    def label(self) -> str:
        return f"process {self.process}"

    async def look(self, subject: Subject, progress: Progress) -> Outcome:
        """Look through all processes, on a thread: the command line of one that hangs in the kernel may block."""
        from banken_supervisor.checks.blocking import call
        from banken_supervisor.checks.held import Held

        held = subject.kept = subject.kept or Held(subject.run_now)
        held.ended()
        progress.text = "the list of processes cannot be read to its end"
        key = ("process", self.process, self.contains)
        found = await call(key, partial(fitting, self.process, self.contains))
        if self.count.operator in LOWER:  # below an upper limit each end is good news
            held.hold((each.pid, each.start) for each in found)
        ended = held.noticed()
        is_cause = bool(ended) and not too_few(len(found) + held.number, self.count)
        is_cause = is_cause and (too_few(len(found), self.count) or self.count.passes(len(found)))
        gone = "".join(f"{end_text(status, pid)}; " for pid, status in ended) if is_cause else ""
        named = ", ".join(str(each.pid) for each in found[:NAMED_MAX])
        more = f" and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
        there = f"{len(found)} {'is' if len(found) == 1 else 'are'} there{f': pid {named}{more}' if named else ''}"
        if self.count.passes(len(found)):
            process = (found[0].pid, found[0].start) if found else None
            held.passed()
            return Outcome(True, f"{gone}{there}", process=process)
        return Outcome(False, f"{gone}{self.count} was expected, {there}", certain=is_cause)


class Pidfile(CheckFields):
    """The process that a file names is there."""

    kind: ClassVar[str] = "pidfile"

    pidfile: options.PathField = Field(description="Path of the file; its first word is the pid.")
    name: str | None = Field(
        None, min_length=1, max_length=255, description="Name of its program: another process may have got its pid."
    )

    @property
    def label(self) -> str:
        return f"pidfile {self.pidfile}"

    async def look(self, subject: Subject, progress: Progress) -> Outcome:
        """Read it, and hold the process."""
        from banken_supervisor.checks.blocking import call
        from banken_supervisor.checks.held import Held

        held = subject.kept = subject.kept or Held(subject.run_now)
        ended = held.ended()
        gone = "".join(f"{end_text(status, pid)}; " for pid, status in ended)
        progress.text = "its file system does not answer"
        try:
            pid, owner = await call(("pidfile", self.pidfile), partial(read_pid, self.pidfile))
        except FileNotFoundError:
            held.hold(())
            return Outcome(False, f"{gone}the file is not there", certain=bool(ended))
        except ValueError as fault:
            held.hold(())
            return Outcome(False, f"{gone}{fault}", certain=bool(ended))
        start = process_start(pid)
        wrong = self._wrong(pid, start, owner)
        held.hold(() if wrong else ((pid, start),))
        if wrong:
            return Outcome(False, f"{gone}{wrong}", certain=bool(ended))
        held.passed()
        return Outcome(True, f"{gone}pid {pid} ({command_of(pid)}) is there", process=(pid, start))

    def _wrong(self, pid: int, start: int, owner: int) -> str | None:
        if not start or _state(pid) in ("Z", "X", ""):
            return f"pid {pid}, which the file names, is not there"
        if owner not in (0, os.geteuid(), real_user(pid)):  # it could have any process signalled
            return f"the file is user {owner}'s, and names pid {pid}, which is another user's: it is not believed"
        name = command_of(pid)
        if self.name is not None and not fits(pid, self.name, None):
            return f"pid {pid} is {name}, and not {self.name}: the file is left from another run"
        return None


def read_pid(path: str) -> tuple[int, int]:
    """The pid that a file begins with, and the file's owner. OSError, ValueError. Never waits for a writer."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no file with a pid, but something else")
        words = (file.read(FILE_MAX) or b"").split(None, 1)
    if not words:
        raise ValueError("the file is empty")
    word = words[0].decode("ascii", "replace")
    if not word.isascii() or not word.isdecimal() or not 0 < int(word[:12]) < 2**31:
        # What it begins with is not shown: it may be a link to a secret.
        raise ValueError("the file does not begin with a pid")
    return int(word[:12]), found.st_uid


def fitting(name: str, contains: str | None) -> list[Fit]:
    """The processes that fit, the oldest first; not this one, and no zombies."""
    own = os.getpid()
    pids = [int(each) for each in os.listdir("/proc") if each.isdecimal()]
    found = [Fit(process_start(pid), pid) for pid in pids if pid != own and fits(pid, name, contains)]
    return sorted(each for each in found if each.start and _state(each.pid) not in ("Z", "X", ""))


def fits(pid: int, name: str, contains: str | None) -> bool:
    """Whether it has this name: the kernel's, its program's, or its script's."""
    kernels = command_of(pid)
    is_named = kernels == name
    if is_named and contains is None:
        return True
    arguments = _arguments(pid)
    if not is_named:
        # A script's name comes after its interpreter's and that one's options.
        script = next((each for each in arguments[1:4] if not each.startswith("-")), "")
        is_named = name in (os.path.basename(arguments[0]) if arguments else "", os.path.basename(script))
        if is_named and kernels != name[:COMM_MAX] and os.path.basename(script) == name:
            is_named = _is_interpreter(arguments)
    return is_named and (contains is None or contains in " ".join(arguments))


def _is_interpreter(arguments: list[str]) -> bool:
    """Whether it runs the script, and does not only name a file: ``python3 app.py``, but not ``tail app.py``."""
    name = os.path.basename(arguments[0])
    return name.rstrip("0123456789.") in (
        "python",
        "sh",
        "bash",
        "dash",
        "node",
        "perl",
        "ruby",
        "php",
        "java",
        "zsh",
    )


def _arguments(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsdecode(file.read(CMDLINE_MAX)).rstrip("\0").split("\0")
    except OSError:
        return []


def _state(pid: int) -> str:
    """``Z`` for a zombie; empty: it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read(4096).rpartition(b")")[2].split(None, 1)[0].decode()
    except (OSError, IndexError):
        return ""
