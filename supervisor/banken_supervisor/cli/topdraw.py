"""What ``banken top`` looks like: one snapshot and one view, as lines of a terminal. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from banken_supervisor.cli import glyphs
from banken_supervisor.cli.durations import format_s
from banken_supervisor.cli.printing import clean, plural
from banken_supervisor.cli.source import Snapshot, rate_of
from banken_supervisor.cli.status import BAD, COLOURS, WORST_FIRST
from banken_supervisor.cli.topview import Mode, View
from banken_supervisor.durations import NEVER_S
from banken_supervisor.reasons import gist

if TYPE_CHECKING:
    from rich.text import Text

LEAST_SIZE = (60, 10)
"""Columns and lines below which nothing useful fits."""

ABOVE, BELOW = 5, 1
"""Lines that are not rows: four of the head and the titles; the foot."""

NAME_LEAST, NAME_MOST = 12, 40

KEYS = "q quit  s sort  r reverse  / filter  p pause/resume  enter incident  ↑↓ PgUp PgDn"


class Widths(NamedTuple):
    """Columns of the table that vary with the terminal."""

    name: int
    bar: int
    gaps: int
    status: int


def widths(columns: int, longest: int) -> Widths:
    """How the width is shared; ``longest``: of the names on the page."""
    bar, gaps = (10, 16) if columns >= 100 else (6, 8) if columns >= 80 else (5, 0)
    # State 8, bar and time left, silence 7, rate 7, incidents 4; two between all of them.
    rest = columns - (8 + bar + 8 + 7 + 7 + gaps + 4 + 2 * 6)
    name = min(max(longest, NAME_LEAST), NAME_MOST, max(rest * 2 // 3, NAME_LEAST), rest)
    return Widths(name, bar, gaps, max(0, rest - name - 2))


def draw(view: View, snapshot: Snapshot, where: str, size: tuple[int, int], now: float, *, blocks: bool) -> Text:
    """The whole terminal. ``now``: monotonic. ``blocks``: whether it can show block characters."""
    from rich.text import Text

    columns, lines = size
    if columns < LEAST_SIZE[0] or lines < LEAST_SIZE[1]:
        least = f"{LEAST_SIZE[0]}x{LEAST_SIZE[1]}"
        return Text(f"too small: {columns}x{lines},\nneeds {least}; q quits")
    body = _text(view, columns) if view.mode is Mode.TEXT else _rows(view, snapshot, columns, blocks)
    room = view.height + 1
    body += [Text()] * (room - len(body))
    return _cut([*_head(snapshot, where, now), *body[:room], _foot(view, snapshot, columns)], columns)


def _cut(lines: list[Text], columns: int) -> Text:
    from rich.text import Text

    for line in lines:
        line.truncate(columns, overflow="ellipsis")
    whole = Text("\n", no_wrap=True, end="").join(lines)
    whole.no_wrap = True
    return whole


def _head(snapshot: Snapshot, where: str, now: float) -> list[Text]:
    from rich.text import Text

    summary = snapshot.summary
    if snapshot.problem:
        first = Text(
            f"{clean(snapshot.problem)} at {where}, for {format_s(max(0.0, now - snapshot.since))}; asking again",
            "bold red",
        )
    elif summary is None:
        first = Text(f"asking {where} …")
    else:
        first = Text(f"banken at {where}  pid {summary['pid']}, up {format_s(summary['uptime'])}")
    if summary is None:
        return [first, Text(), Text(), Text()]
    opened = sum("incident" in row for row in snapshot.rows.values())
    states = Text(plural(summary["watchdogs"], "watchdog") + ": ")
    states.append_text(
        Text(", ").join(
            [Text(f"{summary['states'][state]:,} {state}", COLOURS[state]) for state in WORST_FIRST
             if summary["states"].get(state)]
        )
    )  # fmt: skip
    states.append("; ").append(plural(opened, "open incident"), "bold red" if opened else "")
    return [first, states, _work(snapshot, summary), Text()]


def _work(snapshot: Snapshot, summary: dict[str, Any]) -> Text:
    """How the supervisor itself is."""
    from rich.text import Text

    def per_s(value: float | None) -> str:
        return "-" if value is None else f"{value:,.0f}/s" if value >= 10 else f"{value:.1f}/s"

    line = Text(
        f"messages {per_s(snapshot.messages_rate)}  turns {per_s(snapshot.turns_rate)}"
        f" (slowest {summary['slowest_turn'] * 1000:.1f} ms)  "
    )
    stalls = plural(summary["stalls"], "stall")
    if summary["stalls"]:
        stalls += f" (lost {format_s(summary['lost'])})"
    line.append(stalls, "yellow" if summary["stalls"] else "")
    journal = summary["journal"]
    word = "off" if journal is None else clean(journal["state"])
    line.append("  journal ").append(word, "" if word in ("ok", "off") else "bold red")
    if stuck := summary["callbacks"]["stuck"]:
        line.append("  ").append(plural(stuck, "stuck callback"), "bold red")
    return line


def _rows(view: View, snapshot: Snapshot, columns: int, blocks: bool) -> list[Text]:
    from rich.text import Text

    page = [snapshot.rows[name] for name in view.page if name in snapshot.rows]
    fit = widths(columns, max((len(row["name"]) for row in page), default=0))
    marks = {"name": "NAME", "left": "LEFT", "state": "STATE", "rate": "RATE", "incidents": "INC"}
    arrow = ("^" if view.reverse else "v") if not blocks else ("▲" if view.reverse else "▼")
    marks[view.sort] += arrow
    gaps, status = "GAPS" if fit.gaps else "", "STATUS" if fit.status >= 6 else ""
    title = (
        f"{marks['state']:8}  {marks['name']:{fit.name}}  {marks['left']:{fit.bar + 8}}  {'SILENT':>7}  "
        f"{marks['rate']:>7}  {gaps:{fit.gaps}}  {marks['incidents']:>4}  {status}"
    )
    found = [Text(title.ljust(columns), "dim")]
    for row in page:
        line = _row(row, fit, blocks)
        if row["name"] == view.selected:
            line.truncate(columns, pad=True)
            line.stylize("reverse")
        found.append(line)
    if not page:
        if view.filter and snapshot.rows:
            found.append(Text(f"none fits {view.filter!r}; Escape shows all"))
        elif snapshot.complete:
            found.append(Text("nobody is watched yet; try: banken feed hello --timeout 30s"))
    return found


def _row(row: dict[str, Any], fit: Widths, blocks: bool) -> Text:
    from rich.text import Text

    bad = row["state"] in BAD
    timeout = row["grace"] if row["state"] == "waiting" else row["timeout"]
    left = row["left"]
    endless = left is None or left > NEVER_S
    share = 0.0 if bad or left is None or endless or timeout <= 0 else left / timeout
    colour = "red" if bad or (share < 0.2 and not endless) else "yellow" if share < 0.4 and not endless else "green"
    ticks, parts = (glyphs.TICKS, glyphs.PARTS) if blocks else (glyphs.PLAIN_TICKS, glyphs.PLAIN_PARTS)
    gaps = [gap for _, gap in row.get("feeds", ())]
    drawn = glyphs.sparkline(gaps, row["timeout"], fit.gaps, ticks)
    name = clean(row["name"])
    if len(name) > fit.name:
        name = name[: fit.name - 1] + ("…" if blocks else "~")
    left_text = "-" if bad or left is None or endless else format_s(max(0.0, left))
    line = Text.assemble(
        (f"{clean(row['state']):8}", COLOURS.get(row["state"], "")),
        f"  {name:{fit.name}}  ",
        (glyphs.bar(share, fit.bar, parts), colour),
        f" {left_text:>7}  {format_s(row['silence']):>7}  {rate_text(rate_of(row)):>7}  ",
        f"{drawn:{fit.gaps}}  ",
        (f"{row['incidents']:>4,}", "bold" if row["incidents"] else "dim"),
        "  ",
    )
    return line.append(_said(row))


def _said(row: dict[str, Any]) -> str:
    """The open incident, else what the worker said last."""
    incident = row.get("incident")
    parts = []
    if incident is not None:
        why = f": {clean(gist(incident['reason']))}" if incident.get("reason") else ""
        parts.append(f"{clean(incident['cause'])} {format_s(incident['age'])} ago{why}")
    if "progress" in row:
        parts.append(f"[{clean(row['progress'])}]")
    if "status" in row:
        parts.append(clean(row["status"]))
    return " ".join(parts)


def rate_text(rate: float | None) -> str:
    """Feeds a second in at most seven characters: ``4.7/s``, ``12/min``; ``-`` where it is not known."""
    if rate is None:
        return "-"
    for factor, unit in ((1, "s"), (60, "min"), (3600, "h")):
        value = rate * factor
        if value >= 1 or unit == "h":
            return f"{value:.1f}/{unit}" if value < 10 else f"{min(value, 99999):.0f}/{unit}"
    raise AssertionError("the last unit takes all")


def _text(view: View, columns: int) -> list[Text]:
    from rich.text import Text

    room = view.height + 1
    return [Text(line) for line in view.text[view.text_first : view.text_first + room]]


def _foot(view: View, snapshot: Snapshot, columns: int) -> Text:
    from rich.text import Text

    match view.mode:
        case Mode.FILTER:
            return Text(f"filter: {view.filter}_   enter keeps it, Escape does not", "bold")
        case Mode.ASK if view.asked is not None:
            row = snapshot.rows.get(view.asked.name, {})
            what = "resume" if row.get("state") == "paused" else "pause"
            return Text(f"{what} {view.asked.name}? y/n", "bold yellow")
        case Mode.TEXT:
            seen = min(len(view.text), view.text_first + view.height + 1)
            return Text(f"line {seen} of {len(view.text)}  ↑↓ PgUp PgDn; q goes back", "dim")
    if view.note:
        return Text(view.note, "bold")
    count = len(view.names)
    where = f"{view.place + 1 if count else 0}/{count:,}"
    if view.filter:
        where += f" filter {view.filter!r}"
    if snapshot.listed_s > 2:
        where += f" (list read in {format_s(snapshot.listed_s)})"
    return Text(f"{where}  {KEYS}", "dim")
