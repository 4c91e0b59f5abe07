"""The workers of a whole simulation: processes with the real client, and what may happen to each."""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from banken.client import Client, zmq_client
from banken.protocol.incidents import Incident

from .whole_host import Host
from .whole_net import Link
from .whole_threads import Event
from .whole_world import Process

if TYPE_CHECKING:
    from .whole_oracle import Oracle

INTERVAL = 30.0


class Worker:
    """A program that feeds one name, and is started again when it has ended.

    ``declares``: it declares its timeout, and has a callback of its own; else the config's pattern does.
    """

    def __init__(self, host: Host, oracle: Oracle, name: str, timeout: float, *, declares: bool, seed: int) -> None:
        self.host, self.world, self.oracle = host, host.world, oracle
        self.name, self.timeout, self.declares = name, timeout, declares
        self.random = random.Random(f"{seed} {name}")
        self.process: Process | None = None
        self.client: Client | None = None
        self.silent_until = 0.0
        self._listens_since = 0.0
        self._asked: deque[Callable[[], None]] = deque()
        self._wake: Event | None = None

    def start(self) -> None:
        """A new process."""
        process = self.process = Process(self.world, self.name)
        self.silent_until = 0.0
        self._asked.clear()
        self.oracle.began(self, process)
        process.ended.append(lambda: self.oracle.ended(self, process))
        self.world.start(process, self._run)

    def ask(self, what: Callable[[], None]) -> None:
        """Have its thread do something."""
        if self.process is not None and self.process.alive and self._wake is not None:
            self._asked.append(what)
            self._wake.set()

    # -- its thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        wake = self._wake = Event(self.world)
        client = self.client = Client(self.host.address)
        if self.declares:
            self.oracle.said(self.name, "declares")
            client.watchdog(self.name, self.timeout, INTERVAL, callback=self._called)
        while True:
            while self._asked:
                self._asked.popleft()()
            if self.world.now >= self.silent_until:
                self.oracle.busy(self.name)
                self.feed(client, self.name)
                if self.random.random() < 0.3:  # again, within the time in which it need not travel
                    self.world.sleep(self.random.uniform(0.0, 0.02) * self.timeout)
                    self.feed(client, self.name)
            wake.wait(self.timeout * self.random.choice((0.3, 0.5, 0.5, 0.9)))
            wake.clear()

    def feed(self, client: Client, name: str) -> None:
        """Feed, and tell the oracle of it, and by which connection."""
        self.world.passes("feed")
        link = self.link(client)
        had_room = link is not None and len(link.pipe) < 1000
        client.feed(name)
        after = self.link(client)
        if after is not None and (had_room or link is not after):
            self.oracle.fed(name, after, self.world.task.process)  # type: ignore[union-attr]

    @staticmethod
    def link(client: Client) -> Link | None:
        """Its connection; None: it has none."""
        sender = client._sender
        link: Link | None = None if sender is None or sender._socket is None else sender._socket.link  # type: ignore[attr-defined]
        return link if link is not None and link.open else None

    def listening(self) -> None:
        """Tell the oracle since when its callbacks can run."""
        listener = None if self.client is None else self.client._listener
        process = self.process
        if process is None or not process.alive or process.stopped or process.pid in self.host.wire.delay:
            self._listens_since = self.world.now
        commands = None if listener is None else listener._commands
        for each in () if commands is None else commands.context.sockets:  # type: ignore[attr-defined]
            if each.topics and each.link is not None and each.link.open:
                self.oracle.listens(self, max(each.linked_at, self._listens_since))

    def _called(self, incident: Incident) -> None:
        self.oracle.called(self, incident)

    # -- what it is asked to do -----------------------------------------------------------------------

    def tell(self, what: str, *args: Any) -> None:
        """fail, pause or extend."""
        assert self.client is not None
        self.oracle.said(self.name, what, *args)
        getattr(self.client, what)(self.name, *args)

    def idle(self, seconds: float, *, busy: bool) -> None:
        """It has nothing to do for so long, or will not feed for so long, and says so."""
        assert self.client is not None
        link = self.link(self.client)
        self.silent_until = self.world.now + seconds
        if busy:
            self.client.busy(self.name, seconds + self.timeout)
        else:
            self.client.idle(self.name)
        if link is not None and link is self.link(self.client):
            self.oracle.idle(self.name)

    def section(self, timeout: float, seconds: float) -> None:
        """A deadline for one stretch of work."""
        assert self.client is not None
        section = self.client.section("part", timeout)
        self.oracle.section(section.name, timeout)
        with section:
            self.world.sleep(seconds)
        self.oracle.left(section.name)

    def end(self, how: str, status: int) -> None:
        """Its end: ``exit`` by the interpreter, ``crash`` by an exception, ``leave`` by os._exit after leave()."""
        assert self.client is not None
        assert self.process is not None
        link, before = self.link(self.client), self.world.now
        self.oracle.said(self.name, how)
        if how == "leave":
            self.client.leave()
        else:
            self.client._at_exit("ValueError: out of cheese" if how == "crash" else None)
        in_time = self.world.now - before < 0.14  # else something was in its way
        if link is not None and link.listener is self.host.wire.listener and link.moved < link.taken and in_time:
            self.oracle.unheard(self.name)
        self.process.end(status)

    def fork(self, feeds: int) -> None:
        """A child feeds a name of its own some times, and ends by os._exit."""
        assert self.client is not None
        name = f"child{self.random.randrange(10**6)}.{self.name}"  # no pattern of the config has it
        child = Process(self.world, name)
        client = forked(self.client)

        def work() -> None:
            client._forked()
            self.oracle.child(name, child)
            for _ in range(feeds):
                self.feed(client, name)
                self.world.sleep(5.0)
            self.oracle.said(name, "exit")
            child.end(0)

        child.ended.append(lambda: self.oracle.gone(name, child))
        self.world.start(child, work)


def forked(client: Client) -> Client:
    """What a child has of its parent's client: a copy of its memory."""
    made = copy.copy(client)
    states = {id(state): copy.copy(state) for state in [*client._states.values(), client._past]}
    made._states = {name: states[id(state)] for name, state in client._states.items()}
    made._past = states[id(client._past)]
    made._unread = copy.copy(client._unread)
    made._open_work = {}
    if client._sender is not None:
        made._use(copy.copy(client._sender))
        made._sender._opened = made._opened  # type: ignore[union-attr]
    if client._listener is not None:
        made._listener = copy.copy(client._listener)
    return made


def forget_clients() -> None:
    """Those that a killed process has left in this one's memory."""
    zmq_client._open.clear()
