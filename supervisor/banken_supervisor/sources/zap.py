"""Says which keys may connect over tcp: the handler that libzmq asks (ZAP, https://rfc.zeromq.org/spec/27/).

Without a handler a CURVE server lets every key in. So the handler is bound before any socket, the sockets insist on
it (``ZAP_ENFORCE_DOMAIN``: while it hangs nobody comes in), and ``prove`` tries a key that nobody knows, and one
that is known, before anybody is let in. A key is denied with status 300 and not 400, after which libzmq's client
never tries again: so it comes in by itself as soon as it is allowed.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Container
from time import monotonic

import zmq
from zmq.utils import z85

ENDPOINT = "inproc://zeromq.zap.01"
DOMAIN = b"banken"

PROVE_S = 5.0
"""Seconds within which a key that is known must have been let in."""

PROVE_HANDSHAKE_MS = 100
"""Milliseconds after which a key that nobody knows counts as turned away."""

_VERSION = b"1.0"
_FRAMES = 8
"""Of a request about a key: the routing id, and after the empty one version, number, domain, address, identity,
mechanism and key."""

Socket = zmq.Socket[bytes]


class KeyGate:
    """Answers on a thread of its own. ``allowed``: the public keys (32 bytes in Z85) that are let in; the key is
    each message's user id. It is replaced whole, never changed. ``denied``: told of each refusal, on that thread,
    with the address and the key, or None where there was none.

    One for each context; made before its tcp sockets, and closed after them.
    """

    def __init__(
        self,
        context: zmq.Context[Socket],
        allowed: Container[bytes],
        denied: Callable[[str, bytes | None], None],
    ) -> None:
        self.allowed = allowed
        self.watch: Callable[[Socket], None] = lambda server: None
        """is called with each socket that other hosts connect to, before it is bound"""
        self.later: frozenset[bytes] = frozenset()
        """keys that may not connect again for now; replaced whole"""
        self._denied = denied
        self._stranger = b""
        """the public key that nobody knows"""
        self._context = context
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(ENDPOINT)
        self._end = context.socket(zmq.PAIR)
        self._end.bind("inproc://zap-end")
        self._thread = threading.Thread(target=self._run, name="banken-keys", daemon=True)
        self._thread.start()

    def guard(self, socket: Socket, public: bytes, secret: bytes) -> None:
        """Make this socket a server that asks here. Before it is bound."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def prove(self, pair: tuple[bytes, bytes]) -> str | None:
        """Why it must not be relied on: a key that nobody knows was not turned away, or ``pair``, which must be
        ``allowed``, was not let in. None: both are as they should be.

        ``pair``: public and secret key, of the server, too. ZMQError: there is no port on loopback.
        """
        with self._context.socket(zmq.PULL) as server:
            self.guard(server, *pair)
            server.setsockopt(zmq.HANDSHAKE_IVL, PROVE_HANDSHAKE_MS)  # then what is turned away is cut off
            address = f"tcp://127.0.0.1:{server.bind_to_random_port('tcp://127.0.0.1')}"
            stranger = zmq.curve_keypair()
            self._stranger = stranger[0]
            if self._try(address, pair[0], stranger, 0.0):
                return "a key that nobody knows was let in"
            if not self._try(address, pair[0], pair, PROVE_S):
                return f"the supervisor's own key was not let in within {PROVE_S:g} s"
            return None

    def _try(self, address: str, server: bytes, pair: tuple[bytes, bytes], seconds: float) -> bool:
        """Whether this pair gets in, tried for so many seconds, and at least once."""
        deadline = monotonic() + seconds
        with self._context.socket(zmq.PUSH) as client:
            client.setsockopt(zmq.LINGER, 0)
            client.setsockopt(zmq.RECONNECT_IVL, 10)
            client.curve_serverkey = server
            client.curve_publickey, client.curve_secretkey = pair
            with client.get_monitor_socket(_HANDSHAKE) as monitor:
                client.connect(address)
                found = 0
                while monitor.poll(int(PROVE_S * 1000)):
                    found = int.from_bytes(monitor.recv_multipart()[0][:2], sys.byteorder)
                    if found == zmq.EVENT_HANDSHAKE_SUCCEEDED or monotonic() >= deadline:
                        break
                client.disable_monitor()
        return found == zmq.EVENT_HANDSHAKE_SUCCEEDED

    def close(self) -> None:
        """End the thread."""
        self._end.send(b"")
        self._thread.join(2.0)
        self._end.close(0)
        self._socket.close(0)

    def _run(self) -> None:
        end = self._context.socket(zmq.PAIR)
        end.connect("inproc://zap-end")
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(end, zmq.POLLIN)
        try:
            while end not in (ready := dict(poller.poll())):
                if self._socket in ready:
                    with contextlib.suppress(Exception):  # who gets no answer does not come in
                        self._answer(self._socket.recv_multipart(zmq.DONTWAIT))
        except zmq.ContextTerminated:
            pass
        finally:
            end.close(0)

    def _answer(self, request: list[bytes]) -> None:
        split = request.index(b"") if b"" in request else len(request)
        route, parts = request[: split + 1], request[split + 1 :]
        if len(parts) < _FRAMES - 2:
            return  # not from libzmq
        key = None
        if parts[0] == _VERSION and parts[2] == DOMAIN and parts[5] == b"CURVE" and len(parts) == _FRAMES - 1:
            key = z85.encode(parts[6])
        waits = key in self.later
        user = key if key is not None and key in self.allowed and not waits else b""
        answer = (b"200", b"OK") if user else (b"300", b"unknown key")
        self._socket.send_multipart([*route, _VERSION, parts[1], *answer, user, b""])
        if not user and not waits and key != self._stranger:
            self._denied(parts[3].decode(errors="replace"), key)


_HANDSHAKE = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)
