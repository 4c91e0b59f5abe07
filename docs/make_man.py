"""Writes docs/banken.1, the man page, from the commands themselves: ``python docs/make_man.py``.

``--check`` writes nothing and ends with 1 if the file is not what would be written; tests/test_man.py holds that.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import click

import banken as package
from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.group import banken

HERE = Path(__file__).parent / "banken.1"


def quoted(text: str) -> str:
    """Text as roff takes it: nothing in it is a command, and hyphens can be copied."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...").replace(" (番犬)", "")
    text = text.replace("↑", "up").replace("↓", "down")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def paragraphs(text: str) -> list[str]:
    """A docstring's paragraphs; one that begins with a line of ``\\b`` keeps its lines."""
    lines: list[str] = []
    for number, part in enumerate(re.split(r"\n\s*\n", inspect.cleandoc(text))):
        if part.startswith("\b"):
            lines += [".nf" if not number else ".PP\n.nf", quoted(part.removeprefix("\b").strip("\n")), ".fi"]
            continue
        words = quoted(" ".join(part.split()))
        lines += [words if not number else f".PP\n{words}"]
    return lines


def usage(path: str, command: click.Command) -> str:
    """``banken pause [OPTIONS] NAME [DURATION]``"""
    context = click.Context(command, info_name=path)
    pieces = [piece for piece in command.collect_usage_pieces(context) if piece]
    return f".B {quoted(path)}\n{quoted(' '.join(pieces))}"


def option(parameter: click.Option) -> list[str]:
    """One option as a tagged paragraph."""
    names = ", ".join(quoted(name) for name in (*parameter.opts, *parameter.secondary_opts))
    value = "" if parameter.is_flag else f" \\fI{quoted(metavar(parameter))}\\fR"
    told = parameter.help or ""
    if parameter.show_default and parameter.default is not None and not parameter.is_flag:
        told += f"  [default: {parameter.default}]"
    return [".TP", f"\\fB{names}\\fR{value}", quoted(" ".join(told.split()))]


def metavar(parameter: click.Option) -> str:
    """What stands for an option's value."""
    if parameter.metavar:
        return parameter.metavar
    if isinstance(parameter.type, click.Choice):
        return "|".join(map(str, parameter.type.choices))
    return parameter.type.name.upper()


def section(path: str, command: click.Command) -> list[str]:
    """A command with its options, and the commands below it."""
    lines = [f".SS {quoted(path)}", usage(path, command), ".PP", *paragraphs(command.help or "")]
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            lines += option(parameter)
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, f"{path} lists {name}, which there is not"
            lines += section(f"{path} {name}", below)
    return lines


def page() -> str:
    """The whole page."""
    context = click.Context(banken, info_name="banken")
    lines = [
        '.\\" Made by docs/make_man.py from the commands; change those.',
        f'.TH BANKEN 1 "" "banken {package.__version__}" "User Commands"',
        ".nh",
        ".ad l",
        ".SH NAME",
        "banken \\- a watchdog for many processes",
        ".SH SYNOPSIS",
        ".B banken\n.I COMMAND\n[\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...",
        ".SH DESCRIPTION",
        *paragraphs(banken.help or ""),
        ".SH COMMANDS",
    ]
    for name in banken.list_commands(context):
        command = banken.get_command(context, name)
        assert command is not None, f"there is no command {name}"
        lines += section(f"banken {name}", command)
    lines += [".SH EXIT STATUS", *_exit_codes(), ".SH ENVIRONMENT", *_environment(), ".SH SEE ALSO"]
    lines.append("The documentation in the directory docs of the source.")
    return "\n".join(line.strip("\n") for line in lines if line) + "\n"


def _exit_codes() -> list[str]:
    found: list[str] = []
    for line in exit_codes.HELP.splitlines():
        if match := re.fullmatch(r"\s+(\d+)\s+(.*)", line):
            found += [".TP", f".B {match[1]}", quoted(match[2])]
    found += [".PP", quoted("banken check has codes of its own, those of Nagios.")]
    return found


def _environment() -> list[str]:
    told: Any = {
        "BANKEN_ADDRESS": "The supervisor's directory, where --address is not given.",
        "BANKEN_CONFIG": "The config file, where -c is not given.",
        "NO_COLOR": "If set to anything, no colours are used (https://no-color.org).",
    }
    return [line for name, text in told.items() for line in (".TP", f".B {name}", quoted(text))]


def main() -> int:
    """Write the page, or check it."""
    made = page()
    if "--check" in sys.argv[1:]:
        return 0 if HERE.exists() and HERE.read_text(encoding="utf-8") == made else 1
    HERE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
