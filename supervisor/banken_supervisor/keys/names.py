"""The names of keys: they are names of files, and travel as a user id with each message."""

from __future__ import annotations

import re
from typing import Annotated

from banken_supervisor.actions.options import kind
from banken_supervisor.text.quoting import kind_of, quoted

LONGEST = 64

_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*"
_name = re.compile(_PATTERN)


def check(value: object) -> str:
    """``value``, if it is a name of a key. ValueError says what is allowed."""
    if not isinstance(value, str):
        raise ValueError(f"must be the name of a key, not {kind_of(value)}")
    if not _name.fullmatch(value) or len(value) > LONGEST:
        raise ValueError(
            f"{quoted(value)} is no name of a key: 1 to {LONGEST} of A-Z a-z 0-9 _ . @ + -, the first no . @ + -"
        )
    return value


KeyName = Annotated[str, *kind(check, {"type": "string", "pattern": f"^{_PATTERN}$", "maxLength": LONGEST})]
