"""A name that several processes feed: a pool, each by itself, a program with its workers."""

from __future__ import annotations

from typing import Any

import pytest

from banken.protocol.messages import Declaration, Feeders, Kind, ProcessIdentity
from banken_supervisor.engine.policy import Quotas
from banken_supervisor.engine.states import State
from engine_kit import ALICE, BOB, TEN, Bench, ends, feeds, opened, told

CAROL = ProcessIdentity(b"bootboot", 30, 300, b"cccc")
EACH = TEN._replace(feeders=Feeders.EACH)
POOL = TEN._replace(feeders=Feeders.ANY)


# -- several processes ---------------------------------------------------------------------------


def test_the_last_of_a_pool_releases_it() -> None:
    """Two of three hang, the third is released: they are found."""
    bench = Bench()
    feeds(bench, ALICE, BOB, CAROL, declaration=POOL)
    bench.say(Kind.RELEASE, who=CAROL, declaration=POOL)
    assert bench.state() is State.ALIVE
    bench.jump(11.0)
    assert [cause for _, cause, _ in opened(bench)] == ["timeout"]


@pytest.mark.parametrize(("last", "state"), [(0, None), (-9, State.EXPIRED)])
def test_the_end_of_the_last_of_a_pool_counts(last: int, state: State | None) -> None:
    """That of another one does not: the pool lives."""
    bench = Bench()
    feeds(bench, ALICE, BOB, declaration=POOL)
    ends(bench, ALICE, -9)
    assert (bench.state(), opened(bench)) == (State.ALIVE, [])
    ends(bench, BOB, last)
    assert bench.state() is state


def test_a_pool_shows_a_process_that_lives() -> None:
    """After a verdict that one is looked at."""
    bench = Bench()
    feeds(bench, ALICE, BOB, declaration=POOL)
    ends(bench, BOB, 0)
    record = bench.engine.get("w")
    assert record is not None
    assert record.owner == ALICE


def test_each_process_is_judged_by_itself() -> None:
    """The incident names the one that fell silent; what the others say does not end it."""
    bench = Bench()
    feeds(bench, ALICE, BOB, CAROL, declaration=EACH)
    feeds(bench, ALICE, CAROL, declaration=EACH, times=11)
    assert opened(bench) == [("w", "timeout", BOB.pid)]
    feeds(bench, ALICE, CAROL, declaration=EACH, times=11)
    assert bench.state() is State.EXPIRED
    assert bench.engine.table.by_frame == {}
    bench.feed(who=BOB, declaration=EACH)
    assert bench.state() is State.ALIVE
    feeds(bench, ALICE, BOB, CAROL, declaration=EACH, times=30)
    assert len(opened(bench)) == 1
    assert len(bench.engine.table.by_frame) == 3, "each is known by its bytes"


def test_who_fed_once_is_not_waited_for() -> None:
    """A step of a script: the others are judged on."""
    bench = Bench()
    feeds(bench, ALICE, declaration=EACH)
    bench.feed(who=BOB, declaration=EACH)
    feeds(bench, ALICE, declaration=EACH, times=30)
    assert opened(bench) == []
    bench.jump(10.5)
    assert opened(bench) == [("w", "timeout", ALICE.pid)]


def test_who_is_judged_is_not_forgotten_for_others() -> None:
    """Where there are as many as there may be, one that was heard once gives way; else the newcomer is refused, and
    told. The one that hangs is found all the same. When one has ended, the next has its place."""
    bench = Bench()
    bench.engine.set_quotas(Quotas(processes_per_name=3))
    once, late = ALICE._replace(pid=1), ALICE._replace(pid=2)
    bench.feed(who=once, declaration=EACH)
    feeds(bench, ALICE, BOB, CAROL, declaration=EACH)
    for kind, args in ((Kind.FEED, ()), (Kind.NOTE, (1, None)), (Kind.WORK, (None, None)), (Kind.DECLARE, ())):
        refused = bench.say(kind, "w", *args, who=late, declaration=EACH)
        assert refused is not None
        assert refused.reason == "members"
        assert "processes_per_name" in refused.text
    for _ in range(12):
        feeds(bench, BOB, CAROL, late, declaration=EACH, times=1)
    assert opened(bench) == [("w", "timeout", ALICE.pid)]
    assert len(told(bench, "refused")) > 1
    ends(bench, ALICE, 0)
    bench.feed(who=ALICE._replace(pid=4), declaration=EACH)
    feeds(bench, BOB, CAROL, late, declaration=EACH)
    assert opened(bench)[1:] == []
    feeds(bench, BOB, CAROL, declaration=EACH, times=12)
    assert opened(bench)[1:] == [("w", "timeout", late.pid)]


