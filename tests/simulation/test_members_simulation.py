"""Names that several processes feed, in rounds of ten minutes: nothing false, missed, doubled or broken. The long
run by command: ``python -m simulation.members ROUNDS SEED`` from ``tests/``."""

from __future__ import annotations

from collections import Counter

import pytest

from .members_faults import FAULTS, Fault
from .members_plan import plan
from .members_round import Report, Round

SEEDS = range(30)


def told(report: Report) -> str:
    """What one needs to look into a round that went wrong."""
    found = "\n".join(map(str, report.findings[:5]))
    return f"seed {report.seed}\n{found}\n" + "\n".join(report.tail)


def test_the_engine_as_it_is_makes_no_mistake() -> None:
    total: Counter[str] = Counter()
    for seed in SEEDS:
        planned = plan(seed)
        report = Round(planned).run()
        assert not report.findings, told(report)
        total.update(each.what for each in planned.deeds)
        total.update(words=report.words, verdicts=report.verdicts, restarts=report.restarts)
    least = {"words": 5000, "verdicts": 100, "restarts": 30, "stall": 30, "reload": 10, "unseen": 3, "end": 30}
    assert {what: total[what] for what, number in least.items() if total[what] < number} == {}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.says)
def test_a_planted_fault_is_caught(fault: Fault) -> None:
    """On seeds that the true engine passes, and by a finding of the right kind first."""
    with fault.planted():
        for seed in SEEDS:
            findings = Round(plan(seed)).run().findings
            if findings:
                assert findings[0].kind in fault.seen_as, findings[0]
                return
    pytest.fail(f"{fault.says} Nobody noticed.")


def test_the_same_seed_gives_the_same_round() -> None:
    first, second = (Round(plan(7)).run() for _ in range(2))
    assert first == second
