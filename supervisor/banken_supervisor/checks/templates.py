"""Texts of the config that may hold secrets as ``${ENV}``: shown as written, used as expanded."""

from __future__ import annotations

import os
import re

from pydantic import ValidationInfo

from banken_supervisor.actions import options
from banken_supervisor.text.secret import Secret, SecretRefused, expand

HIDDEN_MIN = 4
"""Characters from which on a value is hidden wherever it stands; a shorter one would hide half of every text."""

_secret_name = re.compile(
    r"(?:^|[-_.])(?:authorization|auth|cookie|token|secret|password|passwd|pwd|pass|api-?key|apikey|key|signature|sig)$",
    re.IGNORECASE,
)


class Template:
    """``written`` is for people, ``text`` for use."""

    __slots__ = ("_secret", "values", "written")

    def __init__(self, written: str, secret: Secret, values: tuple[str, ...]) -> None:
        self.written = written
        self._secret = secret
        self.values = values
        """what the variables in it hold: secrets"""

    @property
    def text(self) -> str:
        """With the values of its variables."""
        return self._secret.reveal()

    def __str__(self) -> str:
        return self.written

    def __repr__(self) -> str:
        return f"Template({self.written!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Template):
            return NotImplemented
        return self.written == other.written and self._secret == other._secret

    def __hash__(self) -> int:
        return hash(self.written)


def template(value: object, info: ValidationInfo) -> Template:
    """A text in which ``${ENV}`` may stand. ValueError never shows a value."""
    if isinstance(value, Template):
        return value
    written = options.text(value)
    names: set[str] = set()
    try:
        secret = expand(written, names)
    except SecretRefused as fault:
        raise ValueError(f"{fault}; for the text ${{ itself write $${{") from None
    if (variables := options.source(info).variables) is not None:
        variables |= names
    values = tuple(value for name in sorted(names) if len(value := os.environ[name]) >= HIDDEN_MIN)
    return Template(written, secret, values)


def is_secret(name: str) -> bool:
    """Whether a header or parameter of this name holds a secret."""
    return _secret_name.search(name) is not None


def has_variable(written: str) -> bool:
    """Whether part of it comes from the environment."""
    return "${" in written.replace("$${", "")
