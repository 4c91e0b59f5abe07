"""``banken status``: what it says of the supervisor itself."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from banken_supervisor.cli.printing import Table
from banken_supervisor.cli.status_table import cells, summary_line

WELL: dict[str, Any] = {
    "pid": 1, "version": "1", "uptime": 1.0, "messages": 0, "watchdogs": 0, "states": {}, "lost": 0.0, "stalls": 0,
    "overloads": 0, "refused": {}, "log_lines_dropped": 0, "callbacks": {"stuck": 0}, "actions": {"stuck": 0},
    "journal": {"state": "ok", "reason": ""},
}  # fmt: skip


def test_a_journal_that_fails_and_stuck_actions_are_noteworthy() -> None:
    """Whoever looks sees that incidents are not kept now, and why; all well says nothing."""
    assert "noteworthy" not in summary_line(WELL, "/run/banken", False)
    assert "noteworthy" not in summary_line({**WELL, "journal": None}, "/run/banken", False)
    bad = {**WELL, "journal": {"state": "failing", "reason": "disk \x1b[31mfull"}, "actions": {"stuck": 2}}
    last = summary_line(bad, "/run/banken", False).splitlines()[-1]
    assert last.startswith("noteworthy: 2 stuck actions; journal failing (disk ")
    assert last.endswith("full)")
    assert "\x1b" not in last
    left = {**WELL, "journal": {"state": "ok", "reason": "", "problems": ["registry: 3 rows\x1b[31m"]}}
    last = summary_line(left, "/run/banken", False).splitlines()[-1]
    assert last.startswith("noteworthy: not all that the journal held could be restored: registry: 3 rows")
    assert "\x1b" not in last


def test_one_that_is_given_up_says_why() -> None:
    """Its incident is open."""
    row = {
        "name": "w",
        "state": "given-up",
        "left": None,
        "silence": 1.0,
        "timeout": 1.0,
        "pid": None,
        "incidents": 3,
        "incident": {"cause": "exited", "age": 90.0, "reason": "exit status 3"},
    }
    assert cells(row)[-1] == "exited 1m30s ago: exit status 3"


@pytest.mark.parametrize("width", [50, 80, 100, 300])
def test_nothing_is_cut_away_in_a_narrow_terminal(width: int) -> None:
    """Names, states and ids are whole; the last column stands beside them, or below, and is wrapped at words."""
    reason = "OSError: [Errno 28] No space left on device: /var/spool/ingest/part-00017 of the third node"
    rows = [("expired", "a-rather-long-name/of-a-worker", reason), ("alive", "b", ""), ("alive", "番犬", "well")]
    table = Table(("STATE", "NAME", "REMARKS"), (), lambda row: row, {"expired": "red"})
    head, *shown = (each.plain for each in table.styled(rows, width))
    assert head.startswith("STATE    NAME")
    for row, text in zip(rows, shown, strict=True):
        assert " ".join(text.split()) == " ".join(" ".join(row).split())
        assert all(cell_len(line) <= width for line in text.splitlines())
    assert ("\n    OSError" in shown[0]) is (width < 80)
    assert ("\n" in shown[2]) is False
    (_, cut) = (each.plain for each in table.styled([("alive", "b", "word " * 1000)], width))
    assert cut.endswith("…")
