"""The lines above the lists: the supervisor, how it is, and the tabs. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.style import Style
from rich.text import Text

from banken_supervisor.cli.poller import Snapshot
from banken_supervisor.cli.printing import clean
from banken_supervisor.cli.top import text
from banken_supervisor.text import cluster_text
from banken_supervisor.text.counts import plural
from banken_supervisor.text.durations import format_s

VIEWS = ("watchdogs", "programs", "incidents", "events")
"""The tabs, in order."""


def watchdogs(snapshot: Snapshot, address: str) -> Text:
    """How many watchdogs are how; that no supervisor answers, if that is so."""
    if snapshot.problem:
        where = f" at {clean(address)}" if snapshot.problem == "no supervisor answers" else ""
        return Text(f"✖ {clean(snapshot.problem)}{where}; trying again", f"bold {text.RED}")
    summary = snapshot.summary
    if summary is None:
        return Text(f"asking {clean(address)} …")
    line = Text(plural(summary["watchdogs"], "watchdog"), "bold")
    states = text.counts(
        Counter(row["state"] for row in snapshot.rows.values()) if snapshot.complete else summary["states"]
    )
    return line.append_text(Text(": ") + states) if states else line


def supervisor(snapshot: Snapshot, address: str, now: float) -> Text:
    """Where it is and how it is; when it answered last, if it does not. ``now``: monotonic."""
    summary = snapshot.summary
    if snapshot.problem:
        ago = format_s(max(0.0, now - snapshot.since))
        if snapshot.answered is None:
            return Text(f"  for {ago}; there was no answer so far", text.RED)
        return Text(f"  last answer at {text.clock(snapshot.answered)}, {ago} ago; below is what it was", text.RED)
    if summary is None:
        return Text()
    line = Text(f"{clean(address)}  pid {summary['pid']}, up {format_s(summary['uptime'])}", text.GREY)
    journal = summary["journal"]
    word = "off" if journal is None else clean(journal["state"])
    line.append(f"  journal {word}", "" if word in ("ok", "off", "opening") else f"bold {text.RED}")
    if (cluster := summary.get("cluster")) is not None:
        line.append(f"  {_leads(cluster)}", f"bold {text.RED}" if cluster_text.trouble(cluster) else "")
    if stuck := summary["callbacks"]["stuck"] + summary["actions"]["stuck"]:
        line.append(f"  {plural(stuck, 'stuck action')}", f"bold {text.RED}")
    if summary["stalls"]:
        line.append(f"  {plural(summary['stalls'], 'stall')}, {format_s(summary['lost'])} lost", text.YELLOW)
    if snapshot.messages_rate is not None:
        rate = snapshot.messages_rate
        line.append(f"  {rate:,.{0 if rate >= 10 else 1}f} messages/s")
    return line.append(f"  slowest turn {summary['slowest_turn'] * 1000:.1f} ms")


def _leads(cluster: dict[str, Any]) -> str:
    if cluster["away"] is not None:
        does = "refuses this member" if cluster["away"].startswith(cluster_text.REFUSES) else "does not answer"
        return f"the cluster's store {does}"
    silent = sum(not is_up for is_up in cluster["members"].values())
    who = (
        "this member leads"
        if cluster["leader"] == cluster["member"]
        else f"{clean(cluster['leader'] or 'nobody')} leads"
    )
    brake = ", the brake is on" if cluster.get("brake") is not None else ""
    return who + (f", {plural(silent, 'member')} down" if silent else "") + brake


def tabs(view: str, snapshot: Snapshot, wanted: str) -> Text:
    """The four tabs, the one that is shown marked, and the filter in force."""
    opened = sum("incident" in row for row in snapshot.rows.values())
    counts = {
        "watchdogs": f"{len(snapshot.rows):,}",
        "programs": f"{len(snapshot.programs):,}",
        "incidents": f"{opened:,} open",
        "events": "",
    }
    line = Text(no_wrap=True, overflow="ellipsis")
    for number, name in enumerate(VIEWS, 1):
        style = Style(reverse=True, bold=True) if name == view else Style(bold=False)
        line.append(
            f" {number} {name.capitalize()} {counts[name]}".rstrip() + " ",
            style + Style(meta={"@click": f"screen.view('{name}')"}),
        )
        line.append(" ")
    if wanted:
        line.append(f" filter: {clean(wanted)}", text.YELLOW)
    return line
