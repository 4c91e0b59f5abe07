"""``banken start``, ``restart``, ``stop`` and ``reload``: the supervisor's programs, and the supervisor itself."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import click

from banken.errors import Unreachable
from banken_supervisor.cli import completion, exit_codes
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import NAME, allow_empty_option, changing_address_option, quiet_option
from banken_supervisor.cli.printing import clean
from banken_supervisor.cli.waiting import Patience, wait
from banken_supervisor.operator_client.supervisor_client import connect, lock_holder
from banken_supervisor.text.durations import format_s
from banken_supervisor.text.event_text import later, named

if TYPE_CHECKING:  # it loads zmq
    from banken.control import Control

QUIET_S = 30.0
"""How long a command waits for a program that is not on its way: it crashes again and again, say."""

READ_S = 120.0
"""How long it waits until the config file is read: that imports the callbacks' modules."""

STOP_LIMIT_S, SLACK_S = 5.0, 5.0
"""The default of ``stop_timeout``, and what a supervisor may need beyond it."""

MOVING = ("queued", "starting", "stopping")
"""States of a program that end by themselves, within its own timeouts."""


@click.command(short_help="Start a program of the config.")
@click.argument("name", type=NAME, shell_complete=completion.programs)
@click.option("--wait", "until_ready", is_flag=True, help="Wait until it is ready, too.")
@quiet_option
@changing_address_option
def start(name: str, until_ready: bool, quiet: bool, address: str | None) -> None:
    """Start the program NAME, one that had stopped or was given up, and wait until it runs.

    With --wait, until it is ready, as `ready` of the config says. The command fails if the program, or one that it
    starts `after`, is not ready within its grace. Without --wait, a program that is to start `after` others is not
    waited for.
    """
    _order("start", name, address, quiet, until_ready=until_ready)


@click.command(short_help="Stop a program and start it again.")
@click.argument("name", type=NAME, shell_complete=completion.programs)
@quiet_option
@changing_address_option
def restart(name: str, quiet: bool, address: str | None) -> None:
    """Stop the program NAME, with its group's others where the group says so, and wait until it runs again."""
    _order("restart", name, address, quiet)


@click.command(short_help="Stop a program, or without NAME the supervisor, and wait until it has.")
@click.argument("name", type=NAME, shell_complete=completion.programs, required=False)
@quiet_option
@changing_address_option
def stop(name: str | None, quiet: bool, address: str | None) -> None:
    """Stop the program NAME; without NAME the supervisor itself. Waits until it has ended, and shows that it does.

    The supervisor's programs run on without it, and the next supervisor adopts them.
    """
    if name is not None:
        _order("stop", name, address, quiet)
        return
    with connect(address) as control:
        pid: int = control.request("ping")["pid"]
        directory = control.address.directory
        running = [row["pid"] for row in control.request("programs")["rows"] if row["pid"] is not None]
        within, with_programs = STOP_LIMIT_S, False
        try:
            told = control.request("stop")
            within, with_programs = told["within"], told["programs"]
        except Unreachable:
            if directory is not None and lock_holder(directory) == pid:
                raise
            # It stopped so quickly that its answer was left behind.
        patience = Patience(within + SLACK_S)

        def gone() -> bool:
            if directory is not None:
                return lock_holder(directory) != pid
            try:
                control.request("ping")
            except Unreachable:
                return True
            return False

        def ending() -> list[str]:
            """The programs that it stops first; they may take as long as they need."""
            with contextlib.suppress(Unreachable):
                rows = control.request("programs")["rows"] if with_programs else []
                return [row["name"] for row in rows if row["state"] in MOVING and not _hangs(row)]
            return []

        def word() -> str:
            first = ", ".join(ending()[:5])
            return f"the supervisor (pid {pid}) is stopping" + (f"; before it end: {first}" if first else "")

        def give_up() -> bool:
            if patience.left() < patience.seconds / 2 and ending():
                patience.renew()
            return patience.over()

        if not wait(gone, word, give_up, quiet=quiet):
            raise Failure(
                f"the supervisor (pid {pid}) was to end within {patience.seconds:g} s, and still holds "
                f"{control.address.text}; `kill -9 {pid}` ends it, and no incident is lost by that"
            )
    if not quiet:
        click.echo(f"the supervisor at {control.address.text} (pid {pid}) has stopped")
        if running and not with_programs:
            run = "1 program runs" if len(running) == 1 else f"{len(running)} programs run"
            groups = " ".join(f"-{each}" for each in running)
            click.echo(f"{run} on, and the next supervisor adopts them; stop them with: kill -- {groups}")


