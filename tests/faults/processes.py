"""What runs beside the supervisor: ``processes.py WORK ADDRESS [ARGUMENT …]``. Works: honest, attacks, methods."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.synchronize import Event
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
for home in ("client", "supervisor", "benchmarks"):
    sys.path.append(str(ROOT / home))

from flood import KINDS, flood  # noqa: E402

from banken.client import Client, sender  # noqa: E402
from banken.process_identity import own_identity  # noqa: E402
from banken.protocol.codec import VERSION, encode, pack  # noqa: E402
from banken.protocol.messages import Declaration, Kind, Message  # noqa: E402
from banken_supervisor.sources.zmtp import GREETING, frame  # noqa: E402

QUEUES = (10, 1_000, 10_000)
"""Messages that the senders of the honest ones hold, in turn; the last is the client's own number."""

MIB = 1024 * 1024
HOURS = Declaration(3600.0, 3600.0, 3600.0)


def say(what: object) -> None:
    """One line to whoever started this process; whole, whoever else writes."""
    os.write(1, json.dumps(what).encode() + b"\n")


# -- honest ones -----------------------------------------------------------------------------------------


def honest(address: str, count: str, timeout: str, every: str) -> None:
    """So many processes, ``honest-0`` and so on, that feed; each says when it was late itself.

    A verdict about such a time is not false.
    """
    pids = [_forked(_feeds, address, number, float(timeout), float(every)) for number in range(int(count))]
    say({"pids": pids})
    sys.stdin.read()
    _end(pids)


def _feeds(address: str, number: int, timeout: float, every: float) -> None:
    sender.SEND_QUEUE_MAX = QUEUES[number % len(QUEUES)]
    name, parent = f"honest-{number}", os.getppid()
    watchdog = Client(address).watchdog(name, timeout=timeout, interval=3600.0)
    last = time.monotonic()
    while os.getppid() == parent:
        began = time.monotonic()
        watchdog.feed()
        now = time.monotonic()
        if now - last > timeout / 2:
            say({"name": name, "from": last, "to": now, "took": now - began})
        last = now
        time.sleep(every)


def methods(address: str, timeout: str) -> None:
    """Two processes by each start method of multiprocessing, which feed; on a line one is killed and one ends."""
    begun = []
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        for whose in ("killed", "ended"):
            end = context.Event()  # one each: what a killed process waits for cannot be set
            arguments = (address, f"{method}-{whose}", float(timeout), end)
            child = context.Process(target=_child, args=arguments, daemon=True)
            child.start()
            begun.append((whose, child, end))
    sys.stdin.readline()
    for whose, child, end in begun:
        if whose == "killed":
            child.kill()
        else:
            end.set()
    sys.stdin.readline()


def _child(address: str, name: str, timeout: float, end: Event) -> None:
    watchdog = Client(address).watchdog(name, timeout=timeout, interval=3600.0)
    parent = os.getppid()
    while not end.wait(0.05) and os.getppid() == parent:
        watchdog.feed()


# -- attacks ---------------------------------------------------------------------------------------------


def attacks(address: str) -> None:
    """Each line names an attack, which begins; an empty line ends them all."""
    pids: list[int] = []
    for line in sys.stdin:
        if attack := line.strip():
            pids.append(_forked(_attack, address, attack))
        else:
            _end(pids)
            pids.clear()
            say({"over": True})
    _end(pids)


def _attack(address: str, kind: str) -> None:
    while True:
        with suppress(OSError):  # it was closed, or there is nobody: it comes back
            flood(address, kind) if kind in KINDS else ATTACKS[kind](address)
        time.sleep(0.02)


