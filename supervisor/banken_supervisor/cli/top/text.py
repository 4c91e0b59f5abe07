"""What the view says, in words. Pure. Whatever workers wrote is cleaned and cut here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from banken_supervisor.cli import sparkline
from banken_supervisor.cli.printing import clean
from banken_supervisor.cli.status_table import left_text, program_remarks, silence_text
from banken_supervisor.evidence import feeds_text, output_lines, summary_lines
from banken_supervisor.journal.uptime import percent
from banken_supervisor.text.counts import plural
from banken_supervisor.text.durations import NEVER_S, format_s
from banken_supervisor.text.reasons import ONLY_ITS_END, gist, of_check, origin, unjudged

if TYPE_CHECKING:
    from banken_supervisor.cli.history import Known
    from banken_supervisor.journal.reading import Story

Row = dict[str, Any]

SAID_MAX = 500
"""Characters of one text of a worker's."""

EVIDENCE_LINES = 24
"""Lines of the evidence in the detail; the incident in full has all."""

OUTPUT_MAX = 2_000
"""Characters of the last output of its program there."""

DAY_S = 86400.0

RED, YELLOW, GREEN, BLUE, GREY = "#ff6e6e", "#e8c45a", "#7fd18b", "#6cb6ff", "#8b949e"

STATES = {
    "given-up": ("✖ given up", f"bold {RED}"),
    "expired": ("! expired", RED),
    "waiting": ("○ waiting", YELLOW),
    "alive": ("● alive", GREEN),
    "running": ("● running", GREEN),
    "idle": ("● idle", GREEN),
    "paused": ("‖ paused", BLUE),
}
"""A mark, a word and a colour for each: none has to be told by its colour alone."""

PROGRAM_STATES = {
    "given-up": ("✖ given up", f"bold {RED}"),
    "backoff": ("! restarts", RED),
    "queued": ("○ queued", YELLOW),
    "starting": ("○ starting", YELLOW),
    "stopping": ("○ stopping", YELLOW),
    "running": ("● running", GREEN),
    "stopped": ("‖ stopped", BLUE),
}
"""The worst first."""


def said(what: object) -> str:
    """What a worker or a command wrote, in one line and bounded."""
    text = clean(what)
    return text if len(text) <= SAID_MAX else text[: SAID_MAX - 1] + "…"


def state_text(state: str, states: dict[str, tuple[str, str]] | None = None) -> Text:
    """Mark and word."""
    word, style = (STATES if states is None else states).get(state, (f"? {clean(state)}", RED))
    return Text(word, style)


def clock(at: float) -> str:
    """Wall clock in the reader's zone, with the day where that is another: ``18:07:11 CET``."""
    there, now = time.localtime(at), time.localtime()
    return time.strftime("%H:%M:%S %Z" if there[:3] == now[:3] else "%Y-%m-%d %H:%M:%S %Z", there)


def moment(at: float) -> str:
    """The same in 11 characters at most, for a column whose title has the zone."""
    there, now = time.localtime(at), time.localtime()
    return time.strftime("%H:%M:%S" if there[:3] == now[:3] else "%m-%d %H:%M", there)


def zone() -> str:
    """The reader's zone: ``CET``."""
    return time.strftime("%Z")


def has_timeout(row: Row) -> bool:
    """Whether its silence is judged at all."""
    return bool(row["timeout"] < NEVER_S)


def left_bar(row: Row, width: int) -> Text:
    """The time until the deadline as a part of the timeout."""
    timeout = row["grace"] if row["state"] == "waiting" else row["timeout"]
    if left_text(row) == "-" or timeout <= 0:
        return Text(" " * width)
    left = row["left"]
    share = min(1.0, max(0.0, left / timeout))
    full = max(1, round(share * width)) if left > 0 else 0
    colour = RED if share < 0.2 else YELLOW if share < 0.4 else GREEN
    return Text.assemble(("━" * full, colour), ("─" * (width - full), GREY))


def gaps_of(row: Row) -> list[float]:
    """Seconds between the last feeds, newest last; none where it was not looked at closely."""
    return [gap for _, gap in row.get("feeds", ())]


def longest_gap(row: Row) -> float:
    """Seconds for which a full block stands where gaps are drawn: the timeout, else the longest of them."""
    return float(row["timeout"]) if has_timeout(row) else max(gaps_of(row), default=1.0)


def remark(row: Row) -> str:
    """The most telling thing about a watchdog: its open incident, else what it says of itself."""
    parts = []
    incident = row.get("incident")
    if incident is not None:
        reason = f": {said(gist(incident['reason']))}" if incident.get("reason") else ""
        parts.append(f"{_cause(incident)}{reason}, {format_s(incident['age'])} ago")
    elif (why := unjudged(row)) is not None:
        parts.append(why)
    elif row["state"] == "waiting" and "check" not in row:
        parts.append("waits for its first feed")
    if (seen := of_check(row)) is not None:
        parts.append(said(seen))
    if "progress" in row:
        parts.append(f"progress {said(row['progress'])}")
    if "status" in row:
        parts.append(said(row["status"]))
    if "group" in row:
        parts.append(_quorum(row))
    return "; ".join(parts)


def program_remark(row: Row, watchdog: Row | None) -> str:
    """Why a program is down, or how it is watched, and what is to be known of its runs."""
    watched = []
    if watchdog is not None and "incident" in watchdog:
        watched = [remark({key: value for key, value in watchdog.items() if key in ("state", "incident")})]
    elif row["state"] == "running":
        timed = watchdog is not None and watchdog["state"] != "running" and has_timeout(watchdog)
        watched = [f"timeout {format_s(watchdog['timeout'])}" if watchdog is not None and timed else ONLY_ITS_END]
    return "; ".join(watched + program_remarks(row))


