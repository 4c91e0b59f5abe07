"""The end of a program's log file, as it grows."""

from __future__ import annotations

import os
from functools import partial
from typing import NamedTuple

from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import Footer, RichLog, Static

from banken_supervisor.cli.printing import clean
from banken_supervisor.cli.top.background import FileThread
from banken_supervisor.cli.top.page import Page
from banken_supervisor.cli.top.text import GREY, said

TAIL_BYTES = 128 * 1024
"""Bytes that are read at most at a time: of more the newest."""

LINES_MAX = 5000

LINE_MAX = 2000
"""Characters of a line; the rest is cut."""

LOOK_S = 0.5
"""Seconds between two looks at the file."""


class Part(NamedTuple):
    """What was read of a file, and where it ended."""

    lines: list[str]
    file: tuple[int, int] = (0, 0)
    """device and inode"""
    end: int = 0
    skipped: bool = False
    """the former end is not where these lines begin: the file was cut, replaced, or grew too fast"""


def read_on(path: str, before: Part) -> Part:
    """The whole lines of the file since ``before``. OSError. Waits for the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        file, size = (status.st_dev, status.st_ino), status.st_size
        begin = before.end if file == before.file and before.end <= size else 0
        skipped = begin != before.end
        if size - begin > TAIL_BYTES:
            begin, skipped = size - TAIL_BYTES, True
        some = os.pread(descriptor, TAIL_BYTES, begin)
    finally:
        os.close(descriptor)
    # What ends in no line break is left for the next time, unless it fills all that is read.
    used = some.rfind(b"\n") + 1 or (len(some) if len(some) >= TAIL_BYTES else 0)
    found = some[:used].removesuffix(b"\n").split(b"\n") if used else []
    lines = [clean(line[:LINE_MAX].decode("utf-8", "replace")) for line in found]
    if skipped and begin:
        del lines[:1]  # it was cut in its midst
    return Part(lines, file, begin + used, skipped)


class LogPage(Page):
    """The log of one program; it follows the end unless it was scrolled away from there."""

    DEFAULT_CSS = """
    LogPage #note { height: 1; padding: 0 1; display: none; }
    LogPage RichLog { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; background: transparent; }
    """

    def __init__(self, name: str, path: str, reader: FileThread) -> None:
        super().__init__(f"log of {said(name)}: {said(path)}")
        self._path, self._reader = path, reader
        self._part = Part([])
        self._note = Static(id="note")
        self._written = RichLog(max_lines=LINES_MAX, wrap=True, highlight=False, markup=False, min_width=0)

    def compose(self) -> ComposeResult:
        yield from (self._heading, self._note, self._written, Footer(show_command_palette=False))

    def on_mount(self) -> None:
        self._written.focus()
        self._look()
        self.set_interval(LOOK_S, self._look)

    def _look(self) -> None:
        self._reader.ask(f"log {self._path}", partial(read_on, self._path, self._part), self._show)

    def _show(self, part: Part | Exception) -> None:
        self._note.display = isinstance(part, Exception)
        if isinstance(part, Exception):
            why = part.strerror if isinstance(part, OSError) else str(part)
            self._note.update(Text(f"the log cannot be read here: {why}", GREY))
            return
        if part.skipped and self._part.end:
            self._written.write(Text("… the file was cut or replaced here", GREY))
        for line in part.lines:
            self._written.write(Text(line))
        self._part = part._replace(lines=[])
