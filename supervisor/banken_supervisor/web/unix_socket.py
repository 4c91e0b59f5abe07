"""The Unix socket of the web process: who connects there is known by the kernel's word, and needs no token."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat

from banken.errors import AddressRefused, Refused
from banken.protocol.limits import shorten
from banken_supervisor.files.users import find_user
from banken_supervisor.web.peers import NOBODY, TELLS_USERS, Allowed

NAME = "web"
"""How the socket in the address's directory is called."""


def allowed_of(given: tuple[str, ...]) -> Allowed:
    """Who is meant by ``USER`` and ``@GROUP``, by name or number. Refused: there is none of this name."""
    if given and not TELLS_USERS:
        raise Refused("this system does not tell who connects to a Unix socket: only your own user can use it")
    users, groups = set(), set()
    for each in given:
        try:
            if each.startswith("@"):
                groups.add(_group(each[1:]))
            else:
                users.add(find_user(each).pw_uid)
        except LookupError:
            kind = "group" if each.startswith("@") else "user"
            raise Refused(
                f"{shorten(each)!r} is no {kind} of this host: USER, @GROUP, or a number of one"
            ) from None
    return Allowed(frozenset(users), frozenset(groups))


class UnixSocket:
    """A listening socket at ``path``, in place of that of a process that ended. AddressRefused says why not.

    Its mode is 0600; where others are allowed, 0666: the kernel says who connects, and the rest is refused then.
    """

    def __init__(self, path: str, allowed: Allowed) -> None:
        self.path = path
        self.bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _remove_stale(path)
            before = os.umask(0o177)
            try:
                self.bound.bind(path)
            finally:
                os.umask(before)
            if allowed != NOBODY:
                os.chmod(path, 0o666)  # noqa: S103  # see above
            self._file = _identity(path)
            self.bound.listen(1024)
            self.bound.setblocking(False)
        except OSError as fault:
            self.bound.close()
            why = (
                "another process listens there" if fault.errno == errno.EADDRINUSE else fault.strerror or str(fault)
            )
            raise AddressRefused(f"cannot listen at {shorten(path)}: {why}; --socket FILE names another") from None

    def remove(self) -> None:
        """Remove its file, unless another one is there by now."""
        with contextlib.suppress(OSError):
            if _identity(self.path) == self._file:
                os.unlink(self.path)


def _identity(path: str) -> tuple[int, int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino, found.st_ctime_ns  # the number of a removed file is soon another's


def _remove_stale(path: str) -> None:
    """Remove a socket at which nobody listens. OSError: somebody does, or it is no socket."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "there is a file that is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.setblocking(False)
        try:
            other.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # somebody listens, and is busy
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _group(name: str) -> int:
    import grp

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        if not (name.isascii() and name.isdecimal()):
            raise LookupError(name) from None
    try:
        return grp.getgrgid(int(name)).gr_gid
    except (KeyError, OverflowError):
        raise LookupError(name) from None
