"""The options that ``banken web`` and ``banken run --web`` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.group import Failure

if TYPE_CHECKING:
    from banken_supervisor.web.listen_address import ListenAddress
    from banken_supervisor.web.peers import Allowed


class WebOptions(NamedTuple):
    """What was given."""

    listen: str
    host: tuple[str, ...] = ()
    token_file: str | None = None
    read_token_file: str | None = None
    open: bool = False
    socket: str | None = None
    allow: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """The same for a ``banken web``."""
        found = ["--listen", self.listen, *(["--open"] if self.open else [])]
        for option, values in (("--host", self.host), ("--allow", self.allow)):
            found += [word for value in values for word in (option, value)]
        for option, value in (
            ("--token-file", self.token_file),
            ("--read-token-file", self.read_token_file),
            ("--socket", self.socket),
        ):
            found += [] if value is None else [option, value]
        return found


class Checked(NamedTuple):
    """What they mean."""

    where: ListenAddress
    names: tuple[str, ...]
    token: str | None
    """None: none was given"""
    read_token: str | None
    allowed: Allowed


_OPTIONS = (
    click.option("--host", metavar="NAME", multiple=True, help="A further name it is reached by; repeatable."),
    click.option(
        "--token-file",
        metavar="FILE",
        help="Has the token that requests need, but for pings with a key.  [default: $BANKEN_TOKEN, else web-token "
        "in the address's directory, made if need be]",
    ),
    click.option(
        "--read-token-file",
        metavar="FILE",
        help="Has a second token, with which a client can only read: for Prometheus, say.",
    ),
    click.option(
        "--open",
        is_flag=True,
        help="Turn protection off: reading and pings need no token. Actions need it all the same.",
    ),
    click.option(
        "--socket",
        metavar="FILE",
        help="A Unix socket to listen at too; its users need no token.  [default: web in the address's directory]",
    ),
    click.option(
        "--allow",
        metavar="USER",
        multiple=True,
        help="Who may use that socket, beside root and yourself: a user, or @GROUP; repeatable. Its directory must "
        "let them in.",
    ),
)


def web_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The decorator."""
    for each in reversed(_OPTIONS):
        command = each(command)
    return command


def check(given: WebOptions) -> Checked:
    """All of it; Refused or a Failure says what is wrong. Nothing is opened but the token's file."""
    from banken_supervisor.web import listen_address, token_file, unix_socket

    where = listen_address.listen_address(given.listen)
    names = tuple(map(listen_address.host_name, given.host))
    token = token_file.given_token(given.token_file)
    read_token = None if given.read_token_file is None else token_file.token_in(given.read_token_file)
    if read_token is not None and read_token == token:
        raise Failure(
            "--read-token-file has the token that allows everything: make another one for those who only read",
            exit_codes.USAGE,
        )
    if token is None and not where.loopback:
        raise Failure(
            f"{where.text} can be reached from other hosts, so a token of your own is needed: "
            "$BANKEN_TOKEN, or `--token-file FILE`",
            exit_codes.USAGE,
        )
    if where.everywhere and not names:
        raise Failure(
            f"{where.text} is every address of this host: give the names that it is reached by, `--host NAME`",
            exit_codes.USAGE,
        )
    allowed = unix_socket.allowed_of(given.allow)
    if given.allow and given.socket is None:
        raise Failure(
            "--allow needs --socket FILE: the socket in the address's directory is behind a door that only you may "
            "open",
            exit_codes.USAGE,
        )
    return Checked(where, names, token, read_token, allowed)
