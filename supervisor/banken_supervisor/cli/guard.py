"""``banken guard``: watch one command, without a config file and without a supervisor that runs already."""

from __future__ import annotations

import os
import re
import shutil

import click

from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import DURATION, NAME

_not_in_names = re.compile(r"[^A-Za-z0-9_.:@/+-]+")


@click.command(
    short_help="Watch one command, without a config file.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--name", type=NAME, help="What it is called.  [default: the command's own name]")
@click.option("--timeout", type=DURATION, help="Unfed for so long, it hangs (30s, 2m, 1h).")
@click.option("--grace", type=DURATION, help="With --timeout: what is allowed before the first feed.")
@click.option("--restart", is_flag=True, help="Start it again when it hung, or ended with a failure.")
@click.option("--budget", metavar="N per TIME", help="With --restart: at most so often.  [default: 3 per 10m]")
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
    command that never feeds hangs after --grace (default: 60 s, or the timeout where that is longer).

    It has the terminal, as under a shell: it may read it (/dev/tty), is told of a new size, and Ctrl-Z stops it and
    `banken guard`; `fg` and `bg` continue both.

    SIGINT (Ctrl-C), SIGTERM, SIGHUP and SIGQUIT are passed on, to the whole group; a second one kills it at once
    (exit code 137, that of SIGKILL, as `timeout` has it). One within 0.2 s, and a SIGHUP, are not taken for a
    second: `timeout`, and a terminal that is closed, send two. It is killed too when `banken guard` itself is.

    The exit code is that of COMMAND's last run, 128+N if signal N ended it; 126: it cannot be run; 127: there is no
    such command.

    \b
    Examples:
      banken guard --timeout 30s --restart -- python worker.py
      banken guard --restart --budget "5 per 1h" -- ./flaky-thing --port 80
    """
    from banken_supervisor.cli import logs, process
    from banken_supervisor.cli.guard_runner import Guarding
    from banken_supervisor.engine.ladder import Backoff, Budget
    from banken_supervisor.engine.policy import ProgramSpec, Restart

    if grace is not None and timeout is None:
        raise click.UsageError("--grace goes with --timeout")
    if budget is not None and not restart:
        raise click.UsageError("--budget goes with --restart: it limits how often that is done")
    limit = Budget(3, 600.0)
    if budget is not None:
        from banken_supervisor.config import fields

        try:
            limit = fields.budget(budget)
        except ValueError as fault:
            raise click.UsageError(f"--budget: {fault} (a count from 1 to {fields.COUNT_MAX:,})") from None
    if shutil.which(command[0]) is None:
        if os.sep in command[0] and os.path.exists(command[0]):
            raise Failure(f"the command {command[0]!r}: cannot be run", exit_codes.NOT_RUNNABLE)
        raise Failure(f"the command {command[0]!r}: there is none", exit_codes.NO_COMMAND)
    process.hold_standard_descriptors()
    logs.to_stderr("warning", as_json=False)
    spec = ProgramSpec(
        name or _name(command[0]),
        command,
        stop_timeout=stop_timeout,
        restart=Restart.ON_FAILURE if restart else Restart.NEVER,
        budget=limit,
        backoff=Backoff(0.5, 30.0),
        dies_with_supervisor=True,
        terminal=True,
        attributes=None,  # it has what the shell gave us: `nice`, `ulimit`, `umask`
    )
    with process.private_directory("banken-guard-") as directory:
        guarding = Guarding(directory, spec, timeout, grace)
        guarding.run()
        return guarding.code


def _name(path: str) -> str:
    """A name for the watchdog, of the command's file."""
    return _not_in_names.sub("_", os.path.basename(path)).lstrip(".:@/+-")[:128] or "command"
