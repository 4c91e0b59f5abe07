"""What is counted, and what Prometheus is told of it; with a real supervisor: process/test_metrics_real.py."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from banken.protocol.incidents import Cause
from banken_supervisor.journal import IncidentRecord, Journal
from banken_supervisor.observability.loop_metrics import ACTIONS_MAX, OTHER, Histogram, LoopMetrics
from banken_supervisor.web.metrics import METRICS, question, render


@pytest.mark.parametrize(
    ("value", "place"), [(0.0, 0), (1.0, 0), (1.0001, 1), (2.0, 1), (4.0, 2), (4.1, 3), (1e9, 3)]
)
def test_histogram_counts_a_value_up_to_its_bound(value: float, place: int) -> None:
    """A value equal to a bound belongs to it, one above all bounds to the last bucket."""
    histogram = Histogram((1.0, 2.0, 4.0))
    histogram.observe(value)
    assert histogram.plain() == {
        "bounds": [1.0, 2.0, 4.0],
        "counts": [int(each == place) for each in range(4)],
        "sum": value,
    }


def test_incident_without_a_deadline_is_never_late() -> None:
    """It is counted by its cause, and not among those that have a latency."""
    metrics = LoopMetrics()
    metrics.incident("failed", None)
    metrics.incident("timeout", 0.003)
    assert metrics.incidents == {"failed": 1, "timeout": 1}
    assert sum(metrics.lateness.counts) == 1
    assert metrics.lateness.sum == 0.003


def test_actions_have_a_bounded_number_of_names() -> None:
    """A class that gives itself a new name each time makes no new series for ever."""
    metrics = LoopMetrics()
    for number in range(ACTIONS_MAX + 50):
        metrics.action(f"made-{number}", "done")
    metrics.action("made-0", "failed")
    assert len(metrics.actions) == ACTIONS_MAX + 2
    assert metrics.actions[OTHER, "done"] == 50
    assert metrics.actions["made-0", "failed"] == 1


def test_label_values_are_escaped() -> None:
    """No text ends its line or its quotes: what comes back is what was put in, and nothing beside it."""
    hostile = 'a"} 1\nbanken_up 7\n\\{é'
    body, _ = render({"version": hostile, "refused": {hostile: 3}, "acted": [[hostile, "done", 2]]})
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }
    assert found == {
        ("banken_up",): 1.0,
        ("banken_build_info", hostile): 1.0,
        ("banken_refused_total", hostile): 3.0,
        ("banken_actions_ended_total", hostile, "done"): 2.0,
    }


@pytest.mark.parametrize("odd", ["w*", [], {}, {"a": "b"}, True, float("nan"), 10**400])
def test_a_number_of_another_kind_costs_that_metric_only(odd: Any) -> None:
    """The supervisor may be of another version: a scrape still tells the rest."""
    answer = {"version": "1", "connections": odd, "refused": odd, "lateness": odd, "acted": odd, "stalls": 3}
    body, _ = render(answer)
    assert b"banken_stalls_total 3.0" in body


def test_scrape_of_a_supervisor_that_does_not_answer() -> None:
    """It is no error: it says that the supervisor is down."""
    body, content_type = render(None)
    assert body.decode().splitlines()[-1] == "banken_up 0.0"
    assert content_type.startswith("text/plain; version=0.0.4")


def test_names_that_are_asked_for() -> None:
    """All, those that a pattern fits, or none."""
    assert question() == {}
    assert question("web-*") == {"name": "web-*"}
    assert question("") == {"limit": 0}


def test_every_metric_has_a_name_that_says_its_unit_and_a_meaning() -> None:
    """No name twice; a counter ends in _total, a histogram in its unit."""
    names = [told.full_name for told in METRICS]
    assert len(set(names)) == len(names)
    for told in METRICS:
        assert told.name.startswith("banken_")
        assert not told.name.endswith("_total")
        assert told.meaning.endswith(".")
        assert told.kind != "histogram" or told.name.endswith("_seconds")


def test_journal_tells_how_far_the_disk_is_behind(tmp_path: Path) -> None:
    """The age of the oldest entry that is not on disk: it grows while the file is locked, and ends with that."""
    path = str(tmp_path / "journal.db")
    journal = Journal(path, "r")
    try:
        journal.record(IncidentRecord("r-0", "w", Cause.TIMEOUT, 1.0, 1.5, 1.0))
        assert journal.flush(20)
        assert journal.state()["lag"] == 0.0
        time.sleep(0.1)  # what was written so long ago must not count
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        journal.record(IncidentRecord("r-1", "w", Cause.TIMEOUT, 1.0, 1.5, 1.0))
        _until(lambda: journal.state()["lag"] > 0.2, "it lags")
        journal.record(IncidentRecord("r-2", "w", Cause.TIMEOUT, 1.0, 1.5, 1.0))
        # Of the oldest that waits, and not of the one that came just now or the one that is written.
        assert 0.2 < journal.state()["lag"] <= time.monotonic() - began
        blocker.execute("ROLLBACK")
        blocker.close()
        _until(lambda: journal.state()["lag"] == 0.0, "it has caught up")
    finally:
        journal.close(5)


def _until(condition: Callable[[], bool], what: str) -> None:
    give_over = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_over, what
        time.sleep(0.005)
