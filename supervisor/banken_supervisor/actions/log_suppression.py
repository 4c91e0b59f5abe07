"""Keeps other people's log lines about our requests out of the log: they hold URLs, and URLs hold secrets."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

LINES_MAX = 20


class _Filter(logging.Filter):
    """Withholds what the hushed threads log."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[int, list[str]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        lines = self.heard.get(threading.get_ident())
        if lines is None:
            return True
        if record.levelno >= logging.WARNING and len(lines) < LINES_MAX:
            lines.append(record.getMessage())
        return False


_filter = _Filter()


@contextlib.contextmanager
def hushed(*loggers: str) -> Iterator[list[str]]:
    """While the block runs, what this thread logs on these loggers is not written; its warnings are given."""
    for each in loggers:
        logging.getLogger(each).addFilter(_filter)  # adding it again changes nothing
    me = threading.get_ident()
    lines = _filter.heard[me] = []
    try:
        yield lines
    finally:
        del _filter.heard[me]
