"""Whose name it is, and whether the end of its process is an incident."""

from __future__ import annotations

from typing import Any

import pytest

from banken.protocol.incidents import Cause
from banken.protocol.messages import Exit, Feeders, Kind, ProcessIdentity, Scope
from banken_supervisor.engine.ladder import Budget, Ladder, Step
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.process_lifecycle import LEAVING_S
from banken_supervisor.engine.states import State
from engine_kit import ALICE, BOB, ELSEWHERE, TEN, Bench, ends, feeds, opened, told

NEWEST = ProcessIdentity(b"bootboot", 900, 90_000, b"nnnn")
CAROL = ProcessIdentity(b"bootboot", 30, 300, b"cccc")
EACH = TEN._replace(feeders=Feeders.EACH)
POOL = TEN._replace(feeders=Feeders.ANY)


# -- whose name it is ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.PAUSE, Kind.RESUME, Kind.EXTEND, Kind.FAIL])
def test_what_proves_no_life_takes_no_name(kind: Kind) -> None:
    """Said by another process it is an operator's word: the owner's next feed is taken."""
    bench = Bench()
    bench.feed()
    arguments = {Kind.PAUSE: (1.0,), Kind.EXTEND: (30.0,), Kind.FAIL: ("it smells",)}.get(kind, ())
    assert bench.say(kind, "w", *arguments, who=BOB) is None
    assert bench.say(Kind.FEED) is None
    record = bench.engine.get("w")
    assert record is not None
    assert record.owner == ALICE


@pytest.mark.parametrize("kind", [Kind.FEED, Kind.NOTE, Kind.DECLARE, Kind.WORK])
def test_what_proves_life_takes_the_name(kind: Kind) -> None:
    """A newer process has it then, and the older one is refused."""
    bench = Bench()
    bench.feed()
    arguments: dict[Kind, Any] = {Kind.NOTE: (None, "here"), Kind.WORK: (5.0, None)}
    bench.say(kind, "w", *arguments.get(kind, ()), who=BOB)
    assert bench.say(Kind.FEED) is not None
    record = bench.engine.get("w")
    assert record is not None
    assert record.owner == BOB


def test_another_process_cannot_release_it() -> None:
    """It is told so; an operator can."""
    bench = Bench()
    bench.feed()
    refusal = bench.say(Kind.RELEASE, who=BOB)
    assert refusal is not None
    assert (refusal.reason, "belongs to process 10" in refusal.text) == ("not-owner", True)
    assert bench.say(Kind.LEAVING, "w", None, who=BOB) is not None
    assert bench.state() is State.ALIVE
    bench.say(Kind.RELEASE, who=None)
    assert bench.state() is None


@pytest.mark.parametrize("status", [0, -9, None])
def test_a_name_goes_back_to_the_process_that_had_it_before(status: int | None) -> None:
    """A child of a fork fed it and ends, however: its parent, which feeds on, has it again, without an incident."""
    bench = Bench()
    feeds(bench, ALICE)
    bench.feed(who=BOB)
    bench.jump(1.0)
    assert bench.say(Kind.FEED) is not None
    ends(bench, BOB, status)
    assert told(bench, "handed-back") == [{"pid": ALICE.pid, "former_pid": BOB.pid, "status": status}]
    assert bench.say(Kind.FEED) is None
    bench.jump(10.5)
    assert opened(bench) == [("w", "timeout", ALICE.pid)]


def test_of_several_that_had_it_before_the_newest_that_feeds_has_it_again() -> None:
    """Also where an older one feeds more often. One that hangs meanwhile, and then feeds again, is newer still."""
    bench = Bench()
    for who in (ALICE, BOB, NEWEST):
        feeds(bench, who)
    for who in (BOB, ALICE):
        bench.jump(0.5)
        bench.feed(who=who)
    ends(bench, NEWEST, -9)
    assert [each["pid"] for each in told(bench, "handed-back")] == [BOB.pid]
    assert bench.say(Kind.FEED, who=BOB) is None
    assert bench.say(Kind.FEED) is not None


