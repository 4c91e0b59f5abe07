"""The list of commands. Each is imported only when it is used, so that ``banken feed`` stays quick."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

import click

import banken as package
from banken.errors import AddressInUse, AddressRefused, BankenError, Refused, RequestFailed, Unreachable
from banken_supervisor.cli import exit_codes
from banken_supervisor.config.faults import ConfigFaults
from banken_supervisor.text.sanitize import one_line

COMMANDS = (
    "demo", "run", "install", "guard", "status", "top", "events", "incidents", "incident", "history",
    "check", "checks",
    "feed", "fail", "pause", "resume", "extend", "release", "suggest", "metrics",
    "start", "stop", "restart", "reload", "config", "keys", "cluster", "web", "ping-key", "journal", "completion",
)  # fmt: skip
"""In the order of the help page. Command NAME is ``command`` in ``banken_supervisor/cli/NAME.py``, - as _."""

TOGETHER = {
    **dict.fromkeys(("feed", "fail", "pause", "resume", "extend", "release"), "orders"),
    **dict.fromkeys(("incident", "incidents"), "incident"),
    "journal": "journals",
    **dict.fromkeys(("start", "stop", "restart", "reload"), "programs"),
}
"""Modules that have several of a kind; each is called as the command is."""

CODES: tuple[tuple[type[Exception], int], ...] = (
    (Unreachable, exit_codes.NO_SUPERVISOR),
    (RequestFailed, exit_codes.REFUSED),
    (AddressInUse, exit_codes.ADDRESS_IN_USE),
    (AddressRefused, exit_codes.ADDRESS_REFUSED),
    (Refused, exit_codes.USAGE),
    (ConfigFaults, exit_codes.USAGE),
    (BankenError, exit_codes.NOT_SO),  # the journal's, say
)
"""Exit codes of our own errors; the first line that fits counts."""


SAME = {
    "programs": "status",
    "watchdogs": "status",
    "list": "status",
    "ls": "status",
    "ps": "status",
    "logs": "top",
    "log": "top",
    "kill": "stop",
    "install-units": "install",
}
"""What people type, and the command that does it here."""


class Failure(click.ClickException):
    """One line on stderr, or several, and an exit code from ``exit_codes``. A terminal obeys nothing in it."""

    def __init__(self, message: str, code: int = exit_codes.NOT_SO) -> None:
        super().__init__("\n".join(map(one_line, message.split("\n"))))
        self.exit_code = code  # type: ignore[misc]  # click reads it from the instance


class LazyGroup(click.Group):
    """Loads a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        file = TOGETHER.get(cmd_name, cmd_name.replace("-", "_"))
        module = importlib.import_module(f"banken_supervisor.cli.{file}")
        command: click.Command = getattr(module, cmd_name if cmd_name in TOGETHER else "command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = [SAME[name]] if name in SAME else difflib.get_close_matches(name, COMMANDS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COMMANDS)}"
            raise click.UsageError(f"no such command: {name!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except tuple(kind for kind, _ in CODES) as fault:
            code = next(code for kind, code in CODES if isinstance(fault, kind))
            text = str(fault)
            if isinstance(fault, ConfigFaults) and fault.faults:
                text = f"{fault.faults[0].file} cannot be used:\n{text}"
            raise Failure(text, code) from None


@click.group(
    cls=LazyGroup,
    epilog=exit_codes.HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package.__version__, message="banken %(version)s")
def banken() -> None:
    """banken (番犬), a watchdog for many processes.

    Workers feed one supervisor; when one falls silent, the supervisor notices within milliseconds.

    New here? `banken demo` shows it all in ten seconds.
    """