def _hello(kind: bytes) -> bytes:
    return GREETING + frame(b"\x05READY\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind, 4)


def _connected(address: str, door: str = "feed") -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.connect(os.path.join(address, door))
    return made


def _hello_to(address: str, kind: bytes, door: str = "feed") -> socket.socket:
    made = _connected(address, door)
    made.sendall(_hello(kind))
    return made


def _ready(done: list[bool] = []) -> None:  # noqa: B006  # once in a process
    if not done:
        done.append(True)
        say({"ready": True})


def busy(address: str) -> None:
    """A loop without an end."""
    _ready()
    while True:
        pass


def unfinished(address: str) -> None:
    """Messages of a MiB that do not come to their end, over 20 connections, again and again."""
    while True:
        ours = [_hello_to(address, b"PUSH") for _ in range(20)]
        for each in ours:
            each.sendall(b"\x02" + (MIB - 1).to_bytes(8, "big") + bytes(64 * 1024))
        _ready()
        for _ in range(10):
            for each in ours:
                each.sendall(bytes(64 * 1024))
            time.sleep(0.02)
        for each in ours:
            each.close()


def parts(address: str) -> None:
    """A request of empty parts, without an end."""
    ours = _hello_to(address, b"DEALER", "control")
    _ready()
    while True:
        ours.sendall(frame(b"", 1) * 1_000)


def unread(address: str) -> None:
    """Requests, whose replies are not read."""
    ours = [_hello_to(address, b"DEALER", "control") for _ in range(5)]
    _ready()
    request = frame(pack([VERSION, 1, "status", {}]))
    while True:
        for each in ours:
            each.settimeout(0.1)
            with suppress(TimeoutError):
                each.sendall(request)


def subscribers(address: str) -> None:
    """Five that subscribe to all events and read none, and many long events."""
    ours = [_hello_to(address, b"SUB", "events") for _ in range(5)]
    for each in ours:
        each.sendall(frame(b"\x01"))
    push = _hello_to(address, b"PUSH")
    me = own_identity()
    feed = frame(encode(Message(Kind.FEED, "hog", me, 0.0, HOURS)))
    fail = frame(encode(Message(Kind.FAIL, "hog", me, 0.0, HOURS, ("x" * 4_000,))))
    _ready()
    while True:
        push.sendall(feed + fail)


def vanished(address: str) -> None:
    """Subscribers that come, and go at once."""
    _ready()
    while True:
        with _hello_to(address, b"SUB", "events") as ours:
            ours.sendall(frame(b"\x01") + frame(b"\x01honest-0\0"))


def subscriptions(address: str) -> None:
    """One subscriber with ever more topics."""
    ours = _hello_to(address, b"SUB", "events")
    _ready()
    number = 0
    while True:
        ours.sendall(b"".join(frame(b"\x01topic-%d\0" % each) for each in range(number, number + 500)))
        number += 500


def silent(address: str) -> None:
    """Up to 20,000 connections that say nothing; the oldest are closed, and new ones come."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = min(20_000, hard - 50)
    ours: list[socket.socket] = []
    while True:
        while len(ours) < most:
            ours.append(_connected(address))
            if len(ours) == 500:
                _ready()
        for each in ours[:2_000]:
            each.close()
        del ours[:2_000]


def half(address: str) -> None:
    """Connections that stop in the middle of the handshake."""
    while True:
        ours = []
        for _ in range(500):
            made = _connected(address)
            made.sendall(GREETING[:33])
            ours.append(made)
        _ready()
        time.sleep(0.1)
        for each in ours:
            each.close()


def noise(address: str) -> None:
    """Random bytes to each of the three sockets."""
    _ready()
    while True:
        for door in ("feed", "control", "events"):
            with suppress(OSError), _hello_to(address, b"DEALER", door) as ours:
                ours.sendall(os.urandom(4_096))


def texts(address: str) -> None:
    """New names with long texts."""
    push = _hello_to(address, b"PUSH")
    me = own_identity()
    _ready()
    number = 0
    while True:
        text = "\N{DOG FACE}" * 1_000 + str(number)
        push.sendall(frame(encode(Message(Kind.NOTE, f"hog-{number}", me, 0.0, HOURS, (None, text)))))
        number += 1


ATTACKS: dict[str, Callable[[str], None]] = {
    "busy": busy, "unfinished": unfinished, "parts": parts, "unread": unread, "subscribers": subscribers,
    "vanished": vanished, "subscriptions": subscriptions, "silent": silent, "half": half, "noise": noise,
    "texts": texts,
}  # fmt: skip


# -- processes -------------------------------------------------------------------------------------------


def _forked(work: Callable[..., None], *args: object) -> int:
    if pid := os.fork():
        return pid
    try:
        work(*args)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _end(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    {"honest": honest, "attacks": attacks, "methods": methods}[sys.argv[1]](*sys.argv[2:])
