"""What every socket between hosts has: the options of its connection, and its key. Loaded only for tcp.

A connection that is cut without a word must be noticed, given up and made again within seconds: what waits in it
would come late, as feeds of a time that is over.

* ``TCP_KEEPALIVE``: a host that does not answer for so long, while nobody says anything, is gone. ZeroMQ's own
  heartbeats are not used: in libzmq 4.3.5 they end the process (``Assertion failed: !_io_error``) when a connection
  ends whose messages were not read in time, and whoever has a key could have that done to a supervisor.
* ``TCP_MAXRT``: data that is not acknowledged for so long ends the connection; without it the kernel goes on for
  minutes, and delivers old feeds when the network is back.
* ``CONNECT_TIMEOUT``: an attempt to connect is given up after so long. Else the kernel's pauses between its own
  attempts grow, and after a cut of 15 s nothing comes for seconds.
* ``HANDSHAKE_IVL``: for the exchange of keys. A supervisor does not answer a key that it denies, and cuts it off
  after this time; then it asks again. It is shorter there, so that the worker knows a denial from a silence.
* ``RECONNECT_IVL``, ``RECONNECT_IVL_MAX``: pauses before the next attempt.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import zmq

from banken.address import Address
from banken.errors import KeyRefused
from banken.keys import Key, load

KEEPALIVE_S, KEEPALIVES = 1, 3
MAXRT_MS = 2000
CONNECT_MS = 1000
HANDSHAKE_MS, SERVER_HANDSHAKE_MS = 2000, 1000
RECONNECT_MS, RECONNECT_MAX_MS = 50, 250

OPTIONS: Mapping[zmq.SocketOption, int] = {
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: KEEPALIVE_S,
    zmq.TCP_KEEPALIVE_INTVL: KEEPALIVE_S,
    zmq.TCP_KEEPALIVE_CNT: KEEPALIVES,
    zmq.TCP_MAXRT: MAXRT_MS,
    zmq.CONNECT_TIMEOUT: CONNECT_MS,
    zmq.HANDSHAKE_IVL: HANDSHAKE_MS,
    zmq.RECONNECT_IVL: RECONNECT_MS,
    zmq.RECONNECT_IVL_MAX: RECONNECT_MAX_MS,
    zmq.IPV6: 1,
}


def given_key(path: str | os.PathLike[str] | Key | None = None) -> Key:
    """This key, or that in this file, else in ``$BANKEN_KEY``. KeyRefused: there is none, or it cannot be used."""
    if isinstance(path, Key):
        return path
    path = path or os.environ.get("BANKEN_KEY")
    if not path:
        raise KeyRefused(
            "an address tcp://… needs a key: name its file in $BANKEN_KEY or with Client(key=…); "
            "`banken keys new NAME --for ADDRESS` makes one"
        )
    return load(path)


def server_key(address: Address, key: Key) -> bytes:
    """The public key of the server at ``address``. KeyRefused: the key's file does not know that one."""
    found = key.servers.get(address.feed)
    if found is None:
        known = ", ".join(key.servers) or "none"
        raise KeyRefused(
            f"the file of the key {key.name!r} has no public key of {address.feed}; under [servers] it has: {known}"
        )
    return found


def prepare(socket: zmq.Socket[bytes], address: Address, key: Key) -> None:
    """Give this socket, before it connects to ``address``, its options and its key. KeyRefused."""
    for option, value in OPTIONS.items():
        socket.setsockopt(option, value)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, key.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, key.secret)
    socket.setsockopt(zmq.CURVE_SERVERKEY, server_key(address, key))
