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

The supervisor is asked by ``cli/poller.py``, on a thread of its own. Only this package and ``cli/watching.py``
import textual, and only when the command runs.
"""

from __future__ import annotations

import click

from banken.address import whole_text
from banken_supervisor.cli import completion, exit_codes
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import reading_address_option
from banken_supervisor.cli.printing import need_terminal
from banken_supervisor.cli.top.order import SORTS


@click.command(short_help="Watch all watchdogs live, on the whole terminal.")
@click.argument("filter", metavar="[FILTER]", required=False, default="", shell_complete=completion.watchdogs)
@click.option(
    "--sort", type=click.Choice(list(SORTS)), default="state", show_default=True, help="By what to sort at first."
)
@click.option("--reverse", is_flag=True, help="The other way round.")
@reading_address_option
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
    need_terminal("top", "`banken status --json`")
    where = whole_text(address)
    from banken_supervisor.cli.top.app import TopApp

    app = TopApp(where, sort=sort, reverse=reverse, wanted=filter)
    app.run()
    if app.fault:
        raise Failure(app.fault)
    return app.return_code or exit_codes.OK
