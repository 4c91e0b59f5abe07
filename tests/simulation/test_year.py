"""Long deadlines over restarts, reboots and clocks that are set, against an oracle written from the issue; the
whole year by command: ``python -m simulation.year 365 SEED``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from banken_supervisor.engine import restore
from banken_supervisor.engine.last_feeds import LastFeeds
from banken_supervisor.engine.snapshot import Snapshot
from banken_supervisor.journal.clock_history import ClockHistory

from .year import Year


@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_false_missed_late_or_doubled(seed: int) -> None:
    year = Year(seed, reboot_every=36).run(4.0)
    assert year.findings == []
    assert year.boots > 1
    assert year.verdicts > 50


def _each_restart_gives_all_again(patch: pytest.MonkeyPatch) -> None:
    left = Year.left

    def without(year: Year) -> Snapshot:
        found = left(year)
        return Snapshot(found.watchdogs, found.open, found.runs)

    patch.setattr(Year, "left", without)


def _by_the_wall_clock(patch: pytest.MonkeyPatch) -> None:
    def age(clocks: ClockHistory, boot: str, ticks: float, *, off_counts: bool = True) -> float:
        first = next(span for span in clocks._spans if span.boot == boot)
        return max(0.0, clocks._now.wall - (ticks + first.offset))

    patch.setattr(ClockHistory, "age_of_ticks", age)


def _a_known_feed_is_never_kept_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LastFeeds, "turn", lambda feeds, now: feeds._noted.clear())


def _the_host_is_never_off(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(restore, "HOST_OFF_COUNTS_S", 1e12)


def _the_host_is_off_for_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(restore, "HOST_OFF_COUNTS_S", 0.0)


def _a_grace_of_five_minutes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(restore, "GRACE_S", 300.0)


def _what_is_kept_is_never_older(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(restore, "UNSURE_S", -60.0)


@pytest.mark.parametrize(
    ("plant", "kinds"),
    [
        (_each_restart_gives_all_again, {"missed", "late"}),
        (_by_the_wall_clock, {"false", "missed", "late"}),
        (_a_known_feed_is_never_kept_again, {"false"}),
        (_the_host_is_never_off, {"missed", "late"}),
        (_the_host_is_off_for_all, {"false"}),
        (_a_grace_of_five_minutes, {"late", "missed"}),
        (_what_is_kept_is_never_older, {"false"}),
    ],
)
def test_a_planted_fault_is_seen(
    plant: Callable[[pytest.MonkeyPatch], None], kinds: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    seen: set[str] = set()
    for seed in range(6):
        seen |= {finding.partition(":")[0] for finding in Year(seed, reboot_every=5).run(4.0).findings}
        if seen & kinds:
            return
    raise AssertionError(f"not seen: {seen}")