def test_one_that_hung_when_the_name_went_to_an_older_one_takes_it_back() -> None:
    """It is the newer one of the two that live."""
    bench = Bench()
    for who in (ALICE, BOB, NEWEST):
        feeds(bench, who)
    for _ in range(15):
        bench.jump(1.0)
        bench.feed()
        bench.feed(who=NEWEST)
    ends(bench, NEWEST, -9)
    assert [each["pid"] for each in told(bench, "handed-back")] == [ALICE.pid]
    assert bench.say(Kind.FEED, who=BOB) is None
    record = bench.engine.get("w")
    assert record is not None
    assert record.owner == BOB


def test_a_parent_that_hangs_while_its_child_ends_well_is_found() -> None:
    """By when it was heard last, which is before the child's end."""
    bench = Bench()
    feeds(bench, ALICE)
    bench.feed(who=BOB)
    bench.jump(6.0)
    ends(bench, BOB, 0)
    bench.jump(3.0)
    assert opened(bench) == []
    bench.jump(2.0)
    assert opened(bench) == [("w", "timeout", ALICE.pid)]


def test_it_goes_back_where_the_newer_one_is_silent_and_cannot_be_looked_at() -> None:
    """One of another host took it, with one message perhaps. As long as that feeds, it is its own."""
    bench = Bench()
    bench.feed()
    bench.feed(who=ELSEWHERE)
    for _ in range(30):
        bench.jump(1.0)
        bench.feed()
        bench.feed(who=ELSEWHERE)
    record = bench.engine.get("w")
    assert record is not None
    assert record.owner == ELSEWHERE
    for _ in range(30):
        bench.jump(1.0)
        bench.feed()
    assert (opened(bench), record.owner) == ([], ALICE)
    assert [each["pid"] for each in told(bench, "handed-back")] == [ALICE.pid]
    bench.jump(10.5)
    assert opened(bench) == [("w", "timeout", ALICE.pid)]


def test_it_goes_back_where_the_newer_one_is_silent_and_has_ended_unseen() -> None:
    """One that was gone before its end could be watched, or that there never was: one message named it."""
    bench = Bench()
    bench.engine.processes.has_ended = {BOB}.__contains__
    bench.feed()
    bench.feed(who=BOB)
    bench.engine.processes.ended_unseen(BOB, bench.now, bench.out)
    for _ in range(30):
        bench.jump(1.0)
        bench.feed()
    assert opened(bench) == []
    assert [each["pid"] for each in told(bench, "handed-back")] == [ALICE.pid]
    bench.jump(10.5)
    assert opened(bench) == [("w", "timeout", ALICE.pid)]


@pytest.mark.parametrize("kind", [Kind.FEED, Kind.DECLARE])
@pytest.mark.parametrize("other", [ELSEWHERE, BOB])
def test_who_feeds_on_ends_the_incident_of_one_of_which_only_its_silence_is_known(
    other: ProcessIdentity, kind: Kind
) -> None:
    """It took the name with one message, which said a timeout shorter than the other one's gaps."""
    bench = Bench()
    bench.engine.processes.has_ended = {BOB}.__contains__
    bench.feed(declaration=TEN)
    bench.say(kind, who=other, declaration=TEN._replace(timeout=0.001, grace=0.001))
    bench.jump(1.0)
    assert opened(bench) == [("w", "timeout" if kind is Kind.FEED else "grace", other.pid)]
    bench.feed(declaration=TEN)
    assert bench.state() is State.ALIVE
    assert [each["pid"] for each in told(bench, "handed-back")] == [ALICE.pid]
    bench.jump(9.0)
    assert len(opened(bench)) == 1


@pytest.mark.parametrize("lives", [False, True])
def test_the_incident_of_a_newer_one_that_may_live_is_not_ended_by_an_older_one(lives: bool) -> None:
    """It hangs, as far as is known."""
    bench = Bench()
    bench.engine.processes.lives = lambda process: lives
    bench.feed()
    bench.feed(who=BOB)
    bench.jump(10.5)
    assert opened(bench) == [("w", "timeout", BOB.pid)]
    for _ in range(3):
        bench.jump(1.0)
        assert bench.say(Kind.FEED) is not None
    assert bench.state() is State.EXPIRED


def test_a_newer_one_that_hangs_is_found_although_the_former_one_feeds() -> None:
    """It lives, as the kernel says."""
    bench = Bench()
    bench.engine.processes.lives = lambda process: True
    bench.feed()
    bench.feed(who=BOB)
    for _ in range(12):
        bench.jump(1.0)
        bench.feed()
    assert opened(bench) == [("w", "timeout", BOB.pid)]


