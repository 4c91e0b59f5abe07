"""1. What a feed costs the worker.

*Coalesced*: ``client.feed(name)`` and ``Watchdog.feed()`` in a hot loop, connected to a real supervisor, the
watchdog declared with the default timeout. Almost every call falls into the coalescing window; the few that
travel (one a second) are in the figure. The peers run in the same rounds, each its own real code to a real
receiver (peers.py); gunicorn and sdnotify are optional: ``pip install gunicorn sdnotify``.

*Sent*: ``client.feed(name)`` with ``resolution=0`` beside ``socket.send(frame, DONTWAIT)`` of a bare pyzmq
PUSH socket with the same bytes, to the same PULL socket in another process. They take turns in bursts
shorter than any queue, and wait, outside the measured time, until the receiver has taken the burst: neither
is measured against a full queue.

Wall time, rounds interleaved, the loop's own few nanoseconds included for everybody. The ratios are medians
of each round's ratio.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from itertools import repeat
from statistics import median
from typing import Any

import peers
import zmq
from common import Child, Figure, interleaved, per_call_ns, ratio, short_directory
from stage import Stage

from banken import client
from banken.address import resolve
from banken.process_identity import own_identity
from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message

COALESCED_NS_MAX = 250
GUNICORN_TIMES_MIN = 10
SDNOTIFY_TIMES_MIN = 15
CIRCUS_TIMES_MIN = 30
SENT_TIMES_MAX = 2

BURST = 400
"""Messages sent before waiting for the receiver; the client's own queue holds 1,000."""


def run(quick: bool) -> list[Figure]:
    """All figures of this benchmark."""
    return [*_coalesced(quick), *_sent(quick)]


def _coalesced(quick: bool) -> list[Figure]:
    calls = 50_000 if quick else 200_000
    with ExitStack() as stack:
        stage = stack.enter_context(Stage())
        client.connect(stage.directory)
        stack.callback(client.close)
        dog = client.watchdog("bench-feed")
        client.feed("bench-feed")
        name = "bench-feed"

        def fed() -> float:
            feed = client.feed
            turns = repeat(None, calls)
            start = time.perf_counter_ns()
            for _ in turns:
                feed(name)
            return (time.perf_counter_ns() - start) / calls

        few = calls // 10
        contenders: dict[str, peers.Contender] = {
            "banken": fed,
            "handle": lambda: per_call_ns(dog.feed, calls),
            "circus": stack.enter_context(peers.circus(few)),
        }
        if peers.installed("gunicorn"):
            contenders["gunicorn"] = stack.enter_context(peers.gunicorn(few))
            if os.path.isdir("/dev/shm"):
                contenders["gunicorn in memory"] = stack.enter_context(peers.gunicorn(few, "/dev/shm"))
        if peers.installed("sdnotify"):
            contenders["sdnotify"] = stack.enter_context(peers.sdnotify(few, stage.directory))
        results = interleaved(7 if quick else 15, contenders)
        stats = client.stats()
        client.release(name)
    if stats["dropped"] or not stats["coalesced"]:
        raise RuntimeError(f"these feeds do not count: {stats}")

    figures = [
        _plain("feed(), coalesced", results["banken"], COALESCED_NS_MAX),
        _plain("Watchdog.feed(), coalesced", results["handle"], COALESCED_NS_MAX),
    ]
    for peer, least in (
        ("gunicorn", GUNICORN_TIMES_MIN),
        ("gunicorn in memory", None),
        ("sdnotify", SDNOTIFY_TIMES_MIN),
        ("circus", CIRCUS_TIMES_MIN),
    ):
        if peer in results:
            figures.append(
                Figure(
                    "feed",
                    f"cheaper than {peer}",
                    ratio(results, peer, "banken"),
                    "times",
                    at_least=least,
                    note=f"{median(results[peer]):,.0f} ns a call",
                    data={"ns": results[peer]},
                )
            )
        elif peer in ("gunicorn", "sdnotify"):
            figures.append(Figure("feed", f"cheaper than {peer}", None, "times", note="not installed"))
    return figures


def _plain(what: str, ns: list[float], limit: float) -> Figure:
    note = f"from {min(ns):.0f} to {max(ns):.0f} in {len(ns)} rounds"
    return Figure("feed", what, median(ns), "ns", at_most=limit, note=note, data={"ns": ns})


def _sent(quick: bool) -> list[Figure]:
    bursts = 20 if quick else 50
    rounds = 7 if quick else 15
    with ExitStack() as stack:
        directory = stack.enter_context(short_directory())
        stack.enter_context(Child("zmq", directory, file="peers")).line()
        count = peers.Counter(os.path.join(directory, "count"))

        worker = client.Client(directory, release_at_exit=False)
        stack.callback(worker.close)
        name = "bench-sent"
        worker.watchdog(name, resolution=0)
        worker.feed(name)
        frame = encode(Message(Kind.FEED, name, own_identity(), 0.0, Declaration()))

        context: zmq.Context[Any] = zmq.Context()
        stack.callback(context.term)
        bare = context.socket(zmq.PUSH)
        stack.callback(bare.close, 0)
        bare.connect(resolve(directory).feed)
        bare.send(frame)
        sent = 3  # the declaration, the first feed, the bare one
        count.wait(sent)

        send, flags, feed = bare.send, int(zmq.DONTWAIT), worker.feed
        results: dict[str, list[float]] = {"bare": [], "banken": []}
        for _ in range(rounds):
            spent = {"bare": 0, "banken": 0}
            for turn in range(bursts):
                for who in ("bare", "banken") if turn % 2 else ("banken", "bare"):
                    turns = repeat(None, BURST)
                    start = time.perf_counter_ns()
                    if who == "bare":
                        for _ in turns:
                            send(frame, flags)
                    else:
                        for _ in turns:
                            feed(name)
                    spent[who] += time.perf_counter_ns() - start
                    sent += BURST
                    count.wait(sent)
                    # libzmq looks for the room that the receiver made about once a millisecond, or when asked.
                    bare.getsockopt(zmq.EVENTS)
                    worker.stats()
            for who, ns in spent.items():
                results[who].append(ns / bursts / BURST)
        stats = worker.stats()
    if stats["dropped"] or stats["sent"] != rounds * bursts * BURST + 1:
        raise RuntimeError(f"these feeds do not count: {stats}")
    return [
        Figure(
            "feed",
            "feed(), sent, beside a bare pyzmq send",
            ratio(results, "banken", "bare"),
            "times",
            at_most=SENT_TIMES_MAX,
            note=f"{median(results['banken']):,.0f} ns beside {median(results['bare']):,.0f} ns",
            data={"ns": results},
        )
    ]
