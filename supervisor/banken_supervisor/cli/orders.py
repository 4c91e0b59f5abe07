"""``banken feed``, ``fail``, ``pause``, ``resume``, ``extend``, ``release``: one message about a watchdog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from banken.errors import Refused, RequestFailed
from banken.protocol.limits import REASON_MAX, STATUS_MAX, check_progress, check_text
from banken.protocol.messages import DEFAULT_INTERVAL, Kind, declare
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import (
    DURATION,
    NAME,
    NAMES,
    all_of,
    changing_address_option,
    quiet_option,
    row_of,
)
from banken_supervisor.cli.printing import clean
from banken_supervisor.operator_client.supervisor_client import Said, connect, say, tell
from banken_supervisor.text.durations import NEVER_S, format_s
from banken_supervisor.text.reasons import unjudged
from banken_supervisor.text.sanitize import one_line

if TYPE_CHECKING:
    from banken.control import Control

here_option = click.option(
    "--here", is_flag=True, help="In a cluster: for this member alone, also while the store does not answer."
)


@click.command(short_help="Prove that NAME is alive, once.")
@click.argument("name", type=NAME)
@click.option("--timeout", type=DURATION, help="Declare NAME: unfed for so long, it expires (30s, 2m, 1h).")
@click.option("--interval", type=DURATION, help="With --timeout: how often its callback runs again meanwhile.")
@click.option("--grace", type=DURATION, help="With --timeout: what is allowed before the first feed.")
@click.option("--status", help="A text for people, shown by `banken status`.")
@click.option("--progress", help="A number or text that changes as the work goes on.")
@quiet_option
@changing_address_option
def feed(
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

    Without --timeout, NAME keeps what was declared for it; a new name gets the supervisor's defaults. Of several
    supervisors all get it; it is done if one has taken it, and of each that has not a warning says so.
    In a program with `user`, and with a key that may only feed, it is sent, and not confirmed.

    \b
    Examples:
      banken feed backup --timeout 1d && do-the-backup
      */5 * * * *  sync-mail && banken feed -q sync-mail --timeout 15m
    """
    declaration = None
    if timeout is not None:
        declaration = declare(timeout, DEFAULT_INTERVAL if interval is None else interval, grace)
    elif interval is not None or grace is not None:
        raise click.UsageError("--interval and --grace go with --timeout: together they declare NAME")
    said = None if status is None else check_text(status, "status", STATUS_MAX)
    step = None if progress is None else _progress(progress)
    note = () if said is None and step is None else (step, said)
    row = _said(say(address, Kind.NOTE if note else Kind.FEED, name, *note, declaration=declaration), quiet)
    if quiet or row is None:
        return
    left, due = row["left"], _due(row)
    if row["state"] == "paused":
        due = "; it is not judged until it is resumed" if left is None else f" for another {format_s(left)}"
    click.echo(f"{name} fed: {row['state']}{due}")


def _due(row: dict[str, Any]) -> str:
    """What is expected of it next, as the end of a sentence; empty: nothing."""
    if row["state"] not in ("waiting", "running", "alive", "idle"):
        return ""
    if (why := unjudged(row)) is not None:
        return f", {clean(why)}"
    if row["left"] is None or row["timeout"] >= NEVER_S:
        return ""
    what = "result" if row.get("check") is not None else "feed"
    return f", next {what} due within {format_s(max(0.0, row['left']))}"


def _said(said: Said, quiet: bool) -> dict[str, Any] | None:
    """The row, if any; what else there is to say is printed."""
    if not quiet:
        for each in said.missed:
            click.echo(f"warning: {one_line(each)}", err=True)
        if said.doubt is not None:
            click.echo(f"sent; not confirmed: {said.doubt}")
    return said.row


def _progress(text: str) -> int | float | str | None:
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


