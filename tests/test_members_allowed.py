"""What the processes of one name, each judged by itself, are allowed: extensions, the time to end, the grace of a
restart. One's feed is not another's."""

from __future__ import annotations

import pytest

from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration, Feeders, Kind, ProcessIdentity
from banken_supervisor.engine.claim_gate import Role
from banken_supervisor.engine.effects import Withdraw
from banken_supervisor.engine.hearing import Timer
from banken_supervisor.engine.registry import Entry, Standing
from banken_supervisor.engine.states import State
from engine_kit import ALICE, BOB, TEN, Bench, ends, feeds, opened, told
from restart_kit import House, said

EACH = TEN._replace(feeders=Feeders.EACH)


def two(declaration: Declaration = EACH) -> Bench:
    """``ALICE`` and ``BOB`` have fed, and are judged."""
    bench = Bench()
    bench.engine.processes.tells_end = lambda process: True
    feeds(bench, ALICE, BOB, declaration=declaration, every=0.5)
    return bench


def bob_feeds(bench: Bench, seconds: float) -> list[int]:
    """``BOB`` feeds every second. Pids of the incidents of that time."""
    for _ in range(int(seconds)):
        bench.jump(1.0)
        bench.feed(who=BOB, declaration=EACH)
    return [pid for _, _, pid in opened(bench)]


def extend(bench: Bench, who: ProcessIdentity | None = ALICE, seconds: float = 120.0) -> None:
    bench.say(Kind.EXTEND, "w", seconds, who=who, declaration=None if who is None else EACH)


def test_a_feed_of_another_process_does_not_end_an_extension() -> None:
    """Its end does."""
    bench = two()
    extend(bench)
    assert bob_feeds(bench, 115) == []
    assert bob_feeds(bench, 7) == [ALICE.pid]


def test_an_extension_does_not_hide_another_process_that_hangs() -> None:
    bench = two()
    extend(bench)
    bench.jump(10.1)
    assert opened(bench) == [("w", Cause.TIMEOUT, BOB.pid)]


def test_the_process_s_own_feed_ends_its_extension() -> None:
    bench = two()
    extend(bench)
    bench.jump(1.0)
    bench.feed(who=ALICE, declaration=EACH)
    assert bob_feeds(bench, 9) == []
    assert bob_feeds(bench, 2) == [ALICE.pid]


@pytest.mark.parametrize("how", ["operator", "sd_notify"])
def test_an_extension_that_is_no_process_s_is_for_all(how: str) -> None:
    """Until each has fed by itself."""
    bench = two()
    if how == "operator":
        extend(bench, None)
    else:
        bench.engine.notified.extend("w", 120.0, bench.now, bench.out)
    assert bob_feeds(bench, 115) == []
    assert bob_feeds(bench, 7) == [ALICE.pid]


def test_sd_notify_shortens_no_extension() -> None:
    bench = two()
    extend(bench)
    bench.engine.notified.extend("w", 20.0, bench.now, bench.out)
    assert bob_feeds(bench, 115) == []
    assert bob_feeds(bench, 7) == [ALICE.pid]


def test_one_that_is_ready_has_no_extension() -> None:
    bench = two()
    bench.engine.notified.extend("w", 120.0, bench.now, bench.out)
    bench.engine.notified.ready("w", bench.now, bench.out)
    bench.jump(10.1)
    assert len(opened(bench)) == 1


def test_a_process_that_says_that_it_ends_has_ten_seconds_for_that() -> None:
    """However short its timeout is, and whatever the others say."""
    short = Declaration(2.0, 10.0, 10.0, feeders=Feeders.EACH)
    bench = two(short)
    bench.say(Kind.LEAVING, "w", None, who=ALICE, declaration=short)
    for _ in range(9):
        bench.jump(1.0)
        bench.feed(who=BOB, declaration=short)
    assert opened(bench) == []
    ends(bench, ALICE, 0)
    bench.jump(0.1)
    assert (bench.state(), opened(bench)) == (State.ALIVE, [])
    hung = two(short)
    hung.say(Kind.LEAVING, "w", None, who=ALICE, declaration=short)
    for _ in range(11):
        hung.jump(1.0)
        hung.feed(who=BOB, declaration=short)
    assert opened(hung) == [("w", Cause.TIMEOUT, ALICE.pid)]


