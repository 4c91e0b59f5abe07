"""Whose turn the work about a watchdog takes, where work about many waits: verdicts, effects, repeated callbacks.

It is its process's. A process that is not heard over a connection of its own (it is of another host, say, or the
message names none) may be invented; however many of them one process or one key speaks for, all have one turn.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from banken.protocol.messages import ProcessIdentity
from banken_supervisor.engine.record import Record


class Turns:
    """``by_name``: the watchdogs there are."""

    def __init__(self, by_name: Mapping[str, Record]) -> None:
        self._by_name = by_name
        self._said_by: dict[str, int | bytes] = {}
        """by name: the process, or the key, that speaks for its process, or for none"""
        self._gone: dict[str, Hashable] = {}
        """by name: whose those were that this turn of the loop has released"""

    def begin(self) -> None:
        """A turn of the loop begins: all effects of the last one are known."""
        self._gone.clear()

    def of(self, name: str) -> Hashable:
        """Whose turn it is: that of a pid, whatever boot and start are claimed with it, or of a key; else the
        name's own."""
        said_by = self._said_by.get(name)
        if said_by is not None:
            return said_by
        record = self._by_name.get(name)
        if record is None:
            return self._gone.get(name, name)
        return name if record.owner is None else record.owner.pid

    def heard(self, name: str, process: ProcessIdentity | None, speaker: int | bytes, *, is_new: bool) -> None:
        """A message about this name was taken. ``process``: as it names it. ``speaker``: the pid at the other end,
        or the key's part of boot ids; 0 and empty: not known. ``is_new``: nobody knew the name before."""
        record = self._by_name.get(name)
        if not speaker or record is None or record.owner != process or (process is None and not is_new):
            return
        if process is not None and process.pid == speaker:
            self._said_by.pop(name, None)
        else:
            self._said_by[record.name] = speaker

    def release(self, name: str) -> None:
        """It is about to be watched no longer."""
        self._gone[name] = self.of(name)
        self._said_by.pop(name, None)
