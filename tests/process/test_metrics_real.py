"""Metrics of a real supervisor to which everything happened that is counted, as Prometheus gets them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from banken.client import Client
from banken.control import Control
from banken.errors import RequestFailed
from banken.protocol.codec import encode
from banken.protocol.messages import Kind, Message
from banken_supervisor.web.metrics import METRICS, question, render
from process.kit import Home, until

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("metrics")]

ROOT = Path(__file__).parents[2]

HOSTILE = 'worse "luck"\n# TYPE banken_up counter'

ODD = 'odd"} 1\nbanken_up{é="\\'

CLUSTER = {
    "role": "leader", "leader": "m1", "away": None, "seconds": 0.001, "members": {"m2": True}, "claims_waiting": 0,
    "held": 0, "acquitted": 0, "held_back": 0, "brake": None, "braked": 0,
}  # fmt: skip

UPWARD = {"destinations": [{"address": "tcp://watch:7767", "reachable": True, "dropped": 0}]}

CHECKS = {
    "last": {"passed": 2, "failed": 1, "none": 0}, "results": {"passed": 9, "failed": 3}, "runner_up": True,
    "took": {"bounds": [0.1, 1.0], "counts": [10, 2, 0], "sum": 1.5},
}  # fmt: skip

DEADMAN = {"ok": 3, "failed": 1, "withheld": 2}

OTHERS = {"cluster": CLUSTER, "upward": UPWARD, "checks": CHECKS, "deadman": DEADMAN, "hardware_watchdog_feeds": 5}

Values = dict[tuple[str, ...], float]
"""(name, label value …) to the value."""


@pytest.fixture(scope="module")
def scene() -> Iterator[Home]:
    """A supervisor to which all of it has happened; shared, for nothing here changes anything."""
    directory = tempfile.mkdtemp(prefix="bk-")
    home = Home(os.path.join(directory, "s"))
    try:
        play(home, os.path.join(directory, "journal.db"))
        yield home
    finally:
        home.close()
        shutil.rmtree(directory, ignore_errors=True)


def play(home: Home, journal: str) -> None:
    """Let everything happen that is counted."""
    home.supervisor("measured", journal)
    client = home.client()
    for number in range(20):
        client.feed(f"w-{number}", status=HOSTILE)
    client.fail("w-3", HOSTILE)
    for _ in range(3):  # gaps that are no longer than a moment
        home.ask("tell", frame=encode(Message(Kind.FEED, "fed", None, 0.0, None)))
    with Control(home.address, 5.0) as control:
        for op, arguments in (("tell", {"frame": b"garbage"}), ("nonsense", {})):
            with pytest.raises(RequestFailed):
                control.request(op, **arguments)
    until(lambda: settled(values(home)), "all of it has happened", 20.0)


def settled(now: Values) -> bool:
    """Whether all has come to its end, and the journal has written it."""
    return (
        sum(count for name, count in now.items() if name[0] == "banken_actions_ended_total") == 5
        and now["banken_callbacks", "stuck"] == 1
        and now["banken_callbacks_ended_total", "failed"] == 1
        and now["banken_incidents_total", "failed"] == 1
        and now["banken_watchdogs", "given-up"] == 1
        and now["banken_journal_lag_seconds",] == 0
    )


def text(home: Home, names: str | None = None) -> str:
    """What /metrics gives."""
    with Control(home.address, 5.0) as control:
        body, _ = render(control.request("metrics", **question(names)))
    return body.decode()


def with_the_rest(answer: dict[str, Any]) -> dict[str, Any]:
    """And what the web process counts; and a cluster's, as it is in coordination/test_cluster_real.py, and of
    supervisors above, as it is in test_upward_real.py; and of checks, as in checks/test_runner_real.py."""
    return {**answer, "web_refused": {"token": 1}, **OTHERS}


def values(home: Home, names: str | None = None) -> Values:
    """The same, read as Prometheus reads it."""
    return read(text(home, names))


def read(told: str) -> Values:
    """What Prometheus reads in it."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(told)
        for sample in family.samples
    }