def test_a_grace_that_was_extended_is_so_whoever_is_declared_then() -> None:
    bench = Bench()
    bench.say(Kind.DECLARE, who=ALICE, declaration=EACH)
    extend(bench)
    bench.say(Kind.DECLARE, who=BOB, declaration=EACH)
    bench.jump(100.0)
    assert (bench.state(), opened(bench)) == (State.WAITING, [])
    bench.jump(21.0)
    assert [cause for _, cause, _ in opened(bench)] == [Cause.GRACE]


def test_a_verdict_ends_the_extension_of_its_process() -> None:
    """It is not there again when the incident has ended by another word than a feed."""
    bench = two()
    extend(bench)
    bench.say(Kind.FAIL, "w", "disk full", who=ALICE, declaration=EACH)
    record = bench.engine.get("w")
    assert record is not None
    assert record.details is not None
    assert record.details.members is not None
    assert [each.extended_until for each in record.details.members.values()] == [None, None]
    bench.engine.succession.recover("w", Timer(0.0, 10.0), bench.now, bench.out)
    assert bob_feeds(bench, 11) == [ALICE.pid, ALICE.pid]


def test_an_extension_in_an_incident_of_another_process_is_kept_and_ends_nothing() -> None:
    bench = two()
    assert bob_feeds(bench, 11) == [ALICE.pid]
    extend(bench, BOB)
    assert bench.state() is State.EXPIRED
    bench.out.clear()
    for _ in range(50):
        bench.jump(1.0)
        bench.feed(who=ALICE, declaration=EACH)
    assert bench.state() is State.ALIVE
    assert (opened(bench), len(told(bench, "recovered"))) == ([], 1)
    again = two()
    assert bob_feeds(again, 11) == [ALICE.pid]
    extend(again, BOB)
    assert bob_feeds(again, 5) == [ALICE.pid]
    assert told(again, "recovered") == []


@pytest.mark.parametrize("by_operator", [False, True])
def test_with_a_process_its_own_extension_ends_and_no_other(by_operator: bool) -> None:
    """``BOB`` has fed once, and is not judged by himself: the last feed of all counts."""
    bench = Bench()
    feeds(bench, ALICE, declaration=EACH)
    bench.feed(who=BOB, declaration=EACH)
    extend(bench, None if by_operator else ALICE)
    ends(bench, ALICE, 0)
    bench.jump(50.0)
    assert len(opened(bench)) == (not by_operator)
    bench.jump(71.0)
    assert len(opened(bench)) == 1


def test_what_an_operator_allowed_a_program_outlives_its_only_process() -> None:
    """That is recycled, and the next one has not fed yet."""
    bench = Bench()
    bench.engine.processes.is_program = lambda name: name == "w"
    feeds(bench, ALICE, declaration=EACH)
    extend(bench, None)
    ends(bench, ALICE, 0)
    bench.jump(100.0)
    assert opened(bench) == []
    bench.jump(21.0)
    assert [cause for _, cause, _ in opened(bench)] == [Cause.TIMEOUT]


def test_extensions_outlive_the_supervisor() -> None:
    house = _extended_for_alice()
    house.feed(who=BOB, declared=EACH)
    house.crash(5.0)
    for _ in range(100):
        house.run(1.0)
        house.feed(who=BOB, declared=EACH)
    assert "expired" not in [what for what, _ in said(house.out)]
    for _ in range(20):
        house.run(1.0)
        house.feed(who=BOB, declared=EACH)
    assert "expired" in [what for what, _ in said(house.out)]


def test_an_extension_that_its_process_has_ended_is_not_brought_back() -> None:
    house = _extended_for_alice()
    house.feed(who=ALICE, declared=EACH)
    house.crash(5.0)
    assert "expired" in [what for what, _ in said(house.run(20.0))]


