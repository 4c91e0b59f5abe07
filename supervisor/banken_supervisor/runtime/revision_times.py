"""When this member knew at the latest that the store had a revision: so that what is there has an age of which
something is certain, whatever the clock of the host says that wrote it.

Belongs to the loop's thread. The store counts its transactions. A member reads that number every tenth of ``ttl``,
and notes with it the time of its own timers. What was written at one revision was written, by these timers, before
the first note of this number or a higher one; and after a lower one was read, which was shortly before its note.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from math import inf

from banken_supervisor.coordination.store import ABSENT

NOTES_MAX = 1000
"""Notes that are kept. Where there are more, every second one of the older half goes: what is older is known less
exactly."""


@dataclass(eq=False)
class RevisionTimes:
    """Times are deadline time, seconds."""

    _revisions: list[int] = field(default_factory=list)
    """growing"""
    _at: list[float] = field(default_factory=list)
    """for each of them, when it was known at the latest"""
    _read: int = ABSENT
    """the number that was read last: it is noted with the next turn's time, which is surely later"""

    def note(self, revision: int, now: float) -> None:
        """The store has this revision, by what was last read of it."""
        if self._read > (self._revisions[-1] if self._revisions else ABSENT):
            self._revisions.append(self._read)
            self._at.append(now)
            if len(self._revisions) > NOTES_MAX:
                del self._revisions[1 : NOTES_MAX // 2 : 2], self._at[1 : NOTES_MAX // 2 : 2]
        self._read = revision

    def forget(self) -> None:
        """The store's data were replaced: it counts anew."""
        self._revisions.clear()
        self._at.clear()
        self._read = ABSENT

    def age(self, revision: int | None, now: float) -> float:
        """Seconds since this revision was written, at the least; None: it is not known."""
        found = len(self._at) if revision is None else bisect_left(self._revisions, revision)
        return now - self._at[found] if found < len(self._at) else 0.0

    def before(self, revision: int | None) -> float:
        """When the newest revision below this one was noted: this one was written after that, or a few turns before
        it; ``-inf``: none is known."""
        found = 0 if revision is None else bisect_left(self._revisions, revision)
        return self._at[found - 1] if found else -inf
