"""Numbers of things, as people write them."""

from __future__ import annotations


def plural(count: int, one: str, many: str | None = None) -> str:
    """``1 verdict``, ``1,200 verdicts``. ``many``: where that is more than an ``s``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
