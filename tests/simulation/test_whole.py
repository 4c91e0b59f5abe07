"""The whole system in one simulated world. More of it by command: ``python -m simulation.whole 1000 SEED`` and
``python -m simulation.whole_faults`` from ``tests/``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .whole import HOUR, script, shrink, simulate
from .whole_faults import FAULTS, SECONDS, Planted
from .whole_plan import Trouble, plan, plan_of

pytestmark = pytest.mark.timeout(300)  # seconds of work, and more on a busy machine

TESTS = Path(__file__).parent.parent
SHORT = 400.0
QUICK = ("A step begins", "A restored pause has ended", "An event is told before")


def test_nothing_is_false_missed_doubled_or_lost() -> None:
    report = simulate(1, plan(1, 0.4, 60), 0.4 * HOUR)
    assert report.findings == [], "\n".join(report.tail)
    assert report.verdicts > 10
    assert report.lives > 3
    assert report.deeds
    assert report.calls


def some_troubles() -> list[Trouble]:
    return plan(7, SHORT / HOUR, 30)


def test_one_seed_gives_one_trace() -> None:
    """Byte for byte, in another process with other hashes, too."""
    troubles = some_troubles()
    program = "from simulation import test_whole as t; print(t.simulate(7, t.some_troubles(), t.SHORT).fingerprint)"
    environment = {**os.environ, "PYTHONHASHSEED": "1234"}
    other = subprocess.run(
        [sys.executable, "-c", program], cwd=TESTS, env=environment, capture_output=True, text=True, check=True
    )
    first, again = (simulate(7, troubles, SHORT) for _ in range(2))
    assert first.fingerprint == again.fingerprint == other.stdout.strip()
    assert first.lives > 1
    assert simulate(8, troubles[:2], SHORT / 10).fingerprint != first.fingerprint


@pytest.mark.parametrize("says", QUICK)
def test_a_planted_fault_is_found(says: str) -> None:
    assert _fault(says).seek() is not None


def test_a_finding_is_cut_down_to_what_it_needs() -> None:
    """To few troubles, and to a script that finds it again."""
    fault = _fault("A restored pause has ended")
    with fault.planted():
        troubles = plan_of(fault.troubles, 0, SECONDS / 3, 15)
        report = simulate(0, troubles, SECONDS)
        left, names, seconds, best = shrink(report, troubles, SECONDS)
        assert {each.what for each in left} <= {"pause", "hang", "kill-at"}
        assert len(left) <= 4
        assert len(names) <= 2
        scope: dict[str, object] = {"print": lambda text: None}
        exec(script(best, left, seconds, names), scope)
        assert scope["report"].fingerprint == best.fingerprint  # type: ignore[attr-defined]


def _fault(says: str) -> Planted:
    (found,) = (each for each in FAULTS if each.says.startswith(says))
    return found
