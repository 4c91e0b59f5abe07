"""``banken web``: the page, its API, metrics and ping URLs, in a process of their own."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from banken.errors import AddressRefused
from banken_supervisor.cli import journals
from banken_supervisor.cli.options import json_logs_option, reading_address_option
from banken_supervisor.cli.web_options import WebOptions, check, web_options

if TYPE_CHECKING:
    from banken.address import Address
    from banken_supervisor.web.backend import Settings
    from banken_supervisor.web.listen_address import ListenAddress
    from banken_supervisor.web.peers import Allowed
    from banken_supervisor.web.unix_socket import UnixSocket

log = logging.getLogger("banken.web")


@click.command(short_help="Serve the page, the API, metrics and ping URLs.")
@reading_address_option
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:7768",
    show_default=True,
    help="Where to listen. Elsewhere than on this host only with a token of your own.",
)
@web_options
@journals.journal_option
@json_logs_option
@click.option("--until-eof", is_flag=True, hidden=True, help="End when stdin does: for `banken run --web`.")
def command(address: str | None, journal: str | None, json_logs: bool, until_eof: bool, **given: Any) -> None:
    """Serve the page, the JSON API, metrics, badges and ping URLs, until SIGTERM or Ctrl-C.

    It is a process of its own, talks to the supervisor as every command does, and may come and go at will; it says
    so when no supervisor runs.

    Every user of this host reaches a port of it: each request needs the token. The address that is printed on a
    terminal has it after the #. Pings need no more than a key (`banken ping-key NAME`), and whoever may use the
    Unix socket needs nothing (curl --unix-socket).
    """
    from banken.address import resolve
    from banken_supervisor.cli import logs, process
    from banken_supervisor.processes import descriptor_limit
    from banken_supervisor.web import listen_address, ping_keys, token_file

    process.hold_standard_descriptors()
    process.unblock_signals()
    logs.to_stderr("info", as_json=json_logs)
    options = WebOptions(**given)
    where, names, token, read_token, allowed = check(options)
    at = resolve(address).whole()
    file = options.token_file
    if token is None:
        token, file = token_file.stored_token(at)
    bound = listen_address.bind(where, listen_address.BIND_S if until_eof else 0.0)
    port = bound.getsockname()[1]
    local = _socket(at, options.socket, allowed)
    # Only now: this takes most of the time of the start, and what is wrong with the options is known by then.
    from banken_supervisor.web.backend import Settings
    from banken_supervisor.web.serving import Server

    descriptor_limit.raise_limit()
    settings = Settings(
        at,
        token,
        listen_address.hosts(where, port, names),
        options.open,
        file,
        journal,
        ping_keys.keys_file(at),
        allowed,
        read_token,
    )
    path = None if local is None else local.path
    served = Server(settings, until_eof=until_eof, announce=lambda: _announce(where, port, names, settings, path))
    try:
        served.serve_on([bound] if local is None else [bound, local.bound])
    finally:
        if local is not None:
            local.remove()


def _socket(at: Address, path: str | None, allowed: Allowed) -> UnixSocket | None:
    """The Unix socket. None: the address's directory has none, or another web process has it."""
    from banken_supervisor.web import unix_socket

    if path is not None:
        return unix_socket.UnixSocket(path, allowed)
    if at.directory is None:
        return None
    try:
        os.makedirs(at.directory, 0o700, exist_ok=True)
        return unix_socket.UnixSocket(os.path.join(at.directory, unix_socket.NAME), allowed)
    except (AddressRefused, OSError) as fault:
        log.warning("%s", fault)
        return None


def _announce(
    where: ListenAddress, port: int, names: tuple[str, ...], settings: Settings, path: str | None
) -> None:
    """Where it is. The token goes to a terminal only: what is no terminal may be a log."""
    host = names[0] if where.everywhere else where.host_text
    url = f"http://{host}/" if ":" in host.rpartition("]")[2] else f"http://{host}:{port}/"
    if os.isatty(2):
        text = (
            f"{url}#token={quote(settings.token, safe='')} (what follows # lets you in, and stays in your browser)"
        )
    else:
        text = f"{url} (open {url}#token=TOKEN. {settings.where_the_token_is})"
    if path is not None:
        text += f"; without a token: curl --unix-socket {shlex.quote(path)} http://banken/"
    print(f"banken serves {text}", file=sys.stderr, flush=True)  # noqa: T201
    if settings.open:
        who = "every user of this host" if where.loopback else "everybody who reaches this port"
        log.warning("--open: %s can read everything and feed any name without a token", who)
