"""Pauses and maintenance windows over a restart: who paused it is known, and what follows a pause begins at its
end, also when no supervisor ran then."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity
from banken_supervisor.config import cron
from banken_supervisor.engine.policy import CheckRule, Group, Policy, Window
from banken_supervisor.engine.snapshot import RETURN_S, Snapshot
from banken_supervisor.engine.states import State
from banken_supervisor.journal.clock_history import ClockHistory, Reading
from banken_supervisor.journal.entries import ClockSpan, Declared
from banken_supervisor.journal.reading import Restored
from banken_supervisor.outbox.checkpoints import snapshot_from
from banken_supervisor.runtime.maintenance_clock import windows_ended
from restart_kit import ALICE, BOB, House, said

NIGHT = Window("30 2 * * *", 3600.0, "Europe/Berlin")
HOUR = 3600.0
LATE_S = 60.0
GRACE = 300.0


def house(timeout: float = 600.0, **more: Any) -> House:
    made = House(w=Policy(Declaration(timeout, 100 * HOUR, timeout), maintenance=(NIGHT,), **more))
    made.feed(declared=None)
    return made


def program(timeout: float) -> House:
    """One ``w`` that is adopted, and was not fed yet."""
    made = House()
    made.programs["w"] = Policy(Declaration(timeout, 1000.0, GRACE))
    made.crash(0.0)
    return made


def windows(house: House, **left: float) -> None:
    """The clock on the wall shows that it is night for so long yet."""
    house.engine.maintenance.open_windows({NIGHT: left["night"]} if left else {}, house.now)
    house.engine.maintenance.go_on(house.now, house.out)
    house.keep()


def finds(house: House, **more: Any) -> None:
    """The next supervisor finds this in the journal, too."""
    left = house.shelf.left
    house.shelf.left = lambda wall: replace(left(wall), **more)  # type: ignore[method-assign]


def verdict_after(house: House, most: float) -> float | None:
    """Seconds until ``w`` is convicted."""
    began = house.now
    while house.now < began + most:
        if ("expired", "w") in said(house.run(1.0)):
            return house.now - began
    return None


@pytest.mark.parametrize("timeout", [5.0, 600.0])
@pytest.mark.parametrize("away", [1.0, 100.0])
def test_a_window_that_ends_sooner_after_a_restart_is_followed(timeout: float, away: float) -> None:
    """The clock was ahead, and is set right after the restart: it is no night."""
    bench = house(timeout)
    windows(bench, night=HOUR)
    bench.crash(away)
    windows(bench, night=HOUR - away)
    assert bench.state() is State.PAUSED
    windows(bench)
    found = verdict_after(bench, 1000.0)
    assert found is not None
    assert timeout <= found <= timeout + (LATE_S if timeout > 60.0 else RETURN_S + 1.0)
    assert bench.now < 1000.0 + HOUR


def test_a_window_that_lasts_longer_after_a_restart_is_followed() -> None:
    bench = house(5.0)
    windows(bench, night=100.0)
    bench.crash(50.0)
    windows(bench, night=500.0)
    bench.run(499.0)
    assert bench.state() is State.PAUSED
    bench.run(2.0)
    assert bench.state() is State.ALIVE


def test_a_window_that_the_config_has_no_more() -> None:
    bench = house(5.0)
    windows(bench, night=HOUR)
    bench.operators["w"] = Policy(Declaration(5.0, HOUR, 5.0))
    bench.crash()
    bench.run(RETURN_S + 0.5)
    assert bench.state() is State.ALIVE


def test_the_operators_pause_is_none_of_a_window() -> None:
    """No window is open, and it stays paused; a second restart changes nothing."""
    bench = house(5.0)
    bench.say(Kind.PAUSE, "w", 1000, who=None)
    for _ in range(2):
        bench.crash(100.0)
        windows(bench)
        assert bench.state() is State.PAUSED
    bench.run(790.0)
    assert bench.state() is State.PAUSED
    bench.run(12.0)
    assert bench.state() is State.ALIVE


@pytest.mark.parametrize(("timeout", "due"), [(5.0, RETURN_S + 5.0), (600.0, 400.0), (90.0, 20.0)])
@pytest.mark.parametrize("by", ["window", "operator"])
def test_what_follows_a_pause_begins_at_its_end(timeout: float, due: float, by: str) -> None:
    """It ended 200 s before the restart. A long deadline counts from then, after the grace of a restart."""
    bench = house(timeout)
    if by == "operator":
        bench.say(Kind.PAUSE, "w", 100, who=None)
    else:
        windows(bench, night=100.0)
    bench.crash(300.0)
    windows(bench)
    found = verdict_after(bench, 1000.0)
    assert found is not None
    assert due <= found <= due + 1.5


@pytest.mark.parametrize(("length", "over"), [(100.0, RETURN_S), (303.0, 3.0)])
def test_a_short_timeout_does_not_wait_for_a_long_progress_timeout(length: float, over: float) -> None:
    """Its pause is over as soon as it would be without that, and is not counted as silence."""
    bench = House(w=Policy(Declaration(5.0, HOUR, 5.0, progress_timeout=600.0)))
    bench.feed(declared=None)
    bench.say(Kind.PAUSE, "w", length, who=None)
    bench.crash(300.0)
    began = bench.now
    while bench.state() is State.PAUSED:
        bench.run(0.25)
    assert over <= bench.now - began <= over + 0.5
    found = verdict_after(bench, 100.0)
    assert found is not None
    assert 4.0 <= found <= 6.0


@pytest.mark.parametrize("timeout", [30.0, 90.0])
def test_what_is_started_when_its_pause_is_over_has_its_grace(timeout: float) -> None:
    """The pause ended while the host was off. The next supervisor starts the program at once: what it allows the
    former process for its return is no matter then."""
    bench = program(timeout)
    bench.feed(declared=None)
    bench.say(Kind.PAUSE, "w", 100, who=None)
    bench.crash(600.0)
    bench.engine.processes.gone(ALICE, bench.now)
    bench.engine.processes.restarted("w", bench.now, bench.out)
    found = verdict_after(bench, 1000.0)
    assert found is not None
    assert GRACE <= found <= GRACE + LATE_S


@pytest.mark.parametrize(
    ("before", "due"),
    [
        ("never fed", GRACE),
        ("pinged", 10.0),
        ("declared", GRACE),
        ("fed", 10.0),
        ("fed in the pause", 10.0),
        ("declared and fed in the pause", 10.0),
        ("worked in the pause", 10.0),
        ("ready in the pause", 10.0),
        ("started in the pause", GRACE),
        ("started and fed in the pause", 10.0),
    ],
)
@pytest.mark.parametrize("is_restarted", [True, False])
def test_what_was_not_fed_has_its_grace_after_a_pause_also_with_a_restart_in_it(
    before: str, due: float, is_restarted: bool
) -> None:
    """A declaration is no feed, and a new process has not fed yet."""
    bench = program(10.0)
    if before in ("fed", "started in the pause"):
        bench.feed(declared=None)
    elif before.startswith("declared"):
        bench.say(Kind.DECLARE, "w")
    elif before == "pinged":
        bench.feed(who=None, declared=None)
    bench.say(Kind.PAUSE, "w", 60, who=None)
    if before.startswith("started"):
        bench.engine.processes.restarted("w", bench.now, bench.out)
        bench.keep()
    if before.endswith("fed in the pause"):
        bench.feed(who=BOB, declared=None)
    elif before == "worked in the pause":
        bench.say(Kind.WORK, "w", 5.0, None, who=BOB)
    elif before == "ready in the pause":
        bench.engine.notified.ready("w", bench.now, bench.out)
        bench.keep()
    if is_restarted:
        bench.crash(10.0)
    else:
        bench.run(10.0)
    assert verdict_after(bench, 1000.0) == pytest.approx(50.0 + due, abs=1.5)


@pytest.mark.parametrize("is_restarted", [True, False])
@pytest.mark.parametrize(("has_passed", "passes_in_the_pause"), [(True, False), (False, True), (False, False)])
def test_a_check_that_never_passed_has_its_grace_after_a_pause(
    has_passed: bool, passes_in_the_pause: bool, is_restarted: bool
) -> None:
    """Also with a restart in the pause. Until the end of that grace a failure is not told."""
    check = "w/check"
    policy = Policy(Declaration(40.0, 1000.0, GRACE), check=CheckRule("w", "tcp 127.0.0.1:5432", 10.0, 3))
    bench = House(**{check: policy})

    def result(passed: bool) -> None:
        bench.engine.checks.runner = lambda: ALICE
        bench.say(Kind.RESULT, check, passed, "refused", 0.01, 10.0, False, None, False)

    if has_passed:
        result(True)
    bench.say(Kind.PAUSE, check, 60, who=None)
    if passes_in_the_pause:
        result(True)
    if is_restarted:
        bench.crash(10.0)
    else:
        bench.run(10.0)
    bench.run(51.0)
    for _ in range(3):
        assert ("expired", check) not in said(bench.out)
        result(False)
    assert (("expired", check) in said(bench.out)) is (has_passed or passes_in_the_pause)


def test_a_check_that_fails_after_a_pause_with_a_restart_in_it_is_told_without_a_grace() -> None:
    """It had passed before, although no process feeds it."""
    check = "w/check"
    policy = Policy(Declaration(40.0, 1000.0, GRACE), check=CheckRule("w", "tcp 127.0.0.1:5432", 10.0, 3))
    bench = House(**{check: policy})

    def result(passed: bool) -> None:
        bench.engine.checks.runner = lambda: ALICE
        bench.say(Kind.RESULT, check, passed, "refused", 0.01, 10.0, False, None, False)

    result(True)
    bench.say(Kind.PAUSE, check, 60, who=None)
    bench.crash(10.0)
    bench.run(51.0)
    for _ in range(3):
        assert ("expired", check) not in said(bench.out)
        result(False)
    assert ("expired", check) in said(bench.out)


@pytest.mark.parametrize("word", ["feed", "work", "ready"])
def test_a_feed_after_such_a_pause_is_one(word: str) -> None:
    """It is judged by that feed at once."""
    bench = house(600.0)
    bench.say(Kind.PAUSE, "w", 100, who=None)
    bench.crash(300.0)
    bench.run(0.5)
    assert bench.state() is State.PAUSED
    if word == "feed":
        bench.feed(declared=None)
    elif word == "work":
        bench.say(Kind.WORK, "w", 600.0, None)
    else:
        bench.engine.notified.ready("w", bench.now, bench.out)
    bench.run(0.25)
    assert bench.state() is State.ALIVE
    found = verdict_after(bench, 1000.0)
    assert found is not None
    assert 599.0 <= found <= 601.0


@pytest.mark.parametrize(
    ("more", "up", "due"), [({}, 100_000.0, 500.0), ({}, 20.0, 580.0), ({"count_host_off": True}, 20.0, 500.0)]
)
def test_a_window_that_nobody_saw_has_been_all_the_same(more: dict[str, bool], up: float, due: float) -> None:
    """It was night while no supervisor ran, until 100 s ago. ``up``: how long the host runs; that it was off counts
    where it does."""
    bench = house(600.0, **more)
    finds(bench, window_ends={NIGHT: 100.0}, host_up=up)
    bench.crash(5000.0)
    windows(bench)
    found = verdict_after(bench, 1000.0)
    assert found is not None
    assert due <= found <= due + LATE_S


@pytest.mark.parametrize(("more", "due"), [({}, 580.0), ({"count_host_off": True}, 400.0)])
def test_a_pause_that_ended_while_the_host_was_off(more: dict[str, bool], due: float) -> None:
    """200 s ago; the host runs for 20 s."""
    bench = house(600.0, **more)
    bench.say(Kind.PAUSE, "w", 100, who=None)
    finds(bench, host_up=20.0)
    bench.crash(300.0)
    found = verdict_after(bench, 1000.0)
    assert found is not None
    assert due <= found <= due + LATE_S


def test_another_window_changes_nothing() -> None:
    bench = house(600.0)
    finds(bench, window_ends={NIGHT._replace(seconds=60.0): 100.0}, host_up=20.0)
    bench.crash(5000.0)
    assert verdict_after(bench, 60.0) is not None


def test_what_is_left_of_a_pause_is_written_again() -> None:
    """How long the host was off is taken from the clock at the first start after it, and never again."""
    bench = house(600.0)
    bench.say(Kind.PAUSE, "w", 1000, who=None)
    bench.crash(100.0)
    kept, at = bench.shelf.registry["w"]
    assert (kept.left, at) == (900.0, bench.now)


@pytest.mark.parametrize("step", [-HOUR, HOUR, 400 * 24 * HOUR])
def test_a_pause_is_as_long_as_it_was_whatever_the_clock_says(step: float) -> None:
    """The clock was set after the pause had begun, so that what it shows then comes twice, or never."""
    spans = [ClockSpan(1, "b", 0.0, 5000.0, 1e9), ClockSpan(2, "b", 5000.0, 9000.0, 1e9 + step)]
    until = {"state": State.PAUSED, "paused_until": 1e9 + 11_000.0}
    saved = Declared("w", Declaration(), **until, changed=1e9 + 4000.0, boot="b", ticks=4000.0)
    clocks = ClockHistory(spans, Reading("b", 10_000.0, 1e9 + 10_000.0 + step))
    found: Snapshot = snapshot_from(Restored(registry=[saved], clocks=spans), clocks)
    assert found.watchdogs[0].left == pytest.approx(1000.0)


@pytest.mark.parametrize(
    ("now", "seconds", "ago"),
    [
        ("2026-06-01 01:40", 3600.0, 600.0),
        ("2026-06-01 01:40", 300.0, None),
        ("2026-06-01 01:00", 90_000.0, 84_600.0),
        ("2026-03-29 02:10", 3600.0, 600.0),
        ("2026-10-25 01:40", 3600.0, 600.0),
        ("2026-10-25 02:20", 3600.0, 3000.0),
    ],
)
def test_when_a_window_last_ended(now: str, seconds: float, ago: float | None) -> None:
    """Also on the days on which summer time begins and ends."""
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    found = windows_ended([NIGHT], seconds, moment)
    assert found == ({} if ago is None else {NIGHT: ago})


def test_when_a_rare_window_last_ended() -> None:
    monthly = Window("0 0 1 * *", 86_400.0, "UTC")
    now = datetime(2026, 6, 20, tzinfo=UTC)
    assert cron.last_end(monthly, datetime(2026, 5, 25, tzinfo=UTC), now) == datetime(2026, 6, 2, tzinfo=UTC)


@pytest.mark.parametrize("seconds", [None, 60.0])
def test_the_pause_of_a_group_goes_on(seconds: float | None) -> None:
    """Until its end, or until it is resumed: then its members are counted."""
    bench = House()
    bench.groups = [Group("pool", ("a", "b"), at_least=2)]
    bench.crash(0.0)
    for name in ("a", "b"):
        bench.feed(name, declared=Declaration(5.0))
    bench.run(1.0, feeding=("a", "b"))
    _operator(bench, Kind.PAUSE, seconds)
    bench.crash(10.0)
    assert bench.state("pool") is State.PAUSED
    assert ("expired", "pool") not in said(bench.run(40.0, feeding=("a",)))
    assert bench.state("b") is State.EXPIRED
    assert bench.state("pool") is State.PAUSED
    if seconds is None:
        _operator(bench, Kind.RESUME)
    assert ("expired", "pool") in said(bench.run(20.0, feeding=("a",)))
    _operator(bench, Kind.RESUME)
    bench.crash(0.0)
    assert bench.state("pool") is State.EXPIRED


def test_the_pause_of_a_group_that_is_no_more_is_forgotten() -> None:
    """No watchdog of its name is left, whatever pattern fits it."""
    bench = House()
    bench.operators = {"*": Policy(Declaration(5.0))}
    bench.groups = [Group("pool", ("a", "b"), at_least=2)]
    bench.crash(0.0)
    _operator(bench, Kind.PAUSE, None)
    bench.groups = []
    bench.crash(1.0)
    assert "pool" not in bench.engine.table.by_name


def _operator(bench: House, kind: Kind, *args: Any) -> None:
    bench.engine.tell(Message(kind, "pool", None, 0.0, None, args), bench.now, bench.out)
    bench.keep()


@pytest.mark.parametrize("length", [600.0, 0.0])
@pytest.mark.parametrize("who", [None, ALICE])
def test_a_pause_of_what_nobody_has_declared_yet_goes_on(who: ProcessIdentity | None, length: float) -> None:
    """Its worker comes in the pause, and what it says is no incident. When that is over, its silence is nothing
    unless it was fed; and then the name is as any other that nobody declared."""
    made = House()
    made.say(Kind.PAUSE, "w", length, who=who)
    made.crash(100.0)
    assert made.state() is State.PAUSED
    made.say(Kind.FAIL, "w", "it broke", who=BOB)
    assert "expired" not in [what for what, _ in said(made.out)]
    if length:
        assert said(made.run(495.0)) == []
        assert said(made.run(10.0)) == [("resumed", "w")]
    else:
        made.say(Kind.RESUME, "w", who=None)
    assert made.state() is State.WAITING
    assert said(made.run(1000.0)) == []
    assert made.restart_now() == set()


def test_who_comes_in_a_pause_of_a_restart_ago_is_judged_after_it() -> None:
    made = House()
    made.say(Kind.PAUSE, "w", 600.0, who=None)
    made.crash(100.0)
    made.feed()
    assert made.state() is State.PAUSED
    assert said(made.run(499.0)) == []
    assert said(made.run(2.0)) == [("resumed", "w")]
    assert made.state() is State.ALIVE
    assert said(made.run(8.0)) == []
    assert "expired" in [what for what, _ in said(made.run(2.0))]


def test_a_new_process_of_a_program_ends_a_pause_that_was_over() -> None:
    """It was over before the restart, and nothing is waited for that the former process may have to say."""
    made = House()
    made.programs["w"] = Policy(Declaration(100.0, 1000.0, 20.0))
    made.crash(1.0)
    made.feed()
    made.say(Kind.PAUSE, "w", 5.0, who=None)
    made.crash(10.0)
    made.run(0.5)
    assert made.state() is State.PAUSED
    made.engine.processes.restarted("w", made.now, made.out)
    made.run(0.5)
    assert made.state() is State.ALIVE
