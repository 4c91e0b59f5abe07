"""``banken top``: all watchdogs, live, on the whole terminal.

    order.py      pure: which rows are shown, and where each stands
    columns.py    pure: which columns fit a width
    text.py       pure: rows, facts and incidents in words
    app.py        the application: its threads, and which page is on top
    main.py       the screen with the lists: tabs, filter, sort; head.py says the lines above them
    table.py      a list of rows; watchdogs.py (programs, too), incidents.py and events.py say what is in it
    page.py       a text over the whole screen; detail.py, log.py and help.py show theirs on it
    commands.py   what it may tell the supervisor
    background.py the thread that reads files

The supervisor is asked by ``cli/poller.py`` on a thread of its own, and its events are followed on another. Only
this package imports textual, and only when the command runs.
"""

from __future__ import annotations

import os
import sys

import click

from banken.address import resolve
from banken_supervisor.cli import completion_items, exit_codes
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import address_option
from banken_supervisor.cli.screen import need_terminal
from banken_supervisor.cli.top.order import SORTS

INSTEAD = "`banken status --json`"


@click.command(short_help="Watch all watchdogs live, on the whole terminal.")
@click.argument("filter", metavar="[FILTER]", required=False, default="", shell_complete=completion_items.watchdogs)
@click.option(
    "--sort", type=click.Choice(list(SORTS)), default="state", show_default=True, help="By what to sort at first."
)
@click.option("--reverse", is_flag=True, help="The other way round.")
@address_option
def command(filter: str, sort: str, reverse: bool, address: str | None) -> int:  # noqa: A002  (click's name for it)
    """Watch all watchdogs live, the worst first, and besides them programs, incidents and events.

    With FILTER only the watchdogs whose name contains it, or fits it as a pattern ('worker-*'), or whose state it
    begins.

    \b
    Keys:
      1 2 3 4, Tab  watchdogs, programs, incidents, events
      arrows, PgUp, PgDn, Home, End
                    select
      enter         detail: gaps between feeds, open incident, evidence, next step
      l             the log of the selected program
      /             filter; Escape shows all again
      s, r          sort by the next column; reverse
      p             pause the selected watchdog, or resume it; asks first
      ?             help
      q             back, or quit (Ctrl-C too)

    It asks the supervisor once a second, and goes on when that is restarted.
    """
    need_terminal("top", INSTEAD, stderr=True)
    if "utf" not in (sys.stderr.encoding or "").lower():
        raise Failure(f"top needs a terminal in UTF-8, not {sys.stderr.encoding}; use {INSTEAD}", exit_codes.NOT_SO)
    where = resolve(address).text
    # The size is the terminal's own: what a shell exports as COLUMNS and LINES stays as it was when it is changed.
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    from banken_supervisor.cli.top.app import TopApp

    app = TopApp(where, sort=sort, reverse=reverse, wanted=filter)
    app.run()
    if app.fault:
        raise Failure(app.fault, exit_codes.NOT_SO)
    return app.return_code or exit_codes.OK
