"""Opens files so that another user cannot choose which file is opened.

A link is followed only where this user or root owns both the link and the directory that it lies in. A file that
lies where another user could have put it (a directory of that user, or one that all may write) must not have a
second name, and must belong to this user, root, the directory's owner, or a user whom the caller names.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection
from pathlib import Path

LINKS_MAX = 40
"""Links on the way to one file; as the kernel has it."""

OTHERS_WRITE = 0o002

_PATH = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_PIPES = ("pipe:[", "socket:[")
"""How the links in /proc/PID/fd to what has no path begin."""


def is_trusted(uid: int) -> bool:
    """Whether this user is root or the one that this process acts for."""
    return uid in (0, os.geteuid())


def open_directory_of(path: str | os.PathLike[str]) -> tuple[int, str]:
    """A descriptor of the directory that this file lies in, all links followed, and its name in there.

    The file need not exist. OSError; its ``strerror`` says which link is not followed and why.
    """
    text = os.fspath(path)
    if not os.path.isabs(text):  # only then: the working directory may have been removed
        text = os.path.join(os.getcwd(), text)
    parts, links = text.split("/")[::-1], 0
    here = os.open("/", _PATH)
    try:
        while True:
            part = parts.pop()
            is_last = not any(parts)
            if part in ("", "."):
                if is_last:
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), text)
                continue
            target = _link(here, part, text, is_last=is_last)
            if target is not None:
                links += 1
                if links > LINKS_MAX:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), text)
                parts += target.split("/")[::-1]
                part = "/" if target.startswith("/") else "."
            elif is_last:
                return here, part
            there = os.open(part, _PATH | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = there
    except BaseException:
        os.close(here)
        raise


def open_file(
    path: str | os.PathLike[str], flags: int, mode: int = 0o600, *, owners: Collection[int] = ()
) -> tuple[int, bool]:
    """A descriptor of the file, and whether it was made just now (with ``os.O_CREAT``).

    ``owners``: user ids to whom the file may belong, beside this user, root and the directory's owner.
    OSError; its ``strerror`` says what is not trusted.
    """
    here, name = open_directory_of(path)
    try:
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC
        while True:
            try:
                fd, made = os.open(name, flags & ~os.O_CREAT, dir_fd=here), False
            except FileNotFoundError:
                if not flags & os.O_CREAT:
                    raise
                try:
                    fd, made = os.open(name, flags | os.O_EXCL, mode, dir_fd=here), True
                except FileExistsError:
                    continue  # it was made meanwhile
            break
        try:
            if why := _doubt(os.fstat(fd), os.fstat(here), owners):
                raise PermissionError(errno.EPERM, why, os.fspath(path))
        except BaseException:
            os.close(fd)
            raise
        return fd, made
    finally:
        os.close(here)


def read_file(path: str | os.PathLike[str], bytes_max: int, *, owners: Collection[int] = ()) -> bytes:
    """What is in a file that no other user has made, or may write; of a longer one ``bytes_max`` + 1 bytes.

    Never waits for the writer of a pipe. ``owners``: user ids that may own it, beside this user and root.
    OSError; its ``strerror`` says what is not trusted.
    """
    fd, _ = open_file(path, os.O_RDONLY | os.O_NONBLOCK, owners=owners)
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if (why := _doubt_file(found, owners)) is not None:
            raise PermissionError(errno.EPERM, why, os.fspath(path))
        return file.read(bytes_max + 1) or b""


def doubt_about(path: str | os.PathLike[str]) -> str | None:
    """Why the file is not trusted, whichever directory it lies in: another user made it, may write or replace it,
    or made a link on its way. None: it is trusted, it is not there, or this cannot be seen."""
    try:
        here, name = open_directory_of(path)
    except PermissionError as fault:
        return fault.strerror if fault.errno == errno.EPERM else None
    except OSError:
        return None
    try:
        found = os.stat(name, dir_fd=here, follow_symlinks=False)
        return _doubt_file(found) or open_place(path)
    except OSError:
        return None
    finally:
        os.close(here)


def doubt_about_code(path: str | os.PathLike[str]) -> str | None:
    """As ``doubt_about``, of a file that says what is run: nor may it lie in a directory of another user."""
    return doubt_about(path) or _place_of_others(path)


def _place_of_others(path: str | os.PathLike[str]) -> str | None:
    """Whose a directory on its way is, who may replace it there. None: it is nobody's else, or cannot be seen."""
    real = os.path.realpath(os.path.dirname(os.path.abspath(path)))
    try:
        for each in (real, *map(str, Path(real).parents)):
            owner = os.stat(each).st_uid
            # Where / is nobody's that is known here (a user namespace), owners say nothing.
            if not is_trusted(owner) and is_trusted(os.stat("/").st_uid):
                return f"user {owner} may replace it, because {each} is theirs"
    except OSError:
        pass
    return None


def open_place(path: str | os.PathLike[str]) -> str | None:
    """Why every user may put something else in the place of this file or directory; None: they may not. OSError."""
    real = os.path.realpath(os.path.dirname(os.path.abspath(path)))
    for each in (real, *map(str, Path(real).parents)):
        mode = os.stat(each).st_mode
        if mode & OTHERS_WRITE and not mode & stat.S_ISVTX:
            return f"every user may replace it, because {each} has mode {stat.S_IMODE(mode):04o}"
    return None


def _doubt_file(found: os.stat_result, owners: Collection[int] = ()) -> str | None:
    if not is_trusted(found.st_uid) and found.st_uid not in owners:
        return f"it belongs to user {found.st_uid}, who is neither root nor you"
    if stat.S_ISREG(found.st_mode) and found.st_mode & OTHERS_WRITE:
        return f"every user may write it (mode {stat.S_IMODE(found.st_mode):04o})"
    return None


def _link(here: int, name: str, path: str, *, is_last: bool) -> str | None:
    """Where the link leads; None: it is no link, or the last part and not there. PermissionError: not trusted."""
    try:
        found = os.stat(name, dir_fd=here, follow_symlinks=False)
    except FileNotFoundError:
        if is_last:
            return None
        raise
    if not stat.S_ISLNK(found.st_mode):
        return None
    for uid in (os.fstat(here).st_uid, found.st_uid):
        if not is_trusted(uid):
            why = f"{name!r} on its way is a link that user {uid} can change; name the file that it leads to"
            raise PermissionError(errno.EPERM, why, path)
    target = os.readlink(name, dir_fd=here)
    if target.startswith(_PIPES):
        raise OSError(errno.ENXIO, "it is a pipe or a socket, whose reader could block the writer", path)
    return target


def _doubt(found: os.stat_result, folder: os.stat_result, owners: Collection[int]) -> str | None:
    """Why the file is not trusted; None: it is."""
    is_exposed = not is_trusted(folder.st_uid) or folder.st_mode & OTHERS_WRITE
    if not is_exposed or not stat.S_ISREG(found.st_mode):
        return None
    if found.st_nlink > 1:
        return "it has a second name (a hard link), and other users may write its directory; remove it"
    if not (is_trusted(found.st_uid) or found.st_uid == folder.st_uid or found.st_uid in owners):
        return f"it belongs to user {found.st_uid}, and other users may write its directory; remove it"
    return None
