"""Marks for the branches of unions, which pydantic puts into an error's place; no message shows them."""

from __future__ import annotations

from typing import Any

TAG = "\0"
"""Begins what pydantic puts into an error's place for the branch that it took; keys of a file do not begin so."""

ONE, MANY = f"{TAG}one", f"{TAG}many"


def one_or_many(value: Any) -> str | None:
    """The branch of a value that is a table or an array of them."""
    return ONE if isinstance(value, dict) else MANY if isinstance(value, list) else None
