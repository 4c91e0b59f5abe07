"""One datagram of sd_notify taken apart. Pure: what the descriptors are, and who sent it, the caller knows.

Source: sd_notify(3), and how systemd reads it (``service_notify_message``): of one key the first counts, unknown
keys are ignored, a value that makes no sense is ignored by itself, and nothing in a datagram is a reason to drop
what else it says.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from math import inf
from typing import NamedTuple

from banken.protocol.limits import PROGRESS_MAX, SECONDS_MAX, SECONDS_MIN, STATUS_MAX
from banken_supervisor.text.sanitize import line

DATAGRAM_MAX = 4096
"""Bytes. A longer datagram is dropped, as systemd does."""

_UNSET = 2**64 - 1
"""How systemd writes "no time limit" in microseconds."""

_NOT_KEPT = ("FDSTORE", "FDSTOREREMOVE", "NOTIFYACCESS")
"""Fields that ask for what is not done here."""


class Said(NamedTuple):
    """What one datagram says."""

    ready: bool = False
    reloading: bool = False
    stopping: bool = False
    """of these three at most one is true: STOPPING counts before READY, and READY before RELOADING"""
    feeds: bool = False
    """WATCHDOG=1"""
    triggers: bool = False
    """WATCHDOG=trigger"""
    timeout: float | None = None
    """WATCHDOG_USEC in seconds; inf: none"""
    extend: float | None = None
    """EXTEND_TIMEOUT_USEC in seconds"""
    status: str | None = None
    main_pid: int | None = None
    progress: int | float | str | None = None
    """X_BANKEN_PROGRESS"""
    why: str | None = None
    """ERRNO, BUSERROR and EXIT_STATUS: why it is about to end, in words"""
    barrier: bool = False
    not_kept: tuple[str, ...] = ()
    """fields that ask for what is not done here"""
    ignored: tuple[str, ...] = ()
    """a sentence about each field that made no sense"""


PLAIN_FEED = Said(feeds=True)
"""What WATCHDOG=1 says, and nothing else."""


def parse(data: bytes, descriptors: int = 0) -> Said | str:
    """What the datagram says, with so many descriptors beside it; or why it is dropped, in a sentence."""
    if data == b"WATCHDOG=1" or data == b"WATCHDOG=1\n":
        return PLAIN_FEED
    if len(data) > DATAGRAM_MAX:
        return f"it has more than {DATAGRAM_MAX} bytes"
    data = data.removesuffix(b"\0")
    if b"\0" in data:
        return "it has a NUL byte in it"
    fields: dict[str, bytes] = {}
    ignored: list[str] = []
    for each in data.split(b"\n"):
        key, equals, value = each.partition(b"=")
        if not equals:
            if each:
                ignored.append(f"{_shown(each)} is no KEY=VALUE")
            continue
        fields.setdefault(key.decode("ascii", "replace"), value)
    if "BARRIER" in fields:
        if len(fields) > 1 or fields["BARRIER"] != b"1" or descriptors != 1:
            return f"BARRIER=1 comes alone and with one descriptor, not with {descriptors} and beside other fields"
        return Said(barrier=True)
    found = _read(fields, ignored)
    return found._replace(not_kept=tuple(key for key in _NOT_KEPT if key in fields), ignored=tuple(ignored))


def _read(fields: dict[str, bytes], ignored: list[str]) -> Said:
    def value_of(key: str, read: Callable[[bytes], object]) -> object:
        if key not in fields:
            return None
        try:
            return read(fields[key])
        except ValueError as fault:
            ignored.append(f"{key}={_shown(fields[key])} {fault}")
            return None

    stopping = bool(value_of("STOPPING", _one))
    ready = not stopping and bool(value_of("READY", _one))
    reloading = not stopping and not ready and bool(value_of("RELOADING", _one))
    watchdog = value_of("WATCHDOG", _watchdog)
    reasons = [value_of("ERRNO", _errno), value_of("BUSERROR", _text), value_of("EXIT_STATUS", _exit_status)]
    values: dict[str, object] = {
        "timeout": value_of("WATCHDOG_USEC", _timeout),
        "extend": value_of("EXTEND_TIMEOUT_USEC", _extension),
        "status": value_of("STATUS", _text),
        "main_pid": value_of("MAINPID", _pid),
        "progress": value_of("X_BANKEN_PROGRESS", _progress),
        "why": ", ".join(str(each) for each in reasons if each is not None) or None,
    }
    return Said(ready, reloading, stopping, watchdog == "1", watchdog == "trigger", **values)  # type: ignore[arg-type]


def _one(value: bytes) -> bool:
    if value != b"1":
        raise ValueError("can only be 1")
    return True


def _watchdog(value: bytes) -> str:
    if value not in (b"1", b"trigger"):
        raise ValueError("can only be 1 or trigger")
    return value.decode()


def _number(value: bytes, most: int = _UNSET) -> int:
    if not value.isdigit() or len(value) > 20 or int(value) > most:
        raise ValueError(f"is no whole number from 0 to {most}")
    return int(value)


def _timeout(value: bytes) -> float:
    number = _number(value)
    seconds = number / 1e6
    return inf if number in (0, _UNSET) or seconds >= SECONDS_MAX else max(SECONDS_MIN, round(seconds, 3))


def _extension(value: bytes) -> float:
    return min(SECONDS_MAX, _number(value) / 1e6)


def _pid(value: bytes) -> int:
    number = _number(value, 2**22)
    if number <= 1:
        raise ValueError("cannot be the main process")
    return number


def _text(value: bytes) -> str:
    try:
        return line(value.decode("utf-8"), STATUS_MAX)
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None


def _progress(value: bytes) -> int | float | str:
    text = _text(value)[:PROGRESS_MAX]
    try:
        number = float(text)
    except ValueError:
        return text
    if number != number or number in (inf, -inf):
        raise ValueError("is no number that progress can be compared by")
    whole = text.lstrip("+-").isdecimal() and abs(number) < 2**53
    return int(text) if whole else number


def _errno(value: bytes) -> str:
    number = _number(value, 4095)
    return f"errno {number}: {os.strerror(number)}"


def _exit_status(value: bytes) -> str:
    return f"exit status {_number(value, 255)}"


def _shown(value: bytes) -> str:
    return line(value.decode("utf-8", "replace"), 60)
