"""The peers that a feed is compared with: their own code, sending to real receivers in other processes.

* gunicorn: ``WorkerTmp.notify`` of the installed gunicorn, on its default temporary file. Its judge only
  calls fstat once a second, so there is nobody to be slowed by.
* sdnotify: ``SystemdNotifier.notify`` of the installed sdnotify, to an AF_UNIX datagram socket that a
  process drains, as systemd would. The kernel queues about ten datagrams and then blocks the sender, so it
  sends in bursts of fewer and waits, outside the measured time, until they were taken: it never pays for
  its receiver.
* circus: what a program under circus' watchdog plugin does, ``sock.sendto(f"{pid};{time}")``, over UDP to a
  process that parses each datagram with the plugin's own default pattern. (circus ships no sender to call.)
* zmq: a bare PULL socket in a process that counts; the receiver of the "sent" comparison.

``python benchmarks/peers.py KIND ARGUMENT`` is such a receiver; started by this benchmark, ended by SIGTERM.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import socket
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import repeat
from typing import Any

from common import Child, exit_on_sigterm, per_call_ns, say

CIRCUS_PATTERN = "^(?P<pid>.*);(?P<timestamp>.*)$"
"""``msg_regex`` of circus.plugins.watchdog by default."""

BURST = 8
"""Datagrams sent before waiting for the receiver: fewer than net.unix.max_dgram_qlen, 10 by default."""

_COUNT = struct.Struct("Q")

Contender = Callable[[], float]
"""Nanoseconds per call, measured anew by each call."""


def installed(module: str) -> bool:
    """Whether a peer can be measured here."""
    return find_spec(module) is not None


@contextmanager
def gunicorn(calls: int, directory: str | None = None) -> Iterator[Contender]:
    """``WorkerTmp.notify``; ``directory``: gunicorn's ``worker_tmp_dir``, None for its default."""
    from gunicorn.config import Config  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from gunicorn.workers.workertmp import WorkerTmp  # type: ignore[import-not-found,import-untyped,unused-ignore]

    settings = Config()
    settings.set("worker_tmp_dir", directory)
    temporary = WorkerTmp(settings)
    try:
        yield lambda: per_call_ns(temporary.notify, calls)
    finally:
        temporary.close()


@contextmanager
def sdnotify(calls: int, directory: str) -> Iterator[Contender]:
    """``SystemdNotifier.notify("WATCHDOG=1")``, timed in bursts that the kernel's queue can hold."""
    from sdnotify import SystemdNotifier  # type: ignore[import-not-found,import-untyped,unused-ignore]

    path = os.path.join(directory, "notify")
    with Child("datagrams", path, file="peers") as receiver:
        receiver.line()
        before = os.environ.get("NOTIFY_SOCKET")
        os.environ["NOTIFY_SOCKET"] = path
        try:
            notifier = SystemdNotifier(debug=True)
        finally:
            if before is None:
                del os.environ["NOTIFY_SOCKET"]
            else:
                os.environ["NOTIFY_SOCKET"] = before
        notify, fd = notifier.notify, notifier.socket.fileno()

        def measure() -> float:
            spent = 0
            for _ in range(calls // BURST):
                start = time.perf_counter_ns()
                for _ in repeat(None, BURST):
                    notify("WATCHDOG=1")
                spent += time.perf_counter_ns() - start
                while _unread(fd):
                    pass
            return spent / (calls // BURST * BURST)

        try:
            yield measure
        finally:
            notifier.socket.close()


@contextmanager
def circus(calls: int) -> Iterator[Contender]:
    """A UDP datagram per feed, to a loopback port."""
    with Child("udp", "127.0.0.1", file="peers") as receiver:
        port = receiver.line()["port"]
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        to = ("127.0.0.1", port)
        pid = os.getpid()

        def feed() -> None:
            sock.sendto(f"{pid};{time.time()}".encode(), to)

        try:
            yield lambda: per_call_ns(feed, calls)
        finally:
            sock.close()


class Counter:
    """A number in a file that one process raises and another one reads."""

    def __init__(self, path: str) -> None:
        with open(path, "a+b") as file:
            file.truncate(mmap.PAGESIZE)
            self._page = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    @property
    def value(self) -> int:
        """The number now."""
        found: int = _COUNT.unpack_from(self._page)[0]
        return found

    @value.setter
    def value(self, number: int) -> None:
        _COUNT.pack_into(self._page, 0, number)

    def wait(self, number: int, within_s: float = 10.0) -> None:
        """Spin until the other process has come to ``number``."""
        deadline = time.monotonic() + within_s
        while self.value < number:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the receiver saw {self.value} of {number} messages")


def _unread(fd: int) -> int:
    """Bytes that were sent on a Unix datagram socket and not received yet."""
    return int(struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, b"\0\0\0\0"))[0])


# -- the receivers, in processes of their own ---------------------------------------------------------


def _datagrams(path: str) -> None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(path)
    say(ready=True)
    while True:
        sock.recv(4096)


def _udp(host: str) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    say(port=sock.getsockname()[1])
    seen: dict[str, float] = {}
    while True:
        data, _ = sock.recvfrom(1024)
        found = re.match(CIRCUS_PATTERN, data.decode())
        if found is not None:
            seen[found["pid"]] = time.time()


def _zmq(directory: str) -> None:
    import zmq

    from banken.address import resolve

    context: zmq.Context[Any] = zmq.Context()
    pull = context.socket(zmq.PULL)
    pull.bind(resolve(directory).feed)
    count = Counter(os.path.join(directory, "count"))
    say(ready=True)
    total = 0
    while True:
        pull.recv()
        total += 1
        try:
            while True:
                pull.recv(zmq.DONTWAIT)
                total += 1
        except zmq.Again:
            count.value = total


if __name__ == "__main__":
    exit_on_sigterm()
    {"datagrams": _datagrams, "udp": _udp, "zmq": _zmq}[sys.argv[1]](sys.argv[2])
