"""Ages of moments in the journal, while the wall clock is set and the host is switched off."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from banken_supervisor.journal import schema
from banken_supervisor.journal.clock_history import OFF_MAX_S, ClockHistory, Reading, extend
from banken_supervisor.journal.entries import ClockSpan, Released
from banken_supervisor.journal.store import Store, clock_spans

DAY = 86_400.0


@dataclass
class Host:
    """A host with its two clocks, and a journal on it that looks at them once a minute."""

    real: float = 0.0
    """seconds that really went by, the host's sleep left out"""
    ticks: float = 500.0
    wall: float = 1.8e9
    boots: int = 1
    spans: list[ClockSpan] = field(default_factory=list)

    def reading(self) -> Reading:
        return Reading(f"boot-{self.boots}", self.ticks, self.wall)

    def look(self) -> None:
        span = extend(self.spans[-1] if self.spans else None, self.reading())
        if self.spans and self.spans[-1].number == span.number:
            self.spans.pop()
        self.spans.append(span)

    def run(self, seconds: float, *, looking: bool = True) -> None:
        """The host is up for so long. ``looking``: and a supervisor runs."""
        while seconds > 0.0:
            step = min(60.0, seconds)
            seconds -= step
            self.real += step
            self.ticks += step
            self.wall += step
            if looking:
                self.look()

    def reboot(self, off: float, wall: float | None = None) -> None:
        """Off for so long; ``wall``: what the clock says then, None: the right time."""
        self.real += off
        self.wall = self.wall + off if wall is None else wall
        self.boots += 1
        self.ticks = 5.0
        self.real += 5.0
        self.wall += 5.0

    def history(self) -> ClockHistory:
        return ClockHistory(self.spans, self.reading())


@pytest.mark.parametrize("seed", range(20))
def test_an_age_is_what_really_went_by(seed: int) -> None:
    """However often the clock is set while the host runs, and no supervisor does, an age is exact. Only a moment
    that the clock said twice, because it was set back, may be taken for the later one: it is never older than it
    was."""
    rng = random.Random(seed)
    host = Host()
    host.look()
    moments: list[tuple[float, float]] = []
    shifts = [0.0]
    for _ in range(40):
        host.run(rng.uniform(1.0, 4_000.0), looking=rng.random() < 0.8)
        host.look()
        moments.append((host.wall, host.real))
        if rng.random() < 0.4:
            shift = rng.choice([-1.0, 1.0]) * rng.choice([2.0, 3600.0, 400 * DAY, 10_000 * DAY])
            host.wall += shift
            shifts.append(min(shift, 0.0))
            if rng.random() < 0.5:
                host.run(rng.uniform(0.0, 50.0), looking=False)
            host.look()
    history = host.history()
    exact = 0
    for wall, real in moments:
        age = history.age(wall)
        assert 0.0 <= age <= host.real - real + 1e-3
        exact += abs(age - (host.real - real)) <= 1e-3
    assert exact >= len(moments) * (1 if min(shifts) == 0.0 else 0.5)


def test_the_time_that_the_host_was_off_counts_where_it_is_wanted() -> None:
    """By the wall clock between two boots; without it a moment is as old as the host was up since."""
    host = Host()
    host.run(600.0)
    moment = host.wall
    host.run(300.0)
    host.reboot(7_200.0)
    host.run(100.0)
    history = host.history()
    assert history.age(moment) == pytest.approx(300.0 + 7_200.0 + 105.0, abs=1.0)
    assert history.age(moment, off_counts=False) == pytest.approx(300.0 + 105.0, abs=1.0)


@pytest.mark.parametrize("wall", [0.0, 1.8e9 - 10_000 * DAY, 1.8e9 + 400 * DAY])
def test_a_wrong_clock_at_the_boot_makes_no_age(wall: float) -> None:
    """A board without a battery begins in 1970, another one in the far future: nothing is old for that. When the
    clock is right again, the time that the host was off is known."""
    host = Host()
    host.run(600.0)
    moment, right = host.wall, host.wall
    host.reboot(3_600.0, wall)
    host.look()
    assert host.history().age(moment) == pytest.approx(5.0, abs=1.0)
    early = host.wall
    host.run(60.0)
    assert host.history().age(early) == pytest.approx(60.0, abs=1.0)
    host.wall = right + 3_665.0
    host.run(60.0)
    assert host.history().age(moment) == pytest.approx(3_725.0, abs=1.0)
    assert host.history().age(early) == pytest.approx(120.0, abs=1.0)


