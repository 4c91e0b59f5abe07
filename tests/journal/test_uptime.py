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
from banken_supervisor.engine.states import State
from banken_supervisor.journal import Declared, Entry, EventSeen, IncidentClosed, IncidentRecord, reading, uptime
from banken_supervisor.web.journal_reader import WINDOWS_S, history_json

GONE, ALIVE, GIVEN_UP = None, State.ALIVE, State.GIVEN_UP

Past = list[tuple[str, float, str]]


@pytest.mark.parametrize(
    ("past", "registered", "changed", "down"),
    [
        # All within 1,000 s that the journal knows of; the first incident begins at 100.
        ([("", 100, "open"), ("fed", 150, "close")], ALIVE, 0, 50),
        ([("", 100, "open")], State.EXPIRED, 100, 900),
        ([("", 100, "open"), ("given-up", 150, "close")], GIVEN_UP, 150, 900),
        ([("", 100, "open"), ("given-up", 150, "close"), ("recovered", 400, "event")], ALIVE, 400, 300),
        # An ending that is not "fed": a restart, a pause, a release.
        ([("", 100, "open"), ("given-up", 150, "close"), ("closed", 400, "event")], ALIVE, 400, 300),
        ([("", 100, "open"), ("given-up", 150, "close"), ("closed", 400, "event")], GONE, 0, 300),
        # The event that ended it is no longer kept.
        ([("", 100, "open"), ("given-up", 150, "close")], ALIVE, 400, 300),
        ([("", 100, "open"), ("given-up", 150, "close")], GONE, 0, 50),
        (
            [("", 100, "open"), ("given-up", 150, "close"), ("", 300, "open"), ("fed", 310, "close")],
            ALIVE, 310, 210,
        ),
        # Another incident's end is not its end.
        (
            [
                ("", 100, "open"), ("given-up", 150, "close"), ("", 300, "open"), ("fed", 310, "close"),
                ("recovered", 310, "event"),
            ],
            ALIVE, 310, 210,
        ),
    ],
)  # fmt: skip
def test_the_time_that_was_down(
    past: Past, registered: State | None, changed: float, down: float, path: str
) -> None:
    """By what the journal keeps; the same from both who show it."""
    began = time.time() - 1_000
    entries: list[Entry] = [EventSeen(0, began, "started")]
    if registered is not None:
        entries.append(Declared("w", Declaration(), state=registered, changed=began + changed))
    number = 0
    for word, at, what in past:
        if what == "open":
            number += 1
            entries.append(IncidentRecord(f"i-{number}", "w", Cause.TIMEOUT, began + at))
        elif what == "close":
            entries.append(IncidentClosed(f"i-{number}", began + at, word))
        else:
            entries.append(EventSeen(number, began + at, word, "w", {"incident": f"i-{number}"}))
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
