"""The supervisor's side of a whole simulation: its process, its disk, and what it sees of other processes.

The supervisor is the real one (runtime/supervisor.py), with its loop, outbox, journal and threads. Only what is the
host's has stand-ins: sockets, pidfds, the address's lock, the pipe that wakes the loop, and the disk's moods.
The journal is a real SQLite file.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import banken.client.callback_listener
import banken.client.sender
import banken.watchdog
import banken.watchdog.remote_timer
from banken import control
from banken.protocol.messages import ProcessIdentity
from banken.watchdog import work
from banken_supervisor.actions import callback, log  # noqa: F401  # as above
from banken_supervisor.config import load
from banken_supervisor.engine.effects import Event as Told
from banken_supervisor.outbox.publisher import Publisher
from banken_supervisor.processes import descriptor_limit, memory_limit, process_watcher
from banken_supervisor.processes.handle import ProcessGone
from banken_supervisor.runtime import mailbox, supervisor
from banken_supervisor.runtime.loop import Loop
from banken_supervisor.runtime.runtime_config import RuntimeConfig
from banken_supervisor.runtime.supervisor import Supervisor

from .whole_net import Wire
from .whole_sockets import HostSockets
from .whole_world import Process, World

COMMIT_S = 0.001
CONFIG = """
[supervisor]
defaults = { timeout = "20s" }
callback_process = false
[callbacks]
deed0 = "simulation.whole_deeds:deed0"
deed1 = "simulation.whole_deeds:deed1"
deed2 = "simulation.whole_deeds:deed2"
deed3 = "simulation.whole_deeds:deed3"
[[watchdog]]
name = "ladder-*"
timeout = "4s"
ladder = [
  { do = "callback", callback = "deed0" },
  { after = "3s", do = "callback", callback = "deed1" },
  { after = "8s", do = "callback", callback = "deed2", budget = "3 per 5m" },
]
on_give_up = { do = "callback", callback = "deed3" }
"""
"""Its second part, which a reload adds and takes away, is EXTRA."""
EXTRA = """
[[watchdog]]
name = "extra-*"
timeout = "30s"
"""


class Disk:
    """What the journal's file lies on. ``mood``: ok, full or failing. ``slow``: seconds that a commit takes."""

    def __init__(self, world: World) -> None:
        self.world, self.mood, self.slow = world, "ok", COMMIT_S

    def connect(self, *args: Any, **more: Any) -> sqlite3.Connection:
        made: Connection = _connect(*args, **more, factory=Connection)
        made.disk = self
        task = self.world.task
        if task is not None:
            made.process = task.process
            made.process.ended.append(made.dropped)
        return made

    def commit(self) -> None:
        self.world.passes("commit")
        if self.mood != "ok":
            self.world.sleep(self.slow)
            full = self.mood == "full"
            fault = sqlite3.OperationalError("database or disk is full" if full else "disk I/O error")
            fault.sqlite_errorcode = sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_IOERR_WRITE
            fault.sqlite_errorname = "SQLITE_FULL" if full else "SQLITE_IOERR_WRITE"
            raise fault
        self.world.sleep(self.slow)


_connect = sqlite3.connect


class Connection(sqlite3.Connection):
    """A connection whose commits the disk decides."""

    disk: Disk
    process: Process

    def __exit__(self, *fault: Any) -> Any:
        if fault[0] is None:
            self.disk.commit()
        found = super().__exit__(*fault)
        if fault[0] is None:
            self.disk.world.passes("committed")
        return found

    def dropped(self) -> None:
        """Its process has ended: what was not committed is lost."""
        with suppress(sqlite3.Error):
            self.rollback()
        with suppress(sqlite3.Error):
            self.close()


