"""Texts that must not be seen, and where they come from: the file itself, ``${ENV}``, or a file of their own."""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Callable
from typing import Any

SECRET_BYTES_MAX = 64 * 1024
"""Longest file that holds a secret."""

_variable = re.compile(r"\$(?:\$\{|\{([A-Za-z_][A-Za-z0-9_]*)\})")


class SecretRefused(ValueError):
    """A secret that cannot be read; the message never holds any of it."""


class Secret:
    """A text that neither ``repr`` nor ``str`` nor a log line shows; ``reveal()`` gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the code that must send it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(("Secret", self._text))

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a Secret is not pickled: it would be written down")


def expand(text: str, names: set[str] | None = None, changed: Callable[[str], str] = str) -> Secret:
    """``text`` with each ``${NAME}`` replaced from the environment; ``$${`` stands for ``${``.

    ``names``: gets the variables that were read. ``changed``: what becomes of their values first. SecretRefused if
    a variable is not set, or set to nothing.
    """

    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        if name is None:
            return "${"
        if not os.environ.get(name):
            wrong = "empty" if name in os.environ else "not set"
            raise SecretRefused(f"the environment variable {name} is {wrong}")
        if names is not None:
            names.add(name)
        return changed(os.environ[name])

    return Secret(_variable.sub(value, text))


def open_now(path: str, flags: int) -> int:
    """An ``opener`` for ``open`` that does not wait for the writer of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def from_content(content: bytes) -> Secret:
    """What a file holds, without blanks and line ends around it. SecretRefused."""
    if len(content) > SECRET_BYTES_MAX:
        raise SecretRefused(f"the secret's file has more than {SECRET_BYTES_MAX} bytes")
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        raise SecretRefused("the secret's file is not UTF-8") from None
    if not text:
        raise SecretRefused("the secret's file is empty")
    return Secret(text)
