"""One supervisor per address: a file lock (flock) in the 0700 directory, taken before sockets are bound.

libzmq's ``bind`` silently takes over an endpoint that is in use, so the lock must come first. The kernel releases
it when its holder dies, for any reason, and keeps it while the holder is only stopped (SIGSTOP).
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
import time
from collections.abc import Callable

from banken.errors import AddressInUse, AddressRefused
from banken.process_identity import after_fork

try:
    import fcntl
except ImportError:  # Windows has no flock; the supervisor does not run there (docs/architecture.md)
    fcntl = None  # type: ignore[assignment]


CHECK_EVERY_S, REPORT_EVERY_S = 2.0, 60.0
"""Seconds between two checks of the directory, and between two log lines when it is lost."""


class AddressLock:
    """Holds the directory ``directory`` from construction until ``release``.

    AddressRefused: it cannot be used, or other users may enter it. AddressInUse: another supervisor holds it; the
    message names its pid.
    """

    def __init__(self, directory: str) -> None:
        if fcntl is None:
            raise AddressRefused("a supervisor needs flock and Unix sockets, which this system lacks")
        _prepare(directory)
        self.directory = directory
        self._path = os.path.join(directory, "lock")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        self._fd = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._fd, 4096, 0)
            os.close(self._fd)
            raise AddressInUse(f"{directory} is held by another supervisor: {_holder(holder)}") from None
        os.ftruncate(self._fd, 0)
        note = {"pid": os.getpid(), "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        os.pwrite(self._fd, json.dumps(note).encode(), 0)
        after_fork(self)

    def lost(self) -> bool:
        """Whether the directory was removed or replaced, so that clients cannot find this supervisor."""
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return True
        except OSError:  # unknown for now
            return False
        return not os.path.samestat(there, os.fstat(self._fd))

    def release(self) -> None:
        """Release the address. The file stays: if it were unlinked, two holders could lock two files."""
        os.ftruncate(self._fd, 0)
        self._forked()

    def _forked(self) -> None:
        """In a forked child, too: close the lock, so that it is free when the supervisor dies."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def monitor_address(
    lock: AddressLock, log: Callable[[str], None], fault: Callable[[Exception], None]
) -> threading.Event:
    """Check regularly that the directory was not removed or replaced, and log an error if it was. Returns the event
    that ends it.

    It has its own thread, because a check may hang on a network file system. ``log`` is called there with a line
    for the log, ``fault`` with an exception.
    """
    closed = threading.Event()

    def work() -> None:
        wait = CHECK_EVERY_S
        while not closed.wait(wait):
            wait = CHECK_EVERY_S
            try:
                if lock.lost():
                    wait = REPORT_EVERY_S
                    log(
                        f"the directory {lock.directory} was removed or replaced: no new worker and no "
                        f"command reaches this supervisor (pid {os.getpid()}) any more; end it and start it again"
                    )
            except Exception as raised:  # noqa: BLE001  # it is checked again
                fault(raised)

    with contextlib.suppress(RuntimeError):  # the host cannot start a thread; this one is optional
        threading.Thread(target=work, name="banken-address", daemon=True).start()
    return closed


def _prepare(directory: str) -> None:
    """Create the directory, for its owner only. AddressRefused: an existing one is open to other users."""
    try:
        os.makedirs(os.path.dirname(directory), exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)
        found = os.lstat(directory)
    except OSError as fault:
        raise AddressRefused(f"cannot make the directory {directory}: {fault.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise AddressRefused(f"{directory} is not a directory; the address of a supervisor must be a directory")
    if found.st_uid != os.geteuid():
        raise AddressRefused(
            f"{directory} belongs to user {found.st_uid}, not to you; choose a directory of your own"
        )
    if found.st_mode & 0o077:
        raise AddressRefused(
            f"{directory} is open to other users (mode {found.st_mode & 0o777:04o}), who could then feed "
            f"any watchdog. Set its mode to 0700, or choose a directory that does not exist yet"
        )


def _holder(holder: bytes) -> str:
    try:
        note = json.loads(holder)
        return f"pid {int(note['pid'])}, since {note['since']}"
    except (ValueError, KeyError, TypeError):
        return "its pid is unknown"
