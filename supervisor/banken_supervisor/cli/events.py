"""``banken events``: what happens, as it happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from banken.protocol.limits import check_name
from banken_supervisor.cli import journals
from banken_supervisor.cli.completion import watched
from banken_supervisor.cli.options import reading_address_option
from banken_supervisor.cli.printing import clean, clock, fancy
from banken_supervisor.engine.patterns import is_pattern
from banken_supervisor.operator_client.supervisor_client import connect
from banken_supervisor.text.event_text import field, sentence
from banken_supervisor.text.reasons import telling
from banken_supervisor.text.sanitize import to_json

if TYPE_CHECKING:
    from banken_supervisor.operator_client.event_follower import EventFollower

LINES_MAX = 100_000
"""Events of the journal that -n shows at most."""

BY_COLOUR = {
    "red": "expired step failed given-up callback-failed callback-stuck action-failed action-stuck internal-error "
    "reload-failed address",
    "yellow": "callback-skipped action contest conflict refused stalled overloaded flood journal",
    "green": "action-done reloaded recovered first-fed",
    "cyan": "paused resumed extended taken-down",
}
COLOURS = {kind: colour for colour, kinds in BY_COLOUR.items() for kind in kinds.split()}
UNSAID = frozenset({"seq", "time", "type", "name", "replay", "incident", "age", "feeds", "results", ("run", "1")})
"""Fields, or fields with this value, that the line shows elsewhere, or not at all; --json has them."""


@click.command(short_help="Show what happens, one line an event, as it happens.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on; so it is without -n.")
@click.option(
    "-n", "--lines", type=click.IntRange(0, LINES_MAX), metavar="N", help="First the last N events of the journal."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N events.")
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="NAME",
    shell_complete=watched,
    help="Only this watchdog's, or a pattern's; repeatable.",
)
@journals.journal_option
@reading_address_option
def command(
    follow: bool,
    lines: int | None,
    as_json: bool,
    count: int | None,
    names: tuple[str, ...],
    journal: str | None,
    address: str | None,
) -> None:
    """Show what happens from now on, one line an event, until Ctrl-C (exit code 130).

    With -n the last N events that the journal keeps (it leaves out declarations and first feeds), without a
    supervisor too; with -n and -f those, and then what happens.

    Following begins only if a supervisor answers, and waits for its successor when that one ends. What was missed
    is said on stderr.
    """
    exact = [check_name(name) for name in names if not is_pattern(name)]
    printer = Printer(as_json, count, names)
    if lines is not None and not follow:
        _past(printer, lines, journal, address)
        return
    from banken_supervisor.operator_client.event_follower import EventFollower

    with connect(address) as control:
        control.request("ping")
        selective = bool(names) and len(exact) == len(names)
        with EventFollower(control.address.text, exact if selective else None) as following:
            while not following.connected:
                following.wait(1.0)
            control.request("ping")  # answered after the subscription was read: from here on nothing is missed
            if lines is not None:
                _past(printer, lines, journal, address)
            if printer.enough:
                return
            _note(f"following the events at {control.address.text}; Ctrl-C ends")
            _follow(following, printer, gaps_show=not selective)


class Printer:
    """Prints events, those that are wanted and each once."""

    def __init__(self, as_json: bool, count: int | None, names: tuple[str, ...]) -> None:
        self._as_json, self._left, self._names = as_json, count, names
        self._colours = fancy()
        self.past: set[tuple[int, float]] = set()
        """(number, time) of those that were printed from the journal: some come again as they are announced"""

    @property
    def enough(self) -> bool:
        """Whether there were as many as were asked for."""
        return self._left == 0

    def wanted(self, name: str | None) -> bool:
        """Whether events of this watchdog are asked for; None: the supervisor's own."""
        return not self._names or any(fnmatchcase(name or "", each) for each in self._names)

    def show(self, event: dict[str, Any]) -> None:
        """Print it, if it is wanted and was not printed from the journal."""
        if self.enough or not self.wanted(event.get("name")) or (event["seq"], event["time"]) in self.past:
            return
        click.echo(to_json(event) if self._as_json else line(event, self._colours))
        if self._left is not None:
            self._left -= 1


def _past(printer: Printer, lines: int, journal: str | None, address: str | None) -> None:
    """The last events of the journal."""
    found = past(journals.place(address, journal, journals.on_stderr), lines, printer.wanted)
    for each in found:
        printer.show(each)
    printer.past = {(each["seq"], each["time"]) for each in found}


def past(path: str, limit: int, wanted: Callable[[str | None], bool]) -> list[dict[str, Any]]:
    """The last events in the journal, oldest first, as they were announced. ``wanted``: of which watchdogs."""
    from banken_supervisor.journal import reading

    found = []
    for each in journals.read(path, lambda: reading.events(path, lambda _, name: wanted(name), limit=limit)):
        data = each.data if isinstance(each.data, dict) else {}
        named = {} if each.name is None else {"name": each.name}
        found.append({"seq": each.seq, "time": each.time, "type": each.type, **named, **data})
    return found


def _follow(following: EventFollower, printer: Printer, *, gaps_show: bool) -> None:
    """Print events until there were enough. Where all are received, a gap in their numbers is seen."""
    from banken_supervisor.operator_client.event_follower import missed

    last: int | None = None
    connected = True
    while True:
        for event in following.wait():
            if gaps_show and (gap := missed(last, event["seq"])):
                _note(gap)
            last = event["seq"]
            printer.show(event)
            if printer.enough:
                return
        if following.connected != connected:
            connected = following.connected
            _note("the supervisor is back" if connected else "the supervisor is gone; waiting for it to come back")


def line(event: dict[str, Any], colours: bool) -> str:
    """``18:07:11.123 CET  expired    worker-3  cause timeout, silence 30 s, late 0.4 ms``"""
    when = clock(event["time"], time.time())
    kind = clean(event["type"]).ljust(15)
    if colours:
        when = click.style(when, dim=True)
        kind = click.style(kind, fg=COLOURS.get(event["type"]))
    incident = f"  [{clean(event['incident'])}]" if event.get("incident") else ""
    return (
        f"{when}  {kind}  {clean(event.get('name') or 'the supervisor')}  {description(event)}{incident}".rstrip()
    )


def description(event: dict[str, Any], unsaid: Collection[object] = UNSAID, most: int | None = None) -> str:
    """What an event says besides its time, type and name: a sentence, or its fields but those in ``unsaid``. Clean,
    in one line; at most so many characters of each."""
    sentenced = sentence(event)
    parts = (
        [sentenced]
        if sentenced is not None
        else [
            field(key, value)
            for key, value in telling(event).items()
            if key not in unsaid and value is not None and (key, str(value)) not in unsaid
        ]
    )
    if event.get("replay"):
        parts.append("repeated for a listener that came late")
    return ", ".join(clean(part)[:most] for part in parts)


def _note(text: str) -> None:
    click.echo(f"banken: {text}", err=True)
