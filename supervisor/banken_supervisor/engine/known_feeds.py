"""Takes the feeds that are known by their bytes: one look-up and one stored time each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice

from banken_supervisor.engine.feed_history import FeedHistory
from banken_supervisor.engine.principal import FramesOf, OtherUser, Principal
from banken_supervisor.engine.record import Member, Record
from banken_supervisor.engine.table import Table

_LOCAL = Principal.LOCAL


@dataclass(eq=False)
class KnownFeeds:
    """Stores the times of known feeds, and notes those that fit into the history's budget."""

    _table: Table
    _history: FeedHistory

    def take(self, frames: Iterator[bytes], now: float, principal: Principal | OtherUser) -> Iterator[bytes]:
        """Take all that are known, and yield the others in between, in order."""
        history = self._history
        known: Mapping[bytes, Record | Member] | FramesOf = self._table.by_frame
        if principal is not _LOCAL and isinstance(principal, OtherUser):  # the first alone costs nothing
            known = FramesOf(self._table.by_frame, principal)
        if history.recording:
            if history.allowed > 0:
                few = islice(frames, history.allowed)
                while history.recording:  # a new name may end it
                    try:
                        history.note_known(few, now, known)
                    except KeyError as unknown:
                        frame = unknown.args[0]
                    else:
                        break
                    yield frame
                for first in frames:
                    frames = chain((first,), frames)
                    break
                else:
                    return
            history.skip(now)
        by_frame = known.__getitem__
        while True:
            try:
                for record in map(by_frame, frames):
                    record.fed_at = now
            except KeyError as unknown:  # not known by its bytes: the only thing in here that raises KeyError
                frame = unknown.args[0]
            else:
                return
            yield frame
