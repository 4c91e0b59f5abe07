"""Checks of what the config gives an action. Each raises Refused, a ValueError, and says what is allowed."""

from __future__ import annotations

import signal as signals
from collections.abc import Sequence

from banken.errors import Refused
from banken.protocol.limits import shorten

ARGUMENTS_MAX = 256
"""Items of a command."""

ARGUMENT_MAX = 64 * 1024
"""Characters of one item of a command; Linux takes 128 KiB."""

TEXT_MAX = 4096


def seconds(value: object, what: str, least: float, most: float) -> float:
    """A number of seconds between ``least`` and ``most``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise Refused(f"{what}={shorten(repr(value))} is not allowed: {least:g} to {most:g} seconds")
    return float(value)


def whole(value: object, what: str, least: int, most: int) -> int:
    """A whole number between ``least`` and ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Refused(f"{what}={shorten(repr(value))} is not allowed: a whole number, {least} to {most}")
    return value


def flag(value: object, what: str) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise Refused(f"{what}={shorten(repr(value))} is not allowed: true or false")
    return value


def words(value: object, what: str, longest: int = TEXT_MAX) -> str:
    """A text that is not empty and has no NUL. What it is stays out of the message: it may be a secret."""
    if not isinstance(value, str):
        raise Refused(f"{what} is a text, not {type(value).__name__}")
    if not 0 < len(value) <= longest or "\0" in value:
        raise Refused(f"{what} has 1 to {longest} characters, none of them NUL; this one has {len(value)}")
    return value


def argv(value: object, what: str) -> tuple[str, ...]:
    """A command as a list of texts; never one text for a shell."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise Refused(
            f"{what} is a list of texts such as ['systemctl', 'restart', 'job'], not {type(value).__name__}"
        )
    if not 1 <= len(value) <= ARGUMENTS_MAX:
        raise Refused(f"{what} has 1 to {ARGUMENTS_MAX} items, this one has {len(value)}")
    for each in value:
        if not isinstance(each, str) or "\0" in each or len(each) > ARGUMENT_MAX:
            raise Refused(f"{what}: each item is a text of at most {ARGUMENT_MAX} characters without NUL")
    if not value[0]:
        raise Refused(f"{what}: the first item, the program, is empty")
    return tuple(value)


def signal_number(value: object, what: str) -> signals.Signals:
    """A signal by its name, with or without SIG, or by its number."""
    if isinstance(value, str):
        name = value.upper() if value.upper().startswith("SIG") else f"SIG{value.upper()}"
        for each in signals.Signals:
            if each.name == name:
                return each
    elif (
        isinstance(value, int) and not isinstance(value, bool) and value in {int(each) for each in signals.Signals}
    ):
        return signals.Signals(value)
    known = ", ".join(each.name for each in signals.Signals if not each.name.startswith("SIGRT"))
    raise Refused(f"{what}={shorten(repr(value))} is no signal; allowed: {known}")
