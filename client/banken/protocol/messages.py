"""What a worker says: messages, and the declaration and the process identity in them. Durations are seconds."""

# Annotations are not postponed here: NamedTuple would compile each one's text, 0.3 ms at each start of a worker.
from collections.abc import Iterable
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple, TypeVar

from banken.errors import Refused
from banken.protocol.limits import check_clean, check_name, check_seconds

Choice = TypeVar("Choice", bound=StrEnum)

DEFAULT_TIMEOUT = 60.0
DEFAULT_INTERVAL = 20.0

CLEAN = (-15, -13, -2, -1, 0)
"""Ends of a process that are clean, as systemd has it: TERM, PIPE, INT, HUP, and exit status 0."""


class Feeders(StrEnum):
    """Who may feed one name."""

    LATEST = "latest"
    """the newest process that fed it; older ones are refused and the contest is recorded"""
    ANY = "any"
    """a pool: a feed of any of them proves life"""
    EACH = "each"
    """each process is judged by itself, from its second feed on"""


class Exit(StrEnum):
    """Whether the end of its process is an incident of a watchdog."""

    UNCLEAN = "unclean"
    """if it is none of ``Declaration.clean``"""
    INCIDENT = "incident"
    """always"""
    NEVER = "never"
    """its names are released, however it ended"""


class Declaration(NamedTuple):
    """What a watchdog was asked to be. All durations in seconds."""

    timeout: float = DEFAULT_TIMEOUT
    interval: float = DEFAULT_INTERVAL
    grace: float = DEFAULT_TIMEOUT
    feeders: Feeders = Feeders.LATEST
    callback: str | None = None
    """name of a callback bound at the supervisor; functions never travel"""
    progress_timeout: float | None = None
    exit: Exit = Exit.UNCLEAN
    clean: tuple[int, ...] = CLEAN
    """exit statuses, and signals as negative numbers, sorted"""


class ProcessIdentity(NamedTuple):
    """One process, from its start to its end. A process that takes over a pid has another identity."""

    boot: bytes
    """digest of the host's boot id, 8 bytes; eight zeros where the system has none"""
    pid: int
    start: int
    """when the process started, in clock ticks since boot; 0 where unknown"""
    nonce: bytes
    """4 random bytes: two processes differ even where boot id and start time are unknown"""


class Kind(IntEnum):
    """What a one-way message says. The number travels."""

    FEED = 1
    """alive"""
    DECLARE = 2
    """watch this name from now on; it is not fed yet"""
    RELEASE = 3
    """watch it no longer"""
    FAIL = 4
    """the worker itself says that it failed; [reason]"""
    PAUSE = 5
    """its timeout is suspended; [milliseconds, 0 = until resumed]"""
    RESUME = 6
    """ends a pause, with a whole timeout from then"""
    EXTEND = 7
    """this once the next feed may take longer; [milliseconds from now]"""
    NOTE = 8
    """a feed with more; [progress, status], either may be nil"""
    PROBE = 9
    """the supervisor's own: proves that everything sent before has been read; [token, number]"""
    WORK = 10
    """alive, and the next message is due then; [milliseconds, 0 = idle: not judged before the next message, and
    optionally the scope that is due]"""
    LEAVING = 11
    """this process ends now: how it ended is judged by its exit status; [reason, may be nil]"""
    RESULT = 12
    """what came of a check, said by the process of the supervisor's that runs them; [passed, text, milliseconds
    that it took, milliseconds until the next run, whether one such failure is enough, the process that was found:
    [pid, start] or nil]; passed is nil where the check could not be run yet, and the text says why"""


ARGUMENTS = dict.fromkeys(Kind, (0,)) | {
    Kind.FAIL: (1, 2),
    Kind.PAUSE: (1, 2),
    Kind.RESUME: (0, 1),
    Kind.EXTEND: (1, 2),
    Kind.NOTE: (2,),
    Kind.PROBE: (2,),
    Kind.WORK: (2, 1),
    Kind.LEAVING: (1,),
    Kind.RESULT: (7,),
}
"""How many arguments may follow the declaration, by kind."""

NUMBERED = (Kind.FAIL, Kind.PAUSE, Kind.RESUME, Kind.EXTEND)
"""Kinds whose messages may have a number, after all else: they change something for good, and are said once."""


class Scope(NamedTuple):
    """One piece of work that a process has begun, and the thread that is in it."""

    name: str
    age: float
    """seconds since it began"""
    limit: float
    """seconds that it may take"""
    tid: int
    """the kernel's number of the thread; 0 where unknown"""
    thread: str
    """the thread's name; empty where unknown"""
    task: str
    """the asyncio task's name; empty: it is in none"""

    def late_text(self, more: float) -> str:
        """What is said of it when it is late, ``more`` seconds after ``age`` was true."""
        where = f" in thread {self.thread}" if self.thread else ""
        where += f", task {self.task}" if self.task else ""
        return f"{self.name!r} has run for {self.age + more:.1f} s; its limit is {self.limit:g} s{where}"


class Message(NamedTuple):
    """One decoded one-way message. Durations in seconds."""

    kind: Kind
    name: str
    identity: ProcessIdentity | None
    """the process that sent it; None: the sender does not say, a command line for instance"""
    resolution: float
    """the sender does not send feeds more often than this; added to the deadline"""
    declaration: Declaration | None
    """None: the sender leaves it to the supervisor"""
    args: tuple[Any, ...] = ()
    number: int | None = None
    """of this word of its process (``NUMBERED``), from 1 on; negative where it is said again, for a supervisor that
    may not have heard it: who heard that number does nothing. None: it is not said again"""


def declare(
    timeout: float,
    interval: float,
    grace: float | None = None,
    feeders: str = Feeders.LATEST,
    callback: str | None = None,
    progress_timeout: float | None = None,
    exit: str = Exit.UNCLEAN,  # noqa: A002  # as in the config
    clean: Iterable[int | str] = CLEAN,
) -> Declaration:
    """A checked declaration, seconds; ``Refused`` says what is wrong with it."""
    pool, end = _one_of(Feeders, "feeders", feeders), _one_of(Exit, "exit", exit)
    seconds = check_seconds(timeout, "timeout")
    return Declaration(
        round(seconds, 3),
        round(check_seconds(interval, "interval"), 3),
        round(seconds if grace is None else check_seconds(grace, "grace"), 3),
        pool,
        None if callback is None else check_name(callback),
        None if progress_timeout is None else round(check_seconds(progress_timeout, "progress_timeout"), 3),
        end,
        check_clean(clean),
    )


def _one_of(choices: type[Choice], what: str, given: str) -> Choice:
    try:
        return choices(given)
    except ValueError:
        allowed = " or ".join(repr(each.value) for each in choices)
        raise Refused(f"{what}={given!r} is not allowed: {allowed}") from None
