"""From rungs to actions: handed out in portions, in order, and not after their incident has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from banken.model import Cause, Incident
from banken_supervisor import remedies as module
from banken_supervisor.core.effects import EndIncident, RunCallback, RunRung
from banken_supervisor.core.ladder import Rung
from banken_supervisor.recovery.jobs import Report, What
from banken_supervisor.remedies import Remedies
from banken_supervisor.world import SupervisorWorld
from recovery_kit import until


class Bench:
    """Remedies with real threads; what they report is kept."""

    def __init__(self, directory: Path) -> None:
        self.reports: list[Report] = []
        world = SupervisorWorld(str(directory), lambda name: None, lambda name: None)
        self.asked: list[Callable[[], None]] = []
        self.remedies = Remedies(
            world, self.reports.append, lambda name: False, lambda name: None, self.asked.append
        )

    def run(self, name: str, rung: Rung, number: int = 0) -> None:
        about = RunCallback(
            name, None, f"i-{name}", Cause.TIMEOUT, 0.0, 5.0, 5.0, 0.0, 1, None, None, None
        )  # fmt: skip
        incident = Incident(f"i-{name}", name, Cause.TIMEOUT, 0.0, 5.0, 5.0)
        self.remedies.run(RunRung(about, rung, number, 1, False, None), incident)

    def end(self, name: str) -> None:
        self.remedies.end(EndIncident(name, f"i-{name}", 0.0, 5.0, "fed", (0,)))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path)
    yield one
    one.remedies.executor.close(5.0)


def test_what_finds_no_time_in_one_turn_is_handed_out_in_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no time at all one action a turn begins, in order; with time, all the rest in one."""
    monkeypatch.setattr(module, "PORTION_S", 0.0)
    rungs = [Rung("log", options=(("text", f"{number}"),)) for number in range(20)]
    for number, rung in enumerate(rungs):
        bench.run("w", rung, number)
    for done in range(1, 4):
        bench.remedies.turn()
        until(lambda done=done: len(bench.reports) == done, "one more is done")
        assert bench.remedies.waiting
    monkeypatch.setattr(module, "PORTION_S", 10.0)
    bench.remedies.turn()
    assert not bench.remedies.waiting
    until(lambda: len(bench.reports) == 20, "all are done")
    assert [report.rung for report in bench.reports] == list(range(20))


def test_what_still_waits_is_not_begun_when_its_incident_ends(bench: Bench) -> None:
    """Its rung is told as dropped, whatever else the same turn hands out."""
    rung = Rung("log")
    bench.run("w", rung)
    bench.run("other", rung)
    bench.end("w")
    bench.remedies.turn()
    until(lambda: len(bench.reports) == 2, "both are told")
    assert {report.name: report.type for report in bench.reports} == {"w": What.DROPPED, "other": What.DONE}
    bench.run("w", rung)  # a later incident of the same id would be a fault elsewhere: the end is forgotten
    bench.remedies.turn()
    until(lambda: len(bench.reports) == 3, "it runs")
    assert bench.reports[-1].type is What.DONE
