"""Reads what local processes send, each in its turn.

libzmq reads on a thread of its own into queues that have a length but no size, and ends the process when
descriptors run out. So the supervisor speaks ZeroMQ's protocol itself (zmtp.py), over Unix sockets that it reads
without waiting, in the loop's thread. What it has not read lies in the kernel's buffer of that one connection,
about 200 KiB, and its sender waits or drops: no process can fill this one's memory, and none takes another's turn.

In turn: each connection that has something gives one portion, then the next; a portion is small where its messages
take long. A connection that gave less than was asked for is empty.
"""

from __future__ import annotations

import contextlib
import fcntl
import sys
import termios
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from math import inf
from operator import length_hint
from time import monotonic

from banken_supervisor.engine.principal import AnyPrincipal, Principal
from banken_supervisor.sources.connections import PORTION_MIN, Connection, Connections
from banken_supervisor.sources.poller import POLLHUP, POLLOUT, make_poller

PORTION_MAX = 65_536
PORTION_S = 0.001
"""Bytes that one connection gives in its turn: few (PORTION_MIN), and twice as many each time while they take less
than this many seconds. Messages that need decoding take a hundred times longer than feeds that are known; commands
of ZeroMQ's protocol, of which no message comes, take long, too."""

GARBAGE_EACH_S, GARBAGE_MAX_S = 0.001, 0.1
"""Seconds for which a connection is not read after each message that is not understood, and at most. Who sends
nothing else leaves the processor to others. One that is understood and refused does not count: feeds may stand
behind it."""

EVENTS_MAX = 1_000
"""Connections that one look finds."""


