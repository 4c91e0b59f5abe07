"""What ``banken top`` decides without a terminal: order, columns, words, the end of a log."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banken_supervisor.cli.places import Places, program_severity
from banken_supervisor.cli.poller import Snapshot
from banken_supervisor.cli.status_table import left_text
from banken_supervisor.cli.top import events, head, incidents, log, text, watchdogs
from banken_supervisor.cli.top.columns import GAP, Column, fit, for_names
from banken_supervisor.cli.top.order import SORTS, Order, fits

NEVER = 3650 * 86400.0


def row(name: str, state: str = "alive", left: float | None = 5.0, **more: Any) -> dict[str, Any]:
    """One watchdog, as the supervisor tells of it."""
    return {
        "name": name, "state": state, "silence": 1.0, "left": left, "timeout": 10.0, "grace": 20.0, "interval": 5.0,
        "incidents": 0, "pid": 7, "by": "worker", **more,
    }  # fmt: skip


ROWS = [
    row("c", left=1.0, silence=9.0, feeds=[[1, 1]]),
    row("a", left=9.0, feeds=[[0.1, 0.1]], incidents=3),
    row("b", "expired", -3.0, incident={"cause": "timeout", "age": 3.0, "reason": None, "id": "x"}),
    row("d", "paused", None, silence=4.0, incidents=1),
    row("e", "given-up", None, silence=2.0),
]


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("state", "ebacd"),
        ("name", "abcde"),
        ("left", "becad"),
        ("silence", "ebcda"),
        ("rate", "beacd"),
        ("incidents", "adbce"),
    ],
)
def test_the_list_is_sorted(sort: str, names: str) -> None:
    """By each column: those that are down first where the values change all the time; and the other way round."""
    assert "".join(Order(sort).arrange(ROWS)) == names
    assert "".join(Order(sort, reverse=True).arrange(reversed(ROWS))) == names[::-1]


def test_the_worst_come_first_then_the_name() -> None:
    """Whatever their ages are, and in whatever order they are told of."""
    states = ["paused", "alive", "waiting", "expired", "given-up"]
    rows = [
        row(f"{name}-{state}", state, left=float(number)) for number, state in enumerate(states) for name in "ba"
    ]
    expected = [f"{name}-{state}" for state in reversed(states) for name in "ab"]
    expected[-4:] = ["a-alive", "b-alive", "a-paused", "b-paused"]
    assert Order().arrange(rows) == expected
    older = [{**each, "left": 5.0 - each["left"], "silence": 77.0} for each in rows]
    assert Order().arrange(reversed(older)) == expected


def test_who_comes_and_goes_keeps_its_place() -> None:
    """A row moves up at once, and down a minute after it got better, or when the user sorts anew; work and idleness
    move none."""
    order = Order()
    names = lambda now, **states: "".join(  # noqa: E731
        order.arrange([row(name, states.get(name, "alive")) for name in "abc"], now)
    )
    assert names(0.0) == "abc"
    assert names(1.0, c="idle", a="running") == "abc"
    assert names(2.0, c="expired") == "cab"
    assert names(50.0) == "cab"
    assert names(55.0, c="expired") == "cab"
    assert names(114.0, b="given-up") == "bca"
    assert names(116.0) == "bac"
    assert names(117.0, c="expired") == "bca"
    order.choose("state")
    assert names(118.0, c="expired") == "cab"


def test_a_program_that_starts_again_and_again_keeps_its_place() -> None:
    """Above those that run, until it has run for a minute."""
    places = Places(program_severity, "running")

    def names(now: float, b: str) -> str:
        rows = [{"name": name, "state": b if name == "b" else "running"} for name in "abc"]
        return "".join(row["name"] for row in places.sort(rows, now))

    assert [names(0.0, "running"), names(1.0, "backoff"), names(9.0, "running")] == ["abc", "bac", "bac"]
    assert [names(50.0, "starting"), names(60.0, "running"), names(62.0, "running")] == ["bac", "bac", "abc"]
    assert [names(63.0, "stopped"), names(64.0, "given-up")] == ["acb", "bac"]


@pytest.mark.parametrize("sort", ["left", "silence", "rate"])
def test_rows_keep_their_places_while_their_values_change(sort: str) -> None:
    """They move when their state does, or when the sort is chosen anew; new ones find their place."""
    order = Order(sort)
    before = order.arrange(
        [row(name, left=float(at), silence=float(-at), feeds=[[at, at]]) for at, name in enumerate("abc", 1)]
    )
    changed = [
        row(name, left=9.0 - at, silence=float(at), feeds=[[9 - at, 9 - at]]) for at, name in enumerate("abc", 1)
    ]
    assert before == list("abc")
    assert order.arrange(changed) == before
    fallen = [*changed[:2], row("c", "expired", -1.0)]
    assert order.arrange(fallen) == ["c", "a", "b"]
    assert order.arrange(changed, 61.0) == before
    order.choose(sort)
    assert order.arrange(changed, 62.0) == list("cba")


def test_a_program_that_need_not_feed_is_no_worry() -> None:
    """It waits for nothing: it stands with those that are alive, and says what is watched."""
    silent = row("silent", "running", NEVER, timeout=NEVER, grace=NEVER)
    assert Order().arrange([row("a"), silent, row("late", "waiting")]) == ["late", "a", "silent"]
    assert text.remark(silent) == "only its end is watched"
    assert left_text(silent) == "-"
    assert "3650" not in "".join(line.plain for line in text.facts(silent))
    running = {"name": "silent", "state": "running", "due": None, "failures": 0, "adopted": False}
    assert text.program_remark(running, silent) == "only its end is watched"
    assert text.program_remark(running, row("silent")) == "timeout 10 s"


@pytest.mark.parametrize(
    ("wanted", "name", "state", "expected"),
    [
        ("", "worker-1", "alive", True),
        ("KER", "worker-1", "alive", True),
        ("exp", "worker-1", "expired", True),
        ("exp", "worker-1", "alive", False),
        ("given up", "worker-1", "given-up", True),
        ("w*1", "worker-1", "alive", True),
        ("w*2", "worker-1", "alive", False),
    ],
)
def test_a_filter(wanted: str, name: str, state: str, expected: bool) -> None:
    """Part of a name, a pattern, or a state."""
    assert fits(name, state, wanted) is expected


TABLES = {
    "watchdogs": watchdogs.COLUMNS,
    "programs": watchdogs.PROGRAM_COLUMNS,
    "incidents": incidents.COLUMNS,
    "events": events.COLUMNS,
}


@pytest.mark.parametrize("table", TABLES)
@given(width=st.integers(77, 400), longest=st.integers(0, 128))
def test_columns_fit_and_no_title_is_cut(table: str, width: int, longest: int) -> None:
    """From 80 columns on: less the margin and the scrollbar."""
    columns = for_names(TABLES[table], longest, width)
    placed = fit(columns, width)
    assert sum(each.width for each in placed) + GAP * (len(placed) - 1) <= width
    for each in placed:
        assert len(each.column.title) + bool(each.column.sort) <= each.width, each.column.title
        assert each.column.least <= each.width <= max(each.column.least, each.column.most)
    assert {each.column.title for each in placed} >= {each.title for each in columns if not each.fold}


def test_what_grows_grows_in_equal_parts() -> None:
    """And the highest fold goes first."""
    columns = [Column("A", 2, 10), Column("B", 2, 5), Column("C", 4, fold=1), Column("D", 4, fold=2)]
    assert [(each.column.title, each.width) for each in fit(columns, 18)] == [
        ("A", 2),
        ("B", 2),
        ("C", 4),
        ("D", 4),
    ]
    assert [(each.column.title, each.width) for each in fit(columns, 17)] == [("A", 5), ("B", 4), ("C", 4)]
    assert [(each.column.title, each.width) for each in fit(columns, 11)] == [("A", 5), ("B", 4)]
    assert [(each.column.title, each.width) for each in fit(columns, 3)] == [("A", 2), ("B", 2)]


def test_every_sort_is_a_column_of_the_list() -> None:
    """So that its title can tell of it, and be clicked."""
    assert {each.sort for each in watchdogs.COLUMNS} - {""} == set(SORTS)


def test_nothing_that_a_worker_wrote_steers_the_terminal() -> None:
    """Escapes, bells and line breaks are taken out, and what is long is cut."""
    evil = "\x1b[2J\x07\x1b]0;title\x07bad\nnews\x9b31m " + "x" * 10_000
    told = row(
        "w", "expired", progress=evil, status=evil, feeds=[[1, 1]],
        incident={"id": "i", "cause": "failed", "age": 1.0, "runs": 1, "reason": evil, "steps": 2,
                  "next": {"step": 1, "do": evil, "left": 3.0}},
    )  # fmt: skip
    lines = [text.remark(told), *(line.plain for line in (*text.facts(told), *text.incident_lines(told, None)))]
    for line in lines:
        assert line.isprintable(), line
        assert len(line) < 3 * text.SAID_MAX + 100
    assert any("bad news" in line for line in lines)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"steps": 0, "next": None}, "no ladder is configured"),
        ({"steps": 3, "next": None}, "none left: all 3 steps were taken"),
        ({"steps": 3, "next": {"step": 1, "do": "restart", "left": 12.0}}, "step 2 of 3: restart in 12 s"),
        ({"steps": 3, "next": {"step": 2, "do": "exec", "left": -0.1}}, "step 3 of 3: exec now"),
        ({"steps": 3, "next": None, "blamed": "db"}, "none while db, which it depends on, is down"),
    ],
)
def test_the_next_step_of_the_ladder(more: dict[str, Any], said: str) -> None:
    """Which one, what it does, when; and why there is none."""
    assert text.next_step({"incident": more}) == said


def test_a_supervisor_that_does_not_answer_is_told_with_address_and_time() -> None:
    """And what is shown below is said to be old."""
    away = Snapshot(0.0, problem="no supervisor answers", since=5.0, answered=1e9)
    assert "no supervisor answers at /run/banken" in head.watchdogs(away, "/run/banken").plain
    said = head.supervisor(away, "/run/banken", 17.0).plain
    assert text.clock(1e9) in said
    assert "12 s ago" in said
    never = Snapshot(0.0, problem="no supervisor answers", since=5.0)
    assert "no answer so far" in head.supervisor(never, "/run/banken", 17.0).plain


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"leader": "a"}, "this member leads"),
        ({"leader": "b"}, "b leads"),
        ({"leader": None}, "nobody leads"),
        ({"leader": "b", "members": {"b": True, "c": False}}, "b leads, 1 member down"),
        ({"away": "no answer in time"}, "the cluster's store does not answer"),
    ],
)
def test_who_leads_is_in_the_line_of_the_supervisor(more: dict[str, Any], said: str) -> None:
    """And in red where nobody does, or somebody does not answer."""
    cluster = {"member": "a", "leader": "a", "away": None, "members": {"b": True, "c": True}, **more}
    summary = {
        "pid": 7, "uptime": 1.0, "journal": None, "callbacks": {"stuck": 0}, "actions": {"stuck": 0}, "stalls": 0,
        "slowest_turn": 0.0, "cluster": cluster,
    }  # fmt: skip
    line = head.supervisor(Snapshot(0.0, summary=summary), "/run/banken", 1.0)
    assert f"  {said}  " in line.plain
    well = said in ("this member leads", "b leads")
    assert any(text.RED in str(span.style) for span in line.spans) != well


def test_an_event_that_is_in_the_journal_is_not_shown_again() -> None:
    """One that is announced while the journal is read; another's number may be the same."""
    past = [{"seq": 5, "time": 1.5, "type": "expired"}]
    heard = [
        {"seq": 5, "time": 1.5, "type": "expired"},
        {"seq": 5, "time": 9.0, "type": "a"},
        {"time": 2.0, "type": "top"},
    ]
    assert events.merged(past, heard) == [past[0], *heard[1:]]


