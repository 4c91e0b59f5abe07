"""One datagram of sd_notify as it comes out of its socket: what it says, and who sent it by the kernel's word."""

from __future__ import annotations

import array
import contextlib
import hashlib
import os
import socket
import stat
import struct
from time import monotonic
from typing import NamedTuple

from banken.address import SUN_PATH_MAX
from banken_supervisor.sources.notify_fields import DATAGRAM_MAX, Said, parse

_SO_PASSPIDFD, _SCM_PIDFD = 76, 4
"""Of <linux/socket.h>, since 6.5: a descriptor of the sender comes with each datagram."""

_SPACE = socket.CMSG_SPACE(12) + socket.CMSG_SPACE(4) + socket.CMSG_SPACE(8)
"""Bytes for credentials, a pidfd, and enough descriptors to see that they are more than one. Of the 253 that a
datagram may bring the kernel closes the others: while all were open, nobody else might get one."""

_CREDENTIALS = struct.Struct("=iII")


class Datagram(NamedTuple):
    """One datagram, and who sent it by the kernel's word."""

    name: str
    """whose socket it came in by"""
    said: Said | str
    """a str: why it is dropped"""
    at: float
    """monotonic time at which it was read"""
    size: int
    pid: int
    """0: a process of another namespace that is not seen from here"""
    uid: int
    is_line: bool = False
    """a line that came by a pipe: it means that the program is ready"""
    sender: int = -1
    """a pidfd of the sender, where MAINPID is said"""
    barrier: int = -1
    """the descriptor of BARRIER=1: its sender waits until it is closed"""

    @property
    def descriptors(self) -> int:
        """How many it keeps open."""
        return (self.sender >= 0) + (self.barrier >= 0)

    def close(self) -> None:
        """Close its descriptors."""
        for each in (self.sender, self.barrier):
            if each >= 0:
                os.close(each)


def receive(name: str, sock: socket.socket) -> Datagram | None:
    """The next datagram; None: there is none. Every descriptor that comes with it is closed, or in it."""
    flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
    try:
        data, ancillary, _, _ = sock.recvmsg(DATAGRAM_MAX + 1, _SPACE, flags)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:  # it was closed, or memory is short: then it is tried again
        return None
    at = monotonic()
    pid = uid = 0
    fds = array.array("i")
    sender = -1
    for level, kind, what in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(what[: len(what) - len(what) % fds.itemsize])
        elif level == socket.SOL_SOCKET and kind == _SCM_PIDFD and len(what) == fds.itemsize:
            (sender,) = struct.unpack("=i", what)
        elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(what) == _CREDENTIALS.size:
            pid, uid, _ = _CREDENTIALS.unpack(what)
    barrier = -1
    said: Said | str = "it was not taken apart"
    try:
        said = parse(data, len(fds))
    finally:
        if isinstance(said, Said) and said.barrier:
            barrier = fds.pop()
        for each in fds:
            os.close(each)
        if sender >= 0 and (isinstance(said, str) or said.main_pid is None):
            os.close(sender)
            sender = -1
    return Datagram(name, said, at, len(data), pid, uid, False, sender, barrier)


def fitting(path: str) -> str:
    """``path``, or one beside it that a socket can have. OSError: the directory alone is too long."""
    if len(os.fsencode(path)) <= SUN_PATH_MAX:
        return path
    directory, name = os.path.split(path)
    short = os.path.join(directory, "~" + hashlib.blake2b(os.fsencode(name), digest_size=8).hexdigest())
    if len(os.fsencode(short)) > SUN_PATH_MAX:
        raise OSError(f"{short} is too long for a socket, which has at most {SUN_PATH_MAX} bytes")
    return short


def bind(path: str, uid: int | None) -> socket.socket:
    """In a directory in which nobody else can write, made if need be. OSError."""
    directory = os.path.dirname(path)
    mode = 0o700 if uid is None else 0o711
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, mode)
    found = os.lstat(directory)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise OSError(f"{directory} is no directory of user {os.geteuid()}; remove it")
    os.chmod(directory, mode)
    with contextlib.suppress(FileNotFoundError):  # of a former supervisor: the address is ours alone
        os.unlink(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with contextlib.suppress(OSError):  # before 6.5
            made.setsockopt(socket.SOL_SOCKET, _SO_PASSPIDFD, 1)
        made.bind(path)
        os.chmod(path, 0o600)
        if uid is not None:
            os.chown(path, uid, -1, follow_symlinks=False)
    except BaseException:
        made.close()
        raise
    return made
