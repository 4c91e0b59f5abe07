"""The processes of ``banken demo``: ``python -m banken_supervisor.cli.demo_workers ROLE [SECONDS …]``.

The four workers know the supervisor only by ``$BANKEN_ADDRESS`` and talk to it only through
``from banken import client``. What they measure goes to stdout, one JSON object a line, for the demo to compare
with what the supervisor noticed. ``time.monotonic()`` is the same clock in every process of a host.

Each process ends when its stdin does: none outlives the demo, however that ends.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import threading
import time
from typing import Any

from banken import client
from banken.protocol.incidents import Incident

TIMEOUT_S = 1.0
INTERVAL_S = 2.0
FEED_EVERY_S = 0.05
CALLBACK = "bark"

COST_ROUNDS = 5
COST_FEEDS = 100_000

LEAVE_WITHIN_S = 0.5

leaving = threading.Event()


def steady() -> None:
    """Feeds to the end, with the default resolution. Measures what a feed costs."""
    client.watchdog("steady", TIMEOUT_S, INTERVAL_S, callback=CALLBACK)
    client.feed("steady")
    feed, before, rounds = client.feed, client.stats()["sent"], []
    for _ in range(COST_ROUNDS):
        began = time.perf_counter_ns()
        for _ in range(COST_FEEDS):
            feed("steady")
        rounds.append((time.perf_counter_ns() - began) / COST_FEEDS)
    tell(
        cost_ns=statistics.median(rounds),
        feeds=COST_ROUNDS * COST_FEEDS,
        travelled=client.stats()["sent"] - before,
    )
    work("steady")


def hangs(after: float) -> None:
    """Two threads take two locks in opposite orders, after a while."""
    declare("hangs")
    work("hangs", after)
    orders, accounts, both_hold_one = threading.Lock(), threading.Lock(), threading.Barrier(2)

    def other() -> None:
        with accounts:
            both_hold_one.wait()
            orders.acquire()

    threading.Thread(target=other, daemon=True).start()
    with orders:
        both_hold_one.wait()
        tell(did="deadlocks: two threads, two locks, opposite orders")
        accounts.acquire()  # never returns


def killed() -> None:
    """Feeds until the demo kills it."""
    declare("killed")
    work("killed")


def recovers(after: float, silent: float, times: float) -> None:
    """Falls silent and comes back, a number of times."""
    declare("recovers")
    for _ in range(int(times)):
        work("recovers", after)
        tell(did=f"falls silent for {silent:g} s, as if a query took too long")
        leaving.wait(silent)
    work("recovers")


def supervisor() -> None:
    """Owns the timers. Its callback notes when it ran: the first thing it does."""
    from banken_supervisor.cli import process
    from banken_supervisor.runtime.supervisor import Supervisor

    def bark(incident: Incident) -> None:
        at = time.monotonic()
        tell(at=at, name=incident.name, incident=incident.id, run=incident.run)

    process.prepare()
    keeper = Supervisor()
    keeper.callback(CALLBACK, bark)
    keeper.start_in_thread()
    leaving.wait()
    keeper.stop()


def declare(name: str) -> None:
    """With resolution 0 every feed travels, and the deadline is the last feed plus the timeout, to the tick."""
    client.watchdog(name, TIMEOUT_S, INTERVAL_S, callback=CALLBACK, resolution=0)


def work(name: str, seconds: float = float("inf")) -> None:
    """Feed for a while, noting when: a deadline counts from the moment before the feed."""
    end = time.monotonic() + seconds
    while True:
        at = time.monotonic()
        client.feed(name)
        tell(fed=at)
        if at >= end or leaving.wait(FEED_EVERY_S):
            return


def tell(**what: Any) -> None:
    """One line on stdout, in one write: neither threads nor processes, which share it, ever mix theirs."""
    os.write(1, json.dumps({"role": sys.argv[1], **what}).encode() + b"\n")


def _leave_when_stdin_ends() -> None:
    while os.read(0, 4096):
        pass
    leaving.set()
    time.sleep(LEAVE_WITHIN_S)
    os._exit(0)  # whoever is still here is the one that hangs


ROLES = {role.__name__: role for role in (steady, hangs, killed, recovers, supervisor)}

if __name__ == "__main__":
    threading.Thread(target=_leave_when_stdin_ends, daemon=True).start()
    ROLES[sys.argv[1]](*map(float, sys.argv[2:]))