class Listener:
    """Owned by the loop's thread. ``connected`` gets the pid of each local process whose handshake is over."""

    def __init__(self, connected: Callable[[int], None] = lambda pid: None) -> None:
        self._poll = make_poller()
        self.fileno = self._poll.fileno
        self.connections = Connections(self._poll, connected)
        self.speaker: Connection | None = None
        """whose messages are being given out"""
        self.rests: Callable[[Connection], bool] = lambda connection: False
        """whether so many of its messages wait elsewhere that it is not read before they are fewer"""
        self.garbage: Callable[[], int] = lambda: 0
        """how many of all messages were not understood so far"""
        self._resting: list[Connection] = []
        self._round: deque[Connection] = deque()
        """those that had something at the last look, and were not read since"""
        self._again = False
        """whether there may be more than the last look found, or was read since"""
        self._barrier: bytes | None = None
        """what is given out when all that is owed has been read"""
        self._given = 0
        self._portion: Iterator[bytes] = iter(())
        """what is being given out"""

    def close(self) -> None:
        """Close all connections and doors; the files stay."""
        self.connections.close_all()
        self._poll.close()

    def speaker_pid(self) -> int:
        """The process whose messages are being given out, by the kernel's word; 0: nobody's, or it is unknown."""
        return 0 if self.speaker is None else self.speaker.pid

    # -- reading ------------------------------------------------------------------------------------

    def drain(
        self,
        read: Callable[[Iterator[bytes], AnyPrincipal], None],
        limit: int,
        seconds: float,
        fault: Callable[[Exception], None],
    ) -> tuple[int, bool]:
        """Let ``read`` take what has come; a turn more only before ``limit`` messages and ``seconds``. How many
        there were, and whether each connection that had something has had its turn.

        ``fault`` gets what ``read`` raises; the message that did it is lost, and those behind it are read.
        """
        self._resume()
        self._given, until = 0, monotonic() + seconds
        complete = False
        while self._round or self._look():
            principal = self._round[0].door.principal
            self._give(chain.from_iterable(self._portions(principal, limit, until)), read, principal, fault)
            over = self._given >= limit or monotonic() >= until
            complete = not self._round
            if over or (complete and not self._again):
                break
        else:
            complete = True
        self.speaker = None
        if complete and self.connections.due_at <= monotonic():
            self.connections.tend()
        if self._barrier is not None and not self.connections.owing:
            frames, self._barrier = iter((self._barrier,)), None
            self._given += 1
            self._give(frames, read, Principal.LOCAL, fault)
        return self._given, complete

    def _give(
        self,
        frames: Iterator[bytes],
        read: Callable[[Iterator[bytes], AnyPrincipal], None],
        principal: AnyPrincipal,
        fault: Callable[[Exception], None],
    ) -> None:
        while True:
            left = self._given, length_hint(self._portion)
            try:
                read(frames, principal)
            except Exception as raised:  # noqa: BLE001  # the next one is independent of it
                fault(raised)
                nothing_read = left == (self._given, length_hint(self._portion))
                if nothing_read and next(frames, None) is None:
                    return
            else:
                deque(frames, maxlen=0)  # what it left; the connections give nothing before they are asked
                return

    def _portions(self, principal: AnyPrincipal, limit: int, until: float) -> Iterator[Iterator[bytes]]:
        """A portion of each connection of this round, as long as they are this principal's."""
        waiting = self._round
        before, garbage = monotonic(), self.garbage()
        while waiting and waiting[0].door.principal is principal:
            connection = waiting.popleft()
            if self.rests(connection):
                self._rest(connection, 0.0, 0)
                continue
            try:
                messages, is_full = self._receive(connection)
            except KeyError as fault:  # to the engine it would say that a message is not known
                raise RuntimeError(repr(fault)) from fault
            if messages and connection.door.handler is not None:
                connection.door.handler.take(connection, messages)
            elif messages:
                self.speaker = connection
                self._given += len(messages)
                self._portion = iter(messages)
                yield self._portion
            looked = monotonic()
            if self.garbage() != garbage:
                self._rest(connection, looked, self.garbage() - garbage)
                garbage = self.garbage()
            if is_full and connection.door.handler is None:
                self._again = True
                quick = looked - before < PORTION_S
                connection.portion = min(PORTION_MAX, 2 * connection.portion) if quick else PORTION_MIN
            if self._given >= limit or looked >= until:
                return
            before = looked

    def _rest(self, connection: Connection, now: float, garbage: int) -> None:
        """Do not read it before it has paid for so much garbage, and few of its messages wait."""
        if self.connections.by_descriptor.get(connection.descriptor) is not connection:
            return  # it was closed since the look, and its descriptor may be another's, who would not be read
        connection.reads_at = now + min(GARBAGE_MAX_S, garbage * GARBAGE_EACH_S)
        self.connections.rest(connection)
        self._resting.append(connection)

    def _receive(self, connection: Connection) -> tuple[list[bytes], bool]:
        """(its next messages, whether there may be more)."""
        asked, incoming = connection.portion, connection.incoming
        try:
            data = connection.socket.recv(asked)
        except BlockingIOError:
            self.connections.owing.discard(connection)
            return [], False
        except OSError:
            data = b""
        if not data:
            self.connections.close(connection)
            return [], False
        was_ready = incoming.is_ready
        messages = incoming.take(data)
        is_full = len(data) == asked
        if self.connections.owing:
            connection.owed -= len(data)
            if not is_full or connection.owed <= 0:
                self.connections.owing.discard(connection)
        if incoming.fault:
            self.connections.refuse("protocol", f"{connection} is closed: {incoming.fault}")
            self.connections.close(connection)
            # A handler was told that it is gone, and would keep for ever what came of it afterwards.
            return (messages if connection.door.handler is None else []), False
        if not was_ready and incoming.is_ready:
            self.connections.is_open(connection)
        if incoming.pong:
            with contextlib.suppress(OSError):  # it does not read: it will miss it
                connection.socket.send(incoming.pong)
            incoming.pong = b""
        return messages, is_full

    def _look(self) -> bool:
        """See who has something now, and accept who wants to connect; whether anybody has."""
        found = self._poll.poll(0, EVENTS_MAX)
        self._again = len(found) == EVENTS_MAX
        doors = []
        for descriptor, mask in found:
            connection = self.connections.by_descriptor.get(descriptor)
            if connection is not None:
                if mask & POLLOUT:
                    self.connections.flush(connection)
                if connection.is_read and mask & ~POLLOUT:
                    self._round.append(connection)
                elif mask & POLLHUP:
                    self.connections.close(connection)
            elif descriptor in self.connections.doors:
                doors.append(self.connections.doors[descriptor])
        for door in doors:
            self.connections.accept(door)
        return bool(self._round)

    def _resume(self) -> None:
        """Those of which few messages wait by now are read again."""
        if not self._resting:
            return
        resting, self._resting, now = self._resting, [], monotonic()
        for connection in resting:
            if connection.reads_at > now or self.rests(connection):
                self._resting.append(connection)
            else:
                self.connections.go_on(connection)

    # -- the barrier ----------------------------------------------------------------------------------

    def send_barrier(self, frame: bytes) -> None:
        """Give ``frame`` out as a message when all that the kernel has now has been read (engine/barrier.py)."""
        is_again, self._barrier = self._barrier is not None, frame
        if is_again:  # the former one was taken for lost; what was owed to it still is
            return
        self._resume()
        for descriptor, _ in self._poll.poll(0, len(self.connections.by_descriptor) + len(self.connections.doors)):
            connection = self.connections.by_descriptor.get(descriptor)
            if connection is not None and connection.door.handler is None:
                connection.owed = _readable(descriptor)
                if connection.owed:
                    self.connections.owing.add(connection)

    def patience(self, now: float) -> float:
        """Seconds until ``drain`` has something to do although nobody says anything, 0 or less: now; inf: never.

        ``now``: monotonic seconds.
        """
        if self._barrier is not None and not self.connections.owing:
            return 0.0
        reads_at = (each.reads_at for each in self._resting if not self.rests(each))
        return min(self.connections.due_at, min(reads_at, default=inf)) - now


def _readable(descriptor: int) -> int:
    """Bytes that can be read now."""
    return int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)
