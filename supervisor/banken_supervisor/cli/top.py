"""``banken top``: all watchdogs, live, on the whole terminal."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

from banken.address import resolve
from banken_supervisor.cli.asking import address_option, tell
from banken_supervisor.cli.completing import watchdogs
from banken_supervisor.cli.screen import Screen, need_terminal
from banken_supervisor.cli.source import Source
from banken_supervisor.cli.topdraw import ABOVE, BELOW, draw
from banken_supervisor.cli.topview import SORTS, Action, Do, View

if TYPE_CHECKING:
    from banken.control import Control

REDRAW_S = 1.0
"""Seconds after which it is drawn anew though nothing came."""


@click.command(short_help="Watch all watchdogs live, on the whole terminal.")
@click.argument("filter", metavar="[FILTER]", required=False, default="", shell_complete=watchdogs)
@click.option(
    "--sort", type=click.Choice(list(SORTS)), default="left", show_default=True, help="By what to sort at first."
)
@click.option("--reverse", is_flag=True, help="The other way round.")
@address_option
def command(filter: str, sort: str, reverse: bool, address: str | None) -> None:  # noqa: A002  (click's name for it)
    """Watch all watchdogs live: how long each has left (as a bar), its silence, its rate of feeds, the gaps between
    the last feeds, its incidents and what it says. A full block among the gaps is one as long as the timeout.

    With FILTER only those whose name contains it, or fits it as a pattern ('worker-*'), or whose state it begins.

    \b
    Keys:
      q             quit (Ctrl-C too)
      s, r          sort by the next column; reverse
      /             filter; Escape shows all again
      arrows, PgUp, PgDn, Home, End
                    select
      p             pause the selected one, or resume it; asks first
      enter         its open incident, or its last one: timeline and evidence

    It asks the supervisor once a second, and goes on when that is restarted.
    """
    need_terminal("top", "`banken status --json`")
    where = resolve(address).text
    view = View(sort=sort, reverse=reverse, filter=filter)
    blocks = _blocks()
    try:
        with Screen() as screen:
            source = Source(where, screen.wake)
            source.start()
            try:
                _run(screen, source, view, where, blocks)
            finally:
                source.close()
    except KeyboardInterrupt:
        return


def _run(screen: Screen, source: Source, view: View, where: str, blocks: bool) -> None:
    from banken_supervisor.cli.watching import alive

    found: list[tuple[str, list[str]]] = []
    while True:
        width, height = screen.size
        view.height = max(1, height - ABOVE - BELOW)
        source.every_rate = view.sort == "rate"
        snapshot = source.snapshot
        view.arrange(snapshot.rows.values())
        visible = tuple(view.page)
        if visible != source.visible:
            source.visible = visible
            source.turned()
        while found:
            note, lines = found.pop(0)
            view.note = note
            if lines:
                view.read([line[at : at + width] for line in lines for at in range(0, len(line) or 1, width)])
        screen.show(draw(view, snapshot, where, (width, height), monotonic(), blocks=blocks))
        for key in screen.wait(REDRAW_S):
            action = view.press(key)
            if action is None:
                continue
            if action.do is Do.QUIT:
                return
            if action.do is Do.SUSPEND:
                screen.suspend()
            else:
                state = snapshot.rows.get(action.name, {}).get("state")
                _order(source, screen, action, state, found)
        alive(source)


def _order(
    source: Source, screen: Screen, action: Action, state: str | None, found: list[tuple[str, list[str]]]
) -> None:
    """Have the source's thread do it; what comes of it is left in ``found``: a note, and lines to be read."""

    def do(control: Control) -> None:
        from banken.errors import BankenError
        from banken_supervisor.cli.group import Failure

        try:
            found.append(
                ("", _incident(control, action.name))
                if action.do is Do.INCIDENT
                else (_pause(control, action.name, resume=state == "paused"), [])
            )
        except (BankenError, Failure) as fault:
            found.append((str(fault), []))
        screen.wake()

    source.order(do)


def _pause(control: Control, name: str, *, resume: bool) -> str:
    from banken.wire import Kind

    if not control.request("status", name=name)["rows"]:
        return f"{name} is watched no longer"
    if resume:
        tell(control, Kind.RESUME, name)
        return f"{name} resumed: it has its whole timeout from now"
    tell(control, Kind.PAUSE, name, 0.0)
    return f"{name} paused: not judged until it is resumed (p again, or `banken resume {name}`)"


def _incident(control: Control, name: str) -> list[str]:
    """The open incident of a watchdog, or its last one, as `banken incident` shows it."""
    from banken_supervisor.cli.group import Failure
    from banken_supervisor.cli.incident import in_words
    from banken_supervisor.journal import reading

    journal = control.request("summary")["journal"]
    if journal is None:
        raise Failure("this supervisor keeps no journal, so there is nothing to read about incidents", 1)
    rows: list[dict[str, Any]] = control.request("status", name=name)["rows"]
    id_ = rows[0].get("incident", {}).get("id") if rows else None
    if id_ is None:
        last = reading.incidents(journal["path"], name=name, limit=1)
        if not last:
            raise Failure(f"{name} has had no incident", 1)
        id_ = last[0].id
    story = reading.incident(journal["path"], id_)
    if story is None:
        raise Failure(f"incident {id_} of {name} is not in the journal (yet)", 1)
    return in_words(story)


def _blocks() -> bool:
    from banken_supervisor.cli.glyphs import supports

    return supports(sys.stdout.encoding)