@pytest.mark.parametrize("declared", [EACH, POOL])
@pytest.mark.parametrize("is_said", [False, True])
@pytest.mark.parametrize("is_program", [False, True])
def test_who_comes_and_goes_has_one_name(declared: Declaration, is_said: bool, is_program: bool) -> None:
    """One process after the other releases it, or the operator does: it is counted once, and then not at all."""
    bench = Bench()
    bench.engine.processes.is_program = lambda name: is_program
    for _ in range(20):
        feeds(bench, ALICE, BOB, CAROL, declaration=declared)
        assert [bench.engine.table.names_of(each) for each in (ALICE, BOB, CAROL)] == [1, 1, 1]
        for who in (BOB, CAROL, ALICE) if is_said else ():
            bench.say(Kind.RELEASE, who=who, declaration=declared)
        if not is_said:
            bench.engine.forget("w", bench.now, bench.out)
        left = [bench.engine.table.names_of(each) for each in (ALICE, BOB, CAROL)]
        assert left == [int(is_program and is_said), 0, 0]


@pytest.mark.parametrize("kind", [Kind.FEED, Kind.DECLARE, Kind.NOTE])
def test_a_process_that_becomes_another_program_is_one_process(kind: Kind) -> None:
    """It keeps its pid and start: what it was before is not waited for, and what it is now is judged at once."""
    bench = Bench()
    feeds(bench, ALICE, BOB, declaration=EACH)
    bench.say(Kind.WORK, "w", None, None, who=ALICE, declaration=EACH)  # idle
    after = ALICE._replace(nonce=b"new!")
    bench.say(kind, "w", *((1, None) if kind is Kind.NOTE else ()), who=after, declaration=EACH)
    for _ in range(30):
        feeds(bench, after, BOB, declaration=EACH, times=1)
    assert opened(bench) == []
    feeds(bench, BOB, declaration=EACH, times=12)
    assert opened(bench) == [("w", "timeout", ALICE.pid)]
    record = bench.engine.get("w")
    assert record is not None
    assert list(record.detailed().members or ()) == [BOB, after]
    assert record.owner == after
    assert bench.engine.table.incarnations(ALICE) == [after]
    for name in [str(number) for number in range(5)] * 2:
        bench.feed(name, who=after)
    ends(bench, after, -9)
    assert len(opened(bench)) == 6


def test_two_copies_in_one_process_feed_one_name() -> None:
    """Either proves that the process lives; what they cost does not grow."""
    bench = Bench()
    other = ALICE._replace(nonce=b"copy")
    feeds(bench, ALICE, other, declaration=EACH, times=100)
    feeds(bench, other, declaration=EACH, times=12)
    assert opened(bench) == []
    assert bench.engine.table.names_of(ALICE) <= 2
    feeds(bench, BOB, declaration=EACH, times=12)
    assert opened(bench) == [("w", "timeout", ALICE.pid)]


def test_a_pool_takes_every_feed() -> None:
    """Of a pool each feed is a sign of life, however many processes there are; the first is forgotten for it."""
    bench = Bench()
    bench.engine.set_quotas(Quotas(processes_per_name=3))
    for pid in range(1, 10):
        bench.jump(9.0)
        bench.feed(who=ALICE._replace(pid=pid), declaration=POOL)
    assert opened(bench) == []
    record = bench.engine.get("w")
    assert record is not None
    assert [each.pid for each in record.detailed().members or ()] == [7, 8, 9]


@pytest.mark.parametrize("how", ["idle", "release", "end"])
def test_who_has_nothing_to_do_is_not_judged(how: str) -> None:
    """It leaves by its end, a release or idle; the others are judged on."""
    bench = Bench()
    feeds(bench, ALICE, BOB, declaration=EACH)
    if how == "idle":
        bench.say(Kind.WORK, "w", None, None, who=BOB, declaration=EACH)
    elif how == "release":
        bench.say(Kind.RELEASE, who=BOB, declaration=EACH)
    else:
        ends(bench, BOB, 0)
    feeds(bench, ALICE, declaration=EACH, times=30)
    assert opened(bench) == []
    bench.jump(10.5)
    assert opened(bench) == [("w", "timeout", ALICE.pid)]


def test_an_incident_ends_when_the_process_that_it_is_about_has_ended_and_another_feeds() -> None:
    bench = Bench()
    feeds(bench, ALICE, BOB, declaration=EACH)
    feeds(bench, ALICE, declaration=EACH, times=11)
    assert opened(bench) == [("w", "timeout", BOB.pid)]
    ends(bench, BOB, -9)
    assert bench.state() is State.EXPIRED
    bench.feed(who=ALICE, declaration=EACH)
    assert bench.state() is State.ALIVE


def test_a_second_one_that_hangs_has_an_incident_after_the_first() -> None:
    bench = Bench()
    feeds(bench, ALICE, BOB, CAROL, declaration=EACH)
    feeds(bench, ALICE, declaration=EACH, times=12)
    feeds(bench, ALICE, BOB, declaration=EACH, times=1)
    if len(opened(bench)) == 1 and opened(bench)[0][2] == CAROL.pid:
        bench.feed(who=CAROL, declaration=EACH)
    bench.jump(0.5)
    assert {pid for _, _, pid in opened(bench)} == {BOB.pid, CAROL.pid}