def test_counts_are_right(scene: Home) -> None:
    """Each number is what happened, no more and no less."""
    now = values(scene)
    expected: Values = {
        ("banken_up",): 1,
        ("banken_watchdogs", "alive"): 20,
        ("banken_watchdogs", "expired"): 5,
        ("banken_watchdogs", "given-up"): 1,
        ("banken_watchdogs", "waiting"): 0,
        ("banken_incidents_total", "grace"): 5,
        ("banken_incidents_total", "failed"): 1,
        ("banken_incidents_total", "timeout"): 0,
        # Five had a deadline; what a worker says itself is never late.
        ("banken_verdict_latency_seconds_count",): 5,
        ("banken_verdict_latency_seconds_bucket", "+Inf"): 5,
        # Three feeds of one make two gaps; of each other there was one feed.
        ("banken_feed_gap_seconds_count",): 2,
        ("banken_feed_gap_seconds_bucket", "5.0"): 2,
        ("banken_refused_total", "garbage"): 1,
        ("banken_refused_total", "request"): 2,  # to tell garbage is a refused request, too
        ("banken_events_total", "expired"): 6,
        ("banken_events_total", "recovered"): 0,
        ("banken_callbacks", "stuck"): 1,
        ("banken_callbacks", "running"): 0,
        ("banken_callbacks_ended_total", "stuck"): 1,
        ("banken_callbacks_ended_total", "failed"): 1,
        ("banken_callbacks_ended_total", "done"): 0,
        ("banken_actions_ended_total", "log", "done"): 2,
        ("banken_actions_ended_total", "exec", "failed"): 1,
        ("banken_actions_ended_total", "kill", "observed"): 1,
        ("banken_actions_ended_total", ODD, "done"): 1,
        ("banken_journal_state", "ok"): 1,
        ("banken_journal_state", "failing"): 0,
        ("banken_processes_watched",): 1,
        ("banken_watchdog_up", "w-3"): 0,
        ("banken_watchdog_up", "w-4"): 1,
        ("banken_watchdog_up", "given-up"): 0,
        ("banken_watchdog_state", "w-4", "alive"): 1,
        ("banken_watchdog_state", "given-up", "given-up"): 1,
        ("banken_watchdog_timeout_seconds", "w-4"): 60,
        ("banken_watchdog_incidents_total", "w-3"): 1,
        ("banken_watchdogs_unlisted",): 0,
    }
    assert {name: now.get(name) for name in expected} == expected
    assert now["banken_messages_total",] >= 22
    assert 0 < now["banken_verdict_latency_seconds_sum",] < 5
    assert now["banken_loop_turn_seconds_count",] >= 10
    assert 55 < now["banken_watchdog_left_seconds", "w-4"] + now["banken_watchdog_silence_seconds", "w-4"] < 61
    assert ("banken_watchdog_left_seconds", "w-3") not in now
    assert now["banken_journal_size_bytes",] > 10_000
    assert now["banken_supervisor_resident_memory_bytes",] > 5_000_000
    assert now["banken_supervisor_cpu_seconds_total",] > 0.01


def test_nothing_that_a_worker_wrote_is_told(scene: Home) -> None:
    """A status or a reason is no label, whatever it holds; a user's action is one, escaped."""
    told = text(scene)
    assert "luck" not in told
    assert [line for line in told.splitlines() if line.startswith("banken_up")] == ["banken_up 1.0"]


def test_the_table_of_metrics_is_what_is_exported(scene: Home) -> None:
    """Each metric of the output is in ``METRICS``, the docs' table, with its type, labels and meaning."""
    families = {family.name: family for family in open_metrics(_openmetrics(scene))}
    for each in METRICS:
        family = families.pop(each.name)
        assert {label for sample in family.samples for label in sample.labels} - {"le"} == set(each.labels)
        assert (family.type, family.documentation) == (each.kind, each.meaning)
    assert not families


@pytest.mark.parametrize("file", ["deploy/prometheus/banken.rules.yml", "deploy/grafana/banken.json"])
def test_rules_and_dashboard_ask_for_what_there_is(scene: Home, file: str) -> None:
    """Every metric that they name, and every value of a label that they ask for, is in real output."""
    asked = (ROOT / file).read_text()
    body, _ = render(with_the_rest(scene.ask("metrics")))
    now = read(body.decode())
    names = {name[0] for name in now}
    assert set(re.findall(r"\bbanken_[a-z_]+\b", asked)) <= names
    for state in re.findall(r'\{?(?:state|type|result)=\\?"([a-z-]+)\\?"', asked):
        assert any(state in name[1:] for name in now), state


