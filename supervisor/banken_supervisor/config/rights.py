"""What another user may do with a file, by owners and modes, without becoming that user.

Access control lists are not read: what has one is taken for allowed.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from pathlib import Path
from typing import NamedTuple


class Who(NamedTuple):
    """A user of this host."""

    name: str
    uid: int
    groups: frozenset[int]


def who(name: str) -> Who:
    """KeyError: there is no such user."""
    entry = pwd.getpwnam(name)
    return Who(name, entry.pw_uid, frozenset(os.getgrouplist(name, entry.pw_gid)))


def obstacle(user: Who, path: str) -> str | None:
    """What keeps the user from entering the directory, or executing the file, ``path``; None: nothing that is seen.

    It, or the first directory on the way to it, of the path as it is written or of where its links lead.
    """
    for way in dict.fromkeys((Path(os.path.abspath(path)), Path(os.path.realpath(path)))):
        for each in (*reversed(way.parents), way):
            with contextlib.suppress(OSError):
                if not _may_execute(user, str(each)):
                    return str(each)
    return None


def _may_execute(user: Who, path: str) -> bool:
    found = os.stat(path)
    if user.uid == 0:
        return bool(found.st_mode & 0o111)
    shift = 6 if found.st_uid == user.uid else 3 if found.st_gid in user.groups else 0
    return bool(found.st_mode >> shift & 1) or _has_list(path)


def _has_list(path: str) -> bool:
    try:
        return bool(os.getxattr(path, "system.posix_acl_access"))
    except (OSError, AttributeError):
        return False