def test_it_does_not_go_back_to_a_process_that_has_ended() -> None:
    """A rolling restart, whose old process said that it leaves: the new one's end is its own."""
    bench = Bench()
    feeds(bench, ALICE)
    bench.feed(who=BOB)
    bench.say(Kind.LEAVING, "w", None)
    ends(bench, BOB, 1)
    assert opened(bench) == [("w", "exited", BOB.pid)]


@pytest.mark.parametrize("word", [(Kind.LEAVING, None), (Kind.WORK, None, None), (Kind.EXTEND, 100.0)])
def test_it_goes_back_without_what_the_other_said(word: Any) -> None:
    """Its parent hangs: it is late when its own timeout is over."""
    bench = Bench()
    bench.engine.processes.lives = bench.engine.processes.tells_end = lambda process: True
    feeds(bench, ALICE)
    feeds(bench, BOB)
    kind, *arguments = word
    bench.say(kind, "w", *arguments, who=BOB)
    ends(bench, BOB, 0)
    bench.jump(7.9)
    assert bench.state() is State.ALIVE
    bench.jump(0.2)
    assert opened(bench) == [("w", Cause.TIMEOUT, ALICE.pid)]


def test_it_does_not_go_back_to_a_process_that_was_about_to_end() -> None:
    """The earlier one says that it ends, and has not ended yet when another one takes the name."""
    bench = Bench()
    bench.engine.processes.tells_end = lambda process: True
    feeds(bench, ALICE)
    bench.say(Kind.LEAVING, "w", None, who=ALICE)
    feeds(bench, BOB)
    ends(bench, ALICE, 0)
    ends(bench, BOB, 0)
    assert bench.state() is None
    assert opened(bench) == []


def test_it_does_not_go_back_to_a_process_that_ended_as_another_had_the_name() -> None:
    """It was killed, and said nothing."""
    bench = Bench()
    bench.engine.processes.has_ended = {ALICE}.__contains__
    feeds(bench, ALICE)
    feeds(bench, BOB)
    ends(bench, ALICE, -9)
    ends(bench, BOB, 0)
    assert bench.state() is None
    assert told(bench, "handed-back") == []


def test_a_process_that_was_silent_for_long_has_it_again_if_it_lives() -> None:
    """And is found silent at once."""
    bench = Bench()
    bench.engine.processes.lives = lambda process: process == ALICE
    bench.feed()
    bench.feed(who=BOB)
    feeds(bench, BOB, times=20)
    ends(bench, BOB, 0)
    bench.jump(0.1)
    assert opened(bench) == [("w", "timeout", ALICE.pid)]


def test_another_process_that_comes_during_an_incident_is_a_new_life() -> None:
    """The incident ends as reborn, whether the other one declares or feeds."""
    for kind in (Kind.DECLARE, Kind.FEED):
        bench = Bench()
        bench.feed()
        bench.jump(11.0)
        bench.say(kind, who=BOB)
        assert [each["how"] for each in told(bench, "closed")] == ["reborn"]
        assert bench.state() is (State.WAITING if kind is Kind.DECLARE else State.ALIVE)


# -- how it ended --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exit_", "status", "incident"),
    [
        (Exit.UNCLEAN, 0, False), (Exit.UNCLEAN, -15, False), (Exit.UNCLEAN, -1, False), (Exit.UNCLEAN, -13, False),
        (Exit.UNCLEAN, 3, True), (Exit.UNCLEAN, -9, True), (Exit.UNCLEAN, None, True),
        (Exit.INCIDENT, 0, True), (Exit.INCIDENT, -9, True),
        (Exit.NEVER, 0, False), (Exit.NEVER, -9, False), (Exit.NEVER, None, False),
    ],
)  # fmt: skip
def test_which_ends_are_incidents(exit_: Exit, status: int | None, incident: bool) -> None:
    """By the declaration; any other end releases the name, and an event says so with the status."""
    bench = Bench()
    bench.feed(declaration=TEN._replace(exit=exit_))
    ends(bench, ALICE, status)
    assert opened(bench) == ([("w", "exited", ALICE.pid)] if incident else [])
    assert told(bench, "ended") == ([] if incident else [{"pid": ALICE.pid, "status": status}])
    assert bench.state() is (State.EXPIRED if incident else None)


