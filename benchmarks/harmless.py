"""8. What feeding costs a worker whose supervisor is absent, stopped or dead, and how long its end takes.

A worker process of its own declares 20 watchdogs, feeds them 30,000 times in turn without coalescing, times each
call, and then ends normally. *Absent*: there never was a supervisor. *Stopped*: SIGSTOP after the worker connected,
so that its queue fills. *Dead*: kill -9 after the worker connected. The worker is this file, run as a child.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from statistics import median

from common import Child, Figure, asked, percentile, say, short_directory

CALLS = 30_000
NAMES = 20
P999_MS_MAX = 1
EXIT_S_MAX = 1

MODES = ("absent", "stopped", "dead")


def run(quick: bool) -> list[Figure]:
    """Two figures for each way of not being there: the median of the rounds' p99.9, and the longest exit."""
    figures = []
    for mode in MODES:
        rounds = [_round(mode) for _ in range(1 if quick else 5)]
        p999 = [1000 * each["p999"] for each in rounds]
        exits = [each["exit"] for each in rounds]
        note = f"median call {1e6 * median(each['median'] for each in rounds):.1f} µs, {len(rounds)} rounds"
        data = {"rounds": rounds}
        what = f"feed() with the supervisor {mode}, p99.9"
        figures.append(Figure("harmless", what, median(p999), "ms", at_most=P999_MS_MAX, note=note, data=data))
        what = f"interpreter exit with the supervisor {mode}, longest"
        figures.append(Figure("harmless", what, max(exits), "s", at_most=EXIT_S_MAX))
    return figures


def _round(mode: str) -> dict[str, float]:
    with short_directory() as directory, Child(directory, 0, file="keeper") as keeper:
        address = os.path.join(directory, "nobody") if mode == "absent" else directory
        from banken.control import Control

        with Control(directory, timeout=15.0) as control:
            control.request("ping")
        with Child(address, file="harmless") as worker:
            if worker.line()["reachable"] == (mode == "absent"):
                raise RuntimeError(f"the worker of {mode!r} met a supervisor that it should not, or none")
            if mode != "absent":
                keeper.process.send_signal(signal.SIGSTOP if mode == "stopped" else signal.SIGKILL)
            try:
                found: dict[str, float] = worker.ask(feed=True)
                began = time.monotonic()
                assert worker.process.stdin is not None
                worker.process.stdin.close()
                worker.process.wait(30)
                found["exit"] = time.monotonic() - began
            finally:
                if mode == "stopped":
                    keeper.process.send_signal(signal.SIGCONT)
    return found


def _work(address: str) -> None:
    from banken import client

    client.connect(address)
    dogs = [client.watchdog(f"hot-{number}", timeout=3600, resolution=0) for number in range(NAMES)]
    for dog in dogs:
        dog.feed()
    say(**client.stats())
    clock = time.perf_counter_ns
    for _ in asked():
        spent = []
        for number in range(CALLS):
            dog = dogs[number % NAMES]
            began = clock()
            dog.feed()
            spent.append((clock() - began) / 1e9)
        say(median=median(spent), p999=percentile(spent, 0.999), max=max(spent), dropped=client.stats()["dropped"])


if __name__ == "__main__":
    _work(sys.argv[1])
