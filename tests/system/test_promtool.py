"""What Prometheus' own tool says to the output of a real supervisor, to the alert rules and to their tests.

Needs ``promtool`` (Debian: ``apt-get install prometheus``).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from process.kit import Home
from process.test_metrics_real import play, text

pytestmark = pytest.mark.process

RULES = Path(__file__).parents[2] / "deploy" / "prometheus"


@pytest.fixture(scope="module")
def told() -> Iterator[str]:
    """The metrics of a supervisor with incidents, actions that ended in every way, and a stuck callback."""
    directory = tempfile.mkdtemp(prefix="bk-")
    home = Home(os.path.join(directory, "s"))
    try:
        play(home, os.path.join(directory, "journal.db"))
        yield text(home)
    finally:
        home.close()
        shutil.rmtree(directory, ignore_errors=True)


def promtool(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        ["promtool", *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False, cwd=RULES
    )


def test_metrics_are_well_formed_and_well_named(told: str) -> None:
    """No parse error and no remark about names, units, types or missing help."""
    assert 'banken_callbacks{state="stuck"} 1.0' in told
    result = promtool("check", "metrics", stdin=told)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_remarks_are_seen(told: str) -> None:
    """The same check finds a counter without _total: it would tell us."""
    wrong = told.replace("banken_stalls_total", "banken_stalls")
    assert promtool("check", "metrics", stdin=wrong).returncode == 3


def test_rules_are_valid() -> None:
    """Expressions and templates."""
    result = promtool("check", "rules", "banken.rules.yml")
    assert result.returncode == 0, result.stdout + result.stderr


def test_dashboard_asks_what_prometheus_understands(tmp_path: Path) -> None:
    """Each query of the dashboard, with Grafana's variables filled in, as a rule."""
    board = json.loads((RULES.parent / "grafana" / "banken.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    queries += [each["expr"] for each in board["annotations"]["list"]]
    assert len(queries) > 30
    filled = [re.sub(r"\$(job|instance)\b", ".*", query.replace("$__rate_interval", "1m")) for query in queries]
    rules = [{"record": f"q{number}", "expr": query} for number, query in enumerate(filled)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "q", "rules": rules}]}))
    result = promtool("check", "rules", str(tmp_path / "rules.yml"))
    assert result.returncode == 0, result.stdout + result.stderr


def test_alerts_fire_when_they_should_and_else_not() -> None:
    """Their own tests pass, and every alert has its part in them."""
    result = promtool("test", "rules", "banken.rules.test.yml")
    assert result.returncode == 0, result.stdout + result.stderr
    alerts = [
        line.split()[-1] for line in (RULES / "banken.rules.yml").read_text().splitlines() if "alert:" in line
    ]
    tested = (RULES / "banken.rules.test.yml").read_text()
    assert [alert for alert in alerts if f'alertname="{alert}"' not in tested] == []
    assert len(alerts) >= 18