@pytest.mark.parametrize(("status", "text"), [(3, "exit status 3"), (-9, "SIGKILL"), (None, "not known")])
def test_the_reason_says_how_it_ended(status: int | None, text: str) -> None:
    bench = Bench()
    bench.feed()
    ends(bench, ALICE, status)
    assert text in told(bench, "expired")[0]["reason"]


def test_ends_that_a_declaration_calls_clean() -> None:
    """They replace the usual ones."""
    bench = Bench()
    for name, status in (("a", 155), ("b", -10), ("c", -15)):
        bench.feed(name, declaration=TEN._replace(clean=(-10, 0, 155)))
        ends(bench, ALICE, status)
    assert opened(bench) == [("c", "exited", ALICE.pid)]


@pytest.mark.parametrize(("status", "causes"), [(0, []), (3, ["exited"]), (None, [])])
def test_leaving_is_judged_by_the_status_that_follows(status: int | None, causes: list[str]) -> None:
    """``sys.exit(3)`` is an incident; where the status is not known, leaving is a release."""
    bench = Bench()
    bench.engine.processes.tells_end = lambda process: True
    bench.feed()
    bench.say(Kind.LEAVING, "w", None)
    bench.jump(9.0)
    assert bench.state() is State.ALIVE
    ends(bench, ALICE, status)
    assert [cause for _, cause, _ in opened(bench)] == causes


def test_leaving_where_no_status_will_come_is_the_end() -> None:
    """A worker of another host, say: with an exception it has failed, else it is released."""
    for why, state in ((None, None), ("ValueError: on purpose", State.EXPIRED)):
        bench = Bench()
        bench.feed()
        bench.say(Kind.LEAVING, "w", why)
        assert bench.state() is state
        assert [cause for _, cause, _ in opened(bench)] == (["failed"] if why else [])


def test_an_exception_that_is_named_counts_with_an_unclean_end_only() -> None:
    """One that was printed an hour ago fails no process that ends with 0."""
    for status, causes in ((0, []), (1, [Cause.FAILED])):
        bench = Bench()
        bench.engine.processes.tells_end = lambda process: True
        bench.feed()
        bench.say(Kind.LEAVING, "w", "ValueError: on purpose")
        ends(bench, ALICE, status)
        assert [cause for _, cause, _ in opened(bench)] == causes


def test_who_leaves_and_does_not_end_is_found_silent() -> None:
    """After its timeout, but not before it had ten seconds to end."""
    bench = Bench()
    bench.engine.processes.tells_end = lambda process: True
    bench.feed(declaration=TEN._replace(timeout=0.05))
    bench.say(Kind.LEAVING, "w", None, declaration=TEN._replace(timeout=0.05))
    bench.jump(LEAVING_S - 0.1)
    assert opened(bench) == []
    bench.jump(0.2)
    assert [cause for _, cause, _ in opened(bench)] == ["timeout"]


@pytest.mark.parametrize("kind", [Kind.FEED, Kind.DECLARE])
def test_what_failed_and_then_ended_stays_open(kind: Kind) -> None:
    """Until a new process comes."""
    bench = Bench()
    bench.feed()
    bench.say(Kind.FAIL, "w", "no disk")
    bench.say(Kind.LEAVING, "w", None)
    ends(bench, ALICE, 0)
    assert bench.state() is State.EXPIRED
    bench.say(kind, who=BOB)
    assert bench.state() in (State.ALIVE, State.WAITING)


def test_the_end_of_its_work_is_no_recovery_of_what_failed() -> None:
    """Nor is that work which it had begun before goes on; work that it begins is."""
    bench = Bench()
    bench.say(Kind.WORK, "w", None, None)
    bench.say(Kind.FAIL, "w", "no database")
    bench.jump(5.0)
    for seconds, scope in ((None, None), (20.0, Scope("GET /", 5.1, 30.0, 0, "", "")), (None, None)):
        bench.say(Kind.WORK, "w", seconds, scope)
        assert bench.state() is State.EXPIRED
    bench.say(Kind.WORK, "w", 20.0, Scope("GET /", 4.9, 30.0, 0, "", ""))
    assert bench.state() is State.ALIVE


def ladder(bench: Bench, *steps: Step) -> None:
    """The operator's for ``w``."""
    bench.engine.rules.declare("w", Policy(TEN, Ladder(steps)))


