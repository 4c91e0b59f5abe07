"""Sends to several supervisors, or to one on another host: one socket for each, in one context.

As in sender.py, whose reasons hold here, too: nothing waits, but for the first message of a process. A message is
sent if any supervisor took it. One that refuses is left out for a tenth of a second, so that it costs the others
nothing.
"""

from __future__ import annotations

import errno
import logging
import struct
import threading
from collections.abc import Callable, Sequence
from time import monotonic, sleep
from typing import Any

import zmq

from banken.address import Address
from banken.client.sender import (
    FIRST_WAIT,
    LINGER,
    LOOK_EVERY,
    RECONNECT_MAX_MS,
    RECONNECT_MS,
    SEND_QUEUE_MAX,
    feed_socket,
    has_socket,
    wait_written,
)
from banken.keys import Key
from banken.process_identity import inherited
from banken.tcp import prepare, server_key
from banken.threads import ZMQ_DESCRIPTORS, ZMQ_THREADS, available, descriptors_available

log = logging.getLogger("banken")

SKIP_S = 0.1
"""Seconds that a supervisor is left out for after it refused a message."""

_DONTWAIT = int(zmq.DONTWAIT)
_EVENT = struct.Struct("=HI")
_CUT_OFF = (errno.EPIPE, errno.ECONNRESET)
"""How a handshake fails in which the peer ends the connection; one that only says nothing may be stopped."""

DENIALS = 2
"""Handshakes that must fail so, one after another: a supervisor that ends meanwhile ends a connection, too."""

_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)


class Destination:
    """One supervisor."""

    __slots__ = (
        "address", "denials", "denied", "dropped", "monitor", "put", "returns", "sent", "skipped_until", "socket",
    )  # fmt: skip

    def __init__(self, address: Address) -> None:
        self.address = address
        self.socket: zmq.Socket[bytes] | None = None
        self.put: Callable[[bytes, int], object] | None = None
        self.monitor: zmq.Socket[bytes] | None = None
        """tells of failed handshakes, from a refusal until it is known why"""
        self.sent = self.dropped = 0
        self.skipped_until = 0.0
        """monotonic"""
        self.denied = False
        """its supervisor does not let this process in"""
        self.denials = 0
        self.returns = 0
        """times that it took a message after it had refused one; since then it may be another supervisor"""

    def open(self, context: zmq.Context[zmq.Socket[bytes]], key: Key | None) -> None:
        """Make the socket."""
        socket = context.socket(zmq.PUSH)
        try:
            for option, value in (
                (zmq.IMMEDIATE, 1), (zmq.LINGER, int(LINGER * 1000)), (zmq.SNDHWM, SEND_QUEUE_MAX),
                (zmq.RECONNECT_IVL, RECONNECT_MS), (zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS),
            ):  # fmt: skip
                socket.setsockopt(option, value)
            if self.address.directory is None:
                assert key is not None
                prepare(socket, self.address, key)
            socket.connect(self.address.feed)
        except BaseException:
            socket.close(0)
            raise
        self.socket = socket
        self.put = super(zmq.Socket, socket).send

    def has_room(self) -> bool:
        """Whether it is connected and takes messages."""
        return self.socket is not None and bool(self.socket.poll(0, zmq.POLLOUT))

    def took(self) -> None:
        """It took a message again."""
        self.skipped_until = 0.0
        self.denied = False
        self.returns += 1
        self.stop_monitor()

    def refused(self, now: float, key: Key | None) -> None:
        """It took no message: leave it out for a while, and find out whether it lets this process in at all."""
        self.skipped_until = now + SKIP_S
        if self.denied or self.address.directory is not None or self.socket is None or key is None:
            return
        if self.monitor is None:
            if not descriptors_available(ZMQ_DESCRIPTORS):  # the next connection needs those of the last one
                return
            try:
                self.monitor = self.socket.get_monitor_socket(_FAILED)
            except zmq.ZMQError:  # the others must hear of this message all the same
                self.socket.disable_monitor()
                return
            self.monitor.setsockopt(zmq.RCVHWM, 0)  # a full queue would hold up libzmq's thread
            self.denials = 0
        while self.monitor.poll(0):
            what, why = _EVENT.unpack(self.monitor.recv_multipart()[0])
            self.denials = (
                self.denials + 1 if what != zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL or why in _CUT_OFF else 0
            )
        if self.denials >= DENIALS:
            self.denied = True
            self.stop_monitor()
            log.warning(
                "%s does not let this process in: the key %r is not allowed there, the server has another key than "
                "its file says, or it is too busy to answer; it is tried again",
                self.address.text, key.name,
            )  # fmt: skip

    def stop_monitor(self) -> None:
        """Ask no longer why it refuses."""
        if self.monitor is not None and self.socket is not None:
            self.socket.disable_monitor()
            self.monitor.close(0)
            self.monitor = None

    def stats(self) -> dict[str, Any]:
        """As in ``client.stats()["destinations"]``."""
        return {
            "address": self.address.text,
            "reachable": self.has_room(),
            "denied": self.denied,
            "sent": self.sent,
            "dropped": self.dropped,
        }


