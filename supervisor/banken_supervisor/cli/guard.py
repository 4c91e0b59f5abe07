"""``banken guard``: watch one command, without a config file and without a supervisor that runs already."""

from __future__ import annotations

import os
import re
import shutil

import click

from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import DURATION, NAME
from banken_supervisor.text.durations import parse

BUDGET = "3 per 10m"
COUNT_MAX = 1_000_000

_not_in_names = re.compile(r"[^A-Za-z0-9_.:@/+-]+")
_budget = re.compile(r"\s*(\d{1,7})\s+per\s+(\S.{0,60})", re.ASCII)


@click.command(
    short_help="Watch one command, without a config file.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--name", type=NAME, help="What it is called.  [default: the command's own name]")
@click.option("--timeout", type=DURATION, help="Unfed for so long, it hangs (30s, 2m, 1h).")
@click.option("--grace", type=DURATION, help="With --timeout: what is allowed before the first feed.")
@click.option("--restart", is_flag=True, help="Start it again when it hung, or ended with a failure.")
@click.option("--budget", metavar="N per TIME", help=f"With --restart: at most so often.  [default: {BUDGET}]")
@click.option(
    "--stop-timeout", type=DURATION, default="10s", show_default=True, help="From the first signal to SIGKILL."
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    name: str | None,
    timeout: float | None,
    grace: float | None,
    restart: bool,
    budget: str | None,
    stop_timeout: float,
    command: tuple[str, ...],
) -> int:
    """Run COMMAND and watch it; what it reads and writes goes straight through.

    It is fed by the command: `client.feed()` in Python (BANKEN_ADDRESS and BANKEN_NAME are set for it), or
    `banken feed "$BANKEN_NAME"` in a script. When it hangs, what it was doing is written to stderr; then it and all
    that it started gets SIGTERM and, after --stop-timeout, SIGKILL. With --restart it is started again.

    Without --timeout only its end is noticed, unless it declares a timeout itself (`client.watchdog`). With it, a
    command that never feeds hangs after --grace (default: the timeout).

    SIGINT (Ctrl-C), SIGTERM, SIGHUP and SIGQUIT are passed on, to the whole group; a second one kills it at once
    (exit code 137, that of SIGKILL, as `timeout` has it).
    It is killed too when `banken guard` itself is.

    The exit code is that of COMMAND's last run, 128+N if signal N ended it; 126: it cannot be run; 127: there is no
    such command.

    \b
    Examples:
      banken guard --timeout 30s --restart -- python worker.py
      banken guard --restart --budget "5 per 1h" -- ./flaky-thing --port 80
    """
    from banken_supervisor.cli import logs, process
    from banken_supervisor.cli.guard_runner import Guarding, spec_for

    if grace is not None and timeout is None:
        raise click.UsageError("--grace goes with --timeout")
    if budget is not None and not restart:
        raise click.UsageError("--budget goes with --restart: it limits how often that is done")
    runs, period = _parsed(budget or BUDGET)
    if shutil.which(command[0]) is None:
        there = os.path.exists(command[0]) and os.sep in command[0]
        code, why = (
            (exit_codes.NOT_RUNNABLE, "cannot be run") if there else (exit_codes.NO_COMMAND, "there is none")
        )
        raise Failure(f"the command {command[0]!r}: {why}", code)
    process.hold_standard_descriptors()
    logs.to_stderr("warning", as_json=False)
    spec = spec_for(name or _name(command[0]), command, restart, runs, period, stop_timeout)
    with process.private_directory("banken-guard-") as directory:
        guarding = Guarding(directory, spec, timeout, grace)
        guarding.run()
        return guarding.code


def _name(path: str) -> str:
    """A name for the watchdog, of the command's file."""
    return _not_in_names.sub("_", os.path.basename(path)).lstrip(".:@/+-")[:128] or "command"


def _parsed(text: str) -> tuple[int, float]:
    allowed = f'allowed is a count from 1 to {COUNT_MAX:,} and a duration, such as "{BUDGET}"'
    found = _budget.fullmatch(text)
    if found is None or not 1 <= int(found[1]) <= COUNT_MAX:
        raise click.UsageError(f"--budget {text!r}: {allowed}")
    return int(found[1]), parse(found[2], "--budget")
