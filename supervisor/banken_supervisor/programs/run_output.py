"""The last lines that a run of a program wrote: why it died is often the last thing that it said."""

from __future__ import annotations

import contextlib
import os

from banken_supervisor.engine.policy import ProgramSpec
from banken_supervisor.files.trusted_files import open_file
from banken_supervisor.programs.log_files import user_ids
from banken_supervisor.text.sanitize import last_lines

READ_MAX = 16 * 1024
"""Bytes at the end of a log that are read."""


class RunOutput:
    """By program. What another run wrote before, or writes later, does not count."""

    def __init__(self) -> None:
        self._begin: dict[str, tuple[str, int, tuple[int, ...]]] = {}
        """its log, how long that was when the process was made, and whose it may be"""
        self._ended: dict[str, list[str]] = {}
        """of those that have ended: what they wrote"""

    def begin(self, spec: ProgramSpec, size: int | None = None) -> None:
        """A process is about to be made, or (``size`` = 0) was adopted. Reads the disk."""
        if spec.log is not None:
            if size is None:
                size = 0
                with contextlib.suppress(OSError):
                    size = os.stat(spec.log).st_size
            owners = None if spec.user is None else user_ids(spec.user)
            self._begin[spec.name] = spec.log, size, owners or ()

    def end(self, name: str) -> None:
        """Its process has ended, ``keep`` comes later."""
        self._ended.pop(name, None)

    def keep(self, name: str) -> None:
        """Read what the ended process wrote, before another one is made. Reads the disk."""
        self._ended[name] = self._read(name)

    def last(self, name: str, *, has_ended: bool) -> list[str]:
        """Its last lines. ``has_ended``: of the process that has ended last. Reads the disk."""
        found = self._read(name)
        kept = self._ended.get(name) if has_ended else None  # only now: it was kept before another one began
        return found if kept is None else kept

    def _read(self, name: str) -> list[str]:
        if name not in self._begin:
            return []
        path, begin, owners = self._begin[name]
        text = _tail(path, begin, owners)
        if text is None:  # it was rotated meanwhile
            text = _tail(path, 0, owners) or _tail(f"{path}.1", begin, owners) or b""
        return last_lines(text.decode("utf-8", "backslashreplace"))


def _tail(path: str, begin: int, owners: tuple[int, ...]) -> bytes | None:
    """The end of the file, of what follows ``begin``; None: it is shorter, or cannot be read."""
    try:
        fd, _ = open_file(path, os.O_RDONLY | os.O_NONBLOCK, owners=owners)
    except OSError:
        return None
    try:
        size = os.fstat(fd).st_size
        return None if size < begin else os.pread(fd, READ_MAX, max(begin, size - READ_MAX))
    except OSError:
        return None
    finally:
        os.close(fd)