def read_whole(path: Path, part: log.Part) -> tuple[list[str], log.Part]:
    """Read on until there is nothing more."""
    part = log.read_on(str(path), part)
    return part.lines, part


def test_a_log_is_read_on_by_whole_lines(tmp_path: Path) -> None:
    """What is half written is not shown; what was cut or replaced is begun anew; what is huge shows its end."""
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\x1b[31m red\nhal")
    lines, part = read_whole(path, log.Part([]))
    assert lines == ["one", "two red"]
    with path.open("ab") as file:
        file.write(b"f\n\nend\n")
    lines, part = read_whole(path, part)
    assert lines == ["half", "", "end"]
    assert read_whole(path, part)[0] == []
    os.truncate(path, 0)
    with path.open("ab") as file:
        file.write(b"new\n")
    lines, part = read_whole(path, part)
    assert (lines, part.skipped) == (["new"], True)
    with path.open("ab") as file:
        file.write(b"x\n" * log.TAIL_BYTES + b"last\n")
    lines, part = read_whole(path, part)
    assert lines[-1] == "last"
    assert part.skipped
    assert len(lines) <= log.TAIL_BYTES
    path.unlink()
    with pytest.raises(FileNotFoundError):
        log.read_on(str(path), part)


def test_a_line_without_an_end_is_shown_in_pieces(tmp_path: Path) -> None:
    """A writer that never ends its line neither fills the memory nor stops the page."""
    path = tmp_path / "log"
    path.write_bytes(b"y" * (3 * log.TAIL_BYTES))
    lines, part = read_whole(path, log.Part([]))
    assert part.end == 3 * log.TAIL_BYTES
    assert sum(map(len, lines)) <= log.LINE_MAX
