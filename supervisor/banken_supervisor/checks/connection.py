"""Connections for checks: opened, talked over, and closed on the loop."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from time import monotonic

from banken_supervisor.checks.names import resolve
from banken_supervisor.checks.outcome import Outcome
from banken_supervisor.checks.progress import Progress
from banken_supervisor.text.quoting import quoted

BODY_MAX = 64 * 1024
"""Bytes of an answer that are read."""

READ = 16 * 1024

UNIX_MAX = 107
"""Bytes of the path of a Unix socket."""

NEXT_S = 0.25
"""Seconds after which the next address is tried beside those that do not answer."""

FULL_S = 0.02
"""Seconds between two tries to connect to a Unix socket whose queue is full."""


async def talk(
    sock: socket.socket, send: str | None, expect: str | None, progress: Progress, began: float
) -> Outcome:
    """Send, and read until what is expected has come."""
    loop = asyncio.get_running_loop()
    progress.text = "connected, but what is to be sent is not taken"
    if send:
        await loop.sock_sendall(sock, send.encode())
    if expect is None:
        return Outcome(True, f"connected in {ms_since(began)}")
    wanted, got, ended = expect.encode(), b"", False
    while wanted not in got:
        so_far = f"{shown(got)} came" if got else "nothing came"
        progress.text = f"{quoted(expect)} was expected, {so_far}"
        if ended or len(got) >= BODY_MAX:
            why = "before it closed the connection" if ended else f"within {BODY_MAX // 1024} KiB"
            return Outcome(False, f"{progress.text} {why}")
        some = await loop.sock_recv(sock, READ)
        got += some
        ended = not some
    return Outcome(True, f"{shown(got)} came in {ms_since(began)}")


async def connect_unix(path: str) -> socket.socket:
    """A connected socket. OSError."""
    if len(os.fsencode(path)) > UNIX_MAX:
        raise OSError(errno.ENAMETOOLONG, f"the path has more than {UNIX_MAX} bytes, which no socket can have")
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            # Not by the loop: it would take a full queue (EAGAIN) for a connection that is being made, and then for
            # one that was made.
            sock.connect(path)
        except BlockingIOError:
            sock.close()
            await asyncio.sleep(FULL_S)
        except BaseException:
            sock.close()
            raise
        else:
            return sock


async def connect(host: str, port: int, progress: Progress) -> socket.socket:
    """A connected socket, of the first address of the host that takes it. OSError: of the last. Where one does not
    answer, the next is tried beside it (RFC 8305, "happy eyeballs")."""
    left = deque(await resolve(host, port))
    if not left:
        raise OSError(errno.EADDRNOTAVAIL, f"{host} has no address")
    trying: set[asyncio.Task[socket.socket]] = set()
    try:
        while True:
            if left:
                family, address = left.popleft()
                progress.text = f"{address[0]} port {port} does not answer"
                trying.add(asyncio.create_task(_connect(family, address)))
            await asyncio.wait(trying, timeout=NEXT_S if left else None, return_when=asyncio.FIRST_COMPLETED)
            for task in [each for each in trying if each.done()]:
                trying.remove(task)
                try:
                    return task.result()
                except OSError:
                    if not left and not trying:
                        raise
    finally:
        for task in trying:
            task.cancel()
            task.add_done_callback(_close_unused)


def _close_unused(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connect(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
        # A port of the range for outgoing connections, on which nobody listens: Linux may connect it to itself.
        if sock.getsockname() == sock.getpeername():
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    except BaseException:
        sock.close()
        raise
    return sock


def shown(got: bytes) -> str:
    """What came, as a text in quotes: of much, its end."""
    return quoted(got[-80:].decode("utf-8", "backslashreplace"), 80)


def ms_since(began: float) -> str:
    return f"{(monotonic() - began) * 1000:.0f} ms"