def test_of_two_that_end_at_once_neither_is_waited_for() -> None:
    """They are killed in one turn of the loop. One incident tells of it, and ends with a feed of who is left."""
    bench = Bench()
    feeds(bench, ALICE, BOB, CAROL, declaration=EACH)
    bench.engine.processes.exited(ALICE, bench.now, bench.out, -9)
    ends(bench, BOB, -9)
    feeds(bench, CAROL, declaration=EACH, times=30)
    assert opened(bench) == [("w", "exited", ALICE.pid)]
    assert bench.state() is State.ALIVE


def test_who_has_ended_when_another_one_fails_is_not_waited_for() -> None:
    """The failure is said before the end is judged."""
    bench = Bench()
    feeds(bench, ALICE, BOB, declaration=EACH)
    bench.engine.processes.exited(ALICE, bench.now, bench.out, -9)
    bench.say(Kind.FAIL, "w", "lost my peer", who=BOB)
    feeds(bench, BOB, declaration=EACH, times=30)
    assert opened(bench) == [("w", "failed", BOB.pid)]
    assert bench.state() is State.ALIVE


# -- a program's own watchdog --------------------------------------------------------------------


@pytest.mark.parametrize("declaration", [TEN, EACH, POOL])
def test_a_programs_watchdog_does_not_end_with_a_process_that_fed_it(declaration: Any) -> None:
    """Its worker is recycled: another one has a timeout to come."""
    bench = Bench()
    bench.engine.processes.is_program = lambda name: name == "w"
    feeds(bench, ALICE, declaration=declaration)
    ends(bench, ALICE, 0)
    bench.jump(7.0)
    assert (bench.state(), opened(bench)) == (State.ALIVE, [])
    feeds(bench, BOB, declaration=declaration)
    assert opened(bench) == []
    bench.jump(10.5)
    assert opened(bench) == [("w", "timeout", BOB.pid)]


def test_a_program_is_late_when_its_timeout_is_over_though_a_step_of_it_said_that_it_ends() -> None:
    """The time that a process has to end is over with its end."""
    bench = Bench()
    bench.engine.processes.is_program = bench.engine.processes.tells_end = lambda what: True
    feeds(bench, ALICE)
    bench.jump(5.0)
    bench.say(Kind.LEAVING, "w", None)
    ends(bench, ALICE, 0)
    bench.jump(4.9)
    assert bench.state() is State.ALIVE
    bench.jump(0.2)
    assert bench.state() is State.EXPIRED


def test_a_program_that_releases_its_watchdog_ends_its_incident() -> None:
    """It is there, and says that its silence is none."""
    bench = Bench()
    bench.engine.processes.is_program = lambda name: name == "w"
    feeds(bench, ALICE)
    bench.jump(11.0)
    bench.said()
    bench.say(Kind.RELEASE)
    assert bench.said() == ["closed"]
    bench.jump(100.0)
    assert bench.state() is State.WAITING


@pytest.mark.parametrize("declaration", [TEN, EACH, POOL])
def test_a_program_that_releases_its_watchdog_is_judged_by_its_end(declaration: Any) -> None:
    """Its silence is not judged any more, until it feeds again; its end is."""
    bench = Bench()
    bench.engine.processes.is_program = lambda name: name == "w"
    feeds(bench, ALICE, declaration=declaration)
    bench.say(Kind.RELEASE, declaration=declaration)
    bench.jump(100.0)
    assert (bench.state(), opened(bench)) == (State.WAITING, [])
    bench.engine.processes.program_ended("w", "exit status 3", bench.now)
    bench.jump(0.0)
    assert [cause for _, cause, _ in opened(bench)] == ["exited"]


def test_a_pool_whose_processes_all_say_that_they_end_has_the_time_for_that() -> None:
    """As a single process has it, however short the timeout is. One that does not end is found."""
    short = POOL._replace(timeout=2.0)
    for is_first_alone in (False, True):
        bench = Bench()
        bench.engine.processes.tells_end = lambda process: True
        feeds(bench, ALICE, BOB, declaration=short, every=0.5)
        bench.say(Kind.LEAVING, "w", None, who=ALICE, declaration=short)
        if is_first_alone:
            bench.jump(2.5)
            assert bench.state() is State.EXPIRED, "the other one is silent"
            continue
        bench.say(Kind.LEAVING, "w", None, who=BOB, declaration=short)
        for _ in range(9):
            bench.jump(1.0)
        ends(bench, ALICE, 0)
        assert bench.state() is State.ALIVE
        bench.jump(1.5)
        assert [cause for _, cause, _ in opened(bench)] == ["timeout"]


@pytest.mark.parametrize("declaration", [TEN, POOL])
def test_a_program_s_time_to_end_is_over_with_its_last_process(declaration: Any) -> None:
    """It is a step of it that has ended: another one has what was left of the timeout."""
    short = declaration._replace(timeout=2.0)
    bench = Bench()
    bench.engine.processes.is_program = bench.engine.processes.tells_end = lambda what: True
    feeds(bench, ALICE, declaration=short, every=0.5)
    bench.say(Kind.LEAVING, "w", None, declaration=short)
    ends(bench, ALICE, 0)
    bench.jump(2.5)
    assert bench.state() is State.EXPIRED
