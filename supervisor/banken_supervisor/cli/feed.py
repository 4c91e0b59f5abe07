"""``banken feed``: one proof of life, from a script."""

from __future__ import annotations

import click

from banken.errors import Refused
from banken.protocol.limits import STATUS_MAX, check_progress, check_text
from banken_supervisor.cli.options import DURATION, NAME, address_option, quiet_option
from banken_supervisor.operator_client.supervisor_client import connect, tell
from banken_supervisor.text.durations import format_s


@click.command(short_help="Prove that NAME is alive, once.")
@click.argument("name", type=NAME)
@click.option("--timeout", type=DURATION, help="Declare NAME: unfed for so long, it expires (30s, 2m, 1h).")
@click.option("--interval", type=DURATION, help="With --timeout: how often its callback runs again meanwhile.")
@click.option("--grace", type=DURATION, help="With --timeout: what is allowed before the first feed.")
@click.option("--status", help="A text for people, shown by `banken status`.")
@click.option("--progress", help="A number or text that changes as the work goes on.")
@quiet_option
@address_option
def command(
    name: str,
    timeout: float | None,
    interval: float | None,
    grace: float | None,
    status: str | None,
    progress: str | None,
    quiet: bool,
    address: str | None,
) -> None:
    """Prove that NAME is alive, once, and say whether the supervisor took it.

    Without --timeout, NAME keeps what was declared for it; a new name gets the supervisor's defaults.

    \b
    Examples:
      banken feed backup --timeout 1d && do-the-backup
      */5 * * * *  sync-mail && banken feed -q sync-mail --timeout 15m
    """
    from banken.protocol.messages import DEFAULT_INTERVAL, Kind, declare

    declaration = None
    if timeout is not None:
        declaration = declare(timeout, DEFAULT_INTERVAL if interval is None else interval, grace)
    elif interval is not None or grace is not None:
        raise click.UsageError("--interval and --grace go with --timeout: together they declare NAME")
    said = None if status is None else check_text(status, "status", STATUS_MAX)
    step = None if progress is None else _progress(progress)
    with connect(address) as control:
        if said is None and step is None:
            row = tell(control, Kind.FEED, name, declaration=declaration)
        else:
            row = tell(control, Kind.NOTE, name, step, said, declaration=declaration)
    if quiet or row is None:
        return
    left = row["left"]
    due = "" if left is None else f", next feed due within {format_s(max(0.0, left))}"
    if row["state"] == "paused":
        due = "; it is not judged until it is resumed" if left is None else f" for another {format_s(left)}"
    click.echo(f"{name} fed: {row['state']}{due}")


def _progress(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if number == number:  # not nan, which never equals itself and would look like progress for ever
            return check_progress(number)
    if not text:
        raise Refused("progress is a number or a text, not empty")
    return check_progress(text)
