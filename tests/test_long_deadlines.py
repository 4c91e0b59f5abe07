"""Deadlines longer than a minute outlive the supervisor: due by the last feed, however often it is restarted."""

from __future__ import annotations

import pytest

from banken.protocol.messages import Declaration, Feeders, Kind, ProcessIdentity
from banken_supervisor.engine.claim_gate import Role
from banken_supervisor.engine.effects import Event
from banken_supervisor.engine.hearing import Timer
from banken_supervisor.engine.last_feeds import KEEP_EVERY_S
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.snapshot import RETURN_S
from restart_kit import ALICE, BOB, House

LATE_S = 60.0
"""How late a verdict may be for restarts."""

HOUR = 3600.0


def expired(house: House) -> list[str]:
    return [str(e.data["cause"]) for e in house.out if isinstance(e, Event) and e.type.value == "expired"]


def run(house: House, until: float, every: float, *, down: float = 1.0, step: float = 0.5) -> float | None:
    """Restarts ``every`` so many seconds, ``down`` of them without a supervisor, until ``until`` or a verdict: when
    that came."""
    while house.now < until:
        end = min(until, house.now + every)
        while house.now < end:
            house.now = min(end, house.now + step)
            if house.engine.verdicts.sweep(house.now, house.out):
                house.engine.verdicts.judge(house.now, house.now, house.out)
            house.keep()
            if expired(house):
                return house.now
        if house.now < until:
            house.crash(down)
    return None


@pytest.mark.parametrize(
    ("timeout", "every", "down"),
    [(100.0, 40.0, 1.0), (100.0, 7.0, 1.0), (65.0, 50.0, 1.0), (600.0, 45.0, 44.0), (25 * HOUR, HOUR, 5.0)],
)
def test_it_is_due_however_often_the_supervisor_is_restarted(timeout: float, every: float, down: float) -> None:
    """Not before its last feed and the timeout, and no later than a minute after. (Where half of the time no
    supervisor runs, after one is there again.)"""
    house = House()
    house.feed(declared=Declaration(timeout, HOUR * 99, timeout))
    fed = house.now
    late = run(house, fed + timeout * 2, every, down=down, step=min(0.5, every) if timeout < HOUR else 5.0)
    assert late is not None
    assert timeout <= late - fed <= timeout + LATE_S + 2 * down
    assert expired(house) == ["timeout"]


@pytest.mark.parametrize("seed", range(12))
def test_who_feeds_in_time_is_never_convicted(seed: int) -> None:
    """Slowly or quickly, at any moment between two restarts by kill -9."""
    import random

    rng = random.Random(seed)
    timeout = rng.choice([61.0, 100.0, 900.0, 2 * HOUR])
    house = House()
    said = Declaration(timeout, HOUR, timeout)
    house.feed(declared=said)
    next_feed = house.now
    for _ in range(60):
        up_until = house.now + rng.uniform(3.0, timeout)
        while house.now < up_until:
            house.now += min(1.0, timeout / 50)
            if house.now >= next_feed:
                house.feed(declared=said)
                next_feed = house.now + timeout * rng.choice([0.001, 0.01, 0.5, 0.97])
            if house.engine.verdicts.sweep(house.now, house.out):
                house.engine.verdicts.judge(house.now, house.now, house.out)
            house.keep()
            assert expired(house) == []
        away = rng.uniform(0.1, min(20.0, timeout / 4))
        house.crash(away)
        if house.now >= next_feed:  # what it said meanwhile did not arrive: it says it again at once
            next_feed = house.now + rng.uniform(0.0, 2.0)


def test_a_restart_is_one_grace_and_a_later_one_is_another() -> None:
    """Due while no supervisor ran: its worker has some seconds to say so, not more with each restart."""
    house = House()
    house.feed(declared=Declaration(100.0, HOUR, 100.0))
    house.crash(500.0)
    began = house.now
    assert run(house, began + 10.0, 100.0) is None
    house.crash(1.0)
    late = run(house, began + 500.0, 10.0)
    assert late is not None
    assert late - began <= LATE_S
    house = House()
    house.feed(declared=Declaration(100.0, HOUR, 100.0))
    house.crash(500.0)
    assert run(house, house.now + 1.0, 100.0) is None
    house.crash(HOUR)
    assert run(house, house.now + 15.0, 100.0) is None
    house.feed(declared=Declaration(100.0, HOUR, 100.0))
    assert run(house, house.now + 99.0, 300.0) is None