def test_after_a_restart_an_extension_does_not_hide_another_process_that_hangs() -> None:
    """The next supervisor knows whose it is."""
    house = House()
    for _ in range(2):
        for who in (ALICE, BOB):
            house.feed(who=who, declared=EACH)
    house.say(Kind.EXTEND, "w", 3600.0, who=ALICE, declared=EACH)
    house.crash(5.0)
    for _ in range(20):
        house.feed(who=ALICE, declared=EACH)
        house.run(1.0)
    assert opened(house) == [("w", Cause.TIMEOUT, BOB.pid)]


def test_after_a_restart_each_has_its_grace_though_another_one_feeds_at_once() -> None:
    """Their deadlines are long, and passed while no supervisor ran."""
    long = EACH._replace(timeout=7200.0)
    house = House()
    for _ in range(2):
        for who in (ALICE, BOB):
            house.feed(who=who, declared=long)
    house.now += 7100.0
    house.keep()
    house.crash(300.0)
    house.feed(who=ALICE, declared=long)
    house.run(10.0)
    house.feed(who=BOB, declared=long)
    house.run(60.0)
    assert "expired" not in [what for what, _ in said(house.out)]


def test_a_feed_in_an_incident_of_another_process_ends_what_a_restart_allowed() -> None:
    """``BOB`` is heard then for the first time since the restart, and hangs when the incident is over."""
    timeout = 100.0
    long = EACH._replace(timeout=timeout)
    house = House()
    for _ in range(2):
        for who in (ALICE, BOB):
            house.feed(who=who, declared=long)
    house.crash(1.0)
    house.run(timeout + 40.0)
    ((_, _, pid),) = opened(house)
    assert pid == ALICE.pid
    house.feed(who=BOB, declared=long)
    heard = house.now
    house.run(1.0)
    house.forget()
    while not opened(house):
        house.feed(who=ALICE, declared=long)
        house.run(1.0)
    assert opened(house) == [("w", Cause.TIMEOUT, BOB.pid)]
    assert timeout <= house.now - heard <= timeout + 2.0


@pytest.mark.parametrize("extended", [False, True])
def test_in_an_incident_too_a_restart_allows_the_other_processes_their_return(extended: bool) -> None:
    """It is over by the word of its own process before another one has found the new supervisor; and what the other
    one had is kept."""
    short = EACH._replace(timeout=1.0)
    house = House()
    for _ in range(2):
        for who in (ALICE, BOB):
            house.feed(who=who, declared=short)
    for _ in range(20):
        house.run(0.25)
        house.feed(who=BOB, declared=short)
    if extended:
        house.say(Kind.EXTEND, "w", 120.0, who=BOB, declared=short)
    assert [pid for _, _, pid in opened(house)] == [ALICE.pid]
    house.crash(5.0)
    assert house.state() is State.EXPIRED
    for _ in range(200 if extended else 10):
        house.run(0.25)
        house.feed(who=ALICE, declared=short)
    assert (house.state(), opened(house)) == (State.ALIVE, [])
    for _ in range(400):
        house.run(0.25)
        house.feed(who=ALICE, declared=short)
    assert opened(house) == [("w", Cause.TIMEOUT, BOB.pid)]


def test_progress_goes_on_in_an_incident_of_another_process() -> None:
    """The value is the name's, and is late from its last change on, not from the incident's beginning."""
    moving = EACH._replace(progress_timeout=100.0)
    bench = two(moving)
    for value in range(150):
        bench.say(Kind.NOTE, "w", value, None, who=BOB, declaration=moving)
        bench.jump(1.0)
    assert opened(bench) == [("w", Cause.TIMEOUT, ALICE.pid)]
    bench.out.clear()
    for _ in range(98):
        for who in (ALICE, BOB):
            bench.feed(who=who, declaration=moving)
        bench.jump(1.0)
    assert (bench.state(), opened(bench)) == (State.ALIVE, [])
    bench.jump(1.1)
    assert opened(bench) == [("w", Cause.NO_PROGRESS, BOB.pid)]


