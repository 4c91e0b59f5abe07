"""Every limit on what workers and supervisor say to each other, and the checks of what a caller gives.

Durations are seconds in Python and whole milliseconds on the wire. docs/wire.md lists the same limits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from operator import index
from typing import Any

from banken.errors import DurationRefused, NameRefused, Refused, TextRefused

NAME_MAX = 128
"""Longest name of a watchdog, in characters."""

NAME_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.:@/+-]{0,127}"
"""What a watchdog may be called: ASCII, so that a name is safe in a log, a URL and a terminal."""

_SECTION = re.compile(r"@([0-9]+)\.[0-9]+\Z")
"""How the watchdog of a section is called: NAME@PID.NUMBER."""

SECONDS_MIN = 0.001
SECONDS_MAX = 315_360_000.0
"""Durations lie between one millisecond and ten years (3,650 days)."""

STATUS_MAX = 1024
"""Longest status text, in characters. A longer one is cut: a text must not make a worker fail."""

REASON_MAX = 4096
"""Longest reason given to ``fail``, in characters. A longer one is cut."""

RESULT_MAX = 1024
"""Longest text of a check's result, in characters."""

PROGRESS_MAX = 256
"""Longest progress value when it is a text, in characters."""

NUMBERS_MAX = 10**15
"""Highest number of a word of a process."""

CLEAN_MAX = 64
"""Most exit statuses and signals that a declaration calls clean."""

STATUS_RANGE = range(-64, 256)
"""How a process can end: the number of a signal, negative, or an exit status."""

SCOPE_MAX = 256
"""Longest name of a scope of work, of its thread and of its task, in characters. A longer one is cut."""

FRAME_MAX = 16 * 1024
"""Longest message to the feed socket, in bytes. A plain feed has about 50."""

REQUEST_MAX = 64 * 1024
"""Longest request to the control socket, in bytes."""

DROP_MAX = 1024 * 1024
"""A message of more bytes ends the sender's connection, and is not delivered."""

BOOT_SIZE = 8
"""Length of the boot id's digest in a process identity, in bytes."""

NONCE_SIZE = 4
"""Length of the random part of a process identity, in bytes."""

_ENDS = "exit statuses from 0 to 255 and names of signals such as SIGUSR1"

Progress = int | float | str
"""What ``progress`` may be; floats are finite or not, but never nan."""

_name = re.compile(NAME_PATTERN)


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
    number = to_number(value, f"{what} is a number of seconds")
    if zero and number == 0:
        return 0.0
    if not SECONDS_MIN <= number <= SECONDS_MAX:  # also catches nan
        lowest = f"0, or {SECONDS_MIN}" if zero else f"{SECONDS_MIN}"
        raise DurationRefused(
            f"{what}={shorten(repr(value))} is not allowed: {lowest} to {SECONDS_MAX:.0f} seconds (ten years)"
        )
    return number


def check_clean(ends: object) -> tuple[int, ...]:
    """Exit statuses (0 to 255) and signals ("SIGUSR1", "USR1" or ``signal.SIGUSR1``) as sorted numbers, signals
    negative; Refused if there is anything else in ``ends``."""
    if isinstance(ends, (str, bytes)) or not isinstance(ends, Iterable):
        raise Refused(f"clean={shorten(repr(ends))} is no list: {_ENDS} are allowed")
    found = tuple(sorted({_end(each) for each in ends}))
    if len(found) > CLEAN_MAX:
        raise Refused(f"clean has {len(found)} exit statuses and signals; at most {CLEAN_MAX} are allowed")
    return found


def _end(given: object) -> int:
    number = given
    if type(given) is not int:
        import signal  # takes a millisecond to load; most workers name none

        if isinstance(given, signal.Signals):
            number = -given
        elif isinstance(given, str):
            name = given.upper()
            found = signal.Signals.__members__.get(name if name.startswith("SIG") else f"SIG{name}")
            number = None if found is None else -found
    if type(number) is int and number in STATUS_RANGE:
        return number
    raise Refused(f"{shorten(repr(given))} in clean is no end of a process: {_ENDS} are allowed")


def to_number(value: object, wanted: str) -> float:
    """``value`` as a float, nan if that fails; DurationRefused with the text ``wanted`` unless it is a number."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):  # numpy's and Decimal's numbers have it
        raise DurationRefused(f"{wanted}, not {type(value).__name__}")
    try:
        return float(value)
    except (OverflowError, TypeError, ValueError):
        return float("nan")


def check_progress(value: object) -> Progress | None:
    """``value`` as it is compared and sent; None for nan, which says nothing (a warning is logged once);
    TextRefused if it cannot be sent.

    Whatever converts to a number is one: True, and the numbers of numpy and torch.
    """
    if not isinstance(value, (int, float, str)) or isinstance(value, bool):
        value = _plain_number(value)
    if value != value:  # nan never equals itself, so it would look like progress for ever
        warn_once("progress=nan is no progress: a feed with it proves life and nothing more")
        return None
    if isinstance(value, str) and len(value) > PROGRESS_MAX:
        raise TextRefused(f"a progress text has at most {PROGRESS_MAX} characters, this one has {len(value)}")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise TextRefused("a progress number has at most 64 bits")
    return encodable(value) if isinstance(value, str) else value


def _plain_number(value: Any) -> int | float:
    for convert in (index, float):
        if hasattr(value, "__index__" if convert is index else "__float__"):
            try:
                return convert(value)
            except (TypeError, ValueError, OverflowError, RuntimeError):
                pass  # a tensor of floats has __index__, too, and several numbers are none
    raise TextRefused(f"progress is a number or a str, not {type(value).__name__}")


_warned: set[str] = set()


def warn_once(text: str) -> None:
    """Log a warning, which no program must end of, once in this process. ``text``: one of a few."""
    if text not in _warned:
        _warned.add(text)
        import logging  # takes milliseconds to load; few workers need it

        logging.getLogger("banken").warning(text)


def check_text(value: object, what: str, longest: int) -> str:
    """``value`` cut to ``longest`` characters; TextRefused unless it is a str."""
    if not isinstance(value, str):
        raise TextRefused(f"{what} is a str, not {type(value).__name__}")
    return encodable(shorten(value, longest))


def encodable(text: str) -> str:
    """``text`` with lone surrogates (from undecodable file names) as ``?``, for UTF-8 has no bytes for them."""
    return text.encode("utf-8", "replace").decode()


def shorten(text: str, longest: int = 60) -> str:
    """``text``, cut to ``longest`` characters; without it, for use inside an error message."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def is_section(name: str, pid: int | None = None) -> bool:
    """Whether this is the name of a section, which no other process will ever feed. ``pid``: of its process, where
    that must fit."""
    found = _SECTION.search(name)
    return found is not None and pid in (None, int(found[1]))