def test_a_long_grace_goes_on() -> None:
    """Who was never fed is due by the time since it waits."""
    timeout = 2 * HOUR
    house = House()
    house.say(Kind.DECLARE, "w", declared=Declaration(10.0, HOUR, timeout))
    began = house.now
    late = run(house, began + 2 * timeout, 1000.0, step=5.0)
    assert late is not None
    assert timeout <= late - began <= timeout + LATE_S
    assert expired(house) == ["grace"]


@pytest.mark.parametrize("timeout", [30.0, 400.0])
def test_progress_that_stands_still_is_due_too(timeout: float) -> None:
    """Fed all the time, and restarted all the time; another value begins anew, as ever."""
    house = House()
    said = Declaration(timeout, HOUR, timeout, progress_timeout=300.0)
    moved = house.now
    stuck_at = 17
    while house.now < moved + 1000.0:
        for _ in range(120):
            house.now += 0.5
            if house.now < moved + 50.0:
                stuck_at += 1
                last = house.now
            house.say(Kind.NOTE, "w", stuck_at, None, declared=said)
            if house.engine.verdicts.sweep(house.now, house.out):
                house.engine.verdicts.judge(house.now, house.now, house.out)
            house.keep()
            if expired(house):
                assert expired(house) == ["no-progress"]
                assert 300.0 <= house.now - last <= 300.0 + LATE_S
                return
        house.crash(1.0)
    raise AssertionError("never due")


@pytest.mark.parametrize("timeout", [5.0, 30.0])
def test_a_short_timeout_is_not_later_for_a_long_progress_timeout(timeout: float) -> None:
    """After a restart it has its timeout again, and the time to find the new supervisor; no grace of a long one."""
    house = House()
    said = Declaration(timeout, HOUR, timeout, progress_timeout=300.0)
    for value in (1, 2):
        house.now += 1.0
        house.say(Kind.NOTE, "w", value, None, declared=said)
    house.keep()
    house.crash(1.0)
    began = house.now
    late = run(house, began + 100.0, 1000.0)
    assert late is not None
    assert timeout <= late - began <= timeout + RETURN_S + 1.0
    assert expired(house) == ["timeout"]


@pytest.mark.parametrize(
    ("feeders", "who"), [(Feeders.LATEST, ALICE), (Feeders.EACH, ALICE), (Feeders.EACH, BOB), (Feeders.ANY, BOB)]
)
def test_a_feed_says_nothing_of_progress_after_a_restart(feeders: Feeders, who: ProcessIdentity) -> None:
    """Values come once a minute, feeds all the time, also of another process. The last value was not kept."""
    house = House()
    said = Declaration(30.0, HOUR, 30.0, progress_timeout=70.0, feeders=feeders)
    house.say(Kind.NOTE, "w", 1, None, declared=said)
    for each in (ALICE, who, ALICE, who):
        house.feed(who=each, declared=said)
    house.now += 25.0
    house.say(Kind.NOTE, "w", 2, None, declared=said)
    moved = house.now
    house.crash(5.0)
    while house.now < moved + 69.0:
        house.run(1.0)
        for each in (ALICE, who):
            house.feed(who=each, declared=said)
    assert expired(house) == []
    house.say(Kind.NOTE, "w", 3, None, declared=said)
    for _ in range(20):
        house.run(1.0)
        for each in (ALICE, who):
            house.feed(who=each, declared=said)
    assert expired(house) == []


@pytest.mark.parametrize(("feeds_for", "cause"), [(150.0, "timeout"), (250.0, "no-progress")])
def test_of_two_that_are_due_after_the_grace_of_a_restart_the_earlier_one_counts(
    feeds_for: float, cause: str
) -> None:
    """It had stood still, and then been silent, while no supervisor ran."""
    house = House()
    said = Declaration(100.0, HOUR, 100.0, progress_timeout=300.0)
    for value in (1, 2):
        house.now += 1.0
        house.say(Kind.NOTE, "w", value, None, declared=said)
    for _ in range(int(feeds_for)):
        house.run(1.0)
        house.feed(declared=said)
    house.crash(1000.0)
    assert run(house, house.now + 100.0, 1000.0) is not None
    assert expired(house) == [cause]


