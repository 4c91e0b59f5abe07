"""Callbacks in the worker: they run here when the supervisor's verdict arrives.

One thread receives the verdicts; it starts when the first callback is set. Each run has a thread of its own, at
most one at a time per watchdog, so that a callback that hangs delays no other.
"""

from __future__ import annotations

import logging
import select
import threading
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

import zmq

from banken.address import resolve_all
from banken.control import Events, read_event
from banken.errors import AddressRefused, BankenError
from banken.process_identity import inherited
from banken.protocol.incidents import Cause, Incident
from banken.threads import (
    NO_DESCRIPTOR,
    NO_THREAD,
    ZMQ_DESCRIPTORS,
    ZMQ_THREADS,
    are_green,
    available,
    descriptors_available,
    start_daemon,
)
from banken.watchdog.callback_invocation import taking_incident

if TYPE_CHECKING:
    from banken.keys import Key
    from banken.watchdog.callback_invocation import Callback, Run

log = logging.getLogger("banken")

RETRY_MIN, RETRY_MAX = 0.1, 5.0
"""Seconds until a thread is asked for again where the system gave none, or no descriptor."""

SEEN_MAX = 18
"""Incidents of one watchdog that are remembered: two of each supervisor."""

GREEN_S = 1.0
"""Seconds after which ZeroMQ is asked without a sign of its own."""


class CallbackListener:
    """Runs callbacks for the verdicts of one supervisor, or of several.

    ``key``: as its sender has read it: the path of the file may be relative, and the directory another one now.
    ``lock``: the client's; None: one of its own.
    """

    def __init__(
        self,
        address: str,
        key: Key | None = None,
        lock: threading.RLock | None = None,
    ) -> None:
        self._address = address
        self._key = key
        self._lock = lock or threading.RLock()  # re-entrant: a signal handler may feed while it starts
        self._starts = False
        """whether a thread is being started"""
        self._bound: dict[str, Run] = {}
        self._running: set[str] = set()
        self._seen: dict[str, dict[str, int]] = {}
        """by watchdog: the last run of each of its last incidents; of several supervisors each has its own"""
        self._thread: threading.Thread | None = None
        self._commands: zmq.Socket[bytes] | None = None
        self._start_at = 0.0
        """monotonic time before which it is not tried again to start; 0: that never failed; inf: it would be in
        vain"""
        self._waiting: dict[str, tuple[Run, Incident]] = {}
        """by watchdog: runs for which there was no thread; used by the listening thread only"""
        self._retry = RETRY_MIN

    def bind(self, name: str, callback: Callback | None) -> None:
        """Run ``callback`` for ``name``'s verdicts; None: no longer. CallbackRefused if it cannot be called."""
        with self._lock:
            if callback is None:
                if self._bound.pop(name, None) is not None:
                    self._command(b"-", name)
                return
            known = name in self._bound
            self._bound[name] = taking_incident(callback)
            if self._thread is None and not self._starts:
                self._begin()
            elif not known:
                self._command(b"+", name)

    def again(self, now: float) -> bool:
        """Start if need be, and if an attempt is due at ``now`` (monotonic seconds); False: it has no thread."""
        with self._lock:
            if self._thread is None and self._bound and now >= self._start_at and not self._starts:
                self._begin()
            return self._thread is not None or not self._bound or self._start_at == inf

    def connect(self, address: str, key: Key | None) -> None:
        """Receive the verdicts of the supervisor at ``address``, after ``close``."""
        self._address, self._key = address, key
        self._start_at = 0.0
        self._seen.clear()
        self.again(monotonic())

    def close(self) -> None:
        """End the listening thread until ``again``; the callbacks stay bound, and those that run go on."""
        with self._lock:
            thread, commands = self._thread, self._commands
            if thread is None or commands is None:
                return
            commands.send(b"")
            self._thread = self._commands = None
        thread.join(2.0)
        commands.close(0)
        if not thread.is_alive():
            commands.context.term()

    def forked(self) -> None:
        """In a child, which uses it no more: callbacks belong to the process that set them."""
        self._lock = threading.RLock()  # a callback that forked ends here
        inherited.append((self._commands, self._thread))  # the thread has the other sockets

    def _begin(self) -> None:
        self._starts = True  # a signal handler that feeds meanwhile does not start another one
        try:
            self._start()
        finally:
            self._starts = False

    def _start(self) -> None:
        """Listen for every watchdog that has a callback, if the system gives the threads for it."""
        try:
            for each in resolve_all(self._address):
                each.whole()
        except AddressRefused as fault:
            if self._start_at != inf:
                log.error("callbacks of this process do not run: %s; name one that the supervisor has", fault)
            self._start_at = inf
            return
        why = self._started()
        if why and not self._start_at:
            log.error("callbacks cannot be run in this process: %s; it is tried again with its feeds", why)
        self._start_at = monotonic() + RETRY_MAX if why else 0.0

    def _started(self) -> str:
        """Why the thread, or what it needs, is not to be had now; empty: it runs. All sockets are made before it
        begins: with none at the other end to send a command would wait for ever."""
        if not available(ZMQ_THREADS + 1):
            return NO_THREAD
        if not descriptors_available(ZMQ_DESCRIPTORS):
            return NO_DESCRIPTOR
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        context.linger = 0
        try:
            commands, orders = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
            commands.bind("inproc://wake")
            orders.connect("inproc://wake")
            events = Events(self._address, names=[], context=context, key=self._key)
        except (zmq.ZMQError, OSError, BankenError) as fault:
            context.destroy(0)
            return str(fault)
        self._thread = start_daemon(self._listen, "banken-listener", orders, events)
        if self._thread is None:
            context.destroy(0)
            return NO_THREAD
        self._commands = commands
        for name in self._bound:
            self._command(b"+", name)
        return ""

    def _command(self, what: bytes, name: str) -> None:
        if self._commands is not None:
            self._commands.send(what + name.encode())

    def _listen(self, commands: zmq.Socket[bytes], events: Events) -> None:
        poller = zmq.Poller()
        poller.register(commands, zmq.POLLIN)
        poller.register(events.socket, zmq.POLLIN)
        try:
            while True:
                ready = _wait(poller, self._retry if self._waiting else inf)
                self._begin_waiting()
                if commands in ready:
                    command = commands.recv()
                    if not command:
                        return
                    name = command[1:].decode()
                    (events.subscribe if command[:1] == b"+" else events.unsubscribe)(name)
                if events.socket in ready:
                    event = read_event(events.socket)
                    if event is not None:
                        self._on_event(event)
        except zmq.ContextTerminated:
            pass
        finally:
            commands.close(0)
            events.close()
            with self._lock:  # what still waits for a thread would run too late
                self._running.difference_update(self._waiting)
                self._waiting.clear()

    def _on_event(self, event: dict[str, Any]) -> None:
        if event.get("type") not in ("expired", "callback-repeated") or "blamed" in event:
            return  # "blamed": the cause is a watchdog that this one depends on, so no callback runs
        incident = incident_of(event)
        if incident is None:
            return
        name = incident.name
        with self._lock:
            bound = self._bound.get(name)
            # A supervisor repeats an open incident to a listener that subscribed late; run each one once.
            seen = self._seen.setdefault(name, {})
            if bound is None or seen.get(incident.id) == incident.run:
                return
            seen.pop(incident.id, None)
            seen[incident.id] = incident.run
            if len(seen) > SEEN_MAX:
                del seen[next(iter(seen))]
            if name in self._running:
                log.warning("the callback of %r still runs; run %d is left out", name, incident.run)
                return
            self._running.add(name)
        if start_daemon(self._run, f"banken-callback-{name}", bound, incident) is None:
            log.error("the callback of %r waits: %s", name, NO_THREAD)
            self._waiting[name] = bound, incident

    def _begin_waiting(self) -> None:
        """Start the runs that wait for a thread. While there is none, ask again after a growing pause."""
        for name, run in list(self._waiting.items()):
            if start_daemon(self._run, f"banken-callback-{name}", *run) is None:
                self._retry = min(2 * self._retry, RETRY_MAX)
                return
            del self._waiting[name]
        self._retry = RETRY_MIN

    def _run(self, run: Run, incident: Incident) -> None:
        try:
            run(incident)
        except BaseException:
            # Whatever a callback raises, SystemExit included, ends its own thread only.
            log.exception("the callback of %r raised", incident.name)
        finally:
            with self._lock:
                self._running.discard(incident.name)


