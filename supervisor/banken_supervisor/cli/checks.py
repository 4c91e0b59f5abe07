"""``banken checks``: what each check saw last; one of them run now; and one that is in no file."""

from __future__ import annotations

import time
import tomllib
from typing import TYPE_CHECKING, Any

import click

from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import NAMES, address_option, changing_address_option, reading_address_option
from banken_supervisor.cli.printing import Table, clean, print_json
from banken_supervisor.text.durations import format_s

if TYPE_CHECKING:
    from banken.control import Control

POLL_S = 0.05
"""Seconds between two looks whether a check that was asked for has run."""

SLACK_S = 5.0
"""Seconds that a run may take beyond the check's limit, until nobody waits for it any more."""


@click.group(invoke_without_command=True, short_help="Show checks; run one now, or one that is in no file.")
@click.option("--name", type=NAMES, metavar="NAME", help="Only those of this name, or of this owner; or a pattern.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of them, each with its last five results.")
@reading_address_option
@click.pass_context
def command(context: click.Context, name: str | None, as_json: bool, address: str | None) -> None:
    """Show the checks that the config has: what each saw last, how long that took, and when it runs again.

    Exit code 1 if there are none.
    """
    if context.invoked_subcommand is not None:
        return
    from banken_supervisor.operator_client.supervisor_client import connect

    with connect(address) as control:
        rows = _rows(control, name)
    if as_json:
        print_json(rows)
    elif rows:
        _TABLE.print(rows)
    if not rows:
        raise Failure("there are no checks" if name is None else f"no check fits {name!r}; `banken checks` has all")


@command.command(short_help="Run a check now, and print what it saw.")
@click.argument("name", type=NAMES)
@changing_address_option
def run(name: str, address: str | None) -> int:
    """Run the check NAME now, or all of the watchdog or program NAME, and print what each saw.

    The result counts like any other. Exit code 0 if all have passed, 1 if one has not.
    """
    from banken_supervisor.operator_client.supervisor_client import connect

    with connect(address) as control:
        rows = _rows(control, name)
        if not rows:
            raise Failure(f"no check fits {name!r}; `banken checks` lists them")
        asked = {row["name"]: control.request("check_run", name=row["name"])["number"] for row in rows}
        until = time.monotonic() + SLACK_S + max(row["limit"] for row in rows)
        passed = True
        while asked:
            for row in _rows(control, name):
                if row["name"] in asked and row["number"] > asked[row["name"]]:
                    del asked[row["name"]]
                    passed &= row["results"][-1]["passed"]
                    _show(f"{row['name']} ({row['label']})", row["results"][-1])
                elif row["name"] in asked and not row["running"]:
                    raise Failure(f"{row['name']} is not run: {row['check_of']} is not running")
            if asked and time.monotonic() > until:
                late = [row for row in _rows(control, name) if row["name"] in asked and row["delayed"]]
                if late:
                    raise Failure("; ".join(f"{row['name']} {clean(row['delayed'])}" for row in late))
                raise Failure(f"{', '.join(asked)} gave no result: `banken status` shows how banken-checks is")
            time.sleep(POLL_S)
    return exit_codes.OK if passed else exit_codes.NOT_SO


@command.command("try", short_help="Run a check that is in no file.")
@click.argument("keys", nargs=-1, required=True, metavar="KIND=VALUE [KEY=VALUE]...")
@click.option("--pid", type=click.IntRange(1), help="The process that it is about, where it is about one.")
def try_(keys: tuple[str, ...], pid: int | None) -> int:
    """Run a check here and now, as this user, and print what it saw.

    The keys are those of the config: banken checks try 'tcp=127.0.0.1:6379' 'send="PING\\r\\n"' expect=+PONG.
    Values are TOML, or else texts. Exit code 0 if it passes, 1 if not.
    """
    import asyncio

    from banken.process_identity import process_start
    from banken_supervisor.checks.subject import Subject
    from banken_supervisor.config.checks import parse_checks

    (check,) = parse_checks(dict(_pair(each) for each in keys))
    subject = Subject("try", pid or 0, process_start(pid) if pid else 0)
    began = time.monotonic()
    found = asyncio.run(check.run(subject))
    took = time.monotonic() - began
    subject.close()
    _show(check.label, {"passed": found.passed, "took": took, "text": found.text})
    return exit_codes.OK if found.passed else exit_codes.NOT_SO


@command.command(hidden=True)
@address_option
def serve(address: str | None) -> None:
    """Run the checks of a supervisor, which starts this by itself."""
    from banken_supervisor.check_runner.serving import serve

    serve(address)


def _pair(given: str) -> tuple[str, Any]:
    key, equals, value = given.partition("=")
    if not equals or not key.strip():
        raise click.UsageError(f"{given!r} is not KEY=VALUE, such as tcp=127.0.0.1:6379")
    if key.strip() == "exec" and not value.lstrip().startswith("["):
        return "exec", value  # a command may be called true
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return key.strip(), value


def _rows(control: Control, name: str | None) -> list[dict[str, Any]]:
    from banken_supervisor.operator_client.pager import all_rows

    return all_rows(control, name, "checks")


def _show(what: str, result: dict[str, Any]) -> None:
    if result["passed"] is None:
        click.echo(f"{clean(what)} {clean(result['text'])}")
        return
    said = "passed" if result["passed"] else "failed"
    click.echo(f"{clean(what)} {said} in {format_s(round(result['took'], 4))}: {clean(result['text'])}")


def _state(row: dict[str, Any]) -> str:
    if not row["running"]:
        return "off"
    if row["delayed"]:
        return "delayed"
    if not row["results"]:
        return "new"
    if row["results"][-1]["passed"]:
        return "passed"
    return f"failed {row['failed']}/{row['fails']}" if row["failed"] else "failed"


def _cells(row: dict[str, Any]) -> list[str]:
    last = row["results"][-1] if row["results"] else None
    following = row["next"]
    what = f"{row['label']}: {last['text']}" if last is not None else row["label"]
    if row["delayed"]:
        what = f"{row['label']}: {row['delayed']}, for {format_s(round(row['delayed_for'], 1))}"
    return [
        clean(row["name"]),
        row["state"],
        _state(row),
        "-" if last is None else format_s(round(last["age"], 1)),
        "-" if last is None else format_s(round(last["took"], 4)),
        "-" if following is None or not row["running"] else format_s(round(max(0.0, following), 1)),
        clean(what),
    ]


_TABLE = Table(
    ["NAME", "STATE", "LAST", "AGO", "TOOK", "NEXT", "WHAT"],
    (3, 4, 5),
    _cells,
    {"alive": "green", "expired": "red", "given-up": "red", "waiting": "yellow", "paused": "cyan"},
    1,
)
