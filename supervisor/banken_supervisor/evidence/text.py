"""Text from a worker: thread names, file names and command lines may hold anything."""

from __future__ import annotations

import unicodedata

_UNSAFE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Control characters, direction overrides, lone surrogates, line and paragraph separators."""


def clean(what: object, longest: int, *, end: bool = False) -> str:
    """``what`` as a text that can be encoded, cut to ``longest`` characters; ``end=True`` keeps its end."""
    text = what if isinstance(what, str) else str(what)
    text = text.encode("utf-8", "replace").decode("utf-8")
    if len(text) <= longest:
        return text
    return "…" + text[1 - longest :] if end else text[: longest - 1] + "…"


def decoded(data: bytes, longest: int) -> str:
    """Bytes from the kernel as text, cut; what is no UTF-8 is replaced."""
    return clean(data[: 4 * longest].decode("utf-8", "replace"), longest)


def neutral(text: str) -> str:
    """``text`` safe for a terminal: in one line, what a terminal could obey written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if unicodedata.category(c) not in _UNSAFE else c.encode("unicode_escape", "replace").decode()
        for c in text
    )
