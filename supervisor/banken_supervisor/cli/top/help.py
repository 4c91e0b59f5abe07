"""What the keys do, and what the columns mean."""

from __future__ import annotations

from rich.text import Text

from banken_supervisor.cli.top.page import Page

KEYS = (
    ("1 2 3 4, Tab", "watchdogs, programs, incidents, events"),
    ("arrows, PgUp, PgDn, Home, End", "select a row; scroll a text"),
    ("Enter", "detail of a watchdog or an incident; log of a program"),
    ("i", "the open incident of the selected watchdog, or its last one, in full"),
    ("l", "the log of the program of this name"),
    ("/", "filter: a part of the name, a pattern (worker-*), or a state; Enter keeps it"),
    ("Escape", "show all again; go back"),
    ("s", "sort by the next column; a click on a title sorts by it"),
    ("S N L D R I", "sort by state, name, left, silence, rate, incidents"),
    ("r", "reverse the order"),
    ("p", "pause the selected watchdog, or resume it; asks first"),
    ("Ctrl-Z", "suspend; `fg` brings it back"),
    ("q, Ctrl-C", "go back, quit; quit"),
)
MEANINGS = (
    ("LEFT", "time until the deadline, the bar as a part of the timeout"),
    ("SILENT", "time since the last feed"),
    ("RATE", "feeds a second, minute or hour, from the last feeds"),
    ("GAPS", "times between the last feeds, the newest on the right; a full block is as long as the timeout"),
    ("INC", "incidents so far"),
    ("✖ given up", "a budget is spent, and nothing more is done; open until it is fed or started again"),
    ("! expired", "no feed within the timeout, or failed: an incident is open"),
    ("○ waiting", "not fed yet"),
    ("● idle", "it has nothing to do: only its end is watched"),
    ("● alive", "fed in time"),
    ("● running", "it need not feed: only its end is watched"),
    ("‖ paused", "not judged until it is resumed"),
)
ORDER = (
    "The worst come first, then by name. A row moves up when its state gets worse, down a minute after it got "
    "better, and else never by itself: sorted by left, silence or rate, the rows keep the places that they had "
    "when the sort was chosen; press the key again to sort anew. What does not fit into the selected row stands "
    "below the list."
)


def page() -> Page:
    lines = [Text("Keys", "bold"), *_table(KEYS), Text(), Text("Columns and states", "bold"), *_table(MEANINGS)]
    return Page("banken top: help", [*lines, Text(), Text("Order", "bold"), Text(ORDER)])


def _table(rows: tuple[tuple[str, str], ...]) -> list[Text]:
    width = max(len(left) for left, _ in rows)
    return [Text.assemble((f"  {left:{width}}  ", "bold"), right) for left, right in rows]
