"""Reads files of variables, a line each, as systemd's EnvironmentFile and Docker's --env-file have them.

``NAME=VALUE``, with ``export`` before it or not; blank lines and lines that begin with ``#`` are left out. A value
in single quotes is taken as it is; in double quotes ``"``, ``\\``, `` ` `` and ``$`` may have a backslash before
them. No variable in a value is replaced. No message holds a value.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from banken_supervisor.engine.policy import ProgramSpec
from banken_supervisor.files.trusted_files import read_file
from banken_supervisor.files.users import find_user
from banken_supervisor.processes.child_environment import RESERVED

BYTES_MAX = 1024 * 1024
"""Longest file."""

VARIABLES_MAX = 1000

_line = re.compile(
    r"""(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)=
    (?: '(?P<single>[^']*)' | "(?P<double>(?:[^"\\]|\\.)*)" | (?P<bare>[^'"].*)? )""",
    re.VERBOSE,
)
_escaped = re.compile(r"\\([\"\\`$])")


def variables_of(spec: ProgramSpec) -> dict[str, str]:
    """The variables of the program's file, which its user may own; none if it has no file. ValueError: why not."""
    if spec.env_file is None:
        return {}
    try:
        return _read(spec.env_file, [] if spec.user is None else [find_user(spec.user).pw_uid])
    except OSError as fault:
        raise ValueError(f"cannot be read: {fault.strerror}") from None
    except LookupError:
        raise ValueError(f"cannot be trusted: there is no user {spec.user!r} on this system") from None


def _read(path: str, owners: Collection[int] = ()) -> dict[str, str]:
    """The variables of the file; of one that is there twice the last. Never waits for the writer of a pipe.

    ``owners``: user ids that may own the file, beside this user and root. ValueError: what is wrong in which line.
    """
    content = read_file(path, BYTES_MAX, owners=owners)
    if len(content) > BYTES_MAX:
        raise ValueError(f"is too long: at most {BYTES_MAX:,} bytes (1 MiB) are allowed")
    if b"\0" in content:
        raise ValueError("holds a NUL character, which no variable can")
    try:
        variables = dict(_variables(content.decode("utf-8-sig")))
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    if len(variables) > VARIABLES_MAX:
        raise ValueError(f"has more than {VARIABLES_MAX:,} variables")
    return variables


def _variables(text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        found = _line.fullmatch(line)
        if found is None:
            raise ValueError(f"is wrong in line {number}: it is not NAME=VALUE, with closed quotes or none")
        if found["name"] in RESERVED:
            raise ValueError(f"is wrong in line {number}: {found['name']} is set by the supervisor itself")
        double = found["double"]
        value = found["single"] or found["bare"] or "" if double is None else _escaped.sub(r"\1", double)
        yield found["name"], value
