"""Feeds in numbers: frames of many watchdogs, and a process that sends them at a steady rate.

``python benchmarks/traffic.py DIRECTORY PREFIX COUNT TIMEOUT_S PER_SECOND`` feeds each of its COUNT
watchdogs once, says that it is ready, and then feeds them PER_SECOND in all, always in the same *random*
order, so that the supervisor's memory is touched as real workers would touch it. SIGTERM ends it and makes
it tell what it sent. The frames are those of the client (banken.protocol); sending them over a raw PUSH socket
keeps the worker's cost out.

``fill`` instead of the numbers: it sends on request as many messages as it is told and waits for the next
request (see intake.py).
"""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Iterable
from itertools import cycle, islice
from typing import Any

import zmq
from common import asked, say

from banken.address import resolve
from banken.process_identity import own_identity
from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity

SEED = 7
PAUSE_S = 0.002
"""Between two batches: 50,000 feeds a second are batches of 100."""

NEVER_S = 86_400.0
"""An interval that no benchmark lives to see: the callback runs once."""

CONNECTIONS = 20
"""Of one filler: the supervisor's queue is bounded per connection."""


def names(prefix: str, count: int) -> list[str]:
    """What ``count`` watchdogs are called."""
    return [f"{prefix}-{number}" for number in range(count)]


def frames(
    kind: Kind,
    called: Iterable[str],
    timeout_s: float,
    *,
    callback: str | None = None,
    interval_s: float = NEVER_S,
    grace_s: float = NEVER_S,
    who: ProcessIdentity | None = None,
) -> list[bytes]:
    """One self-describing message for each name, as this process's client would make it."""
    declaration = Declaration(timeout_s, interval_s, grace_s, callback=callback)
    sender = who or own_identity()
    return [encode(Message(kind, name, sender, 0.0, declaration)) for name in called]


def push(context: zmq.Context[Any], directory: str) -> zmq.Socket[Any]:
    """A socket that is connected to the feed socket in ``directory``; its sends wait at most 10 s."""
    socket: zmq.Socket[Any] = context.socket(zmq.PUSH)
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.SNDTIMEO, 10_000)
    socket.setsockopt(zmq.LINGER, 1000)
    socket.connect(resolve(directory).feed)
    if not socket.poll(10_000, zmq.POLLOUT):
        raise TimeoutError("nobody takes feeds there")
    return socket


def steady(directory: str, prefix: str, count: int, timeout_s: float, per_second: float) -> None:
    """Feed ``count`` watchdogs, evenly, until SIGTERM."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    all_frames = frames(Kind.FEED, names(prefix, count), timeout_s)
    random.Random(SEED).shuffle(all_frames)
    context: zmq.Context[Any] = zmq.Context()
    send = push(context, directory).send
    for frame in all_frames:
        send(frame)
    say(ready=count)

    endless = cycle(all_frames)
    start = time.monotonic()
    sent = 0
    late_s = 0.0
    while not stopped:
        due = int((time.monotonic() - start) * per_second) - sent
        late_s = max(late_s, due / per_second - PAUSE_S)
        for frame in islice(endless, due):
            send(frame)
        sent += due
        time.sleep(PAUSE_S)
    say(sent=sent, seconds=time.monotonic() - start, late_s=late_s)
    context.destroy(0)


def fill(directories: list[str], count: int, timeout_s: float) -> None:
    """On request, send ``messages`` feeds of random names to the supervisor in directory number ``to``.

    The same messages in the same order every time, over several connections.
    """
    who = own_identity()
    all_frames = frames(Kind.FEED, names("fill", count), timeout_s, who=who)
    chance = random.Random(SEED)
    context: zmq.Context[Any] = zmq.Context()
    doors = [[push(context, each) for _ in range(CONNECTIONS)] for each in directories]
    say(who=[who.boot.hex(), who.pid, who.start, who.nonce.hex()])
    batches: dict[int, list[bytes]] = {}
    for request in asked():
        messages = request["messages"]
        batch = batches.get(messages)
        if batch is None:
            batch = batches[messages] = chance.choices(all_frames, k=messages)
        sends = cycle([door.send for door in doors[request["to"]]])
        for send, frame in zip(sends, batch, strict=False):
            send(frame)
        say(sent=messages)
    context.destroy(0)


def main(directory: str, prefix: str, count: str, timeout_s: str, per_second: str) -> None:
    """The command line."""
    if prefix == "fill":
        fill(directory.split(":"), int(count), float(timeout_s))
    else:
        steady(directory, prefix, int(count), float(timeout_s), float(per_second))


if __name__ == "__main__":
    main(*sys.argv[1:])