# -- in a cluster --------------------------------------------------------------------------------


def test_what_another_member_has_heard_is_the_processs_that_is_due() -> None:
    """Else the same question would be asked again at once."""
    bench = two()
    gate = bench.engine.succession.gate
    gate.role = Role.FOLLOWER
    bob_feeds(bench, 11)
    bench.jump(0.5)
    assert "w" in gate.held
    bench.engine.succession.acquit("w", Timer(1.0, 9.0), bench.now)
    bob_feeds(bench, 8)
    bench.jump(0.5)
    assert "w" not in gate.held
    bob_feeds(bench, 2)
    bench.jump(0.5)
    assert "w" in gate.held


def test_an_extension_that_another_member_tells_of_holds() -> None:
    bench = Bench()
    feeds(bench, ALICE, declaration=EACH)
    bench.engine.succession.follow(bench.now)  # what is known here is from a former run
    entry = Entry("w", EACH, 0.0, Standing.ALIVE, 1.0, 100.0, True)
    bench.engine.registry.take(entry, bench.now, bench.now, bench.out)
    bench.jump(90.0)
    assert "w" not in bench.engine.succession.gate.held
    bench.jump(11.0)
    assert "w" in bench.engine.succession.gate.held


@pytest.mark.parametrize("kind", [Kind.FEED, Kind.EXTEND])
@pytest.mark.parametrize("role", [Role.LEADER, Role.FOLLOWER])
def test_what_another_process_says_does_not_withdraw_a_verdict(role: Role, kind: Kind) -> None:
    """Its own word does. Else one that hangs is not found where the others feed faster than a claim is written."""
    bench = two()
    gate = bench.engine.succession.gate
    gate.role = role
    bob_feeds(bench, 11)
    bench.jump(0.5)
    bench.out.clear()
    bench.say(kind, "w", *((30.0,) if kind is Kind.EXTEND else ()), who=BOB, declaration=EACH)
    assert bench.out == []
    assert "w" in gate.held
    record = bench.engine.get("w")
    assert record is not None
    assert record.owner == ALICE
    bench.feed(who=ALICE, declaration=EACH)
    assert "w" not in gate.held
    assert [each for each in bench.out if isinstance(each, Withdraw)] == [Withdraw("w")] * (role is Role.LEADER)
    bench.jump(9.0)
    assert "w" not in gate.held


def _extended_for_alice() -> House:
    """Two processes are judged by themselves, and one of them has 120 s."""
    house = House()
    for _ in range(2):
        for who in (ALICE, BOB):
            house.feed(who=who, declared=EACH)
    house.say(Kind.EXTEND, "w", 120.0, who=ALICE, declared=EACH)
    return house


def test_after_a_reload_the_first_one_due_by_the_new_timeout_is_judged_first() -> None:
    """The old timeout was longer than ``ALICE``'s extension, so that she was the first one."""
    bench = Bench()
    long = EACH._replace(timeout=200.0)
    bench.engine.declare("w", long, bench.now, bench.out)
    feeds(bench, ALICE, ALICE)
    extend(bench, seconds=150.0)
    bench.jump(50.0)
    feeds(bench, BOB)
    bench.jump(50.0)
    bench.engine.declare("w", long._replace(timeout=60.0), bench.now, bench.out)
    bench.jump(10.1)
    assert [pid for _, _, pid in opened(bench)] == [BOB.pid]


def test_a_feed_of_nobody_ends_the_idleness_of_those_that_are_not_judged_by_themselves() -> None:
    """Over a pause, too: the name is fed by somebody, and that may be the idle one."""
    bench = Bench()
    bench.say(Kind.WORK, "w", None, None, who=ALICE, declaration=EACH)
    bench.say(Kind.FEED, "w", who=None)
    bench.say(Kind.PAUSE, "w", 5.0, who=None)
    bench.jump(5.1)
    bench.jump(10.1)
    assert [cause for _, cause, _ in opened(bench)] == [Cause.TIMEOUT]