@click.command(short_help="Have the supervisor read its config file, and its keys' rights, again.")
@allow_empty_option
@quiet_option
@changing_address_option
def reload(allow_empty: bool, quiet: bool, address: str | None) -> None:
    """Have the supervisor read its config file again, and what the keys of other hosts may do, and say what became
    of it. Some keys count at the supervisor's next start only: those that have changed are named.

    A bad file changes nothing: its faults are listed, and the exit code is 4. So is an empty one, unless
    --allow-empty is given.
    """
    with connect(address) as control:
        number = control.request("reload", allow_empty=allow_empty)["number"]
        patience = Patience(READ_S)
        read = lambda: bool(control.request("reloaded")["number"] >= number)  # noqa: E731
        if not wait(read, lambda: "the supervisor reads its config file", patience.over, quiet=quiet):
            raise Failure(
                f"the supervisor has read its config file for {READ_S:g} s, and has not finished; "
                "`banken events` shows when it has"
            )
        last = control.request("reloaded")
    if not last["ok"]:
        text = "\n".join(map(clean, last["text"].splitlines()))
        raise Failure(f"the old config stays in force:\n{text}", exit_codes.REFUSED)
    if not quiet:
        click.echo(f"{clean(last['text'])} is in force{clean(later(last.get('later')))}")


def _order(what: str, name: str, address: str | None, quiet: bool, *, until_ready: bool = False) -> None:
    """Have the supervisor do it, and wait until it is so, as long as that may take; a Failure if it is not."""
    late = ""
    """why it is not waited for any more: it, or what it waits for, is not ready in time"""
    with connect(address) as control:
        moving = False
        failures: dict[str, int] = {}

        def look() -> dict[str, Any] | None:
            nonlocal moving, late
            rows = {row["name"]: row for row in control.request("programs")["rows"]}
            found = rows.get(name)
            awaited = [] if found is None or what == "stop" else _awaited(found, rows)
            ways = awaited or ([] if found is None else [found])
            moving = any(
                each["state"] in MOVING and not _hangs(each) and not _crashes(each, failures) for each in ways
            )
            if until_ready:
                late = next(filter(None, (_why_late(control, name, each) for each in awaited)), "")
            return found

        before = row = look()
        control.request("program", what=what, name=name)
        failures.clear()
        patience = Patience(QUIET_S)

        def settled() -> bool:
            nonlocal row, late
            row = look()
            if what != "stop" and row is not None and row["state"] == "stopped":
                return True  # it has ended already, or somebody else has stopped it
            if until_ready and row is not None and not row["ready"]:
                if reason := _incident(control, row):
                    late = f"{_state(name, row)}: {reason}"
                return bool(late) or row["state"] == "given-up"
            if row is not None and what != "stop" and row.get("awaits"):
                return True
            return row is None or _so(what, row, before) or (row["state"] == "given-up" and what != "stop")

        def word() -> str:
            assert row is not None
            if row.get("awaits") or row["state"] == "backoff":
                return _state(name, row)
            kill = row["due"] if row["state"] == "stopping" and not row["killed"] else None
            left = "" if kill is None else f", SIGKILL in {format_s(max(0.0, kill))}"
            return f"{_state(name, row)} for {format_s(row['since'])}{left}"

        def give_up() -> bool:
            assert row is not None
            if moving:
                patience.renew()
            return patience.over() or (what == "stop" and _hangs(row))

        wait(settled, word, give_up, quiet=quiet)
    if row is None:  # a reload has removed it meanwhile: it was stopped first
        if what != "stop":
            raise Failure(f"{name} was taken out of the config meanwhile, and is stopped")
        if not quiet:
            click.echo(f"{name} is stopped; it was taken out of the config meanwhile")
        return
    if _hangs(row):
        raise Failure(f"{_state(name, row)}: it outlived SIGKILL, because it hangs in the kernel")
    if late:
        raise Failure(late)
    if what != "stop" and row.get("awaits") and not until_ready:
        if not quiet:
            click.echo(f"{name} starts when {clean(named(row['awaits']))} is ready")
        return
    if not _so(what, row, before) or (until_ready and not row["ready"]):
        raise Failure(f"{_state(name, row)}; `banken events` and its log tell more")
    if not quiet:
        click.echo(f"{name} is stopped" if what == "stop" else _state(name, row))


