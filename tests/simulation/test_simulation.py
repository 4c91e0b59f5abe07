"""The core, driven through simulated nights full of trouble, makes no false, missed or doubled verdict."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from banken_supervisor.engine.driver import Driver

from .faults import FAULTS, Fault
from .mail import Finding
from .night import Report, night
from .workers import CALM, PROFILES

pytestmark = pytest.mark.timeout(300)  # seconds of work, and more on a busy machine

SEEDS = range(72)
HOURS_LEAST = 50.0
KINDS = ("false", "missed", "doubled", "broken")


@pytest.fixture(scope="module")
def nights() -> list[Report]:
    """All nights of the suite, with the core as it is."""
    return [night(seed) for seed in SEEDS]


def told(report: Report) -> str:
    """What one needs to replay a night that went wrong."""
    found = "\n".join(map(str, report.findings[:5]))
    return f"seed {report.seed} ({report.profile})\n{found}\nthe end of the trace:\n" + "\n".join(report.tail[-20:])


@pytest.mark.parametrize("kind", KINDS)
def test_the_core_as_it_is_makes_no_mistake(nights: list[Report], kind: str) -> None:
    """In more than fifty hours of stalls, starvation, restarts and floods nothing is false, missed or doubled."""
    wrong = [report for report in nights if report.number(kind)]
    assert not wrong, told(wrong[0])


def test_the_nights_are_long_and_full(nights: list[Report]) -> None:
    """The hours are as many as promised, and every trouble that the promise names happens in them."""
    total: Counter[str] = Counter()
    for report in nights:
        total.update(report.counts)
        total["verdicts"] += report.verdicts
    assert sum(report.hours for report in nights) >= HOURS_LEAST
    assert {report.profile for report in nights} == {profile.name for profile in PROFILES}
    least = {"messages": 100_000, "verdicts": 1000, "stalls": 100, "restarts": 20, "probes_lost": 1, "overloads": 1}
    assert {what: total[what] for what, number in least.items() if total[what] < number} == {}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_caught(fault: Fault) -> None:
    """Every planted fault shows in the counts that it must show in, on the seeds that the true core passes."""
    with fault.planted():
        for seed in SEEDS:
            report = night(seed, parts=fault.parts, host=fault.host, stop_at_finding=True)
            if any(report.number(kind) for kind in fault.counts):
                return
    pytest.fail(f"{fault.says} Nobody noticed.")


def test_at_least_ten_faults_are_planted() -> None:
    """Each has a name and a sentence of its own."""
    assert len({fault.says for fault in FAULTS}) == len({fault.name for fault in FAULTS}) == len(FAULTS) >= 10


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_same_seed_gives_the_same_trace(nights: list[Report], seed: int) -> None:
    """A second run of a seed, in this process, is the same to the last line."""
    assert night(seed).fingerprint == nights[seed].fingerprint


def test_the_trace_does_not_depend_on_the_process(nights: list[Report]) -> None:
    """Another process with another hash seed sees the same nights."""
    home = str(Path(__file__).resolve().parents[1])
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "4711",
        "PYTHONPATH": os.pathsep.join([home, *filter(None, sys.path)]),
    }
    code = "from simulation.night import night; print(*(night(seed).fingerprint for seed in (1, 2)))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout.split() == [nights[1].fingerprint, nights[2].fingerprint]


def test_different_seeds_give_different_nights(nights: list[Report]) -> None:
    """No two seeds are the same night."""
    assert len({report.fingerprint for report in nights}) == len(nights)


def test_a_core_that_raises_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of the core ends the night, and says which seed it was."""

    def raises(self: Driver) -> int | None:
        raise RuntimeError("planted")

    monkeypatch.setattr(Driver, "decide", raises)
    report = night(0, CALM, hours=0.01)
    assert report.findings == [Finding("broken", report.findings[0].at, "", "RuntimeError('planted')")]
    assert "seed 0 (calm)" in told(report)
