"""Checks regularly that the address still belongs to this supervisor, and takes it again when files were removed.

A cleaner of old files may remove the lock file, a socket or the whole directory. The supervisor does not notice it
by itself: its lock and its connections stay valid, but another supervisor can start, and no new worker or command
finds the sockets. So a thread compares the files with what was made. What is missing is made again; if another
supervisor holds the address by now, this one stops acting, because two would act on the same programs.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable

from banken.errors import AddressInUse, BankenError
from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.runtime.lock import AddressLock
from banken_supervisor.sources.sockets import Sockets

CHECK_EVERY_S, REPORT_EVERY_S = 1.0, 60.0
"""Seconds between two checks, and between two reports that the address cannot be taken again."""


def address_event(text: str) -> Event:
    """Tells what became of the address."""
    return Event(EventType.ADDRESS, None, {"text": text})


class RemovedSockets:
    """Has sockets bound again that were removed, or could not be bound before. Belongs to the loop's thread."""

    def __init__(self) -> None:
        self._told = set[str]()
        """paths of which it was told that they cannot be bound"""

    def bind_again(self, sockets: Sockets, missing: list[str], directory: str | None) -> list[str]:
        """Returns texts for people. What cannot be bound is told once, and tried again with the next check."""
        never = set(filter(sockets.never_made, missing))
        bound, faults = sockets.bind_again(missing)
        new = [path for path in faults if path not in self._told]
        self._told = set(faults)
        texts = []
        for is_first, start, again in (
            (False, "were removed, and ", "again"),
            (True, "", "now, as they were not before"),
        ):
            start = f"sockets of {directory} {start}"
            if done := [_short(path, directory) for path in bound if (path in never) == is_first]:
                texts.append(f"{start}are bound {again}: {', '.join(done)}")
            if left := [path for path in new if (path in never) == is_first]:
                why = "; ".join(f"{_short(path, directory)}: {faults[path]}" for path in left)
                texts.append(f"{start}cannot be bound now, which is tried again: {why}")
        return texts


def _short(path: str, directory: str | None) -> str:
    return os.path.relpath(path, directory)


class AddressMonitor:
    """Runs in its own thread, because a check may hang on a network file system.

    All functions are called on that thread. ``restore`` makes again what else is missing; ``told`` gets a text for
    people; ``lost`` too, once, when another supervisor holds the address; ``fault`` gets an exception.
    """

    def __init__(
        self,
        lock: AddressLock,
        restore: Callable[[], None],
        told: Callable[[str], None],
        lost: Callable[[str], None],
        fault: Callable[[Exception], None],
    ) -> None:
        self._lock, self._restore, self._told, self._lost, self._fault = lock, restore, told, lost, fault
        self._closed = threading.Event()
        self._report_at = 0.0
        with contextlib.suppress(RuntimeError):  # the host cannot start a thread; this one is optional
            threading.Thread(target=self._work, name="banken-address", daemon=True).start()

    def close(self) -> None:
        """End the thread after its present check."""
        self._closed.set()

    def _work(self) -> None:
        while not self._closed.wait(CHECK_EVERY_S):
            try:
                self._check()
            except Exception as raised:  # noqa: BLE001  # it is checked again
                self._fault(raised)

    def _check(self) -> None:
        directory, pid = self._lock.directory, os.getpid()
        if self._lock.lost():
            try:
                if not self._lock.take_again():
                    return
            except AddressInUse as fault:
                if fault.holder is None:  # it only tries: it may find our sockets and give up
                    return
                self._closed.set()
                self._lost(
                    f"the lock of this supervisor (pid {pid}) was removed, and {fault}; this one stops, and leaves "
                    f"its programs to the other"
                )
                return
            except (OSError, BankenError) as fault:
                if time.monotonic() >= self._report_at:
                    self._report_at = time.monotonic() + REPORT_EVERY_S
                    self._told(
                        f"the directory {directory} was removed or replaced, and cannot be used: {fault}. Who is "
                        f"connected is still watched, but no new worker and no command reaches this supervisor "
                        f"(pid {pid}); mend the directory, or end it and start it again"
                    )
                return
            self._told(f"the lock of {directory} was removed; this supervisor (pid {pid}) holds it again")
        self._restore()
