"""Patterns of names as requests bring them: ``*``, ``?`` and ``[...]``, within bounds.

Names have at most 128 characters. A pattern within these bounds costs some ten microseconds for the
worst of names. What ``fnmatch`` keeps of former patterns grows with them; here nothing is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate

PATTERN_MAX = 256
"""Characters of a pattern: twice the longest name."""

STARS_MAX = 16
BRACKETS_MAX = 32
"""Of each in one pattern: every star looks through the rest of the name again."""


class PatternRefused(ValueError):
    """The pattern is too long or has too many parts; the text is for the asker."""


def is_pattern(text: str) -> bool:
    """Whether it may fit other names than itself."""
    return any(sign in text for sign in "*?[")


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a name fits, as ``fnmatchcase`` says it. PatternRefused: it is out of bounds."""
    for found, most, what in (
        (len(pattern), PATTERN_MAX, "characters"),
        (pattern.count("*"), STARS_MAX, "stars"),
        (pattern.count("["), BRACKETS_MAX, "brackets"),
    ):
        if found > most:
            raise PatternRefused(f"a pattern has at most {most} {what}, not {found}")
    match = re.compile(translate(pattern)).match
    return lambda name: match(name) is not None
