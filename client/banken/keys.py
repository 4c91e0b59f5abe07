"""A worker's key for supervisors on other hosts: a file, which holds its pair and the supervisors' public keys.

``banken keys new NAME --for tcp://HOST:PORT`` makes it::

    name = "trainer"
    public = "…"
    secret = "…"

    [servers]
    "tcp://watch-1:7767" = "…"

The keys are those of CurveZMQ (https://rfc.zeromq.org/spec/26/), 32 bytes written as 40 characters of Z85
(https://rfc.zeromq.org/spec/32/). Loaded only where an address is tcp.
"""

from __future__ import annotations

import codecs
import os
import stat
import struct
import tomllib
from collections.abc import Mapping
from typing import Any, NamedTuple

import zmq
from zmq.utils import z85

from banken.errors import KeyRefused
from banken.protocol.limits import NAME_MAX, shorten

KEY_CHARACTERS = 40
"""Of one key, in Z85."""

FILE_BYTES_MAX = 65_536
"""Longest key file."""


class Key(NamedTuple):
    """A pair, and whom it is for."""

    name: str
    public: bytes
    secret: bytes
    servers: Mapping[str, bytes]
    """the supervisors' public keys, by address (tcp://HOST:PORT)"""


def load(path: str | os.PathLike[str]) -> Key:
    """The key in this file. KeyRefused says what is wrong with it, and what is allowed."""
    where = os.fspath(path)
    table = _table(where, read(where))
    if unknown := table.keys() - {"name", "public", "secret", "server", "servers"}:
        raise KeyRefused(
            f"{where}: {_named(unknown)} is no part of a key file; allowed: name, public, secret, [servers]"
        )
    name, servers = table.get("name"), table.get("servers", {})
    if type(name) is not str or not 0 < len(name) <= NAME_MAX:
        raise KeyRefused(f"{where}: name must be a text of 1 to {NAME_MAX} characters")
    if type(servers) is not dict:
        raise KeyRefused(
            f'{where}: servers must be a table: [servers], and lines such as "tcp://HOST:7767" = "KEY"'
        )
    public, secret = (_key(where, what, table.get(what)) for what in ("public", "secret"))
    if zmq.curve_public(secret) != public:
        mixed = " (they are exchanged)" if zmq.curve_public(public) == secret else ""
        raise KeyRefused(f"{where}: its public and its secret key do not belong together{mixed}; make a new pair")
    return Key(name, public, secret, {each: _key(where, each, servers[each]) for each in servers})


def read(where: str) -> bytes:
    """The bytes of a file with a secret: this user's or root's, a regular one that no other user may read.

    A file of root's may be read by its group, as in a container that has its keys mounted. A link is followed where
    root or this user made it. KeyRefused.
    """
    try:
        link = os.lstat(where)
        fd = os.open(where, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | getattr(os, "O_NOCTTY", 0))
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise KeyRefused(f"{where}: is no regular file")
            us = (0, os.geteuid())
            for each in (link, found):
                if each.st_uid not in us:
                    raise KeyRefused(f"{where}: belongs to user {each.st_uid}, who is neither root nor you")
            forbidden = 0o037 if found.st_uid == 0 else 0o077
            if found.st_mode & forbidden:
                mode = stat.S_IMODE(found.st_mode)
                raise KeyRefused(f"{where}: others may read or write it (mode {mode:04o}); run: chmod 600 {where}")
            content = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as fault:  # ValueError: a NUL in the path
        if isinstance(fault, KeyRefused):
            raise
        raise KeyRefused(f"{where}: cannot be read: {getattr(fault, 'strerror', None) or fault}") from None
    if len(content) > FILE_BYTES_MAX:
        raise KeyRefused(f"{where}: is longer than {FILE_BYTES_MAX:,} bytes: is this a key file?")
    return content


def check_key(text: Any) -> bytes:
    """The key that this text is. ValueError says what it must be."""
    if type(text) is not str:
        raise ValueError(f"must be a key: a text of {KEY_CHARACTERS} characters")
    if len(text) != KEY_CHARACTERS:
        raise ValueError(f"has {len(text)} characters; a key has {KEY_CHARACTERS}")
    try:
        z85.decode(text.encode("ascii"))
    except (ValueError, KeyError, IndexError, struct.error):
        raise ValueError("is no key: it has a character that is none of Z85's") from None
    return text.encode("ascii")


def _table(where: str, content: bytes) -> dict[str, Any]:
    if not content.strip():
        raise KeyRefused(f"{where}: is empty; `banken keys new` makes a key file")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise KeyRefused(f"{where}: is UTF-16; save it as UTF-8")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as fault:  # what it holds is secret: only the place is said
        raise KeyRefused(f"{where}: is no key file: {_place_of(fault)}; `banken keys new` makes one") from None


def _place_of(fault: BaseException) -> str:
    text = str(fault)
    at = text.rfind("(at ")
    return (
        f"not valid TOML {text[at:]}"
        if isinstance(fault, tomllib.TOMLDecodeError) and at >= 0
        else "not valid TOML"
    )


def _key(where: str, what: str, text: Any) -> bytes:
    if text is None:
        raise KeyRefused(f"{where}: {what} is missing")
    try:
        return check_key(text)
    except ValueError as fault:
        raise KeyRefused(f"{where}: {shorten(what)} {fault}") from None


def _named(names: set[str]) -> str:
    return ", ".join(sorted(shorten(each) for each in names))
