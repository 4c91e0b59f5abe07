"""``banken config``: look at a config file without running it."""

from __future__ import annotations

import click

from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.printing import clean, print_json
from banken_supervisor.text.counts import plural


@click.group(short_help="Check a config file; print its schema, or an example.")
def command() -> None:
    """Check a config file, and print its schema or an example.

    A file to begin with: banken config example > banken.toml
    """


@command.command(short_help="Say all that is wrong with a config file.")
@click.argument("file", required=False)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help='Print {"file", "ok", counts, "faults": […], "warnings": […]} on stdout.',
)
def check(file: str | None, as_json: bool) -> int:
    """Say all that is wrong with FILE, each fault with its line, its key and what is allowed.

    Also looked at: whether commands, directories, users, modules, keys and certificates are there, and can be used;
    modules are imported for that, in processes of their own. Without FILE: $BANKEN_CONFIG, ./banken.toml,
    $XDG_CONFIG_HOME/banken/banken.toml, /etc/banken/banken.toml, the first that exists.

    What is allowed and may not be meant is a warning, which changes no exit code.

    Exit code 0 if the file can be used, 1 if not or if there is none.
    """
    from banken_supervisor import config
    from banken_supervisor.config import finding
    from banken_supervisor.keys import needed_keys

    path = config.find(file)
    if path is None:
        looked = ", ".join(map(str, finding.places()))
        raise Failure(
            f"no config file: $BANKEN_CONFIG is not set, and there is none of {looked}; "
            "`banken config example` prints one"
        )
    made, faults = config.examine(path, more=needed_keys.problems)
    warnings = () if made is None else made.warnings
    counts = {
        "watchdogs": 0 if made is None else sum(policy.check is None for _, policy in made.policies),
        "groups": 0 if made is None else len(made.groups),
        "programs": 0 if made is None else len(made.programs),
    }
    if as_json:
        told = {"file": str(path), "ok": not faults, **counts}
        print_json(
            told | {"faults": [each._asdict() for each in faults], "warnings": [w._asdict() for w in warnings]}
        )
    else:
        for fault in faults:
            click.echo(clean(fault), err=True)
        for warning in warnings:
            click.echo(f"warning: {clean(warning)}", err=True)
        if not faults:
            parts = [plural(count, what.removesuffix("s")) for what, count in counts.items()]
            warned = f", {plural(len(warnings), 'warning')}" if warnings else ""
            empty = made is not None and made.empty
            note = "; it is empty, and without a terminal `banken run` needs --allow-empty for it" if empty else ""
            click.echo(f"{clean(path)}: {', '.join(parts)}, 0 faults{warned}{note}")
            for user, directory in {} if made is None else config.feeding_directories(made).items():
                click.echo(f"programs of user {clean(user)} feed at {clean(directory)}")
    return exit_codes.NOT_SO if faults else exit_codes.OK


@command.command(short_help="Print the JSON Schema of banken.toml.")
def schema() -> None:
    """Print the JSON Schema of banken.toml, for editors and generators."""
    from banken_supervisor import config

    print_json(config.schema())


@command.command(short_help="Print a commented example.")
def example() -> None:
    """Print a commented config file that passes `banken config check`."""
    from banken_supervisor import config

    click.echo(config.example(), nl=False)
