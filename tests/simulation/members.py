"""Rounds of names that several processes feed, against an oracle: ``feeders = "each"`` and ``"any"``.

``python -m simulation.members ROUNDS SEED`` from ``tests/``. A round is ten minutes of the pure engine with a clock
that jumps: up to six processes that feed, note, declare, work, idle, extend, pause, fail, release and end (noticed
or not, with their status or without, by a kill of the ladder, too), an operator, reloads, restarts of the
supervisor by checkpoint and restore, and times in which it stands still. What happens follows from the seed alone
(members_plan.py); the oracle is members_oracle.py. A round with a finding is cut down to the deeds that it needs,
and printed.

Not played: programs and what is stopped on purpose, groups, ``depends_on``, checks, clusters, rate limits, learnt
timeouts, execve, quotas, the loop (driver.py) and the journal's file. The nights (night.py) and the whole
(whole.py) play some of these, with one process for each name.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from .mail import SECOND
from .members_plan import Deed, Plan, plan
from .members_round import Report, Round


def shrink(round_: Plan) -> tuple[Plan, Report]:
    """The deeds without which the first finding is not there, and that round."""
    best = Round(round_).run()
    kind, deeds = best.findings[0].kind, list(round_.deeds)
    size = max(1, len(deeds) // 2)
    while deeds:
        for start in range(0, len(deeds), size):
            some: Sequence[Deed] = deeds[:start] + deeds[start + size :]
            report = Round(round_._replace(deeds=list(some))).run()
            if report.findings and report.findings[0].kind == kind:
                deeds, best = list(some), report
                break
        else:
            if size == 1:
                break
            size = max(1, size // 2)
    return round_._replace(deeds=deeds), best


def main() -> None:
    """By hand."""
    rounds, seed = int(sys.argv[1]), int(sys.argv[2])
    began, bad, words, verdicts, restarts = time.process_time(), 0, 0, 0, 0
    for number in range(seed, seed + rounds):
        planned = plan(number)
        report = Round(planned).run()
        words, verdicts, restarts = words + report.words, verdicts + report.verdicts, restarts + report.restarts
        if report.findings:
            bad += 1
            cut, best = shrink(planned)
            found = best.findings[0]
            print(f"\nseed {number}: {found.kind} at {found.at / SECOND:.3f} s: {found.name}: {found.why}")
            print(cut._replace(deeds=[]), *best.tail, sep="\n  ", flush=True)
            if bad >= 3:
                break
    took = time.process_time() - began
    print(
        f"seeds {seed} to {number}: {words} words, {restarts} restarts, {verdicts} verdicts in {took:.0f} s: "
        + (f"{bad} rounds with a finding" if bad else "nothing false, missed, doubled or broken")
    )
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