def _incident(control: Control, row: dict[str, Any]) -> str:
    """Why this program, which is starting, has an incident; empty: it has none, or that is its last process's."""
    if row["state"] != "starting" or row["pid"] is None:
        return ""
    found = control.request("status", name=row["name"])["rows"]
    incident = found[0].get("incident") if found else None
    if incident is None:
        return ""
    now = next((each for each in control.request("programs")["rows"] if each["name"] == row["name"]), None)
    if now is None or (now["state"], now["pid"]) != (row["state"], row["pid"]):
        return ""  # it has ended meanwhile
    return clean(incident["reason"] or incident["cause"])


def _awaited(found: dict[str, Any], rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that it waits for in the end: not ready, and waiting for no other one."""
    ends: dict[str, dict[str, Any]] = {}
    seen, pending = {found["name"]}, list(found.get("awaits") or ())
    while pending:
        each = rows.get(pending.pop())
        if each is None or each["name"] in seen:
            continue
        seen.add(each["name"])
        if further := each.get("awaits"):
            pending += further
        else:
            ends[each["name"]] = each
    return list(ends.values())


def _why_late(control: Control, name: str, awaited: dict[str, Any]) -> str:
    """Why what it waits for does not become ready in time; empty: it may still."""
    text = f"{name} waits for {clean(awaited['name'])}, which is"
    match awaited["state"]:
        case "stopped":
            return f"{text} stopped ({clean(awaited['why'])})".removesuffix(" ()")
        case "given-up":
            return f"{text} given up: `banken start {clean(awaited['name'])}` tries it again"
        case "starting" if reason := _incident(control, awaited):
            return f"{text} not ready: {reason}"
    return ""


def _crashes(row: dict[str, Any], failures: dict[str, int]) -> bool:
    """Whether it has failed since the command began; ``failures``: by program, how often it had when first seen.
    Each new process of such a one is "starting", and is no progress."""
    known = failures.setdefault(row["name"], row["failures"])
    failures[row["name"]] = min(known, row["failures"])
    return bool(row["failures"] > known)


def _state(name: str, row: dict[str, Any]) -> str:
    """Its state as a sentence."""
    if row.get("awaits"):
        several = len(row["awaits"]) > 1
        return f"{name} waits for {clean(named(row['awaits']))}, which {'are' if several else 'is'} not ready"
    if row["state"] == "backoff":
        again = "" if row["due"] is None else f" in {format_s(max(0.0, row['due']))}"
        return f"{name} has ended or failed, and starts again{again}"
    if row["state"] == "stopped" and row.get("why"):
        return f"{name} is stopped ({clean(row['why'])})"
    pid = "" if row["pid"] is None else f" (pid {row['pid']})"
    state = {"given-up": "given up", "queued": "waiting for its turn"}.get(row["state"], row["state"])
    return f"{name} is {state}{pid}"


def _hangs(row: dict[str, Any]) -> bool:
    """Whether it outlived SIGKILL: nothing more is done about it."""
    return row["state"] == "stopping" and row["killed"] and row["due"] is None


def _so(what: str, row: dict[str, Any], before: dict[str, Any] | None) -> bool:
    if what == "stop":
        return row["pid"] is None and row["state"] in ("stopped", "given-up")
    if row["state"] == "stopped" and row["ready"]:  # a short job, or one that is ready when it has ended
        return True
    anew = what == "start" or before is None or before["pid"] != row["pid"]
    return row["state"] in ("running", "starting") and row["pid"] is not None and anew
