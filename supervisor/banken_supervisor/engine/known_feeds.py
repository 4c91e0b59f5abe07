"""Takes the feeds that are known by their bytes: one look-up and one stored time each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice

from banken_supervisor.engine.feed_history import FeedHistory
from banken_supervisor.engine.principal import AnyPrincipal, FramesOf, KeyHolder, OtherUser, Principal
from banken_supervisor.engine.record import Member, Record
from banken_supervisor.engine.table import Table

_LOCAL = Principal.LOCAL


def mark_of(principal: AnyPrincipal) -> bytes:
    """What stands before the frames of this principal where they are known: on another host's word counts nothing
    but what came with its own key."""
    return principal.mark if isinstance(principal, KeyHolder) else b""


@dataclass(eq=False)
class KnownFeeds:
    """Stores the times of known feeds, and notes those that fit into the history's budget."""

    _table: Table
    _history: FeedHistory

    def take(self, frames: Iterator[bytes], now: float, principal: AnyPrincipal) -> Iterator[bytes]:
        """Take all that are known, and yield the others in between, in order."""
        if principal is _LOCAL or isinstance(principal, Principal):  # the first alone costs nothing
            return self._take(frames, now, self._table.by_frame)
        if isinstance(principal, OtherUser):
            return self._take(frames, now, FramesOf(self._table.by_frame, principal))
        mark = mark_of(principal)
        others = self._take(map(mark.__add__, frames), now, self._table.by_frame)
        return (frame[len(mark) :] for frame in others)

    def _take(
        self, frames: Iterator[bytes], now: float, known: Mapping[bytes, Record | Member] | FramesOf
    ) -> Iterator[bytes]:
        history = self._history
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
