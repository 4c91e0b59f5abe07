"""Shell patterns of names."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate

Matcher = Callable[[str], object]
"""Whether a name matches: true or not."""


def is_pattern(name: str) -> bool:
    """Whether ``name`` stands for many names, as in a shell: it holds ``*``, ``?`` or ``[``."""
    return not {"*", "?", "["}.isdisjoint(name)


def matcher(pattern: str) -> Matcher:
    """What tells whether a name matches ``pattern``. To be kept: a pattern takes a hundred times as long to
    translate as a name to match, and ``fnmatchcase`` forgets what more than 256 patterns were translated to."""
    return re.compile(translate(pattern)).match if is_pattern(pattern) else pattern.__eq__
