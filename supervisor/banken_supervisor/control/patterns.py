"""Patterns of names in requests: ``*``, ``?`` and ``[...]``, with limits.

Names have at most 128 characters. Within these limits a pattern costs at most about ten microseconds per name.
``fnmatch`` would cache compiled patterns; this module does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate

PATTERN_MAX = 256
"""Characters of a pattern: twice the longest name."""

STARS_MAX = 16
BRACKETS_MAX = 32
"""Number of each in one pattern: every star scans the rest of the name again."""


class PatternRefused(ValueError):
    """The pattern is too long or has too many parts; the text is for the client."""


def is_pattern(text: str) -> bool:
    """Whether the text contains pattern characters, so that it may match other names."""
    return any(sign in text for sign in "*?[")


def matcher(pattern: str) -> Callable[[str], bool]:
    """A function that matches names like ``fnmatchcase``. PatternRefused: the pattern exceeds a limit."""
    for found, most, what in (
        (len(pattern), PATTERN_MAX, "characters"),
        (pattern.count("*"), STARS_MAX, "stars"),
        (pattern.count("["), BRACKETS_MAX, "brackets"),
    ):
        if found > most:
            raise PatternRefused(f"a pattern may have at most {most} {what}, not {found}")
    match = re.compile(translate(pattern)).match
    return lambda name: match(name) is not None
