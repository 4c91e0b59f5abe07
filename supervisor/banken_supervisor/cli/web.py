"""``banken web``: the page, its API, metrics and ping URLs, in a process of their own."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from banken_supervisor.cli import exit_codes, journals
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import json_logs_option, reading_address_option

if TYPE_CHECKING:
    from banken_supervisor.web.listen_address import ListenAddress


@click.command(short_help="Serve the page, the API, metrics and ping URLs.")
@reading_address_option
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:7768",
    show_default=True,
    help="Where to listen. Elsewhere than on this host only with a token of your own.",
)
@click.option("--host", "names", metavar="NAME", multiple=True, help="A further name it is reached by; repeatable.")
@click.option(
    "--token-file",
    metavar="FILE",
    help="Has the token that requests need that change something.  [default: $BANKEN_TOKEN, else "
    "web-token in the address's directory, made if need be]",
)
@click.option("--ping-token", is_flag=True, help="Require the token for pings from this host too.")
@journals.journal_option
@json_logs_option
@click.option("--until-eof", is_flag=True, hidden=True, help="End when stdin does: for `banken run --web`.")
def command(
    address: str | None,
    listen: str,
    names: tuple[str, ...],
    token_file: str | None,
    ping_token: bool,
    journal: str | None,
    json_logs: bool,
    until_eof: bool,
) -> None:
    """Serve the page, the JSON API, metrics, badges and ping URLs, until SIGTERM or Ctrl-C.

    It is a process of its own, talks to the supervisor as every command does, and may come and go at will; it says
    so when no supervisor runs.
    """
    from banken.address import resolve
    from banken_supervisor.cli import logs, process
    from banken_supervisor.web import listen_address
    from banken_supervisor.web import token_file as tokens

    process.hold_standard_descriptors()
    logs.to_stderr("info", as_json=json_logs)
    where = listen_address.listen_address(listen)
    names = tuple(map(listen_address.host_name, names))
    at = resolve(address).whole()
    token, file = tokens.given_token(token_file), None
    check_place(where, token, names)
    if token is None:
        token, file = tokens.stored_token(at)
    bound = listen_address.bind(where, listen_address.BIND_S if until_eof else 0.0)
    port = bound.getsockname()[1]
    # Only now: this takes most of the time of the start, and what is wrong with the options is known by then.
    from banken_supervisor.web.backend import Settings
    from banken_supervisor.web.serving import Server

    hosts = listen_address.hosts(where, port, names)
    settings = Settings(at, token, hosts, ping_token, file or token_file, journal)
    served = Server(settings, until_eof=until_eof, announce=lambda: _announce(where, port, names, token, file))
    served.serve_on(bound)


def check_place(where: ListenAddress, token: str | None, names: tuple[str, ...]) -> None:
    """A Failure where others can reach it and no token was given, or no name that they reach it by."""
    if token is None and not where.loopback:
        raise Failure(
            f"{where.text} can be reached from other hosts, so a token of your own is needed: "
            "$BANKEN_TOKEN, or `banken web --token-file FILE`",
            exit_codes.USAGE,
        )
    if where.everywhere and not names:
        raise Failure(
            f"{where.text} is every address of this host: give the names that it is reached by, "
            "`banken web --host NAME`",
            exit_codes.USAGE,
        )


def _announce(where: ListenAddress, port: int, names: tuple[str, ...], token: str, file: str | None) -> None:
    """Where it is. The token goes to a terminal only: what is no terminal may be a log."""
    host = names[0] if where.everywhere else where.host_text
    url = f"http://{host}/" if ":" in host.rpartition("]")[2] else f"http://{host}:{port}/"
    if file is None:
        text = f"banken serves {url} (buttons need the token that you gave)"
    elif os.isatty(2):
        text = f"banken serves {url}#token={token} (the part after # allows the buttons, and stays in your browser)"
    else:
        text = f"banken serves {url} (buttons need the token in {file}: open {url}#token=TOKEN)"
    print(text, file=sys.stderr, flush=True)  # noqa: T201
