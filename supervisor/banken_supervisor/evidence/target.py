"""The process that is looked at, held by a pidfd, so that a reused pid is never taken for it."""

from __future__ import annotations

import os
import select
import signal
import threading
from types import TracebackType

from banken.process_identity import boot_id, process_start
from banken.protocol.messages import ProcessIdentity


class NotThis(Exception):
    """The process cannot be known for certain, so nothing of it is looked at; ``kind`` is one word for it."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Subject:
    """One process, verified: same boot, and the start time, read after its pidfd was opened, is the one it told.

    From then on, as long as ``holds()``, everything read under its pid was about this process and no other. It is
    a context manager; ``hold`` and ``release`` keep the descriptor open for a part that outlives the deadline, for
    a descriptor's number is reused like a pid.
    """

    def __init__(self, who: ProcessIdentity) -> None:
        """NotThis: remote, unknown, gone, or reused."""
        boot = boot_id()
        if not hasattr(os, "pidfd_open") or not any(boot):
            raise NotThis(
                "unknown", "this system has no pidfd or no boot id: a process cannot be known for certain"
            )
        if who.boot != boot:
            raise NotThis("remote", f"pid {who.pid} runs on another host or boot: only its own host can look at it")
        if who.pid <= 0 or not who.start:
            raise NotThis("unknown", f"pid {who.pid} did not say when it started: it cannot be told from another")
        self.pid = who.pid
        self.start = who.start
        self._lock = threading.Lock()
        self._users = 1
        try:
            self._fd = os.pidfd_open(who.pid)
        except ProcessLookupError:
            raise NotThis("gone", f"pid {who.pid} has ended and left nothing to look at") from None
        except OSError as fault:
            raise NotThis("unknown", f"pid {who.pid} cannot be held: {fault.strerror}") from None
        started = process_start(who.pid)
        if started != who.start:
            self.release()
            if not started:
                raise NotThis("gone", f"pid {who.pid} has ended and left nothing to look at")
            raise NotThis(
                "reused",
                f"pid {who.pid} is another process by now (started at tick {started}, not {who.start}; "
                "or the worker runs in another pid namespace): nothing of it is looked at",
            )

    def ended(self) -> bool:
        """Whether it has ended, all its threads; it may still be a zombie."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(0))

    def holds(self) -> bool:
        """Whether its pid still means it: it lives, or is a zombie that nobody has collected."""
        return not self.ended() or process_start(self.pid) == self.start

    def signal(self, number: int) -> None:
        """Send a signal to exactly this process. ProcessLookupError, PermissionError."""
        signal.pidfd_send_signal(self._fd, number)

    def hold(self) -> None:
        """One user more. NotThis: it was given up already, and its descriptor may mean something else."""
        with self._lock:
            if self._users == 0:
                raise NotThis("gone", f"pid {self.pid} was given up before this part began")
            self._users += 1

    def release(self) -> None:
        """One user less; the last one closes the descriptor."""
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            os.close(self._fd)

    def __enter__(self) -> Subject:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
