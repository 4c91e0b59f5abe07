"""What was seen of a supervisor, and what of it is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

HONEST_TIMEOUT_S = 1.0


class NotHere(Exception):
    """This fault cannot be made on this machine, or not by this user."""


@dataclass
class Seen:
    """What was seen while something was done to a supervisor; seconds and bytes."""

    rounds: int = 0
    announced: int = 0
    late: list[float] = field(default_factory=list)
    calm: list[float] = field(default_factory=list)
    """as ``late``, before the fault"""
    deeds: list[float] = field(default_factory=list)
    """how late the ladder's command had run"""
    back: list[float] = field(default_factory=list)
    """from a start until all honest ones are known to live"""
    stops: list[float] = field(default_factory=list)
    """from SIGTERM to the end"""
    more: int = 0
    """memory beyond that before"""
    wrong: list[str] = field(default_factory=list)
    """each thing that broke a promise, in words"""

    def add(self, other: Seen) -> None:
        """Both together."""
        self.rounds += other.rounds
        self.announced += other.announced
        self.more = max(self.more, other.more)
        for name in ("late", "calm", "deeds", "back", "stops", "wrong"):
            getattr(self, name).extend(getattr(other, name))


def false_verdicts(verdicts: list[tuple[str, float, str]], own_lateness: list[dict[str, Any]]) -> list[str]:
    """Of (name, when it was heard, cause): those that the process itself does not explain by not having fed."""
    return [
        f"a false verdict on {name}: {cause}"
        for name, heard, cause in verdicts
        if not any(
            each["name"] == name and each["from"] <= heard and each["to"] >= heard - 2 * HONEST_TIMEOUT_S
            for each in own_lateness
        )
    ]
