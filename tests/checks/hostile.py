"""Servers that do what no server should."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Behaviour = Callable[[socket.socket, threading.Event], None]
"""Of one connection; the event says that the test is over."""


def silent(sock: socket.socket, over: threading.Event) -> None:
    """Accepts, and never answers."""
    over.wait()


def dripping(sock: socket.socket, over: threading.Event, what: bytes = b"x" * 1000, every: float = 0.05) -> None:
    """One byte at a time."""
    for byte in what:
        sock.sendall(bytes([byte]))
        if over.wait(every):
            return


def endless(sock: socket.socket, over: threading.Event, head: bytes = b"", what: bytes = b"x" * 65536) -> None:
    """As much as is taken."""
    sock.sendall(head)
    while not over.is_set():
        sock.sendall(what)


def says(answer: bytes, *, after_request: bool = True) -> Behaviour:
    """The same answer to all, after which the connection is closed."""

    def behave(sock: socket.socket, over: threading.Event) -> None:
        if after_request:
            sock.recv(65536)
        sock.sendall(answer)

    return behave


@contextmanager
def serving(
    behave: Behaviour, family: socket.AddressFamily = socket.AF_INET, at: str = "127.0.0.1"
) -> Iterator[int]:
    """The port of such a server, of which no thread is left afterwards."""
    over, threads = threading.Event(), list[threading.Thread]()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)

    def one(sock: socket.socket) -> None:
        with sock:
            try:
                behave(sock, over)
            except OSError:
                pass

    def accept() -> None:
        while not over.is_set():
            try:
                sock = listener.accept()[0]
            except OSError:
                return
            sock.settimeout(30)
            thread = threading.Thread(target=one, args=(sock,), daemon=True)
            threads.append(thread)
            thread.start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        until = time.monotonic() + 10
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))


@contextmanager
def deaf() -> Iterator[int]:
    """The port of a server that listens and never accepts: the kernel connects, and nothing comes."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(4096)
        yield listener.getsockname()[1]
