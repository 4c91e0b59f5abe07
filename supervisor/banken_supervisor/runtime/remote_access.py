"""All that listens for other hosts: the handler that knows the keys, feeds, commands and events."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

import zmq

from banken.address import Address
from banken.errors import KeyRefused
from banken.process_identity import after_fork
from banken.threads import NO_THREAD, ZMQ_THREADS, available
from banken_supervisor.actions.job import Job
from banken_supervisor.control.control_api import ROWS_MAX
from banken_supervisor.control.key_rights import reply_for
from banken_supervisor.control.view import RemoteView
from banken_supervisor.engine.principal import Refusal
from banken_supervisor.keys.directory import KeyDirectory
from banken_supervisor.keys.in_force import KeysInForce
from banken_supervisor.observability.guard import Place
from banken_supervisor.runtime.keys_reload import KeysReload
from banken_supervisor.runtime.loop import Loop
from banken_supervisor.runtime.runtime_config import ConfigReload
from banken_supervisor.sources.sockets import Sockets
from banken_supervisor.sources.tcp_connections import IN_IPV6, TcpConnections, close_copies
from banken_supervisor.sources.tcp_feeds import TcpFeeds
from banken_supervisor.sources.tcp_gateway import Rules, TcpGateway
from banken_supervisor.sources.zap import KeyGate

DENIED_MAX = 20
"""Hosts and keys that were denied and are remembered, the latest."""


class RemoteAccess:
    """The keys and their handler, which is tried at once; ``open`` listens. KeyRefused: the keys cannot be used, or
    the handler does not do its work. ConfigFaults: ``access.toml`` has faults. ``resources`` closes all.

    ``directory``: of the keys; None: the usual one.
    """

    def __init__(self, directory: str | os.PathLike[str] | None, resources: contextlib.ExitStack) -> None:
        if not available(ZMQ_THREADS + 3):  # libzmq would end the process
            raise RuntimeError(f"to listen for other hosts needs threads: {NO_THREAD}")
        self._resources = resources
        self._turned_away: dict[tuple[str, bytes | None], float] = {}
        """when each was denied last, monotonic, the latest last"""
        self.keys = KeysInForce(KeyDirectory(directory))
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context.linger = 0
        resources.callback(_end, self._context)
        self._gate = KeyGate(self._context, self.keys.allowed, self._denied)
        resources.callback(self._gate.close)
        if (why := self._gate.prove(self.keys.pair)) is not None:
            raise KeyRefused(f"nothing listens for other hosts: {why}; the handler of keys does not do its work")

    def open(
        self, listen: Sequence[Address], here: Address, sockets: Sockets, loop: Loop, config: ConfigReload | None
    ) -> None:
        """Let workers of other hosts come in, too. The rights of the keys are read again with each reload of
        ``config``, or by themselves where there is none. ZMQError: a port cannot be bound."""
        context, keys, resources = self._context, self.keys, self._resources
        ends = (end for each in listen for end in (each.feed, each.control, each.events))
        self._ports = frozenset(int(end.rpartition(":")[2]) for end in ends)
        after_fork(self)
        self._loop, self._mailbox = loop, loop.mailbox
        connections = TcpConnections(context, self._refuse)
        resources.callback(connections.close)
        self._gate.watch = connections.watch
        feeds = TcpFeeds(
            context, [each.feed for each in listen], self._gate, keys.pair, keys.holder_of,
            sockets.connections.refuse,
        )  # fmt: skip
        resources.callback(feeds.close)
        sockets.read_tcp(feeds)
        rules = Rules(
            keys.holder_of,
            reply_for,
            lambda topic: self._mailbox.post(lambda: loop.welcome(topic)),
            self._refuse,
            loop.fault_elsewhere(Place.REQUEST),
        )
        self._gateway = TcpGateway(context, listen, here, self._gate, keys.pair, rules)
        self._gateway.start()
        resources.callback(self._gateway.close)
        loop.dispatcher.is_elsewhere = lambda who: bool(keys.origin(who.boot))
        loop.remote = RemoteView(keys.origin, self._rows)
        self._bind_reload(config)

    def read(self) -> Callable[[], None]:
        """Read the rights of the keys again, on any thread; what is returned puts them into force, on the loop's
        thread."""
        rights = self.keys.read()

        def apply() -> None:
            less = self.keys.apply(rights)
            self._gate.allowed = self.keys.allowed
            if less:
                self._gateway.renew()

        return apply

    def let_members_in(self, members: Mapping[str, bytes]) -> None:
        """The other members of the cluster may ask, with these keys. On the loop's thread."""
        less = self.keys.let_members_in(members)
        self._gate.allowed = self.keys.allowed
        if less:
            self._gateway.renew()

    def _bind_reload(self, config: ConfigReload | None) -> None:
        if config is not None:
            config.also = self.read
            return
        loop = self._loop
        loop.config_reload = KeysReload(
            self.keys.file,
            self.read,
            self._mailbox.post,
            loop.publish,
            lambda read: loop.background.submit(Job("reading the keys", read)),
        )

    def _rows(self) -> dict[str, Any]:
        now = monotonic()
        denied = [
            {"host": host, "key": None if key is None else key.decode(), "age": now - at}
            for (host, key), at in list(self._turned_away.items())
        ]
        return {"rows": self.keys.rows(now)[:ROWS_MAX], "denied": denied}

    def _forked(self) -> None:
        close_copies(self._ports)

    def _denied(self, host: str, key: bytes | None) -> None:
        """Called on the thread of the handler."""
        host = host.removeprefix(IN_IPV6)
        self._turned_away.pop((host, key), None)
        self._turned_away[host, key] = monotonic()
        if len(self._turned_away) > DENIED_MAX:
            del self._turned_away[next(iter(self._turned_away))]
        what = "without a key" if key is None else f"with the key {key[:8].decode()}…, which is not allowed here"
        self._refuse(
            "denied",
            f"{host} tries to connect {what}; `banken keys list` shows those that are",
        )

    def _refuse(self, reason: str, text: str) -> None:
        """From any thread. A flood of them is not kept."""
        driver = self._loop.driver
        self._mailbox.try_post(
            lambda: driver.engine.admission.refuse(Refusal(reason, text), driver.now, driver.out)
        )


def _end(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """Give its threads back, without waiting for a socket that another thread still has."""
    with contextlib.suppress(RuntimeError):  # no thread is to be had: the process ends anyway
        threading.Thread(target=context.term, name="banken-tcp-end", daemon=True).start()
