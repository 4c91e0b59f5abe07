"""From a file to tables: limits, encoding, TOML."""

from __future__ import annotations

import codecs
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from banken_supervisor.text.secret import open_now

FILE_BYTES_MAX = 1024 * 1024
"""Longest config file."""

KEY_PARTS_MAX = 32
"""Parts of one dotted key. tomllib's memory grows with the square of them: 200 kB of parts took all there was."""

_HINTS = {
    "Invalid initial character for a key part": "an inline table {…} stands on one line, with no comma at its end",
    "Unclosed inline table": "an inline table {…} stands on one line",
    "Invalid value": "texts need quotes",
}
"""The usual mistake behind a message of tomllib's."""

_KEY_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_long_key = re.compile(rf"(?:^|[\[{{,])[ \t]*(?:{_KEY_PART}[ \t]*\.[ \t]*){{{KEY_PARTS_MAX}}}", re.MULTILINE)
_place = re.compile(r" ?\(at (?:line (\d+), column \d+|end of document)\)")


class Unreadable(Exception):
    """The file gives no tables; ``args``: why, and on which line, if that is known."""


def read(path: Path) -> str:
    """The text of the file; Unreadable if it is none, is too long, or is not UTF-8. Never waits."""
    try:
        with open(path, "rb", opener=_open) as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as fault:
        raise Unreadable(f"cannot be read: {getattr(fault, 'strerror', None) or fault}") from None
    if len(content) > FILE_BYTES_MAX:
        raise Unreadable(f"is too long: at most {FILE_BYTES_MAX:,} bytes (1 MiB) are allowed")
    return decode(content)


def _open(path: str, flags: int) -> int:
    descriptor = open_now(path, flags)
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise Unreadable(f"is {_KINDS.get(kind, 'no file')}; a regular file is needed")
    return descriptor


_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def decode(content: bytes) -> str:
    """UTF-8, with or without the mark that some editors put in front; Unreadable says where it is not."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Unreadable("is UTF-16; save it as UTF-8", 1)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = content.count(b"\n", 0, fault.start) + 1
        raise Unreadable(f"is not UTF-8: byte 0x{content[fault.start]:02x}; save it as UTF-8", line) from None


def parse(text: str) -> dict[str, Any]:
    """The tables; Unreadable says on which line the TOML is wrong."""
    too_long = _long_key.search(text)
    if too_long is not None:
        place = text.count("\n", 0, too_long.end()) + 1
        raise Unreadable(f"a key of more than {KEY_PARTS_MAX} parts is not allowed", place)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise Unreadable("is no usable TOML: arrays or tables lie too deep within each other") from None
    except ValueError as fault:  # TOMLDecodeError is one; an integer of more than 4,300 digits is another
        message = str(fault)
        found = _place.search(message)
        line: int | None = None
        if found is not None:
            line = int(found.group(1)) if found.group(1) else text.rstrip("\n").count("\n") + 1
            message = _place.sub("", message)
        elif "digits" in message:
            message = "a number has too many digits"
        hint = f" ({_HINTS[message]})" if message in _HINTS else ""
        raise Unreadable(f"is no valid TOML: {message}{hint}", line) from None
