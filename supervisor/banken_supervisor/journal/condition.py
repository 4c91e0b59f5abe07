"""How well the journal writes, as its writer tells it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Condition:
    """How well the journal writes now."""

    state: str
    """opening; ok; lagging: it writes, and entries were dropped; failing: it does not write; moved-aside: it writes
    to a new file, for the old one was damaged or of another version"""
    reason: str = ""
    since: float = 0.0
    """wall clock"""
    resync: bool = False
    """entries of the registry were lost: record every watchdog and open incident again, and then ``Cleared``"""

    @property
    def keeps(self) -> bool:
        """Whether an entry that is recorded now is soon on disk: only then is it worth waiting for."""
        return self.state in ("ok", "moved-aside")
