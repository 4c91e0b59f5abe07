"""One log file: opened for a program, and rotated without the writer's help and without a pipe.

The child writes to the file itself, so a file that was only renamed would go on growing under its new name. Instead
it is copied to ``NAME.1`` (the older ones move up by one) and then cut to nothing in place. That is safe because
the child's descriptor has O_APPEND: its next write goes to the new end, and leaves no hole. What it writes between
the last read of the copy and the cut is lost; that is the price, and it is a matter of microseconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Collection

from banken_supervisor.files.trusted_files import OTHERS_WRITE, is_trusted, open_directory_of, open_file
from banken_supervisor.files.users import find_user

LOG_MODE = 0o640

_CHUNK = 1024 * 1024


def open_log(path: str, owner: tuple[int, int] | None = None) -> int:
    """A descriptor that appends to the log. OSError; its ``strerror`` says why it cannot be used.

    ``owner``: user and group id of the program, if it is not to run as this user. A new log becomes that user's,
    and so does one of this user's own where only this user may write the directory: many programs open
    /dev/stdout, which opens the file anew.
    """
    # Without O_NONBLOCK, opening a named pipe without a reader would wait for ever.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
    fd, made = open_file(path, flags, LOG_MODE, owners=() if owner is None else owner[:1])
    try:
        found = os.fstat(fd)
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISCHR(found.st_mode)):
            raise OSError(0, "it is neither a file nor a device: its reader could block the program", path)
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NONBLOCK)
        if owner is not None and found.st_uid != owner[0] and stat.S_ISREG(found.st_mode):
            if made:
                os.fchown(fd, *owner)
            elif found.st_uid == os.geteuid() and _is_ours_alone(path):
                os.fchown(fd, owner[0], -1)
    except BaseException:
        os.close(fd)
        raise
    return fd


def user_ids(name: str) -> tuple[int, int] | None:
    """The user's id, and the id of its group; None: there is no such user any more."""
    try:
        entry = find_user(name)
    except LookupError:
        return None
    return entry.pw_uid, entry.pw_gid


def _is_ours_alone(path: str) -> bool:
    """Whether no other user may write the directory of this file."""
    folder, _ = open_directory_of(path)
    try:
        found = os.fstat(folder)
        return is_trusted(found.st_uid) and not found.st_mode & OTHERS_WRITE
    finally:
        os.close(folder)


def rotate(path: str, bytes_max: int, files_max: int, owners: Collection[int] = ()) -> None:
    """Copy the file to ``path.1`` and cut it to nothing. Older copies move up, to at most ``path.files_max``.

    A copy has the owner, group and mode of the file. Where it cannot be made (a full disk) the file is cut all the
    same once it has twice its bound: the newest lines of a runaway program are worth less than the disk. OSError
    then says so. ``owners``: user ids that may own it, beside this user and root.
    """
    folder, name = open_directory_of(path)
    try:
        fd, _ = open_file(path, os.O_RDWR | os.O_NONBLOCK, owners=owners)
        try:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                _rotate(fd, folder, name, bytes_max, files_max)
        finally:
            os.close(fd)
    finally:
        os.close(folder)


def _rotate(fd: int, folder: int, name: str, bytes_max: int, files_max: int) -> None:
    new = f"{name}.new"
    try:
        if files_max > 0:
            with contextlib.suppress(FileNotFoundError):  # a crash has left it, or another user has put it there
                os.unlink(new, dir_fd=folder)
            target = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
            try:
                copy(fd, target, 0, bytes_max)
                _same_access(target, os.fstat(fd))
            finally:
                os.close(target)
            _move_up(folder, name, files_max)
            os.replace(new, f"{name}.1", src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new, dir_fd=folder)
        if os.fstat(fd).st_size >= 2 * bytes_max:
            os.ftruncate(fd, 0)
        raise
    os.ftruncate(fd, 0)


def copy(source: int, target: int, begin: int, bytes_max: int) -> None:
    """Write what ``source`` has from ``begin`` on, at most twice ``bytes_max`` bytes; of more than that the newest,
    and a line that says how much is missing."""
    size = os.fstat(source).st_size
    at = size - bytes_max if size - begin > 2 * bytes_max else begin
    end = at + 2 * bytes_max
    if at > begin:
        _write(target, _left_out(at - begin))
    while at < end and (some := os.pread(source, min(_CHUNK, end - at), at)):
        _write(target, some)
        at += len(some)
    left = os.fstat(source).st_size - at
    if left > 0:  # it is written to faster than it can be copied
        _write(target, _left_out(left))


def _same_access(fd: int, wanted: os.stat_result) -> None:
    """Give the file this owner, group and mode, as far as this process may; its group reads it only if it is the
    same group."""
    mode = stat.S_IMODE(wanted.st_mode)
    try:
        os.fchown(fd, -1, wanted.st_gid)
    except PermissionError:
        mode &= ~stat.S_IRWXG
    with contextlib.suppress(PermissionError):
        os.fchown(fd, wanted.st_uid, -1)
    os.fchmod(fd, mode)


def _write(fd: int, some: bytes) -> None:
    while some:
        some = some[os.write(fd, some) :]


def _left_out(count: int) -> bytes:
    return f"\n[banken: about {count} bytes were left out here]\n".encode()


def _move_up(folder: int, name: str, files_max: int) -> None:
    """``name.1`` becomes ``name.2`` and so on; the last one is overwritten."""
    for number in range(files_max - 1, 0, -1):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{name}.{number}", f"{name}.{number + 1}", src_dir_fd=folder, dst_dir_fd=folder)
