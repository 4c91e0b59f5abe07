"""What ``banken demo`` saw, and what it comes to. Pure: records in, figures and sentences out."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

from banken_supervisor.cli.printing import plural


@dataclass(frozen=True, slots=True)
class Verdict:
    """The supervisor's word, as its event told it."""

    name: str
    incident: str
    cause: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a callback, as the callback itself noted it. ``at``: monotonic seconds, its first line."""

    name: str
    incident: str
    run: int
    at: float


@dataclass(slots=True)
class Record:
    """Everything noted during one demo. Times are monotonic seconds."""

    timeout: float
    fed: dict[str, list[float]] = field(default_factory=dict)
    """by worker, when it fed, as it noted itself just before each feed; in order"""
    ended: dict[str, float] = field(default_factory=dict)
    """by worker, when it was killed"""
    verdicts: list[Verdict] = field(default_factory=list)
    recovered: list[str] = field(default_factory=list)
    """ids of incidents that a feed closed"""
    runs: list[Run] = field(default_factory=list)
    cost_ns: float | None = None
    cost_feeds: int = 0
    cost_travelled: int = 0
    summary: dict[str, Any] = field(default_factory=dict)
    """the supervisor's own, at the end"""

    def lateness(self, run: Run) -> float | None:
        """Seconds from the true deadline to the callback's first line: the worker's last feed plus the timeout, or
        its end where that is what was noticed.

        Negative: the worker had fed in time, or lived. None: it never fed.
        """
        if self.by_end(run):
            return run.at - self.ended.get(run.name, math.inf)
        fed = self.fed.get(run.name, [])
        before = bisect_right(fed, run.at)
        return run.at - (fed[before - 1] + self.timeout) if before else None

    def by_end(self, run: Run) -> bool:
        """Whether the verdict that it ran for was on the end of a process, not on its silence."""
        return any(each.incident == run.incident and each.cause == "exited" for each in self.verdicts)

    def first_runs(self) -> list[Run]:
        """The runs at verdicts, without the repeats while the silence lasted."""
        return [run for run in self.runs if run.run == 1]

    def latenesses(self, *, by_end: bool) -> list[float]:
        """Seconds, of every verdict on silence, or on the end of a process, whose callback ran."""
        first = [run for run in self.first_runs() if self.by_end(run) is by_end]
        return [late for run in first if (late := self.lateness(run)) is not None]

    def false_verdicts(self) -> int:
        """Verdicts on workers that had fed in time, by their own notes, or that lived."""
        return sum(1 for late in self.latenesses(by_end=False) + self.latenesses(by_end=True) if late < 0)

    def missing(self) -> list[str]:
        """What the demo promises and did not show, in sentences; nothing if all is well."""
        accused = {verdict.name for verdict in self.verdicts}
        ran = {run.name for run in self.runs}
        recovered = {verdict.name for verdict in self.verdicts if verdict.incident in self.recovered}
        never = [
            ("hangs" not in accused, "the hang was not noticed"),
            ("killed" not in accused, "the kill was not noticed"),
            ("recovers" not in accused, "the silence of the worker that recovers was not noticed"),
            ("recovers" in accused and "recovers" not in recovered, "the recovery was not noticed"),
            ("steady" in accused, "the steady worker was accused"),
            (self.false_verdicts() > 0, f"{plural(self.false_verdicts(), 'verdict')} fell on workers that had fed"),
            (bool(accused - ran), f"no callback ran for {', '.join(sorted(accused - ran))}"),
            (self.cost_ns is None, "the cost of a feed was not measured"),
            (not self.summary, "the supervisor gave no summary"),
        ]
        return [sentence for missed, sentence in never if missed]

    def figures(self) -> list[tuple[str, str]]:
        """The closing table: what was measured, and the value. Nothing in it is written beforehand."""
        by_name = {verdict.name: 0 for verdict in self.verdicts}
        for verdict in self.verdicts:
            by_name[verdict.name] += 1
        whose = ", ".join(f"{name} {count}" for name, count in sorted(by_name.items()))
        fed = sum(map(len, self.fed.values()))
        cost = "not measured"
        if self.cost_ns is not None:
            cost = (
                f"{self.cost_ns:.0f} ns (of {self.cost_feeds:,} in a hot loop {self.cost_travelled} had to travel)"
            )
        first = len(self.first_runs())
        return [
            ("messages the supervisor read", f"{self.summary.get('messages', 0):,}"),
            ("feeds at the workers' own pace", f"{fed:,}"),
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
