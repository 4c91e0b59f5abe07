"""Ends an exchange over a socket in time, whatever the other end does.

A timeout of each read is not enough: a server that sends one byte now and then keeps its client waiting for ever.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def shut_after(sock: socket.socket, seconds: float) -> Iterator[threading.Event]:
    """Shut the socket down after so long, from a thread of its own, unless the block has ended before.

    The event is set if that happened.
    """
    done = threading.Event()

    def shut() -> None:
        done.set()
        with contextlib.suppress(OSError):
            # The plain socket's, also of a TLS socket: that one's own is not made for two threads.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, seconds), shut)
    timer.daemon = True
    timer.start()
    try:
        yield done
    finally:
        timer.cancel()
