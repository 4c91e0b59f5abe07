"""What the terminal shows, without a terminal: bars, sparklines, uptime, keys, the view of top."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banken_supervisor.cli.glyphs import PLAIN_PARTS, PLAIN_TICKS, bar, rate, sparkline, supports
from banken_supervisor.cli.screen import parse
from banken_supervisor.cli.source import Snapshot
from banken_supervisor.cli.topdraw import draw, rate_text, widths
from banken_supervisor.cli.topview import Action, Do, Mode, View, fits
from banken_supervisor.journal.uptime import Spell, percent, uptime


@pytest.mark.parametrize(
    ("values", "top", "width", "drawn"),
    [
        ([], 10, 5, ""),
        ([0, 10], 10, 5, "▁█"),
        ([1, 2, 3, 4, 5, 6, 7, 8], 8, 8, "▂▃▄▅▆▇██"),
        ([1, 2, 3], 8, 2, "▃▄"),
        ([99, -1, math.nan], 10, 5, "█▁ "),
        ([5], 0, 5, "█"),
        ([5], 10, 0, ""),
    ],
)
def test_a_sparkline(values: list[float], top: float, width: int, drawn: str) -> None:
    """The newest values, each as high as its share of the top."""
    assert sparkline(values, top, width) == drawn


@pytest.mark.parametrize(
    ("share", "width", "drawn"),
    [
        (0, 4, "    "),
        (1, 4, "████"),
        (0.5, 4, "██  "),
        (0.001, 4, "▏   "),
        (0.28125, 4, "█▏  "),
        (7, 2, "██"),
        (-1, 2, "  "),
        (math.nan, 2, "  "),
        (1, 0, ""),
    ],
)
def test_a_bar(share: float, width: int, drawn: str) -> None:
    """Always as long as it was to be, and never empty where something is left."""
    assert bar(share, width) == drawn


@given(st.floats(allow_nan=True), st.integers(0, 200))
def test_a_bar_is_as_wide_as_asked(share: float, width: int) -> None:
    """Whatever the share is."""
    assert len(bar(share, width)) == len(bar(share, width, PLAIN_PARTS)) == width


def test_without_block_characters_there_are_others() -> None:
    """A terminal of the C locale."""
    assert not supports("ascii")
    assert not supports(None)
    assert supports("utf-8")
    assert sparkline([0, 10], 10, 2, PLAIN_TICKS) == "_#"
    assert bar(0.5, 4, PLAIN_PARTS) == "##  "


@pytest.mark.parametrize(
    ("feeds", "expected"),
    [([], None), ([[2, 2]], 0.25), ([[3, 1], [2, 1], [1, 1], [0, 1]], 1.0), ([[0, 0]], None)],
)
def test_the_rate_sinks_while_nothing_comes(feeds: list[list[float]], expected: float | None) -> None:
    """Feeds in the time from the one before the oldest until now."""
    assert rate(feeds) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (4.71, "4.7/s"), (120, "120/s"), (0.5, "30/min"), (1 / 60, "1.0/min"), (1 / 7200, "0.5/h")],
)
def test_a_rate_in_words(value: float | None, text: str) -> None:
    """The unit that makes it at least one; seven characters at the most."""
    assert rate_text(value) == text
    assert len(text) <= 7


@pytest.mark.parametrize(
    ("spells", "down", "failures", "mtbf", "mttr"),
    [
        ([], 0, 0, None, None),
        ([(110, 120)], 10, 1, 90, 10),
        ([(110, 120), (150, 180)], 40, 2, 30, 20),
        ([(150, 180), (110, 120)], 40, 2, 30, 20),  # in any order
        ([(90, 110)], 10, 0, None, 20),  # began before the period: its end counts, its beginning does not
        ([(190, None)], 10, 1, 90, None),  # still open
        ([(50, None)], 100, 0, None, None),  # down all the time
        ([(110, 130), (120, 140)], 30, 2, 35, 20),  # two at once: time counts once
        ([(110, 140), (120, 130)], 30, 2, 35, 20),  # one within the other
        ([(10, 20)], 0, 0, None, None),  # over before the period
        ([(250, 260)], 0, 0, None, None),  # after it: another clock
        ([(120, 110)], 0, 1, 100, 0),  # ended before it began: a clock that was set back
    ],
)
def test_uptime(
    spells: list[tuple[float, float | None]], down: float, failures: int, mtbf: float | None, mttr: float | None
) -> None:
    """A period from 100 to 200."""
    result = uptime([Spell(*each) for each in spells], 100, 200)
    assert (result.period, result.down, result.failures, result.mtbf, result.mttr) == (
        100, down, failures, mtbf, mttr,
    )  # fmt: skip
    assert result.share == pytest.approx((100 - down) / 100)


def test_no_period_has_no_uptime() -> None:
    """Nothing is divided by nothing."""
    assert uptime([Spell(1, 2)], 5, 5).share is None


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "-"),
        (1, "100 %"),
        (0.9995, "99.95 %"),
        (0.99999, "99.999 %"),
        (0.9999999999, "99.999999 %"),
        (0, "0.00 %"),
    ],
)
def test_what_was_missing_is_never_rounded_away(share: float | None, text: str) -> None:
    """100 % is said of nothing else."""
    assert percent(share) == text


@pytest.mark.parametrize(
    ("data", "keys", "rest"),
    [
        (b"qs/", ["q", "s", "/"], b""),
        (b"\x1b[A\x1bOB\x1b[5~", ["up", "down", "pgup"], b""),
        (b"\x1b[1;5A", [], b""),  # with Ctrl: no key of ours, and no letters
        (b"\x1b", [], b"\x1b"),
        (b"\x1b[", [], b"\x1b["),
        (b"\x1bq", ["escape", "q"], b""),
        (b"\r\n\x7f\x08\x1a\x03", ["enter", "enter", "backspace", "backspace", "suspend", "interrupt"], b""),
        ("é犬".encode(), ["é", "犬"], b""),
        (b"\xe7\x8a", [], b"\xe7\x8a"),
        (b"\xff\x00q", ["q"], b""),
    ],
)
def test_keys(data: bytes, keys: list[str], rest: bytes) -> None:
    """What a terminal sends for them."""
    assert parse(data)[0] == keys or data.startswith(b"\xff")
    if not data.startswith(b"\xff"):
        assert parse(data)[1] == rest


def test_an_escape_that_nothing_follows_is_the_key() -> None:
    """And half a character is nothing."""
    assert parse(b"\x1b", final=True) == (["escape"], b"")
    assert parse(b"\xe7\x8a", final=True) == ([], b"")


@given(st.binary(max_size=30))
def test_whatever_is_typed_is_taken(data: bytes) -> None:
    """No bytes hang the reader, and none are kept for ever."""
    keys, rest = parse(data)
    assert all(keys)
    assert len(rest) <= len(data)
    assert parse(rest, final=True)[1] == b""


def row(name: str, state: str = "alive", left: float | None = 5.0, **more: Any) -> dict[str, Any]:
    """One watchdog, as the supervisor tells of it."""
    return {
        "name": name, "state": state, "silence": 1.0, "left": left, "timeout": 10.0, "grace": 20.0, "incidents": 0,
        **more,
    }  # fmt: skip


ROWS = [
    row("c", left=1.0, feeds=[[1, 1]]),
    row("a", left=9.0, feeds=[[0.1, 0.1]], incidents=3),
    row("b", "expired", -3.0, incident={"cause": "timeout", "age": 3.0, "reason": "disk\x1b[2J full", "id": "x"}),
    row("d", "paused", None, incidents=1),
]


@pytest.mark.parametrize(
    ("sort", "names"),
    [("left", "bcad"), ("name", "abcd"), ("state", "bacd"), ("rate", "acbd"), ("incidents", "adbc")],
)
def test_the_list_is_sorted(sort: str, names: str) -> None:
    """By each column, and the other way round."""
    view = View(sort=sort, height=10)
    view.arrange(ROWS)
    assert "".join(view.names) == names
    view.reverse = True
    view.arrange(ROWS)
    assert "".join(view.names) == names[::-1]


@pytest.mark.parametrize(
    ("wanted", "name", "state", "expected"),
    [
        ("", "worker-1", "alive", True),
        ("KER", "worker-1", "alive", True),
        ("exp", "worker-1", "expired", True),
        ("exp", "worker-1", "alive", False),
        ("w*1", "worker-1", "alive", True),
        ("w*2", "worker-1", "alive", False),
    ],
)
def test_a_filter(wanted: str, name: str, state: str, expected: bool) -> None:
    """Part of a name, a pattern, or a state."""
    assert fits(row(name, state), wanted) is expected


def test_the_selected_one_stays_selected_while_others_move() -> None:
    """A key must not hit another watchdog because the list was sorted anew meanwhile."""
    view = View(height=2)
    view.arrange(ROWS)
    for key in ("down", "down"):
        view.press(key)
    assert (view.selected, view.page) == ("a", ["c", "a"])
    view.arrange([row("a", left=0.1), *ROWS[2:]])
    assert view.selected == "a"
    assert "a" in view.page
    view.arrange([row("z")])
    assert view.selected == "z"
    view.arrange([])
    assert (view.selected, view.page, view.press("p"), view.press("enter"), view.press("down")) == (
        "", [], None, None, None,
    )  # fmt: skip


def test_nothing_is_paused_without_a_yes() -> None:
    """And whom it hits was fixed when p was pressed."""
    view = View(height=5)
    view.arrange(ROWS)
    assert view.press("p") is None
    assert view.mode is Mode.ASK
    assert view.press("enter") is None
    assert view.note == "nothing was done"
    view.press("p")
    view.arrange(reversed([*ROWS, row("0", "expired", incident={"age": 99.0})]))
    assert view.press("y") == Action(Do.PAUSE, "b")
    assert view.mode is Mode.LIST


def test_a_filter_is_typed_and_taken_back() -> None:
    """Letters that are commands elsewhere are letters here."""
    view = View(height=5)
    view.arrange(ROWS)
    for key in ("/", "q", "p", "backspace"):
        assert view.press(key) is None
    assert (view.mode, view.filter) == (Mode.FILTER, "q")
    view.press("enter")
    view.arrange(ROWS)
    assert (view.mode, view.names) == (Mode.LIST, [])
    view.press("/")
    view.press("x")
    view.press("escape")
    assert view.filter == "q"
    view.press("escape")
    assert view.filter == ""
    assert view.press("q") == Action(Do.QUIT)


@given(
    st.lists(st.sampled_from(["up", "down", "pgup", "pgdn", "home", "end", "s", "r", "enter", "p", "y", "/", "e"]))
)
def test_the_selected_one_is_always_to_be_seen(keys: list[str]) -> None:
    """Whatever is pressed, in whatever order."""
    rows = [row(f"w-{number}", left=number % 7) for number in range(25)]
    view = View(height=4)
    view.arrange(rows)
    for key in keys:
        view.press(key)
        view.arrange(rows)
        assert view.first >= 0
        assert len(view.page) == min(4, len(view.names))
        assert not view.names or view.selected in view.page


SUMMARY = {
    "pid": 1, "uptime": 5.0, "watchdogs": 4, "states": {"alive": 2, "expired": 1, "paused": 1}, "stalls": 2,
    "lost": 1.0, "slowest_turn": 0.001, "journal": {"state": "full"}, "callbacks": {"stuck": 0},
}  # fmt: skip


@pytest.mark.parametrize("size", [(60, 10), (80, 24), (160, 12), (300, 50), (59, 24), (20, 3)])
@pytest.mark.parametrize("blocks", [True, False])
def test_no_line_is_longer_than_the_terminal_and_none_steers_it(size: tuple[int, int], blocks: bool) -> None:
    """As many lines as there are, and no escape of a worker's."""
    from rich.cells import cell_len

    rows = [*ROWS, row("n" * 128, status="日本語" * 50 + "\x1b[2J\n", progress="\x07", feeds=[[1, 30]] * 32)]
    view = View(height=max(1, size[1] - 6))
    view.arrange(rows)
    snapshot = Snapshot(0.0, summary=SUMMARY, rows={each["name"]: each for each in rows}, complete=True)
    shown = draw(view, snapshot, "/run/banken", size, 1.0, blocks=blocks).plain
    lines = shown.split("\n")
    assert len(lines) <= size[1]
    assert all(cell_len(line) <= size[0] for line in lines)
    assert not any(c in shown for c in "\x1b\x07\r")
    assert ("too small" in shown) == (size[0] < 60 or size[1] < 10)
    if size == (160, 12):
        assert "1 open incident" in lines[1]
        assert "2 stalls (lost 1 s)" in lines[2]
        assert "journal full" in lines[2]
        assert "timeout 3 s ago: disk full" in shown


@given(st.integers(60, 400), st.integers(0, 128))
def test_the_columns_fit(columns: int, longest: int) -> None:
    """The table is never wider than the terminal; the name always has room."""
    fit = widths(columns, longest)
    assert 8 + fit.name + fit.bar + 8 + 7 + 7 + fit.gaps + 4 + fit.status + 2 * 6 <= columns
    assert fit.name >= 8
