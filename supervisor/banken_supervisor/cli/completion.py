"""``banken completion``: the script that has a shell complete commands, options and names."""

from __future__ import annotations

import click


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
