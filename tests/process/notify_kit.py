"""What the tests of sd_notify share: a supervisor whose programs say what they are told."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from process.kit import SCRIPTS, START_S, until
from process.run_kit import Running, running, table


def notifier(name: str, **fields: Any) -> str:
    """A [[program]] that says what it is told."""
    return table(name, [sys.executable, "-S", str(SCRIPTS / "notifier.py"), f"@PLACE@/{name}"], **fields)


class Notifiers:
    """A supervisor, and its programs that say what they are told."""

    def __init__(self, run: Running) -> None:
        self.run = run

    def order(self, name: str, order: object) -> None:
        """Have it say a text, or what else it can do."""
        fifo = self.run.place / name
        until(fifo.exists, f"{name} listens", START_S)
        end = until(lambda: _opened(fifo), f"{name} reads", START_S)
        os.write(end, json.dumps(order).encode() + b"\n")
        os.close(end)

    def environment(self, name: str) -> dict[str, Any]:
        """What it was started with, and its pid."""
        path = Path(f"{self.run.place / name}.env")
        until(lambda: (self.run.place / name).exists(), f"{name} runs", START_S)
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def row(self, name: str) -> dict[str, Any]:
        """Of its watchdog."""
        return self.run.watchdogs()[name]

    def until(self, name: str, what: str, **wanted: Any) -> dict[str, Any]:
        """Its row, once it has these values."""
        return until(lambda: self._row_with(name, wanted), what)  # type: ignore[no-any-return]

    def _row_with(self, name: str, wanted: dict[str, Any]) -> dict[str, Any] | None:
        found = self.run.watchdogs().get(name, {})
        return found if wanted.items() <= found.items() else None

    def logged(self, text: str) -> list[str]:
        """The lines of the supervisor's log with this text so far."""
        return [line for line in self.run.log.read_text().splitlines() if text in line]

    def told(self, text: str) -> list[str]:
        """The same, once there are any: what is shown changes first, the log is written on a thread."""
        return until(lambda: self.logged(text), f"the log says {text!r}")  # type: ignore[no-any-return]


def _opened(fifo: Path) -> int | None:
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # its reader has not come yet
        return None


@contextmanager
def notifiers(config: str, environment: Mapping[str, str] | None = None) -> Iterator[Notifiers]:
    """A supervisor with this config, and more variables; everything is ended afterwards."""
    more = [f"{key}={value}" for key, value in (environment or {}).items()]
    with running(config, under=("env", *more) if more else ()) as run:
        run.place.chmod(0o711)  # other users' programs reach their own directory through it
        yield Notifiers(run)
