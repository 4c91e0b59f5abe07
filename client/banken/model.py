"""The words that workers and supervisor share: what is declared, who feeds, what went wrong.

Plain tuples and checks; no clock, no socket. Durations are seconds everywhere in Python and whole
milliseconds on the wire (see wire.py).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from banken.errors import DurationRefused, NameRefused, TextRefused

NAME_MAX = 128
"""Longest name of a watchdog, in characters."""

NAME_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.:@/+-]{0,127}"
"""What a watchdog may be called: ASCII, so that a name is safe in a log, a URL and a terminal."""

SECONDS_MIN = 0.001
SECONDS_MAX = 315_360_000.0
"""Durations lie between one millisecond and ten years (3,650 days)."""

STATUS_MAX = 1024
"""Longest status text, in characters; a longer one is cut, for a worker must not fall over its own words."""

REASON_MAX = 4096
"""Longest reason given to ``fail``, in characters; a longer one is cut."""

PROGRESS_MAX = 256
"""Longest progress value when it is a text, in characters."""

DEFAULT_TIMEOUT = 60.0
DEFAULT_INTERVAL = 20.0

_name = re.compile(NAME_PATTERN)


class Cause(StrEnum):
    """Why an incident was opened."""

    TIMEOUT = "timeout"
    """it was fed before, and then no longer"""
    GRACE = "grace"
    """it was declared and never fed"""
    FAILED = "failed"
    """the worker itself said so"""
    NO_PROGRESS = "no-progress"
    """it was fed, but its progress value stood still"""
    TOO_FAST = "too-fast"
    """it was fed more often than ``min_interval`` allows"""
    EXITED = "exited"
    """its process ended"""
    TOO_FEW = "too-few"
    """of a group: fewer of its members are alive than it wants"""


class Feeders(StrEnum):
    """Who may feed one name."""

    LATEST = "latest"
    """the newest process that fed it; older ones are refused and the contest is recorded"""
    ANY = "any"
    """a pool: a feed of any of them proves life"""


class Declaration(NamedTuple):
    """What a watchdog was asked to be. All durations in seconds."""

    timeout: float = DEFAULT_TIMEOUT
    interval: float = DEFAULT_INTERVAL
    grace: float = DEFAULT_TIMEOUT
    feeders: Feeders = Feeders.LATEST
    callback: str | None = None
    """name of a callback bound at the supervisor; functions never travel"""
    progress_timeout: float | None = None


class Incarnation(NamedTuple):
    """One life of one worker process."""

    boot: bytes
    """digest of the host's boot id, 8 bytes; eight zeros where the system has none"""
    pid: int
    start: int
    """when the process started, in the system's ticks since boot; 0 where unknown"""
    nonce: bytes
    """4 random bytes, so that two lives are never taken for one"""


class Incident(NamedTuple):
    """What a callback is told about the silence it is called for."""

    id: str
    """unique, and never used again"""
    name: str
    cause: Cause
    opened: float
    """when the verdict fell; wall clock, seconds since 1970 (UTC), for people to read"""
    silence: float
    """seconds since the last proof of life, at this run"""
    timeout: float
    """the timeout that was in force, seconds"""
    run: int = 1
    """which run of the callback for this incident: 1 at the verdict, then one more every ``interval``"""
    reason: str | None = None
    """what ``fail`` was told"""
    status: str | None = None
    """the last status the worker gave"""
    progress: int | float | str | None = None
    """the last progress value the worker gave"""


def check_name(name: object) -> str:
    """``name`` itself, if a watchdog may be called so; NameRefused otherwise."""
    if not isinstance(name, str):
        raise NameRefused(f"a watchdog's name is a str, not {type(name).__name__}")
    if not _name.fullmatch(name):
        raise NameRefused(
            f"{shorten(name)!r} is no name for a watchdog: 1 to {NAME_MAX} of the characters "
            "A-Z a-z 0-9 _ . : @ / + - are allowed, the first a letter, a digit or _"
        )
    return name


def check_seconds(value: object, what: str, *, zero: bool = False) -> float:
    """``value`` as seconds; DurationRefused unless it is a finite number within the limits.

    ``zero=True`` allows 0 as well.
    """
    if isinstance(value, bool) or not hasattr(value, "__float__"):  # numpy's and Decimal's numbers have it
        raise DurationRefused(f"{what} is a number of seconds, not {type(value).__name__}")
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        number = float("nan")
    if zero and number == 0:
        return 0.0
    if not SECONDS_MIN <= number <= SECONDS_MAX:  # also catches nan
        lowest = f"0, or {SECONDS_MIN}" if zero else f"{SECONDS_MIN}"
        raise DurationRefused(
            f"{what}={shorten(repr(value))} is not allowed: {lowest} to {SECONDS_MAX:.0f} seconds (ten years)"
        )
    return number


def check_progress(value: object) -> int | float | str:
    """``value`` if it can be compared and sent as progress; TextRefused otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TextRefused(f"progress is an int, a float or a str, not {type(value).__name__}")
    if isinstance(value, str) and len(value) > PROGRESS_MAX:
        raise TextRefused(f"a progress text has at most {PROGRESS_MAX} characters, this one has {len(value)}")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise TextRefused("a progress number has at most 64 bits")
    return encodable(value) if isinstance(value, str) else value


def check_text(value: object, what: str, longest: int) -> str:
    """``value`` cut to ``longest`` characters; TextRefused unless it is a str."""
    if not isinstance(value, str):
        raise TextRefused(f"{what} is a str, not {type(value).__name__}")
    return encodable(value if len(value) <= longest else value[: longest - 1] + "…")


def encodable(text: str) -> str:
    """``text`` with lone surrogates (from undecodable file names) as ``?``, for UTF-8 has no bytes for them."""
    return text.encode("utf-8", "replace").decode()


def shorten(text: str, longest: int = 60) -> str:
    """``text``, cut for use inside an error message."""
    return text if len(text) <= longest else text[: longest - 1] + "…"
