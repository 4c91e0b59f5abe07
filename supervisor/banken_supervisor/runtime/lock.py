"""One supervisor per address: an flock in the 0700 directory, taken before anything is bound.

libzmq's ``bind`` steals a live endpoint without a word, so the lock must come first. The kernel frees it
however its holder dies, and keeps it while the holder is merely stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
import time
import weakref
from collections.abc import Callable

from banken.errors import AddressInUse, AddressRefused

try:
    import fcntl
except ImportError:  # Windows has no flock; the supervisor does not run there (docs/architecture.md)
    fcntl = None  # type: ignore[assignment]


LOST_LOOK, LOST_AGAIN = 2.0, 60.0
"""Seconds between two looks whether the address is still ours, and until it is said again that it is not."""


class AddressLock:
    """Holds the directory ``directory`` from construction until ``release``.

    AddressRefused: it cannot be used, or others may enter it. AddressInUse: another supervisor holds it; the
    message says which.
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
            raise AddressInUse(f"{directory} is held by another supervisor: {_who(holder)}") from None
        os.ftruncate(self._fd, 0)
        note = {"pid": os.getpid(), "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        os.pwrite(self._fd, json.dumps(note).encode(), 0)
        _held.add(self)

    def lost(self) -> bool:
        """Whether the directory was removed or replaced: nobody who looks there now finds the holder."""
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return True
        except OSError:  # not to be known now
            return False
        here = os.fstat(self._fd)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def release(self) -> None:
        """Give the address back. The file stays: unlinking it would let two holders lock two files."""
        _held.discard(self)
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


class Lookout:
    """Looks now and then whether the address is still ours, and says so when it is not.

    On a thread of its own: on a network file system that hangs, a look may take for ever. ``say`` is called there
    with a line for the log, ``fault`` with what a look raised.
    """

    def __init__(self, lock: AddressLock, say: Callable[[str], None], fault: Callable[[Exception], None]) -> None:
        self._lock = lock
        self._say = say
        self._fault = fault
        self._closed = threading.Event()
        with contextlib.suppress(RuntimeError):  # a sick host has no thread to give; this one can be done without
            threading.Thread(target=self._work, name="banken-address", daemon=True).start()

    def close(self) -> None:
        """Look no more."""
        self._closed.set()

    def _work(self) -> None:
        wait = LOST_LOOK
        while not self._closed.wait(wait):
            wait = LOST_LOOK
            try:
                if self._lock.lost():
                    wait = LOST_AGAIN
                    self._say(
                        f"the directory {self._lock.directory} was removed or replaced: no new worker and no "
                        f"command reaches this supervisor (pid {os.getpid()}) any more; end it and start it again"
                    )
            except Exception as fault:  # noqa: BLE001  # it is looked again
                self._fault(fault)


_held: weakref.WeakSet[AddressLock] = weakref.WeakSet()


def _forked() -> None:
    """In a child that a callback forked: the lock is the supervisor's, and must be free when that dies."""
    for each in list(_held):
        os.close(each._fd)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _prepare(directory: str) -> None:
    """Make the directory, for its owner only; refuse one that is not."""
    try:
        os.makedirs(os.path.dirname(directory), exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)
        found = os.lstat(directory)
    except OSError as fault:
        raise AddressRefused(f"cannot make the directory {directory}: {fault.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise AddressRefused(f"{directory} is not a directory; the address of a supervisor is one")
    if found.st_uid != os.geteuid():
        raise AddressRefused(
            f"{directory} belongs to user {found.st_uid}, not to you; choose a directory of your own"
        )
    if found.st_mode & 0o077:
        raise AddressRefused(
            f"{directory} is open to others (mode {found.st_mode & 0o777:04o}); whoever enters it can feed "
            f"any watchdog. Make it 0700, or name one that does not exist yet"
        )


def _who(holder: bytes) -> str:
    try:
        note = json.loads(holder)
        return f"pid {int(note['pid'])}, since {note['since']}"
    except (ValueError, KeyError, TypeError):
        return "it did not say which"
