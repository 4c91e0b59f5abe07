"""What ``banken demo`` saw, and what it comes to. Pure: records in, figures and sentences out."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from banken_supervisor.text.counts import plural


@dataclass(slots=True)
class Record:
    """Everything noted during one demo. Times are monotonic seconds."""

    timeout: float
    fed: dict[str, list[float]] = field(default_factory=dict)
    """by worker, when it fed, as it noted itself just before each feed; in order"""
    killed: float | None = None
    """when the worker of that name was"""
    verdicts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """the supervisor's word: its events ``expired`` by incident"""
    recovered: list[str] = field(default_factory=list)
    """names of those whose incident a feed closed"""
    runs: list[dict[str, Any]] = field(default_factory=list)
    """of the callback, as it noted them itself: ``name``, ``incident``, ``run``, ``at`` (its first line)"""
    cost: dict[str, Any] | None = None
    """of a feed: ``cost_ns`` each, of so many ``feeds``, of which ``travelled``"""
    summary: dict[str, Any] = field(default_factory=dict)
    """the supervisor's own, at the end"""

    def lateness(self, run: dict[str, Any]) -> float | None:
        """Seconds from the true deadline to the callback's first line: the worker's last feed plus the timeout, or
        its end where that is what was noticed.

        Negative: the worker had fed in time, or lived. None: it never fed.
        """
        at: float = run["at"]
        if self.by_end(run):
            return at - (self.killed if run["name"] == "killed" and self.killed is not None else math.inf)
        fed = self.fed.get(run["name"], [])
        before = bisect_right(fed, at)
        return at - (fed[before - 1] + self.timeout) if before else None

    def by_end(self, run: dict[str, Any]) -> bool:
        """Whether the verdict that it ran for was on the end of a process, not on its silence."""
        return bool(self.verdicts.get(run["incident"], {}).get("cause") == "exited")

    def latenesses(self, *, by_end: bool) -> list[float]:
        """Seconds, of every verdict on silence, or on the end of a process, whose callback ran."""
        first = [run for run in self.runs if run["run"] == 1 and self.by_end(run) is by_end]
        return [late for run in first if (late := self.lateness(run)) is not None]

    def false_verdicts(self) -> int:
        """Verdicts on workers that had fed in time, by their own notes, or that lived."""
        return sum(late < 0 for late in self.latenesses(by_end=False) + self.latenesses(by_end=True))

    def missing(self) -> list[str]:
        """What the demo promises and did not show, in sentences; nothing if all is well."""
        accused = {verdict["name"] for verdict in self.verdicts.values()}
        unheard = ", ".join(sorted(accused - {run["name"] for run in self.runs}))
        never = [
            ("hangs" not in accused, "the hang was not noticed"),
            ("killed" not in accused, "the kill was not noticed"),
            ("recovers" not in accused, "the silence of the worker that recovers was not noticed"),
            ("recovers" in accused and "recovers" not in self.recovered, "the recovery was not noticed"),
            ("steady" in accused, "the steady worker was accused"),
            (self.false_verdicts() > 0, f"{plural(self.false_verdicts(), 'verdict')} fell on workers that had fed"),
            (bool(unheard), f"no callback ran for {unheard}"),
            (self.cost is None, "the cost of a feed was not measured"),
            (not self.summary, "the supervisor gave no summary"),
        ]
        return [sentence for missed, sentence in never if missed]

    def figures(self) -> list[tuple[str, str]]:
        """The closing table: what was measured, and the value. Nothing in it is written beforehand."""
        by_name = Counter(verdict["name"] for verdict in self.verdicts.values())
        whose = ", ".join(f"{name} {count}" for name, count in sorted(by_name.items()))
        cost = "not measured"
        if self.cost is not None:
            cost = "{cost_ns:.0f} ns (of {feeds:,} in a hot loop {travelled} had to travel)".format(**self.cost)
        first = sum(run["run"] == 1 for run in self.runs)
        return [
            ("messages the supervisor read", f"{self.summary.get('messages', 0):,}"),
            ("feeds at the workers' own pace", f"{sum(map(len, self.fed.values())):,}"),
            ("verdicts", f"{len(self.verdicts)}" + (f" ({whose})" if whose else "")),
            ("deadline to first line of callback", _spread(self.latenesses(by_end=False))),
            ("end of a process to first line of callback", _spread(self.latenesses(by_end=True))),
            ("false verdicts", str(self.false_verdicts())),
            ("recoveries", str(len(self.recovered))),
            ("callbacks run", f"{len(self.runs)} ({first} at verdicts, {len(self.runs) - first} repeats)"),
            ("cost of one feed() to the worker", cost),
        ]


def _spread(seconds: list[float]) -> str:
    late_ms = sorted(1000 * each for each in seconds)
    if len(late_ms) < 2:
        return f"{late_ms[0]:.2f} ms" if late_ms else "none measured"
    return f"min {late_ms[0]:.2f} ms, median {statistics.median(late_ms):.2f} ms, max {late_ms[-1]:.2f} ms"
