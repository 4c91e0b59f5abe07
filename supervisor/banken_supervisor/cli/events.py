"""``banken events``: what happens, as it happens."""

from __future__ import annotations

import sys
import time
from fnmatch import fnmatchcase
from typing import Any

import click

from banken.model import check_name
from banken_supervisor.cli.asking import Following, address_option, asking, is_pattern
from banken_supervisor.cli.durations import format_s
from banken_supervisor.cli.printing import clean, fancy, to_json
from banken_supervisor.wording import sentence

COLOURS = {
    "expired": "red",
    "rung": "red",
    "failed": "red",
    "given-up": "red",
    "callback-failed": "red",
    "callback-stuck": "red",
    "callback-skipped": "yellow",
    "action": "yellow",
    "action-done": "green",
    "action-failed": "red",
    "action-stuck": "red",
    "reload-failed": "red",
    "reloaded": "green",
    "recovered": "green",
    "first-fed": "green",
    "paused": "cyan",
    "resumed": "cyan",
    "extended": "cyan",
    "contest": "yellow",
    "conflict": "yellow",
    "refused": "yellow",
    "stalled": "yellow",
    "overloaded": "yellow",
}
SECONDS = frozenset({"silence", "timeout", "interval", "grace", "lasted", "age", "seconds", "lost", "total_lost"})
UNSAID = frozenset({"seq", "time", "type", "name", "replay", "incident", "age"})
"""Fields that the line shows elsewhere, or not at all; --json has them."""


@click.command(short_help="Follow what happens, one line an event.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N events.")
@click.option(
    "--name", "names", multiple=True, metavar="NAME", help="Only this watchdog's, or a pattern's; repeatable."
)
@address_option
def command(as_json: bool, count: int | None, names: tuple[str, ...], address: str | None) -> None:
    """Follow what happens from now on, one line an event, until Ctrl-C (exit code 130).

    It begins only if a supervisor answers, and waits for its successor when that one ends. What was missed is
    said on stderr.
    """
    with asking(address) as control:
        control.request("ping")
        exact = [check_name(name) for name in names if not is_pattern(name)]
        selective = bool(names) and len(exact) == len(names)
        with Following(control.address.text, exact if selective else None) as following:
            while not following.connected:
                following.wait(1.0)
            control.request("ping")  # answered after the subscription was read: from here on nothing is missed
            _note(f"following the events at {control.address.text}; Ctrl-C ends")
            _follow(following, as_json, count, names, gaps_show=not selective)


def _follow(
    following: Following, as_json: bool, count: int | None, names: tuple[str, ...], *, gaps_show: bool
) -> None:
    """Print events until there were ``count``. Where all are received, a gap in their numbers is seen."""
    colours = fancy()
    last: int | None = None
    printed = 0
    connected = True
    while True:
        events = following.wait()
        for event in events:
            number = event["seq"]
            if gaps_show and last is not None and number != last + 1:
                _note(
                    f"{number - last - 1} events were missed (numbers {last + 1} to {number - 1})"
                    if number > last
                    else "another supervisor runs now; its events are numbered anew"
                )
            last = number
            if names and not any(fnmatchcase(event.get("name", ""), each) for each in names):
                continue
            click.echo(to_json(event) if as_json else line(event, colours))
            printed += 1
            if printed == count:
                return
        if following.connected != connected:
            connected = following.connected
            _note("the supervisor is back" if connected else "the supervisor is gone; waiting for it to come back")


def line(event: dict[str, Any], colours: bool) -> str:
    """``18:07:11.123  expired    worker-3  cause timeout, silence 30 s, late 0.4 ms``"""
    when = time.strftime("%H:%M:%S", time.localtime(event["time"])) + f".{int(event['time'] % 1 * 1000):03d}"
    kind = clean(event["type"]).ljust(15)
    if colours:
        when = click.style(when, dim=True)
        kind = click.style(kind, fg=COLOURS.get(event["type"]))
    said = sentence(event)
    parts = (
        [clean(said)]
        if said is not None
        else [
            _told(key, value)
            for key, value in event.items()
            if key not in UNSAID and value is not None and (key, value) != ("run", 1)
        ]
    )
    if event.get("replay"):
        parts.append("repeated for a listener that came late")
    incident = f"  [{clean(event['incident'])}]" if event.get("incident") else ""
    return f"{when}  {kind}  {clean(event.get('name') or 'the supervisor')}  {', '.join(parts)}{incident}".rstrip()


def _told(key: str, value: Any) -> str:
    if key == "late":
        return f"{value * 1000:.1f} ms after its deadline"
    if key in SECONDS and isinstance(value, (int, float)):
        return f"{key} {format_s(value)}"
    if isinstance(value, str) and key in ("status", "reason", "progress"):
        return f"{key} “{clean(value)}”"
    if key == "text":
        return clean(value.strip().splitlines()[-1] if value.strip() else "")  # of a traceback the last line tells
    return f"{clean(key)} {clean(value)}"


def _note(text: str) -> None:
    click.echo(f"banken: {text}", file=sys.stderr)