@click.command(short_help="Say that NAME has failed: a verdict at once.")
@click.argument("name", type=NAME)
@click.argument("reason")
@quiet_option
@changing_address_option
def fail(name: str, reason: str, quiet: bool, address: str | None) -> None:
    """Say that NAME has failed, and why: a verdict at once. Its next feed ends the incident.

    A NAME that is not watched yet is declared with the supervisor's defaults, so that the first failure of a
    job is not lost. Of several supervisors all get it, as by `banken feed`. In a cluster it may be said to any
    member: the one that leads opens the incident.
    """
    row = _said(say(address, Kind.FAIL, name, check_text(reason, "reason", REASON_MAX)), quiet)
    if quiet or row is None:
        return
    incident = row.get("incident")
    if incident is None and row["for_all"] and row["state"] != "paused":
        click.echo(f"{name} failed: the cluster opens its incident, until its next feed")
    elif incident is None:
        click.echo(f"{name} is {row['state']}: the failure is on record, and nothing runs for it")
    else:
        click.echo(f"{name} failed: incident {incident['id']} is open, until its next feed")


def _tell_of(control: Control, row: dict[str, Any], kind: Kind, *args: Any, here: bool) -> dict[str, Any] | None:
    """As ``tell``; a Failure where nothing is known of this name but the name, and there is no incident of it."""
    try:
        return tell(control, kind, row["name"], *args, here=here)
    except RequestFailed as fault:
        if "state" in row:
            raise
        raise Failure(str(fault)) from None


@click.command(short_help="Do not judge NAME, for a while or until it is resumed.")
@click.argument("name", type=NAMES)
@click.argument("duration", type=DURATION, required=False)
@here_option
@quiet_option
@changing_address_option
def pause(name: str, duration: float | None, here: bool, quiet: bool, address: str | None) -> None:
    """Do not judge NAME for DURATION (30s, 2m, 1h); without one, until `banken resume NAME`.

    NAME may be a pattern (quoted: 'worker-*'): all that fit it now are paused. An incident that is open is closed.

    In a cluster it counts for all members, whichever it is said to. With --here the others go on judging NAME: its
    silence is an incident whenever one of them leads.
    """
    with connect(address) as control:
        for row in all_of(control, name, claimed=not here):  # a misspelt name must not become a new watchdog
            each = row["name"]
            _tell_of(control, row, Kind.PAUSE, duration or 0.0, here=here)
            if not quiet:
                how_long = f"until `banken resume {each}`" if duration is None else f"for {format_s(duration)}"
                click.echo(f"{each} paused: not judged {how_long}")


@click.command(short_help="Judge NAME again, with a whole timeout from now.")
@click.argument("name", type=NAMES)
@here_option
@quiet_option
@changing_address_option
def resume(name: str, here: bool, quiet: bool, address: str | None) -> None:
    """Judge NAME again after a pause, with a whole timeout from now; NAME may be a pattern."""
    with connect(address) as control:
        for before in all_of(control, name):
            row = tell(control, Kind.RESUME, before["name"], here=here)
            if quiet or row is None:
                continue
            if before["state"] == "paused":
                click.echo(f"{row['name']} resumed: {row['state']}{_due(row)}")
            else:
                click.echo(f"{row['name']} was not paused: {row['state']}")


@click.command(short_help="This once, NAME's next feed may come later.")
@click.argument("name", type=NAME)
@click.argument("duration", type=DURATION)
@here_option
@quiet_option
@changing_address_option
def extend(name: str, duration: float, here: bool, quiet: bool, address: str | None) -> None:
    """This once, the next feed of NAME may come as late as DURATION (30s, 2m, 1h) from now."""
    with connect(address) as control:
        before = row_of(control, name)["state"]
        if before not in ("waiting", "alive"):
            raise Failure(f"{name} is {before}; only one that is waiting or alive can be extended")
        tell(control, Kind.EXTEND, name, duration, here=here)
    if not quiet:
        click.echo(f"{name} extended: this once its next feed may take {format_s(duration)} from now")


@click.command(short_help="Watch NAME no longer.")
@click.argument("name", type=NAME)
@here_option
@quiet_option
@changing_address_option
def release(name: str, here: bool, quiet: bool, address: str | None) -> None:
    """Watch NAME no longer. A worker that still feeds it declares it anew.

    With --here the other members of a cluster go on watching it.
    """
    with connect(address) as control:
        before = all_of(control, name, claimed=not here)[0]
        row = _tell_of(control, before, Kind.RELEASE, here=here)
    if not quiet:
        click.echo(f"{name} released: it is watched no longer" + (", but was fed again already" if row else ""))