def test_openmetrics_for_whom_accepts_it(scene: Home) -> None:
    """As Prometheus asks for it; the same numbers."""
    told = _openmetrics(scene)
    assert told.endswith("# EOF\n")
    samples = {sample.name: sample.value for family in open_metrics(told) for sample in family.samples}
    assert samples["banken_up"] == 1


def _openmetrics(home: Home) -> str:
    with Control(home.address, 5.0) as control:
        answer = with_the_rest(control.request("metrics"))
        body, content_type = render(answer, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    return body.decode()


def test_which_watchdogs_get_series_of_their_own(scene: Home) -> None:
    """Those that the pattern fits, or none; how many have none is told."""

    def listed(names: str) -> tuple[set[str], float]:
        now = values(scene, names)
        of = {name[1] for name in now if name[0] == "banken_watchdog_up"}
        return of, now["banken_watchdogs_unlisted",]

    assert listed("w-1*") == ({"w-1", *(f"w-{number}" for number in range(10, 20))}, 15)
    assert listed("") == (set(), 26)
    assert listed("nobody") == (set(), 26)


def test_more_than_a_thousand_get_none_unless_a_pattern_asks(home: Home) -> None:
    """An arbitrary thousand of them would be worth nothing; with a pattern there are never more than a thousand."""
    home.supervisor()
    client = home.client()
    for first in range(0, 1_001, 100):  # in portions: what finds no room in the queue is dropped
        have_watched(home, client, [f"w-{number}" for number in range(first, min(first + 100, 1_001))])
    assert len(home.ask("metrics")["rows"]) == 0
    assert len(home.ask("metrics", name="*")["rows"]) == 1_000
    assert values(home, "w-*")["banken_watchdogs_unlisted",] == 1
    for wrong in ({"limit": 1_001}, {"limit": -1}, {"limit": "many"}, {"name": 7}):
        with pytest.raises(RequestFailed, match="from 0 to 1000|must be a string"):
            home.ask("metrics", **wrong)


def have_watched(home: Home, client: Client, names: list[str]) -> None:
    """Feed these once, and wait until all of them are watched."""
    before = home.ask("summary")["watchdogs"]
    client.feed(names[0])  # the first feed of all connects
    until(lambda: client.stats()["reachable"], "there is somebody to feed")
    for name in names:
        client.feed(name)
    until(lambda: home.ask("summary")["watchdogs"] == before + len(names), "all are watched")


def banken(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, in a process of its own."""
    code = "from banken_supervisor.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=30, check=False
    )


def test_command_prints_or_writes_the_same(scene: Home, tmp_path: Path) -> None:
    """To stdout, or whole into a file that everyone may read; nothing else is left beside it."""
    printed = banken("metrics", "--names", "w-4", "--address", scene.address)
    assert (printed.returncode, printed.stderr) == (0, "")
    assert _shape(printed.stdout) == _shape(text(scene, "w-4"))
    file = tmp_path / "banken.prom"
    written = banken("metrics", "--names", "w-4", "-o", str(file), "--address", scene.address)
    assert (written.returncode, written.stdout, written.stderr) == (0, "", "")
    assert _shape(file.read_text()) == _shape(printed.stdout)
    assert file.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["banken.prom"]


def _shape(told: str) -> list[str]:
    return [line.rpartition(" ")[0] for line in told.splitlines()]


def test_command_without_a_supervisor(address: str, tmp_path: Path) -> None:
    """The file says that it is down, so that somebody is called; the exit code says it too."""
    file = tmp_path / "banken.prom"
    told = banken("metrics", "-o", str(file), "--address", address)
    assert told.returncode == 3
    assert "no supervisor answers" in told.stderr
    assert file.read_text().splitlines()[-1] == "banken_up 0.0"


def test_command_that_cannot_write(scene: Home, tmp_path: Path) -> None:
    """It says where and why."""
    told = banken("metrics", "-o", str(tmp_path / "none" / "x"), "--address", scene.address)
    assert told.returncode == 1
    assert re.search(r"cannot write .*none/x: No such file", told.stderr)
