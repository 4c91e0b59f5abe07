"""Users of this host: found by name or number, what they may enter, and the directory by which one feeds."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import stat
from pathlib import Path

from banken.address import USERS

ENTERED_BY_ALL = 0o711


def find_user(name: str) -> pwd.struct_passwd:
    """The user of this name or number. LookupError: there is none on this host."""
    try:
        return pwd.getpwnam(name)
    except (KeyError, ValueError):
        if not name.isdecimal():
            raise LookupError(name) from None
    try:
        return pwd.getpwuid(int(name))
    except (KeyError, ValueError, OverflowError):
        raise LookupError(name) from None


def may_run_as(name: str | None) -> bool:
    """Whether this process may start another one as this user; ``name``: None: as its own."""
    return os.geteuid() in (0, user_id(name))


def user_id(name: str | None) -> int:
    """The id of the user as whom a program runs; ``name``: None: this process's own. -1: there is no such user."""
    try:
        return os.geteuid() if name is None else find_user(name).pw_uid
    except LookupError:
        return -1


def obstacle(user: pwd.struct_passwd, path: str) -> str | None:
    """What keeps a user, who is not root, from entering the directory, or executing the file, ``path``.

    It, or the first directory on the way to it, of the path as it is written or of where its links lead; by owners
    and modes, without becoming that user. None: nothing that is seen; what has an access control list, which is not
    read, is taken for allowed.
    """
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    for way in dict.fromkeys((Path(os.path.abspath(path)), Path(os.path.realpath(path)))):
        for each in (*reversed(way.parents), way):
            with contextlib.suppress(OSError):
                found = each.stat()
                shift = 6 if found.st_uid == user.pw_uid else 3 if found.st_gid in groups else 0
                if not found.st_mode >> shift & 1 and not _has_list(each):
                    return str(each)
    return None


def close_directory_of_user(path: str, uid: int) -> None:
    """Make the directory, and what lies above it up to the address, so that nobody else may enter it now.

    It stays this process's own: in a directory of that user the user could put links where sockets are to be bound,
    and remove sockets as often as they are bound again. Only ``dumps`` in it is the user's. OSError: it cannot be
    made, or is another's.
    """
    assert os.path.dirname(path).endswith(USERS)
    for each, mode in ((os.path.dirname(path), ENTERED_BY_ALL), (path, 0o700)):
        with contextlib.suppress(FileExistsError):
            os.mkdir(each, 0o700)
        found = os.lstat(each)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            why = f"it is no directory of user {os.geteuid()}; remove it"
            raise FileExistsError(errno.EEXIST, why, each)
        os.chmod(each, mode)
    dumps = os.path.join(path, "dumps")
    with contextlib.suppress(FileExistsError):
        os.mkdir(dumps, 0o700)
    os.chown(dumps, uid, -1, follow_symlinks=False)


def open_directory_of_user(path: str, uid: int) -> None:
    """Give the user the socket in the directory, and let it in. OSError."""
    socket = os.path.join(path, "feed")
    os.chmod(socket, 0o600)
    os.chown(socket, uid, -1, follow_symlinks=False)
    os.chmod(path, ENTERED_BY_ALL)


def _has_list(path: Path) -> bool:
    try:
        return bool(os.getxattr(path, "system.posix_acl_access"))
    except (OSError, AttributeError):
        return False
