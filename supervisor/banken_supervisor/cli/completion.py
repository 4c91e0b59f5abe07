"""``banken completion``: the script that has a shell complete commands, options and names.

What it may put in for an argument is asked of the running supervisor; without one it is nothing, silently.
"""

from __future__ import annotations

import contextlib
import os
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from banken.errors import AddressRefused, BankenError
from banken_supervisor.engine.patterns import is_pattern
from banken_supervisor.operator_client.supervisor_client import ask, usual_journal

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

ASK_S = 0.3
"""Seconds to wait for the supervisor: somebody sits at the keyboard."""

ITEMS_MAX = 200
"""Names that are proposed."""


def watched(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of watchdogs and of programs."""
    found = {item.value: item for item in (*watchdogs(ctx, param, incomplete), *programs(ctx, param, incomplete))}
    return list(found.values())[:ITEMS_MAX]


def watchdogs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of watchdogs, each with its state."""
    if is_pattern(incomplete):
        return []
    rows = _ask(ctx, "status", name=f"{incomplete}*", limit=ITEMS_MAX)
    return _items(rows, ctx, incomplete)


def programs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of programs, each with its state."""
    return _items(_ask(ctx, "programs"), ctx, incomplete)[:ITEMS_MAX]


def incidents(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The newest incidents' ids, each with its watchdog, from the journal."""
    from click.shell_completion import CompletionItem

    from banken_supervisor.journal import reading

    found = []
    with contextlib.suppress(BankenError):
        journal = ctx.params.get("journal") or usual_journal(ctx.params.get("address"))
        if journal is not None and os.path.exists(journal):
            found = reading.incidents(journal, limit=ITEMS_MAX)
    items = [CompletionItem("last", help="the newest")]
    items += [CompletionItem(each.id, help=f"{each.name} {each.cause}") for each in found]
    return [item for item in items if item.value.startswith(incomplete)]


def _ask(ctx: click.Context, op: str, **args: Any) -> list[dict[str, Any]]:
    found = None
    with contextlib.suppress(AddressRefused):
        found = ask(ctx.params.get("address"), ASK_S, op, **args)
    return found["rows"] if found else []


def _items(rows: list[dict[str, Any]], ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    given = {value for value in ctx.params.values() if isinstance(value, str)}
    return [
        CompletionItem(row["name"], help=row["state"])
        for row in rows
        if fnmatchcase(row["name"], f"{incomplete}*") and row["name"] not in given
    ]


@click.command(short_help="Print the completion script of bash, zsh or fish.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that makes SHELL (bash 4.4 or newer, zsh, fish) complete banken's commands and options, and
    the names of the watchdogs of a running supervisor.

    \b
    To have it in every new shell:
      bash   echo 'eval "$(banken completion bash)"' >> ~/.bashrc
      zsh    echo 'eval "$(banken completion zsh)"' >> ~/.zshrc
      fish   banken completion fish > ~/.config/fish/completions/banken.fish
    """
    from click.shell_completion import get_completion_class

    from banken_supervisor.cli.group import banken

    kind = get_completion_class(shell)
    assert kind is not None, f"click knows no completion for {shell}"
    made = kind(banken, {}, "banken", "_BANKEN_COMPLETE")
    click.echo(made.source_template % made.source_vars())
