"""One supervisor per address: a file lock (flock) in the 0700 directory, taken before sockets are bound.

To bind a socket takes over an endpoint that is in use, so the lock must come first. The kernel releases
it when its holder dies, for any reason, and keeps it while the holder is only stopped (SIGSTOP).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import threading
import time

from banken.address import main_directory
from banken.errors import AddressInUse, AddressRefused
from banken.process_identity import after_fork
from banken_supervisor.files.trusted_files import open_directory_of, open_place
from banken_supervisor.processes.peer_credentials import who_connected
from banken_supervisor.text.sanitize import ODD, from_json

try:
    import fcntl
except ImportError:  # Windows has no flock; the supervisor does not run there (docs/architecture.md)
    fcntl = None  # type: ignore[assignment]


LISTENER_WAIT_S = 1.0
"""Seconds that the sockets of a supervisor that is ending may still listen after its lock is free."""


class AddressLock:
    """Holds the directory ``directory`` from construction until ``release``.

    AddressRefused: it cannot be used, or other users may enter it. AddressInUse: another supervisor holds it, or
    lost its lock file and still listens there; the message names its pid.
    """

    def __init__(self, directory: str) -> None:
        if fcntl is None:
            raise AddressRefused("a supervisor needs flock and Unix sockets, which this system lacks")
        self.directory = directory
        self._path = os.path.join(directory, "lock")
        self._released = False
        self._changing = threading.Lock()
        self._fd = self._take()
        try:
            self._refuse_listener()
            self._sign(self._fd)
        except BaseException:
            self._forked()
            raise
        after_fork(self)

    def lost(self) -> bool:
        """Whether the lock file or its directory was removed or replaced: then another supervisor can start."""
        if self._fd < 0:  # released
            return False
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:  # unknown for now
            return False
        return not os.path.samestat(there, os.fstat(self._fd))

    def take_again(self) -> bool:
        """After ``lost``: make the directory and the lock file again, and hold them; False: it was released.

        AddressInUse: another supervisor holds it by now. AddressRefused and OSError: it cannot be made.
        """
        with self._changing:
            if self._released:
                return False
            descriptor = self._take()
            self._sign(descriptor)
            os.close(self._fd)
            self._fd = descriptor
            return True

    def release(self) -> None:
        """Release the address. The file stays: if it were unlinked, two holders could lock two files."""
        if not self._changing.acquire(timeout=LISTENER_WAIT_S):
            return  # the other thread hangs on the disk: the lock ends with the process
        try:
            self._released = True
            if self._fd >= 0:
                os.ftruncate(self._fd, 0)
            self._forked()
        finally:
            self._changing.release()

    def _take(self) -> int:
        """A descriptor of the lock file, locked."""
        _prepare(self.directory)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(descriptor, 4096, 0)
            os.close(descriptor)
            raise _in_use(self.directory, holder) from None
        return descriptor

    def _sign(self, descriptor: int) -> None:
        """Write who holds the lock. Until then it is only tried, and the one that lost it does not give way."""
        os.ftruncate(descriptor, 0)
        note = {"pid": os.getpid(), "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        os.pwrite(descriptor, json.dumps(note).encode(), 0)

    def _refuse_listener(self) -> None:
        """AddressInUse: the lock was free, but a living process listens at the control socket.

        Its lock file was removed. Binding would silently take the address from it, and both would act.
        """
        path = os.path.join(self.directory, "control")
        until = time.monotonic() + LISTENER_WAIT_S
        while (pid := _listener(path)) is not None:
            if time.monotonic() > until:
                raise AddressInUse(
                    f"{self.directory} is held by another supervisor: pid {pid or 'unknown'} listens there, though "
                    f"its lock file is gone; it makes a new one within seconds. To take its place, end it first"
                )
            time.sleep(0.02)

    def _forked(self) -> None:
        """In a forked child, too: close the lock, so that it is free when the supervisor dies."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _listener(path: str) -> int | None:
    """The pid of the living process that listens at this Unix socket (0: unknown); None: there is none.

    A child that it forked may still hold the socket after its end: that one does not listen.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        try:
            asking.connect(path)
        except BlockingIOError:  # its queue is full: it is stopped
            return 0
        except OSError:
            return None
        pid, _ = who_connected(asking)
    try:
        os.kill(pid, 0)  # 0 (of another namespace, or not told): our own group, which lives
    except ProcessLookupError:
        return None
    except PermissionError:  # another user's: it lives
        pass
    return pid


def _prepare(directory: str) -> None:
    """Create the directory, for its owner only. AddressRefused: an existing one is open to other users, or it has a
    name by which programs of another user would be reached."""
    if (main := main_directory(directory)) is not None:
        raise AddressRefused(
            f"{directory} is where programs of another user feed the supervisor at {main}; give this supervisor an "
            "address of its own"
        )
    try:
        os.makedirs(os.path.dirname(directory), exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)
        os.close(open_directory_of(directory)[0])  # a link that another user can change is not followed
        found = os.lstat(directory)
    except OSError as fault:
        raise AddressRefused(f"cannot make the directory {directory}: {fault.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise AddressRefused(f"{directory} is not a directory; the address of a supervisor must be a directory")
    if found.st_uid != os.geteuid():
        raise AddressRefused(
            f"{directory} belongs to user {found.st_uid}, not to you; choose a directory of your own"
        )
    if (why := open_place(directory)) is not None:
        raise AddressRefused(f"{directory} is not safe: {why}. Take that right away, or choose another directory")
    if found.st_mode & 0o077:
        raise AddressRefused(
            f"{directory} is open to other users (mode {found.st_mode & 0o777:04o}), who could then feed "
            f"any watchdog. Set its mode to 0700, or choose a directory that does not exist yet"
        )


def _in_use(directory: str, note: bytes) -> AddressInUse:
    """``note``: what the lock file says."""
    try:
        found = from_json(note)
        pid, who = int(found["pid"]), f"pid {int(found['pid'])}, since {found['since']}"
    except ODD:
        pid, who = None, "its pid is unknown"
    fault = AddressInUse(f"{directory} is held by another supervisor: {who}")
    fault.holder = pid
    return fault
