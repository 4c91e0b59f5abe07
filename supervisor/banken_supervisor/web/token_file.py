"""The token that requests need: from a file, from the environment, or made once. Imports no web server."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat

from banken.address import Address
from banken.errors import AddressRefused, Refused
from banken_supervisor.files.trusted_files import read_file

TOKEN_FILE = "web-token"  # noqa: S105  # a file's name
TOKEN_MIN = 16
TOKEN_MAX = 512


def given_token(file: str | None) -> str | None:
    """The token of ``--token-file``, else of ``$BANKEN_TOKEN``; None: neither was given."""
    if file is None:
        found = os.environ.get("BANKEN_TOKEN")
        return None if found is None else _checked(found, "$BANKEN_TOKEN")
    return token_in(file)


def token_in(file: str) -> str:
    """The token that a file has. Refused: it cannot be read, or has none that can be used."""
    try:
        if os.path.isfile(file):
            return _checked(read_file(file, TOKEN_MAX + 1).decode().strip(), file)
        with open(file, encoding="utf-8") as opened:  # of a shell's <(…), say
            return _checked(opened.read(TOKEN_MAX + 2).strip(), file)
    except (OSError, UnicodeDecodeError) as fault:
        raise Refused(f"the token file {file} cannot be read: {getattr(fault, 'strerror', fault)}") from None


def stored_token(address: Address) -> tuple[str, str]:
    """The token in the address's directory, made if there is none, and its file."""
    if address.directory is None:
        raise Refused("an address without a directory has no token file; give one with --token-file")
    path = os.path.join(address.directory, TOKEN_FILE)
    try:
        if not os.path.lexists(path):
            os.makedirs(address.directory, 0o700, exist_ok=True)
            _make_token(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, encoding="ascii") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise Refused(f"{path} is not a file that only you may read; remove it, and a new one is made")
            return _checked(file.read(TOKEN_MAX + 2).strip(), path), path
    except (OSError, UnicodeDecodeError) as fault:
        raise AddressRefused(f"the token file {path} cannot be used: {fault}") from None


def _make_token(path: str) -> None:
    """Make the file with a new token, in one step; another process may have made one."""
    half = f"{path}.{os.getpid()}"
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(half, path)
    finally:
        os.unlink(half)


def _checked(token: str, where: str) -> str:
    if not TOKEN_MIN <= len(token) <= TOKEN_MAX or not token.isascii() or not token.isprintable() or " " in token:
        raise Refused(
            f"the token in {where} is not usable: {TOKEN_MIN} to {TOKEN_MAX} visible ASCII characters, no space"
        )
    return token