def test_budgets_outlive_a_release() -> None:
    """A worker that the ladder ends, which releases its name and is replaced: given up when the budget is spent."""
    bench = Bench()
    ladder(bench, Step("kill", budget=Budget(2, 600.0)))
    for number in range(3):
        who = ALICE._replace(pid=100 + number, start=1000 + number)
        feeds(bench, who)
        bench.jump(11.0)
        if number < 2:
            bench.say(Kind.RELEASE, who=who)  # in its handler of SIGTERM
            ends(bench, who, 0)
            assert bench.state() is State.EXPIRED, "what the ladder ended is not released"
    assert bench.state() is State.GIVEN_UP
    assert len(told(bench, "action")) == 2


def test_budgets_outlive_the_release_of_one_that_recovered() -> None:
    """Fed once more before it was released."""
    bench = Bench()
    ladder(bench, Step("log", budget=Budget(2, 600.0)))
    for _ in range(3):
        feeds(bench, ALICE)
        bench.jump(11.0)
        bench.feed()
        bench.say(Kind.RELEASE)
    assert [each["incident"] for each in told(bench, "given-up")] == ["run-3"]


# -- sections ------------------------------------------------------------------------------------


def test_a_section_ends_with_its_process() -> None:
    """It is a part of that process's incident."""
    bench = Bench()
    section = f"load@{ALICE.pid}.1"
    bench.feed()
    bench.say(Kind.DECLARE, section, declaration=TEN)
    ends(bench, ALICE, -9)
    assert opened(bench) == [("w", "exited", ALICE.pid)]
    assert bench.state(section) is None


def test_a_section_with_an_incident_ends_with_its_process() -> None:
    """Nobody else would ever end that."""
    bench = Bench()
    section = f"load@{ALICE.pid}.1"
    bench.say(Kind.DECLARE, section, declaration=TEN)
    bench.jump(21.0)
    assert bench.state(section) is State.EXPIRED
    ends(bench, ALICE, -9)
    assert bench.state(section) is None
    assert [each["how"] for each in told(bench, "closed")] == ["ended"]


def test_a_process_that_dies_in_a_section_alone_is_an_incident_that_ends() -> None:
    """It fed no other name."""
    bench = Bench()
    section = f"load@{ALICE.pid}.1"
    bench.say(Kind.DECLARE, section, declaration=TEN)
    ends(bench, ALICE, -11)
    assert opened(bench) == [(section, "exited", ALICE.pid)]
    assert [each["how"] for each in told(bench, "closed")] == ["ended"]
    assert bench.state(section) is None


# -- another process takes the name before the end is judged ---------------------------------------


@pytest.mark.parametrize("kind", [Kind.FEED, Kind.DECLARE])
@pytest.mark.parametrize(("status", "is_told"), [(-9, True), (3, True), (None, True), (0, False), (-15, False)])
@pytest.mark.parametrize("paused", [False, True])
def test_a_death_is_told_although_another_process_has_the_name_already(
    kind: Kind, status: int | None, is_told: bool, paused: bool
) -> None:
    """It is no incident: the name is the other one's. How it ended is on record, as it would be a moment later."""
    bench = Bench()
    feeds(bench, ALICE)
    if paused:
        bench.say(Kind.PAUSE, "w", 0.0, who=None)
    bench.engine.processes.exited(ALICE, bench.now, bench.out, status)
    if paused and not is_told:  # it was released
        return
    bench.say(kind, who=BOB)
    end = {"pid": ALICE.pid} if status is None else {"pid": ALICE.pid, "status": status}
    assert told(bench, "exited") == [end] * is_told
    bench.jump(5.0)
    assert (opened(bench), len(told(bench, "exited"))) == ([], is_told)
    record = bench.engine.get("w")
    assert record is not None
    assert record.owner == BOB


def test_what_died_and_is_replaced_in_one_turn_is_told_by_what_it_said() -> None:
    """It had said which exception it dies of; and had it said that it ends, an unknown status is a clean end."""
    for why in ("KeyError: 'x'", None):
        bench = Bench()
        bench.engine.processes.tells_end = lambda process: True
        feeds(bench, ALICE)
        bench.say(Kind.LEAVING, "w", why)
        bench.engine.processes.exited(ALICE, bench.now, bench.out, None)
        bench.feed(who=BOB)
        assert len(told(bench, "exited")) == (why is not None)
