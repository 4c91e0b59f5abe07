"""Processes that speak to the feed socket without libzmq: ``raw.py WORK ADDRESS [ARGUMENT …]``; works below.

A worker of these costs next to nothing, so that there can be many.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import sys
import time
from collections.abc import Callable

from banken.process_identity import own_identity
from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message
from banken_supervisor.sources.zmtp import GREETING, frame

HELLO = GREETING + frame(b"\x05READY\x0bSocket-Type\0\0\0\x04PUSH", 4)
OPERATOR = GREETING + frame(b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER", 4)


def say(what: object) -> None:
    print(json.dumps(what), flush=True)


def connected(address: str) -> socket.socket:
    """One connection; waits while the kernel has no room for it."""
    made = socket.socket(socket.AF_UNIX)
    made.connect(os.path.join(address, "feed"))
    return made


def herd(address: str, count: str, timeout: str) -> None:
    """So many processes, each of which feeds a name of its own, ten times in its timeout, for ever."""
    for number in range(int(count)):
        if os.fork() == 0:
            declared = Declaration(float(timeout), 3600.0, 3600.0)
            message = frame(encode(Message(Kind.FEED, f"herd-{number}", own_identity(), 0.0, declared)))
            ours = connected(address)
            ours.sendall(HELLO)
            while True:
                ours.sendall(message)
                time.sleep(float(timeout) / 10)
    say("forked")
    sys.stdin.readline()


def silent(address: str, count: str) -> None:
    """So many connections at once that say nothing, and again whenever they are closed, for ever."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = min(int(count), hard - 50)
    ours: list[socket.socket] = []
    told = False
    while True:
        while len(ours) < most:
            ours.append(connected(address))
        if not told:
            say(len(ours))
            told = True
        for each in ours[:2_000]:
            each.close()
        del ours[:2_000]


def crowd(address: str, count: str) -> None:
    """So many connections that say who they are, as an operator's do, and no more."""
    ours = []
    for _ in range(int(count)):
        ours.append(peer := socket.socket(socket.AF_UNIX))
        with contextlib.suppress(OSError):  # it is refused
            peer.connect(f"{address}/control")
            peer.sendall(OPERATOR)
    say(len(ours))
    time.sleep(100)


WORKS: dict[str, Callable[..., None]] = {"herd": herd, "silent": silent, "crowd": crowd}

if __name__ == "__main__":
    WORKS[sys.argv[1]](*sys.argv[2:])
