"""How far the run of a check has come."""

from __future__ import annotations


class Progress:
    """Shown where the limit of a run ends it."""

    def __init__(self) -> None:
        self.text = ""
