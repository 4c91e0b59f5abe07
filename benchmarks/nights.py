"""The long run of the simulation: thousands of simulated hours of the pure core against its oracle.

    python benchmarks/nights.py --hours 2000 --seed 1 --jobs 2
    python benchmarks/nights.py --seed 7 --replay

Each seed is one night; the seeds count up from ``--seed``. Ends with 1 when anything was false, missed,
doubled or broken, and says which seed to replay.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
for home in ("tests", "client", "supervisor"):
    sys.path.append(str(ROOT / home))  # an installed banken comes first

from simulation.night import Report, night  # noqa: E402

KINDS = ("false", "missed", "doubled", "broken")
COUNTS = ("messages", "turns", "stalls", "restarts", "overloads", "probes_lost")
TELL_EVERY = 5.0
"""Seconds between two lines of progress."""
TRACE_LINES = 60
FAILURES_SHOWN = 3


@contextmanager
def nights(jobs: int) -> Iterator[Callable[[Iterable[int]], Iterator[Report]]]:
    """A way to run seeds in order, in ``jobs`` processes."""
    if jobs == 1:
        yield lambda seeds: map(night, seeds)
        return
    with get_context("spawn").Pool(jobs) as pool:
        yield lambda seeds: itertools.chain.from_iterable(
            pool.map(night, chunk) for chunk in _chunks(seeds, 6 * jobs)
        )


def _chunks(seeds: Iterable[int], size: int) -> Iterator[list[int]]:
    rest = iter(seeds)
    while chunk := list(itertools.islice(rest, size)):
        yield chunk


def show(report: Report, lines: int) -> None:
    """What was found in one night, and how it came to that."""
    print(
        f"\nseed {report.seed} ({report.profile}, {report.hours:.2f} h): replay with --seed {report.seed} --replay"
    )
    for found in report.findings[:10]:
        print(f"  {found.kind} at {found.at / 1e6:.6f} s: {found.name}: {found.why}")
    print("the end of the trace:")
    for line in report.tail[-lines:]:
        print(f"  {line}")


def replay(seed: int) -> int:
    """Run one night up to its first finding."""
    report = night(seed, stop_at_finding=True)
    show(report, len(report.tail))
    print(f"fingerprint {report.fingerprint}")
    return 1 if report.findings else 0


def main() -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(description="Simulate many nights of the core and judge them.")
    parser.add_argument("--hours", type=float, default=2000.0, help="simulated hours, at least (default: 2000)")
    parser.add_argument("--seed", type=int, default=1, help="first seed (default: 1)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--replay", action="store_true", help="run one seed to its first finding, with its trace")
    options = parser.parse_args()
    if options.replay:
        return replay(options.seed)
    if options.hours <= 0 or options.jobs < 1:
        parser.error("--hours must be above 0 and --jobs at least 1")
    total: Counter[str] = Counter()
    hours, number, shown = 0.0, 0, 0
    began = told = time.monotonic()
    with nights(options.jobs) as run:
        for report in run(itertools.count(options.seed)):
            hours += report.hours
            number += 1
            total.update(report.counts)
            total["verdicts"] += report.verdicts
            total.update(found.kind for found in report.findings)
            if report.findings and shown < FAILURES_SHOWN:
                shown += 1
                show(report, TRACE_LINES)
            now = time.monotonic()
            if now - told >= TELL_EVERY:
                told = now
                wrong = sum(total[kind] for kind in KINDS)
                print(f"{hours:9.1f} h, {number} nights, {total['verdicts']} verdicts, {wrong} wrong", flush=True)
            if hours >= options.hours:
                break
    print(f"\nseeds {options.seed} to {options.seed + number - 1} in {time.monotonic() - began:.0f} s")
    for what, value in (("hours", f"{hours:.1f}"), ("nights", f"{number}")):
        print(f"{what:>12} {value:>12}")
    for what in (*COUNTS, "verdicts", *KINDS):
        print(f"{what:>12} {total[what]:>12}")
    return 1 if any(total[kind] for kind in KINDS) else 0


if __name__ == "__main__":
    sys.exit(main())
