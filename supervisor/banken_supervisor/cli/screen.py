"""What ``top`` and ``status --watch`` need of a terminal that they take whole."""

from __future__ import annotations

import os
import sys

from banken_supervisor.cli.group import Failure


def need_terminal(what: str, instead: str) -> None:
    """A Failure unless stdin, stdout and stderr are a terminal that can be drawn on."""
    for stream, name in ((sys.stdin, "stdin"), (sys.stdout, "stdout"), (sys.stderr, "stderr")):
        if stream is None or not stream.isatty():
            raise Failure(f"{what} needs a terminal, and {name} is none; in a script use {instead}")
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        raise Failure(f"{what} cannot draw on this terminal (TERM is dumb or not set); use {instead}")
    encoding = sys.stderr.encoding or ""
    if "utf" not in encoding.lower():
        raise Failure(f"{what} needs a terminal in UTF-8, not {encoding}; use {instead}")
    # The size is the terminal's own: what a shell exports as COLUMNS and LINES stays as it was when it is changed.
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
