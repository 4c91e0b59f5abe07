"""2. How fast the supervisor takes feeds, beside a bare pyzmq ``recv()`` loop on the same messages.

The supervisor's own ``Loop.turn()`` is called as its thread would call it, on its real sockets: waiting,
crediting the clock, reading, looking up 1,000 names, judging. Beside it, in the same process, a bare PULL
socket is read by ``for _ in …: recv()``, which keeps nothing. Another process sends either the same 100,000
messages of random names over 20 connections, in portions that the kernel can hold; only when a portion has
been sent and the receiving process no longer does anything is it read, and the reading thread's CPU time
taken. The two take turns.

This process is a child of the benchmark (``python benchmarks/intake.py NAMES MESSAGES ROUNDS``), for
scale.py runs it with more names.
"""

from __future__ import annotations

import select
import sys
import time
from contextlib import ExitStack
from itertools import repeat
from statistics import median
from typing import Any

import traffic
import zmq
from common import Child, Figure, ratio, say, short_directory

from banken.address import resolve
from banken.protocol.messages import Kind, ProcessIdentity
from banken_supervisor import Supervisor
from banken_supervisor.engine.policy import Quotas
from banken_supervisor.runtime.loop import Loop

SHARE_MIN = 75
NAMES = 1_000
FEED_QUEUE_MAX = 10_000
MESSAGES = 100_000
TIMEOUT_S = 3_600.0
PORTION = 10_000
"""Messages that are sent before they are read."""


def run(quick: bool) -> list[Figure]:
    """The figure at 1,000 names."""
    results = measure(NAMES, 5 if quick else 11)
    bare, loop = median(results["bare"]), median(results["loop"])
    return [
        Figure(
            "intake",
            f"supervisor's loop beside a bare recv() loop, {NAMES:,} names",
            100 * ratio(results, "bare", "loop"),
            "%",
            at_least=SHARE_MIN,
            note=f"{1e9 / loop:,.0f} feeds/s beside {1e9 / bare:,.0f}: {loop:.0f} ns beside {bare:.0f}",
            data={"ns": results},
        ),
        Figure(
            "intake",
            "the same, with what libzmq's own thread does for each feed",
            100 * ratio(results, "bare_process", "loop_process"),
            "%",
            note=f"{median(results['loop_process']):.0f} ns beside {median(results['bare_process']):.0f}",
        ),
    ]


def measure(names: int, rounds: int, messages: int = MESSAGES) -> dict[str, list[float]]:
    """Nanoseconds per feed of each round, measured in a process of its own.

    ``bare`` and ``loop``: of the reading thread. ``bare_process`` and ``loop_process``: of the whole
    process, from before the first message arrived.
    """
    with Child(names, messages, rounds, file="intake") as child:
        results: dict[str, list[float]] = child.line()
        return results


def _main(names: int, messages: int, rounds: int) -> None:
    with ExitStack() as stack:
        directories = [stack.enter_context(short_directory()) for _ in range(2)]
        supervisor = Supervisor(directories[0], quotas=Quotas(2_000_000, 2_000_000, events_burst=10_000_000))
        supervisor._open()  # its loop without its thread: this thread turns it
        loop = supervisor._loop
        assert loop is not None
        context: zmq.Context[Any] = zmq.Context()
        stack.callback(context.destroy, 0)
        bare = context.socket(zmq.PULL)
        bare.setsockopt(zmq.RCVHWM, FEED_QUEUE_MAX)
        bare.bind(resolve(directories[1]).feed)

        filler = Child(":".join(directories), "fill", names, TIMEOUT_S, 0, file="traffic")
        stack.enter_context(filler)
        while not select.select([filler.process.stdout], [], [], 0)[0]:
            loop._wait_and_drain(0.01, False)  # it connects
        boot, pid, start, nonce = filler.line()["who"]
        _watch(loop, names, ProcessIdentity(bytes.fromhex(boot), pid, start, bytes.fromhex(nonce)))

        results: dict[str, list[float]] = {"bare": [], "loop": [], "bare_process": [], "loop_process": []}
        for turn in range(rounds + 1):  # the first round warms up
            for who in ("bare", "loop") if turn % 2 else ("loop", "bare"):
                before = time.process_time_ns()
                taken = 0
                for _ in range(messages // PORTION):
                    filler.ask(messages=PORTION, to=0 if who == "loop" else 1)
                    _quiet()
                    taken += _drain_loop(loop, PORTION) if who == "loop" else _drain_bare(bare, PORTION)
                if turn:
                    results[who].append(taken / messages)
                    results[f"{who}_process"].append((time.process_time_ns() - before) / messages)
        if len(loop.driver.engine) != names or loop.metrics.events.get("expired"):
            raise RuntimeError(f"{len(loop.driver.engine)} watchdogs, events {loop.metrics.events}")
        supervisor._resources.close()
    say(**results)


def _watch(loop: Loop, names: int, who: ProcessIdentity) -> None:
    """Let the loop know all the names, as fed once."""
    driver = loop.driver
    for frame in traffic.frames(Kind.FEED, traffic.names("fill", names), TIMEOUT_S, who=who):
        driver.engine.take(frame, driver.now, driver.out)
        driver.out.clear()


def _quiet(steady_s: float = 0.06, within_s: float = 20.0) -> None:
    """Wait until no thread of this process does anything: all messages lie in the queue."""
    deadline = time.monotonic() + within_s
    before = time.process_time()
    while time.monotonic() < deadline:
        time.sleep(steady_s)
        now = time.process_time()
        if now - before < 0.001:
            return
        before = now
    raise TimeoutError("messages kept arriving")


def _drain_loop(loop: Loop, messages: int) -> int:
    """CPU nanoseconds that the loop's turns took to read ``messages``."""
    metrics = loop.metrics
    last = metrics.messages + messages
    start = time.thread_time_ns()
    while metrics.messages < last:
        metrics.messages += loop._wait_and_drain(0.001, False)[2]
    return time.thread_time_ns() - start


def _drain_bare(socket: zmq.Socket[Any], messages: int) -> int:
    recv = socket.recv
    start = time.thread_time_ns()
    for _ in repeat(None, messages):
        recv()
    return time.thread_time_ns() - start


if __name__ == "__main__":
    _main(*map(int, sys.argv[1:]))