def _wait(poller: zmq.Poller, seconds: float) -> dict[Any, int]:
    """What is ready, after at most so many seconds (inf: as long as it takes).

    ZeroMQ's own poll blocks the whole process where threads are greenlets. There Python's waits, which the library
    that makes greenlets has replaced. A socket's descriptor says that something has happened, not what, and only
    once: so ZeroMQ is asked each time before, and at least once a second.
    """
    if not are_green():
        return dict(poller.poll(None if seconds == inf else int(seconds * 1000)))
    until = monotonic() + seconds
    while not (ready := dict(poller.poll(0))) and (left := until - monotonic()) > 0:
        _wait_green([each.getsockopt(zmq.FD) for each, _ in poller.sockets], min(left, GREEN_S))
    return ready


def _wait_green(descriptors: list[int], seconds: float) -> None:
    if not hasattr(select, "poll"):  # eventlet takes it away
        select.select(descriptors, [], [], seconds)
        return
    poll = select.poll()  # gevent's select refuses descriptors from 1,024 on
    for each in descriptors:
        poll.register(each, select.POLLIN)
    poll.poll(int(seconds * 1000))


def incident_of(event: dict[str, Any]) -> Incident | None:
    """The incident in an event; None if it holds none."""
    try:
        opened = event["time"] - event["age"]
        needed = (event[key] for key in ("silence", "timeout", "run"))
        optional = (event.get(key) for key in ("reason", "status", "progress"))
        return Incident(event["incident"], event["name"], Cause(event["cause"]), opened, *needed, *optional)
    except (KeyError, TypeError, ValueError):
        return None