def test_what_is_silent_before_its_progress_is_judged_again_is_late_by_its_timeout() -> None:
    """Its progress, too, may have stood still for too long; a restart has a grace for that."""
    house = House()
    said = Declaration(5.0, HOUR, 5.0, progress_timeout=300.0)
    for value in (1, 2):
        house.now += 1.0
        house.say(Kind.NOTE, "w", value, None, declared=said)
    house.crash(1000.0)
    assert run(house, house.now + 100.0, 1000.0) is not None
    assert expired(house) == ["timeout"]


@pytest.mark.parametrize(("counts", "timeout"), [(None, 2 * HOUR), (True, 600.0), (False, 2 * HOUR), (None, 600.0)])
def test_the_time_that_the_host_was_off_counts_as_the_operator_says(counts: bool | None, timeout: float) -> None:
    """By itself for an hour and more."""
    house = House(w=Policy(Declaration(timeout, HOUR, timeout), count_host_off=counts))
    house.feed(declared=None)
    off = timeout / 2
    house.now += off
    house.forget()
    left = house.shelf.left

    def after_reboot(wall: float) -> object:
        found = left(wall)
        return type(found)(
            found.watchdogs, found.open, found.runs,
            {name: last._replace(host_on=0.0) for name, last in found.feeds.items()},
        )  # fmt: skip

    house.shelf.left = after_reboot  # type: ignore[method-assign, assignment]
    house.start()
    house.shelf.left = left  # type: ignore[method-assign]
    late = run(house, house.now + 3 * timeout, 10 * timeout, step=2.0)
    assert late is not None
    due = timeout if counts or (counts is None and timeout >= HOUR) else timeout + off
    assert due <= late - 1000.0 <= due + LATE_S


def test_not_every_feed_is_written() -> None:
    """One a while, however many come; the first after a silence at once."""
    house = House()
    said = Declaration(1000.0, HOUR, 1000.0)
    written = 0
    put = house.shelf.feeds
    last = None
    for _ in range(int(10 * KEEP_EVERY_S)):
        house.now += 1.0
        house.feed(declared=said)
        if put["w"] != last:
            written, last = written + 1, put["w"]
    assert written <= 12
    house.now += 500.0
    house.keep()
    house.feed(declared=said)
    assert put["w"][0].silent == 0.0
    assert put["w"][1] == house.now


def test_a_short_one_is_not_kept() -> None:
    house = House()
    house.feed(declared=Declaration(60.0, 20.0, 60.0))
    assert house.shelf.feeds == {}


def test_who_lives_by_work_is_due_by_that_after_a_restart() -> None:
    """Hours after its last feed: it spoke a moment ago, and has its timeout, not the grace of a restart."""
    house = House()
    house.feed(declared=Declaration(600.0, HOUR, 600.0))
    for _ in range(100):
        house.now += 60.0
        house.say(Kind.WORK, "w", 3_000.0, None)
        house.keep()
    fed = house.now
    house.crash(1.0)
    late = run(house, fed + 2 * HOUR, 3 * HOUR, step=1.0)
    assert late is None or late - fed >= 600.0


def test_progress_that_another_member_vouches_for_is_not_asked_about_again_at_once() -> None:
    """It had stood still for long when the grace of the restart was over; the other one knows a longer limit."""
    house = House()
    said = Declaration(2000.0, HOUR, 2000.0, progress_timeout=100.0)
    for value in (1, 2):
        house.now += 1.0
        house.say(Kind.NOTE, "w", value, None, declared=said)
    house.crash(1000.0)
    succession = house.engine.succession
    succession.gate.role = Role.FOLLOWER
    house.run(60.0)
    assert "w" in succession.gate.held
    succession.acquit("w", Timer(950.0, 50.0), house.now)
    house.run(49.0)
    assert "w" not in succession.gate.held
    house.run(2.0)
    assert "w" in succession.gate.held