def counts(states: Mapping[str, int]) -> Text:
    """``1 given up, 2 expired, 5 alive``."""
    parts = [
        Text(f"{states[state]:,} {word.split(' ', 1)[1]}", style)
        for state, (word, style) in STATES.items()
        if states.get(state)
    ]
    return Text(", ").join(parts)


def facts(row: Row) -> list[Text]:
    """What a watchdog is and does, a fact a line."""
    judged = f"timeout {format_s(row['timeout'])}" if has_timeout(row) else "no timeout"
    if (why := unjudged(row)) is not None:
        judged += f": {why}"
    if has_timeout(row) and row["grace"] < NEVER_S:
        judged += f", grace {format_s(row['grace'])}"
    due = left_text(row)
    pid = "no process known" if row["pid"] is None else f"pid {row['pid']}"
    if (where := origin(row)) is not None:
        pid += f" {clean(where)}"
    lines = [
        _fact("Silent", f"{silence_text(row)}; {judged}" + ("" if due == "-" else f"; due in {due}")),
        _fact(
            "Fed by",
            f"{pid}, {sparkline.rate_text(sparkline.rate(row.get('feeds', ())))}; timeout by: {row['by']}",
        ),
    ]
    if remarked := "; ".join(f"{key} {said(row[key])}" for key in ("progress", "status") if key in row):
        lines.append(_fact("Says", remarked))
    if (seen := of_check(row)) is not None:
        lines.append(_fact("Check", f"{said(seen)}; of {said(row['check_of'])}"))
    if "group" in row:
        lines.append(_fact("Quorum", _quorum(row)))
    return lines


def gap_lines(row: Row, width: int) -> list[Text]:
    """The gaps between the last feeds: drawn, and as numbers."""
    gaps = gaps_of(row)
    if not gaps:
        return [_fact("Gaps", "too few feeds to tell")]
    top = longest_gap(row)
    full = f"the timeout, {format_s(top)}" if has_timeout(row) else format_s(top)
    drawn = sparkline.sparkline(gaps, top, max(8, width - 12))
    return [
        _fact("Gaps", drawn),
        _fact("", f"the last {len(gaps)}, longest {format_s(max(gaps))}; a full block is {full}"),
        _fact("", feeds_text(row["feeds"][-8:], row["silence"])),
    ]


def uptime_line(known: Known) -> Text:
    """``Uptime  96.60 % (24 h), 2 incidents``."""
    result = known.result
    if known.kept is None:
        return _fact("Uptime", "not known: there is no journal to be read here")
    over = f"{format_s(result.period)}, since the journal begins" if known.clipped else "24 h"
    return _fact("Uptime", f"{percent(result.share)} ({over}), {plural(result.failures, 'incident')}")


def next_step(row: Row) -> str:
    """What the ladder does next in the open incident."""
    incident = row["incident"]
    if incident.get("blamed"):
        return f"none while {said(incident['blamed'])}, which it depends on, is down"
    step, steps = incident.get("next"), incident.get("steps", 0)
    if row.get("state") == "given-up":
        return "none: given up, until it is fed or started again"
    if step is not None:
        when = "now" if step["left"] <= 0 else f"in {format_s(step['left'])}"
        return f"step {step['step'] + 1} of {steps}: {said(step['do'])} {when}"
    return f"none left: all {steps} steps were taken" if steps else "no ladder is configured"


def incident_lines(row: Row | None, story: Story | None) -> list[Text]:
    """The open incident, else the last one: cause, next step, evidence."""
    incident = None if row is None else row.get("incident")
    lines: list[Text] = []
    if incident is not None and row is not None:
        often = f"announced {plural(incident['runs'], 'time')}"
        lines += [
            Text(f"Open incident {incident['id']}", f"bold {RED}"),
            _fact("Cause", f"{_cause(incident)}, {format_s(incident['age'])} ago; {often}"),
            _fact("Next step", next_step(row)),
        ]
        reason = incident.get("reason")
    elif story is not None:
        record = story.incident
        ended = "still open" if record.closed is None else f"ended {clock(record.closed)} ({record.how})"
        lines += [
            Text(f"Last incident {record.id}", "bold"),
            _fact("Cause", f"{clean(record.cause)}, {clock(record.opened)}; {ended}"),
        ]
        reason = record.reason
    else:
        return [Text("No incident so far", GREEN)]
    if reason:
        lines.append(_fact("Reason", said(gist(reason))))
    if story is not None:
        lines += _evidence(story)
    return lines


def _evidence(story: Story) -> list[Text]:
    if not story.evidence:
        return [_fact("Evidence", "none yet")]
    newest = next((each for each in reversed(story.evidence) if "threads" in each.data), story.evidence[-1])
    said = [line for each in story.evidence for line in output_lines(each.data, OUTPUT_MAX)]
    first, *rest = [*summary_lines(newest.data, EVIDENCE_LINES), *said] or ["empty"]
    return [_fact("Evidence", f"taken {clock(newest.taken)}"), Text(first, "bold"), *(Text(line) for line in rest)]


def _cause(incident: Row) -> str:
    return clean(incident["cause"])


def _quorum(row: Row) -> str:
    return f"{row['group']['alive']} alive, needs {row['group']['at_least']}"


def _fact(what: str, text: str) -> Text:
    return Text.assemble((f"{what:10}", GREY), text)