class Fanout:
    """As ``Sender``, for several addresses. ``key``: for those on other hosts. KeyRefused."""

    def __init__(
        self,
        addresses: Sequence[Address],
        key: Key | None,
        opened: Callable[[], bool] = lambda: True,
        lock: threading.RLock | None = None,
    ) -> None:
        for each in addresses:
            if key is not None and each.directory is None:
                server_key(each, key)  # or it is refused now, and not with some feed
        self.destinations = [Destination(each) for each in addresses]
        self.key = key
        self._opened = opened
        self._lock = lock or threading.RLock()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._ready = False
        """``opened`` has returned True"""
        self._live: list[Destination] = []
        """those that are not left out"""
        self._flowing: bool | None = None

    def send(self, frame: bytes, wait: float = 0.0, *, insist: bool = False) -> bool:
        """Hand one message to all; whether any took it. Waits as ``Sender.send`` does."""
        with self._lock:
            try:
                if not self._ready:
                    self._open()
                taken = self._send(frame)
                if not taken and wait and (self._flowing or insist):
                    self._flowing = False
                    taken = self._room(wait, any) and self._send(frame)
                elif not taken and self._flowing:
                    self._flowing = False
            except zmq.ZMQError:
                return False  # no thread is to be had, or the process is on its way out
            if taken:
                self._flowing = True
            return taken

    def _send(self, frame: bytes) -> bool:
        live = self._live
        if len(live) < len(self.destinations):
            now = monotonic()
            live = self._live = [each for each in self.destinations if each.skipped_until <= now]
            for each in self.destinations:
                each.dropped += each.skipped_until > now
        taken = False
        for each in live:
            try:
                assert each.put is not None
                each.put(frame, _DONTWAIT)
            except zmq.Again:
                each.dropped += 1
                each.refused(monotonic(), self.key)
                self._live = []
            else:
                each.sent += 1
                taken = True
                if each.skipped_until:
                    each.took()
        return taken

    @property
    def address(self) -> Address:
        """The one on this host, else the first."""
        here = [each.address for each in self.destinations if each.address.directory is not None]
        return (here or [self.destinations[0].address])[0]

    @property
    def text(self) -> str:
        """The addresses, as people write them."""
        return ",".join(each.address.text for each in self.destinations)

    def ever_sent(self) -> bool:
        """Whether any message was ever taken."""
        return self._flowing is not None

    def may_be_heard(self) -> bool:
        """Whether there is a socket at any of the addresses, as far as is known here."""
        return self._context is not None and any(has_socket(each.address) for each in self.destinations)

    def place(self) -> object:
        """As ``Sender.place``; of one on another host it is known only that there may be another one now."""
        return [feed_socket(each.address) or each.returns for each in self.destinations]

    def reachable(self) -> bool:
        """Whether any supervisor is connected and takes messages right now."""
        with self._lock:
            return any(each.has_room() for each in self.destinations)

    def stats(self) -> list[dict[str, Any]]:
        """Of each destination."""
        with self._lock:
            return [each.stats() for each in self.destinations]

    def wait_left(self, seconds: float) -> None:
        """Wait until what was sent has left this process, at most so long."""
        if self._context is not None:
            wait_written(self._context, seconds)

    def close(self, linger: float = LINGER) -> None:
        """As ``Sender.close``."""
        with self._lock:
            for each in self.destinations:
                each.stop_monitor()
                if each.socket is not None:
                    each.socket.close(int(linger * 1000))
                each.socket = each.put = None
            if self._context is not None:
                self._context.term()
            self._context, self._ready, self._live = None, False, []

    def forked(self, lock: threading.RLock | None = None) -> None:
        """In a child, right after the fork: forget the parent's sockets without touching them."""
        self._lock = lock or threading.RLock()
        self._flowing = None
        for each in self.destinations:
            inherited.extend(one for one in (each.socket, each.monitor) if one is not None)
            each.socket = each.put = each.monitor = None
            each.sent = each.dropped = 0
        if self._context is not None:
            inherited.append(self._context)
        self._context, self._ready, self._live = None, False, []

    def call_opened(self) -> None:
        """Have ``opened`` called before the next message."""
        with self._lock:
            self._ready = False

    def _open(self) -> None:
        new = self._context is None
        if new:
            if not (available(ZMQ_THREADS) and descriptors_available(ZMQ_DESCRIPTORS)):
                raise zmq.Again
            context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
            for each in self.destinations:
                each.open(context, self.key)
            self._context = context
        self._ready = self._opened()
        if new:
            self._room(FIRST_WAIT, all)

    def _room(self, seconds: float, enough: Callable[[Any], bool]) -> bool:
        """Wait for room to send, at most ``seconds``; ``enough``: any or all of them. Whether any has room."""
        deadline = monotonic() + seconds
        while not enough(each.has_room() for each in self.destinations):
            if monotonic() >= deadline:
                break
            sleep(LOOK_EVERY)
        for each in self.destinations:
            each.skipped_until = min(each.skipped_until, monotonic())  # not 0: it is to be seen that it returns
        return any(each.has_room() for each in self.destinations)
