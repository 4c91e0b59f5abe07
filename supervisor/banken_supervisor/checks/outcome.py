"""The result of one run of a check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from banken.protocol.limits import shorten
from banken_supervisor.text.sanitize import line, redact

TEXT_MAX = 500
"""Characters of the text."""


class NotRunError(OSError):
    """The check could not be run, for want of something of ours: that says nothing of what it looks at."""


class Outcome(NamedTuple):
    """Whether it passed, and what was expected and what came, in one line for people."""

    passed: bool | None
    """None: it could not be run, see NotRunError"""
    text: str
    certain: bool = False
    """of a failure: it needs no second look, a held process was seen to end"""
    process: tuple[int, int] | None = None
    """pid and start (ticks since boot) of the process that was found; steps of a ladder act on it where the name
    has none of its own"""
    provisional: bool = False
    """of a pass: it needs a second look, there is nothing to compare with yet. It ends no incident"""


def joined(lines: Sequence[str], longest: int) -> str:
    """Lines in one, at most so many characters. Each is shortened by itself, if the others leave no room."""
    between, left, parts = " / ", longest, list[tuple[int, str]]()
    left -= len(between) * (len(lines) - 1)
    for done, (place, each) in enumerate(sorted(enumerate(lines), key=lambda pair: len(pair[1]))):
        short = shorten(each, max(1, left // (len(lines) - done)))
        left -= len(short)
        parts.append((place, short))
    return between.join(each for _, each in sorted(parts))


def outcome(
    passed: bool | None,
    text: str,
    *,
    hidden: Iterable[str] = (),
    certain: bool = False,
    process: tuple[int, int] | None = None,
    provisional: bool = False,
) -> Outcome:
    """The same with a text of one line that can be shown anywhere. ``hidden``: what it must not show."""
    # Cut after secrets are out: half of one would be shown otherwise.
    text = text[: 16 * TEXT_MAX]
    return Outcome(passed, line(redact(text, hidden), TEXT_MAX), certain, process, provisional)