def test_an_age_by_ticks_does_not_look_at_the_wall_clock() -> None:
    """The same moment said twice by the wall clock is two moments."""
    host = Host()
    host.run(7_200.0)
    first = host.ticks
    host.wall -= 3_600.0
    host.run(3_600.0)
    boot = host.reading().boot
    assert host.history().age_of_ticks(boot, first) == pytest.approx(3_600.0)
    host.reboot(1_000.0)
    host.look()
    history = host.history()
    assert history.age_of_ticks(boot, first) == pytest.approx(3_600.0 + 1_000.0 + 5.0, abs=1.0)
    assert history.age_of_ticks(boot, first, off_counts=False) == pytest.approx(3_600.0 + 5.0, abs=1.0)
    assert history.age_of_ticks("a boot that is not known", 1.0) <= host.real


def test_what_was_not_seen_is_not_old() -> None:
    """Deletion asks what the clock said so long ago: an answer comes only when that time was really seen, whatever
    the clock says now, and with the moments that a clock which was behind gave meanwhile."""
    host = Host()
    host.look()
    host.run(10 * DAY)
    host.wall += 400 * DAY
    host.look()
    assert host.history().moment_before(30 * DAY) is None
    host.wall -= 400 * DAY
    host.run(25 * DAY)
    cut = host.history().moment_before(30 * DAY)
    assert cut is not None
    assert cut[0] == pytest.approx(host.wall - 30 * DAY, abs=1.0)
    assert cut[1] == []
    now = host.wall
    host.wall = 3_600.0
    host.run(600.0)
    host.wall = now + 600.0
    host.look()
    cut = host.history().moment_before(30 * DAY)
    assert cut is not None
    assert cut[0] == pytest.approx(host.wall - 30 * DAY, abs=1.0)
    assert any(begin <= 3_600.0 + 300.0 <= end for begin, end in cut[1])


def test_the_time_before_a_new_boot_deletes_nothing_at_once() -> None:
    """The clock is believed for that when it has been watched for an hour, and never for more than a month."""
    host = Host()
    host.look()
    host.run(20 * DAY)
    host.reboot(0.0, host.wall + 20 * DAY)
    host.run(60.0)
    assert host.history().moment_before(30 * DAY) is None
    host.run(3_600.0)
    assert host.history().moment_before(30 * DAY) is not None
    host.reboot(0.0, host.wall + OFF_MAX_S + DAY)
    host.run(7_200.0)
    assert host.history().moment_before(60 * DAY) is None


def test_without_a_boot_id_a_clock_that_went_back_is_another_boot() -> None:
    spans = [ClockSpan(1, "00", 100.0, 5_000.0, 1.8e9)]
    history = ClockHistory(spans, Reading("00", 50.0, 1.8e9 + 5_000.0 + 1_050.0))
    assert history.age(1.8e9 + 5_000.0) == pytest.approx(1_050.0)
    assert history.current.number == 2


def test_a_journal_looks_at_the_clocks_often_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that crashes leaves few seconds unknown: of a second while something is written, else of twenty."""
    clocks = Host()
    monkeypatch.setattr(Reading, "now", clocks.reading)
    path = str(tmp_path / "journal.db")
    schema.begin(path)
    store = Store(path, "run")
    store.write(())
    for passed, entries, seen in ((1.5, 1, 0.0), (0.5, 1, 0.5), (10.0, 0, 10.5), (10.0, 0, 0.0)):
        clocks.run(passed, looking=False)
        store.write([Released("w")] * entries)
        assert clocks.ticks - clock_spans(store.connection)[-1].until == pytest.approx(seen)
        assert store.clock_at - clocks.ticks == pytest.approx(20.0 - seen)
    store.close()
