"""3. How late a verdict is: true deadline to the first line of the callback.

*Busy*: 10,000 watchdogs, of which 2,000 are probes (stage.py), while two other processes feed the other
8,000 at 50,000 feeds a second in all. If they could not send that many, the figure says so and does not
count. *Idle*: some hundred probes one after the other and nothing else.

The supervisor is a real process; its callbacks run on its own threads. Every probe must be noticed, none
early.
"""

from __future__ import annotations

from common import Figure
from stage import Stage

BUSY_P99_MS_MAX = 20
IDLE_P99_MS_MAX = 3

WATCHDOGS = 10_000
PROBES = 2_000
FEEDS_PER_S = 50_000
SENDERS = 2
ENOUGH = 0.98
"""Share of the asked rate that must really have been sent."""


def run(quick: bool) -> list[Figure]:
    """Both figures."""
    return [_idle(200 if quick else 400), _busy(500 if quick else PROBES)]


def _idle(probes: int) -> Figure:
    with Stage() as stage:
        stage.declare(probes, 0.5)
        stage.probe(probes * 0.025)
        marks = stage.finish()
    return Figure(
        "latency",
        "deadline to callback, idle, p99",
        marks.ms(0.99),
        "ms",
        at_most=IDLE_P99_MS_MAX,
        note=f"{len(marks.lateness_s)} verdicts, {marks.told()}",
        data={"lateness_s": marks.lateness_s},
    )


def _busy(probes: int) -> Figure:
    with Stage() as stage:
        each = (WATCHDOGS - probes) // SENDERS
        stage.declare(probes, 1.0)
        for number in range(SENDERS):
            stage.feeders(f"busy{number}", each, 30.0, FEEDS_PER_S / SENDERS)
        stage.feeders_ready()
        stage.watched(WATCHDOGS, 30.0)
        stage.probe(probes * 0.008)
        summary = stage.summary()
        rate, late_s = stage.feeders_ended()
        marks = stage.finish()
    if summary["events"].get("expired", 0) != probes:
        raise RuntimeError(f"{summary['events'].get('expired')} verdicts on {probes} silent watchdogs")
    if rate < ENOUGH * FEEDS_PER_S:
        raise RuntimeError(f"only {rate:,.0f} feeds/s could be sent: this machine is too busy to tell")
    return Figure(
        "latency",
        "deadline to callback, 10,000 watchdogs, 50,000 feeds/s, p99",
        marks.ms(0.99),
        "ms",
        at_most=BUSY_P99_MS_MAX,
        note=f"{len(marks.lateness_s)} verdicts at {rate:,.0f} feeds/s, {marks.told()}",
        data={
            "lateness_s": marks.lateness_s,
            "feeds_per_s": rate,
            "sender_late_s": late_s,
            "stalls": summary["stalls"],
            "lost_s": summary["lost"],
            "slowest_turn_s": summary["slowest_turn"],
        },
    )
