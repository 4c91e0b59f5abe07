"""Keeps the log lines of libraries about our requests out of the log: they hold URLs, and URLs hold secrets."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

LINES_MAX = 20

_lines: dict[int, list[str]] = {}
"""by thread: the warnings of those whose log lines are not written"""


def _filter(record: logging.LogRecord) -> bool:
    lines = _lines.get(threading.get_ident())
    if lines is not None and record.levelno >= logging.WARNING and len(lines) < LINES_MAX:
        lines.append(record.getMessage())
    return lines is None


@contextlib.contextmanager
def logs_suppressed(*loggers: str) -> Iterator[list[str]]:
    """While the block runs, what this thread logs on these loggers is not written; yields its warnings."""
    for each in loggers:
        logging.getLogger(each).addFilter(_filter)  # adding it again changes nothing
    lines = _lines[threading.get_ident()] = []
    try:
        yield lines
    finally:
        del _lines[threading.get_ident()]
