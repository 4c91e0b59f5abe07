"""One past, one uptime: what counts as down, and that the command line and the page say the same of a real file."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest
from journal_kit import write

from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration
from banken_supervisor.journal import (
    GIVEN_UP,
    Declared,
    Entry,
    EventSeen,
    IncidentClosed,
    IncidentRecord,
    reading,
    uptime,
)
from banken_supervisor.web.journal_reader import WINDOWS_S, history_json

Past = list[tuple[float, float | None, str | None]]
"""Of each incident: when it was opened and closed, in seconds of the journal's 1,000, and how."""


@pytest.mark.parametrize(
    ("past", "down"),
    [
        ([(100, 150, "fed")], 50),
        ([(100, None, None)], 900),
        ([(100, None, GIVEN_UP)], 900),
        ([(100, 400, "paused"), (300, 410, "fed")], 310),
    ],
)
def test_the_time_that_was_down(past: Past, down: float, path: str) -> None:
    """By what the journal keeps; the same from both who show it."""
    began = time.time() - 1_000
    entries: list[Entry] = [EventSeen(0, began, "started")]
    for number, (opened, closed, how) in enumerate(past):
        entries.append(IncidentRecord(f"i-{number}", "w", Cause.TIMEOUT, began + opened))
        if how is not None:
            entries.append(IncidentClosed(f"i-{number}", None if closed is None else began + closed, how))
    write(path, *entries)
    now = began + 1_000
    result = uptime.of(reading.history(path, "w"), 86_400.0, now)
    assert (result.period, result.down) == pytest.approx((1_000, down))
    short = uptime.of(reading.history(path, "w"), 500.0, now)
    assert short.period == pytest.approx(500)

    page: dict[str, Any] = json.loads(history_json(path, "w") or "")
    run = subprocess.run(
        [sys.executable, "-m", "banken_supervisor", "history", "w", "--json", "--journal", path,
         "--since", f"{WINDOWS_S['24h']:.0f}s", "--address", "ipc:///nonexistent"],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    shown = json.loads(run.stdout)
    assert page["uptime"]["24h"] == pytest.approx(shown["uptime"], abs=0.01)
    assert shown["uptime"] == pytest.approx(1 - down / 1_000, abs=0.02)


def test_a_journal_that_keeps_nothing_knows_of_no_time(path: str) -> None:
    """Neither all well nor all down."""
    write(path, Declared("w", Declaration()))
    kept = reading.history(path, "w")
    assert uptime.of(kept, 86_400.0, time.time()).share is None
    assert json.loads(history_json(path, "w") or "")["uptime"]["24h"] is None
