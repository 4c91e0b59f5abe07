"""A thousand programs through simulated hours: no budget, backoff, strategy or order is ever broken."""

from __future__ import annotations

from collections import Counter

import pytest

from banken_supervisor.programs.engine.programs import Programs

from .programs_faults import FAULTS, Fault
from .programs_oracle import Finding
from .simulated_programs import HOURS, PROGRAMS, Night

SEEDS = range(20)


def told(night: Night, seed: int) -> str:
    """What one needs to look into a night that went wrong."""
    found = "\n".join(map(str, night.oracle.findings[:5]))
    return f"seed {seed}\n{found}\nthe end of the trace:\n" + "\n".join(night.trace)


def test_the_core_as_it_is_breaks_no_rule() -> None:
    """A thousand programs, twenty hours: restarts, rounds, giving up, stops and kills in plenty, and no finding."""
    total: Counter[str] = Counter()
    for seed in SEEDS:
        night = Night(seed)
        findings = night.run(stop_at_finding=True)
        assert not findings, told(night, seed)
        total.update(night.counts)
        oracle = night.oracle
        total.update({"automatic": oracle.automatic, "rounds": oracle.rounds, "gave up": oracle.gave_up})
    assert PROGRAMS * len(SEEDS) >= 1000
    assert HOURS * len(SEEDS) >= 20
    least = {"spawned": 10_000, "automatic": 5_000, "rounds": 1_000, "gave up": 1_000, "killed": 1_000}
    least |= {"failed": 1_000, "slow": 20, "unkillable": 100, "stop": 500, "start": 500, "with-group": 500}
    assert {what: total[what] for what, number in least.items() if total[what] < number} == {}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_caught(fault: Fault) -> None:
    """On seeds that the true core passes, and by a finding of the right kind first."""
    with fault.planted():
        for seed in SEEDS:
            findings = Night(seed).run(stop_at_finding=True)
            if findings:
                assert findings[0].kind in fault.kinds, findings[0]
                return
    pytest.fail(f"{fault.says} Nobody noticed.")


def test_the_same_seed_gives_the_same_night() -> None:
    """A second run ends with the same trace and counts."""
    nights = [Night(7), Night(7)]
    for night in nights:
        night.run()
    assert list(nights[0].trace) == list(nights[1].trace)
    assert nights[0].counts == nights[1].counts


def test_a_core_that_raises_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of the core ends the night."""

    def raises(self: Programs, *args: object) -> list[object]:
        raise RuntimeError("planted")

    monkeypatch.setattr(Programs, "exited", raises)
    findings = Night(0).run(stop_at_finding=True)
    assert findings[0] == Finding("broken", findings[0].at, "", "RuntimeError('planted')")
