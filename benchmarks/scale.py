"""4. What 1,000, 100,000 and 1,000,000 watchdogs cost, and how the cost grows.

For each number, a real supervisor process:

* *bytes each*: what its resident memory grew by, divided by their number; taken at the end, when all have been
  fed several times, come up and been armed again.
* *CPU*: all watchdogs with a timeout of 30 s, each fed every 10 s by other processes in random order; the
  supervisor's CPU time, libzmq's thread included, in percent of one core, over more than one timeout, so
  that every watchdog comes up for arming again at least once.
* *lateness*: after that, under the same load, 300 probes (stage.py) fall silent; the p99 of deadline to
  callback.

And in another process, intake.py's measurement with as many names: CPU per feed of the loop when the queue
is full, in random order; here the processor's caches rule.

``--quick`` leaves out the million and looks for a shorter time than one timeout.
"""

from __future__ import annotations

import time
from itertools import pairwise
from statistics import median

import intake
from common import Figure, cpu_seconds, number, resident_bytes
from latency import ENOUGH
from stage import Stage

BYTES_EACH_MAX = 600
INTAKE_KEPT_MIN = 50
"""Per cent of the intake at 1,000 that is left at 100,000."""
CPU_MAX = 100
TIMEOUT_S = 30.0
PERIOD_S = 10.0
PROBES = 300
PROBES_PER_S = 30

Scale = dict[str, float]


def run(quick: bool) -> list[Figure]:
    """Everything at each number, then how it grows."""
    sizes = (1_000, 100_000) if quick else (1_000, 100_000, 1_000_000)
    figures: list[Figure] = []
    found: dict[int, Scale] = {}
    ns: dict[int, float] = {}
    for size in sizes:
        found[size] = _live(size, 12.0 if quick else TIMEOUT_S + 6.0)
        ns[size] = median(intake.measure(size, 3 if quick or size > 100_000 else 7)["loop"])
        figures += _figures(size, found[size], ns)
    return figures + _growth(sizes, found, ns)


def _figures(size: int, found: Scale, ns: dict[int, float]) -> list[Figure]:
    of = f"{size:,} watchdogs"
    least = INTAKE_KEPT_MIN if size == 100_000 else None
    return [
        Figure(
            "scale",
            f"{of}: memory each",
            found["bytes_each"],
            "bytes",
            at_most=None if size == 1_000 else BYTES_EACH_MAX,
            note=f"{found['bytes_each'] * size / 2**20:,.1f} MiB in all",
        ),
        Figure(
            "scale",
            f"{of}: CPU, fed every 10 s",
            found["cpu"],
            "% of a core",
            at_most=CPU_MAX if size == 1_000_000 else None,
            note=f"{found['feeds_per_s']:,.0f} feeds/s; "
            f"slowest turn {found['slowest_turn_s'] * 1000:.0f} ms, lost {found['lost_s']:.2f} s",
            data=found,
        ),
        Figure(
            "scale",
            f"{of}: deadline to callback, p99",
            found["p99_ms"],
            "ms",
            note=f"p50 {found['p50_ms']:.2g} ms",
        ),
        Figure(
            "scale",
            f"{of}: intake, of that at 1,000",
            100 * ns[1_000] / ns[size],
            "%",
            at_least=least,
            note=f"{1e9 / ns[size]:,.0f} feeds/s, {ns[size]:.0f} ns each",
        ),
    ]


def _growth(sizes: tuple[int, ...], found: dict[int, Scale], ns: dict[int, float]) -> list[Figure]:
    figures = []
    for small, large in pairwise(sizes):
        cpu = found[large]["cpu"] / max(found[small]["cpu"], 1e-9)
        late = found[large]["p99_ms"] / found[small]["p99_ms"]
        figures.append(
            Figure(
                "scale",
                f"from {small:,} to {large:,}: CPU grows",
                cpu,
                "times",
                note=f"watchdogs {number(large / small)} times, lateness {late:.2g} times, "
                f"CPU per feed taken {ns[large] / ns[small]:.2g} times",
            )
        )
    return figures


def _live(size: int, seconds: float) -> Scale:
    senders = 2 if size >= 100_000 else 1
    with Stage() as stage:
        stage.declare(PROBES, 1.0)
        stage.watched(PROBES, 10.0)
        before = resident_bytes(stage.pid)
        for sender in range(senders):
            stage.feeders(f"scale{sender}", size // senders, TIMEOUT_S, size / senders / PERIOD_S)
        stage.feeders_ready()
        stage.watched(size + PROBES, 120.0)
        time.sleep(2.0)
        start, busy, lost = time.monotonic(), cpu_seconds(stage.pid), stage.summary()["lost"]
        time.sleep(seconds)
        cpu = (cpu_seconds(stage.pid) - busy) / (time.monotonic() - start)
        stage.probe(PROBES / PROBES_PER_S)
        grown = resident_bytes(stage.pid) - before
        summary = stage.summary()
        rate, _ = stage.feeders_ended()
        marks = stage.finish()
    if summary["events"].get("expired", 0) != PROBES:
        raise RuntimeError(f"{summary['events'].get('expired')} verdicts on {PROBES} silent watchdogs")
    if rate < ENOUGH * size / PERIOD_S:
        raise RuntimeError(f"only {rate:,.0f} feeds/s could be sent: this machine is too busy to tell")
    return {
        "bytes_each": grown / size,
        "cpu": 100 * cpu,
        "feeds_per_s": rate,
        "p50_ms": marks.ms(0.5),
        "p99_ms": marks.ms(0.99),
        "slowest_turn_s": summary["slowest_turn"],
        "lost_s": summary["lost"] - lost,
        "overloads": summary["overloads"],
    }