class Handle:
    """In the place of a pidfd."""

    processes: dict[int, Process] = {}  # noqa: RUF012  # the world's, set by Host

    def __init__(self, process: Process) -> None:
        self.process = process

    @classmethod
    def open(cls, who: ProcessIdentity) -> Handle:
        found = cls.processes.get(who.pid)
        if found is None or not found.alive:
            raise ProcessGone(f"pid {who.pid} has ended")
        return cls(found)

    @property
    def alive(self) -> bool:
        return self.process.alive

    def ended_with(self) -> int | None:
        return self.process.status

    def close(self) -> None:
        pass

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Tellers:
    """In the place of what a worker's process has one of: the thread that tells of its open work."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._made: dict[int, work.Teller] = {}

    def __getattr__(self, name: str) -> Any:
        pid = self._world.getpid()
        if pid not in self._made:
            self._made[pid] = work.Teller()
        return getattr(self._made[pid], name)


class Host:
    """One host. ``folder``: for the address and the journal. ``decided``: each event as the loop has it; ``told``:
    each that is sent to subscribers, as bytes."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.wire, self.disk = world, Wire(world), Disk(world)
        self.address = str(folder / "address")
        self.journal = str(folder / "journal.db")
        self.config = folder / "banken.toml"
        os.makedirs(self.address, 0o700, exist_ok=True)
        self.process: Process | None = None
        self.loop: Loop | None = None
        self.supervisor: Supervisor | None = None
        self.decided: Callable[[Told], None] = lambda event: None
        self.told: Callable[[bytes, bytes], None] = lambda topic, body: None
        self.woke: Callable[[float, float], None] = lambda real, asked: None
        self.ready: Callable[[], None] = lambda: None
        self._descriptors = 1_000_000
        self._extra = False
        self.write_config()

    def write_config(self) -> None:
        """Another one than before."""
        self.config.write_text(CONFIG + (EXTRA if self._extra else ""))
        os.utime(self.config, (1, 1))
        self._extra = not self._extra

    # -- the supervisor -------------------------------------------------------------------------------

    def start(self) -> None:
        """A supervisor starts."""
        process = self.process = Process(self.world, "supervisor")
        process.ended.append(self._died)
        self.world.start(process, lambda: self._supervise(process))

    def _supervise(self, process: Process) -> None:
        made = Supervisor(self.address, journal=self.journal)
        made.configure(lambda: RuntimeConfig(load(self.config)))
        self.supervisor = made
        made.run()
        process.end(0)

    def _died(self) -> None:
        outbox = None if self.loop is None else self.loop.outbox
        if outbox is not None and outbox.journal._lock is not None:
            outbox.journal._lock.release()  # as the kernel does
        self.loop = self.supervisor = None

    def stop(self) -> None:
        """SIGTERM."""
        if self.supervisor is not None and self.process is not None and self.process.alive:
            made = self.supervisor
            self.process.do(lambda: made._request_stop(5.0))

    def reload(self) -> None:
        """SIGHUP, with another file."""
        self.write_config()
        if self.supervisor is not None and self.process is not None:
            made = self.supervisor
            self.process.do(made.reload)

    def lose_journal(self) -> None:
        """Somebody removes it."""
        for each in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.unlink(self.journal + each)

    # -- what is the host's ---------------------------------------------------------------------------

    def descriptor(self, is_readable: Callable[[], bool]) -> int:
        self._descriptors += 1
        self.world.readable[self._descriptors] = is_readable
        return self._descriptors

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Inside, the product runs in this world."""

        host, Handle.processes = self, self.world.processes

        def sockets(address: Any, descriptor: int, connected: Any) -> HostSockets:
            process = host.process
            assert process is not None
            made = HostSockets(host.wire, process, descriptor)
            # When the world drops the threads of one that was killed, they come to what it would not have come to.
            made.events.published = lambda topic, body: host.told(topic, body) if process.alive else None
            host.sockets = made
            return made

        class Ends:
            """In the place of epoll on pidfds."""

            def __class_getitem__(cls, _: Any) -> type[Ends]:
                return cls

            def __init__(self) -> None:
                self.handles: dict[ProcessIdentity, Handle] = {}
                self._gone: list[tuple[ProcessIdentity, Handle]] = []
                self._fd = host.descriptor(lambda: bool(self._gone))

            def fileno(self) -> int:
                return self._fd

            def add(self, who: ProcessIdentity, handle: Handle) -> None:
                self.handles[who] = handle

                def ended() -> None:
                    if self.handles.get(who) is handle:
                        self._gone.append((who, handle))
                        host.sockets.wake()

                handle.process.ended.append(ended)

            def ended(self) -> list[tuple[ProcessIdentity, Handle]]:
                found, self._gone = self._gone, []
                for who, _ in found:
                    del self.handles[who]
                return found

            def close(self) -> None:
                self.handles.clear()

        class Pipe:
            """The pair of sockets that wakes the loop."""

            def __init__(self) -> None:
                self.full = False
                self._fd = host.descriptor(lambda: self.full)

            def fileno(self) -> int:
                return self._fd

            def setblocking(self, on: bool) -> None:
                pass

            def send(self, _: bytes) -> None:
                self.full = True
                if host.wire.listener is not None:
                    host.wire.listener.wake()

            def recv(self, _: int) -> None:
                self.full = False

            def close(self) -> None:
                pass

        def pair() -> tuple[Pipe, Pipe]:
            made = Pipe()
            return made, made

        def make(right: Any, self: Supervisor, resources: Any) -> Loop:
            loop = right(self, resources)
            wake = loop.driver.wake

            def woke(real: float, asked: float) -> float:
                host.woke(real, asked)
                return wake(real, asked)

            loop.driver.wake = woke
            host.loop = loop
            host.ready()
            return loop

        def publish(right: Any, self: Publisher, event: Told) -> None:
            host.decided(event)
            right(self, event)

        inert = SimpleNamespace(
            release=lambda: None,
            close=lambda *_: None,
            connected=None,
            trust=lambda who: None,
            allow=lambda who: None,
            is_proved=lambda who: True,
            speaks_for=lambda pid, who: True,
        )
        quiet = logging.getLogger("banken")
        replaced = [
            (supervisor.AddressLock, lambda directory: inert), (supervisor.PeerCredentials, lambda: inert),
            (supervisor.AddressMonitor, lambda *_: inert),
            (supervisor.start_sweeping, lambda directory: lambda: None),
            (process_watcher.EndWatcher, Ends), (supervisor.Sockets, sockets),
        ]  # fmt: skip
        worker = self.wire.module()
        with (
            self.world.installed(*replaced),
            mock.patch.object(process_watcher, "ProcessHandle", Handle),
            mock.patch.object(process_watcher, "STATUS_KNOWN", True),
            mock.patch.object(mailbox, "socket", SimpleNamespace(socketpair=pair)),
            mock.patch.multiple(banken.client.sender, zmq=worker, feed_socket=self.wire.feed_socket),
            mock.patch.object(banken.client.callback_listener, "zmq", worker),
            mock.patch.object(control, "zmq", worker),
            mock.patch.multiple(descriptor_limit, raise_limit=lambda: True, limit=lambda: 65_536, used=lambda: 20),
            mock.patch.object(memory_limit, "room", return_value=None),
            mock.patch.object(work, "teller", Tellers(self.world)),
            mock.patch.object(sqlite3, "connect", self.disk.connect),
            mock.patch.object(supervisor.Supervisor, "_make", _around(supervisor.Supervisor._make, make)),
            mock.patch.object(Publisher, "publish", _around(Publisher.publish, publish)),
            mock.patch.object(quiet, "propagate", False),
            mock.patch.object(quiet, "handlers", [logging.NullHandler()]),
        ):
            yield


def _around(right: Any, instead: Any) -> Any:
    return lambda self, *args: instead(right, self, *args)
