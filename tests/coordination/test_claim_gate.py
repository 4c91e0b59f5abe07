"""The engine among others: a leader proposes before it opens, a follower holds, and incidents change hands."""

from __future__ import annotations

from typing import Any

import pytest

from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration, Kind
from banken_supervisor.engine.claim_gate import OF_SILENCE, Role
from banken_supervisor.engine.effects import Event, Propose, RunStep, Withdraw
from banken_supervisor.engine.hearing import Heard, Timer
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import Group, Policy
from banken_supervisor.engine.snapshot import PastIncident, PastRun
from banken_supervisor.engine.states import State
from engine_kit import ALICE, BOB, TEN, Bench, ends, events_of

LADDER = Ladder((Step("log"), Step("exec", after=30.0)))


class Member(Bench):
    """A bench that is a member of a cluster; ``w`` has a ladder of two steps."""

    def __init__(self, role: Role = Role.FOLLOWER) -> None:
        super().__init__()
        self.engine.declare("w", Policy(Declaration(10.0, 3.0, 20.0), LADDER), self.now, self.out)
        self.gate.role = role
        self.feed()
        self.out.clear()

    @property
    def gate(self) -> Any:
        return self.engine.succession.gate

    def lead(self, *left: PastIncident) -> list[str]:
        return self.engine.succession.lead(left, self.now, self.out)

    def proposed(self) -> list[tuple[str, Cause]]:
        return [(each.name, each.cause) for each in self.out if isinstance(each, Propose)]

    def steps(self) -> list[int]:
        return [each.number for each in self.out if isinstance(each, RunStep)]


def past(**more: Any) -> PastIncident:
    found = PastIncident("other-1", "w", Cause.TIMEOUT, 5.0, 10.0, 10.0)
    return found._replace(**more)


def test_alone_the_gate_is_open() -> None:
    bench = Bench()
    bench.feed()
    bench.jump(10.1)
    assert bench.state() is State.EXPIRED
    assert bench.engine.succession.gate.held == {}


def test_a_leader_proposes_and_opens_under_the_id_of_the_claim() -> None:
    member = Member(Role.LEADER)
    member.jump(10.1)
    assert member.proposed() == [("w", Cause.TIMEOUT)]
    assert member.state() is State.ALIVE
    assert "expired" not in member.said()
    member.jump(5.0)
    assert member.proposed() == []  # once
    assert member.engine.succession.open("w", "claimed-1", member.now, member.out)
    assert member.state() is State.EXPIRED
    record = member.engine.get("w")
    assert record is not None
    assert record.incident is not None
    assert record.incident.id == "claimed-1"
    assert member.steps() == [0]
    member.jump(30.0)  # the callback is due before
    member.jump(0.1)
    assert member.steps() == [0, 1]


def test_who_is_fed_before_the_claim_is_there_is_withdrawn() -> None:
    member = Member(Role.LEADER)
    member.jump(10.1)
    member.out.clear()
    member.feed()
    assert [each.name for each in member.out if isinstance(each, Withdraw)] == ["w"]
    assert not member.engine.succession.open("w", "claimed-1", member.now, member.out)
    assert member.state() is State.ALIVE
    member.jump(9.0)
    assert member.proposed() == []
    member.jump(1.5)
    assert member.proposed() == [("w", Cause.TIMEOUT)]


def test_a_failure_is_an_incident_though_a_feed_follows_at_once() -> None:
    """The claim comes later than both: it is opened, and has recovered."""
    member = Member(Role.LEADER)
    member.say(Kind.FAIL, "w", "disk full")
    member.feed()
    assert member.proposed() == [("w", Cause.FAILED)]
    assert not [each for each in member.out if isinstance(each, Withdraw)]
    member.out.clear()
    assert member.engine.succession.open("w", "claimed-1", member.now, member.out)
    assert [each.type.value for each in events_of(member.out)] == ["expired", "action", "recovered"]
    assert member.state() is State.ALIVE


@pytest.mark.parametrize("heard", ["fed", "heard by another member"])
def test_a_failure_takes_the_place_of_a_silence_that_waits(heard: str) -> None:
    """What ends the silence does not end the failure with it."""
    member = Member(Role.LEADER)
    member.jump(10.1)
    member.out.clear()
    member.say(Kind.FAIL, "w", "disk full")
    assert [type(each) for each in member.out if isinstance(each, Propose | Withdraw)] == [Withdraw, Propose]
    assert member.proposed() == [("w", Cause.FAILED)]
    if heard == "fed":
        member.feed()
    member.out.clear()
    assert member.engine.succession.open("w", "claimed-1", member.now, member.out)
    assert "expired" in [each.type.value for each in events_of(member.out)]


def test_a_follower_holds_the_failure_and_not_the_silence_before_it() -> None:
    member = Member()
    member.jump(10.1)
    member.say(Kind.FAIL, "w", "disk full")
    assert member.gate.held["w"].what.cause is Cause.FAILED
    assert member.proposed() == []


@pytest.mark.parametrize("is_well", [True, False])
def test_a_group_is_judged_by_how_it_is_when_its_member_leads(is_well: bool) -> None:
    """A follower holds that too few live; what comes again since needs no word of the group's."""
    bench = Bench()
    group = Group("pool", ("a", "b"), at_least=2, ladder=LADDER)
    bench.engine.quorums.set((group,), TEN, bench.now, bench.out)
    bench.engine.succession.follow(bench.now)
    for name in "ab":
        bench.feed(name)
    bench.jump(0.0)
    bench.say(Kind.RELEASE, "b")
    bench.jump(0.1)
    assert "pool" in bench.engine.succession.gate.held
    if is_well:
        bench.feed("b")
        bench.jump(0.0)
    bench.out.clear()
    bench.engine.succession.lead((), bench.now, bench.out)
    bench.jump(0.1)
    assert [each.name for each in bench.out if isinstance(each, Propose)] == ([] if is_well else ["pool"])


def test_a_group_that_is_well_when_its_claim_is_there_recovers_at_once() -> None:
    bench = Bench()
    group = Group("pool", ("a", "b"), at_least=2, ladder=LADDER)
    bench.engine.quorums.set((group,), TEN, bench.now, bench.out)
    bench.engine.succession.gate.role = Role.LEADER
    for name in "ab":
        bench.feed(name)
    bench.jump(0.0)
    bench.say(Kind.RELEASE, "b")
    bench.jump(0.1)
    bench.feed("b")
    bench.jump(0.1)
    if bench.engine.succession.open("pool", "claimed-1", bench.now, bench.out):
        bench.jump(0.1)
    assert bench.state("pool") is State.ALIVE


@pytest.mark.parametrize("kind", [Kind.PAUSE, Kind.RELEASE])
def test_a_word_of_the_worker_withdraws_whatever_was_proposed(kind: Kind) -> None:
    member = Member(Role.LEADER)
    member.say(Kind.FAIL, "w", "disk full")
    member.say(kind, "w", *((0.0,) if kind is Kind.PAUSE else ()))
    assert [each.name for each in member.out if isinstance(each, Withdraw)] == ["w"]
    assert member.gate.held == {}


def test_a_follower_opens_nothing_and_knows_what_it_would() -> None:
    """Until it is fed again, or leads: then it is judged at once."""
    member = Member()
    member.jump(10.1)
    assert member.said() == []
    assert set(member.gate.held) == {"w"}
    member.feed()
    assert member.gate.held == {}
    member.jump(10.1)
    member.jump(100.0)
    assert member.said() == []
    assert member.lead() == []
    member.jump(0.0)
    assert member.proposed() == [("w", Cause.TIMEOUT)]


def test_a_follower_s_failures_are_judged_when_it_leads_unless_they_were_fed_over() -> None:
    member = Member()
    member.say(Kind.FAIL, "w", "disk full")
    member.lead()
    assert member.proposed() == [("w", Cause.FAILED)]
    other = Member()
    other.say(Kind.FAIL, "w", "disk full")
    other.feed()
    other.lead()
    assert other.proposed() == []


def test_what_a_former_leader_left_goes_on_under_its_id() -> None:
    """Over timers that ran all the time: the step that is due is due now, and none is run again."""
    member = Member()
    member.jump(15.0)
    assert member.lead(past(steps=(PastRun(0, 1, "log", 5.0),))) == []
    assert member.proposed() == []
    assert member.steps() == []
    record = member.engine.get("w")
    assert record is not None
    assert record.incident is not None
    assert (record.incident.id, record.state) == ("other-1", State.EXPIRED)
    assert [each.data.get("adopted") for each in member.out if isinstance(each, Event)] == [True]
    member.out.clear()
    member.jump(24.0)
    assert member.steps() == []
    member.jump(1.1)
    assert member.steps() == [1]


def test_a_step_that_fell_due_while_nobody_led_is_done_at_once() -> None:
    member = Member()
    member.jump(60.0)
    member.lead(past(age=50.0, steps=(PastRun(0, 1, "log", 50.0),)))
    member.jump(0.0)
    assert member.steps() == [1]
    other = Member()
    other.jump(15.0)
    other.lead(past())  # nothing was begun
    other.jump(0.0)
    assert other.steps() == [0]


def test_a_worker_that_was_heard_again_meanwhile_has_recovered() -> None:
    member = Member()
    member.jump(15.0)
    member.feed()
    member.jump(1.0)
    assert member.lead(past(age=6.0)) == []
    assert member.state() is State.ALIVE
    assert member.said() == ["expired", "recovered"]
    member.jump(8.5)
    assert member.proposed() == []  # its timeout goes on from its feed
    member.jump(1.0)
    assert member.proposed() == [("w", Cause.TIMEOUT)]


def test_the_incident_of_what_is_paused_here_is_over() -> None:
    member = Member()
    member.say(Kind.PAUSE, "w", 0.0)
    assert member.lead(past()) == ["w"]
    assert member.state() is State.PAUSED
    assert member.lead(past(name="never", cause=Cause.TOO_FEW)) == ["never"]


@pytest.mark.parametrize(("ago", "is_over"), [(2.0, True), (8.0, False)])
def test_the_incident_of_what_was_released_since_is_over(ago: float, is_over: bool) -> None:
    """While nobody led. What was released before has come again since, where this member did not hear it."""
    member = Member()
    member.engine.table.keeps_released = True
    member.say(Kind.RELEASE, "w")
    released = member.engine.table.released["w"]
    member.jump(ago)
    member.out.clear()
    assert member.lead(past(age=3600.0, age_least=5.0)) == []
    told = [each.type.value for each in events_of(member.out)]
    assert ("expired" in told, "closed" in told) == (True, is_over)
    assert (member.engine.get("w") is None) is is_over
    if is_over:
        assert member.steps() == []
        assert member.engine.table.released == {"w": released}


@pytest.mark.parametrize(("who", "is_over"), [(ALICE, False), (None, True)])
@pytest.mark.parametrize("is_known", [True, False])
def test_what_the_former_leader_s_ladder_has_ended_is_released_by_an_operator_alone(
    who: Any, is_over: bool, is_known: bool
) -> None:
    """A process that a step had end in order releases its names, or is seen to end by itself, with those that do
    not know of the step."""
    member = Member()
    policy = Policy(Declaration(10.0, 3.0, 20.0), Ladder((Step("log"), Step("kill"))))
    member.engine.declare("w", policy, member.now, member.out)
    member.engine.table.keeps_released = True
    if not is_known:
        member.say(Kind.RELEASE, "w")
    member.say(Kind.RELEASE, "w", who=who)
    assert member.state() is None
    member.jump(2.0)
    member.out.clear()
    steps = PastRun(0, 1, "log", 4.0), PastRun(1, 1, "kill", 3.0)
    assert member.lead(past(steps=steps)) == []
    assert (member.state() is None) is is_over
    assert ("closed" in member.said()) is is_over


@pytest.mark.parametrize("status", [0, -15])
def test_what_the_leader_had_ended_here_has_not_ended_well(status: int) -> None:
    """Its incident is with the leader, and stays open until another process comes: so it goes on to be watched."""
    member = Member()
    member.jump(11.0)
    record = member.engine.get("w")
    assert record is not None
    record.detailed().asked_to_end = member.now  # by a step that the leader had begun
    member.out.clear()
    ends(member, ALICE, status)
    assert member.said() == []
    assert member.engine.get("w") is record
    assert "w" in member.gate.held
    member.feed(who=BOB)
    assert "w" not in member.gate.held
    ends(member, BOB, status)
    assert member.said() == ["ended", "released"]


def test_one_that_leads_no_longer_puts_its_incidents_back_without_a_word() -> None:
    """And holds them: if it leads again, and nobody has claimed them, they are judged again."""
    member = Member(Role.LEADER)
    member.jump(10.1)
    member.engine.succession.open("w", "claimed-1", member.now, member.out)
    member.out.clear()
    assert member.engine.succession.follow(member.now) == [("w", "claimed-1")]
    assert member.out == []
    assert member.state() is State.ALIVE
    member.jump(100.0)
    assert member.out == []
    member.lead()
    member.jump(0.0)
    assert member.proposed() == [("w", Cause.TIMEOUT)]


def test_one_that_was_given_up_is_put_back_and_taken_up_as_given_up() -> None:
    member = Member()
    member.jump(15.0)
    member.lead(past(given_up=True))
    assert member.state() is State.GIVEN_UP
    assert member.engine.succession.follow(member.now) == [("w", "other-1")]
    member.feed()
    assert member.state() is State.ALIVE
    assert member.gate.held == {}


def test_what_another_member_has_heard_is_no_incident() -> None:
    """The timer goes on from then."""
    member = Member(Role.LEADER)
    member.jump(10.1)
    member.engine.succession.acquit("w", Timer(2.0, 8.0), member.now)
    member.out.clear()
    member.jump(7.9)
    assert member.proposed() == []
    member.jump(0.2)
    assert member.proposed() == [("w", Cause.TIMEOUT)]


def test_who_knows_a_longer_limit_is_not_asked_again_at_once() -> None:
    """It has heard the worker long ago, and knows that it is well for a while."""
    member = Member(Role.LEADER)
    member.jump(10.1)
    member.engine.succession.acquit("w", Timer(15.0, 4.0), member.now)
    member.out.clear()
    member.jump(3.9)
    assert member.proposed() == []
    member.jump(0.2)
    assert member.proposed() == [("w", Cause.TIMEOUT)]


class Working(Member):
    """A member whose ``w`` has progress, and feeds more often than it gets on."""

    def __init__(self, role: Role) -> None:
        super().__init__(role)
        declaration = Declaration(10.0, 3.0, 20.0, progress_timeout=30.0)
        self.engine.declare("w", Policy(declaration, LADDER), self.now, self.out)
        self.note(1)
        self.jump(1.0)
        self.note(2)

    def note(self, progress: int) -> None:
        self.say(Kind.NOTE, "w", progress, None)

    def stall(self, seconds: float = 31.0) -> None:
        """It goes on feeding, without progress."""
        for _ in range(int(seconds)):
            self.jump(1.0)
            self.note(2)


def test_a_feed_without_progress_takes_no_verdict_back() -> None:
    """The leader's proposal stands, and is one; the follower goes on holding it."""
    leader = Working(Role.LEADER)
    leader.stall()
    leader.feed()
    leader.stall(5.0)
    assert leader.proposed() == [("w", Cause.NO_PROGRESS)]
    assert not [each for each in leader.out if isinstance(each, Withdraw)]
    assert leader.engine.succession.open("w", "claimed-1", leader.now, leader.out)
    leader.note(2)
    assert leader.state() is State.EXPIRED
    leader.note(3)
    assert leader.state() is State.ALIVE
    follower = Working(Role.FOLLOWER)
    follower.stall()
    follower.feed()
    assert set(follower.gate.held) == {"w"}


def test_progress_takes_a_verdict_back() -> None:
    leader = Working(Role.LEADER)
    leader.stall()
    leader.note(3)
    assert [each.name for each in leader.out if isinstance(each, Withdraw)] == ["w"]
    assert not leader.engine.succession.open("w", "claimed-1", leader.now, leader.out)
    assert leader.gate.held == {}


def test_only_the_timer_that_has_run_out_speaks_for_a_worker() -> None:
    """What feeds without progress was heard by its feeds alone; what a member saw of progress at first is no
    progress."""
    stalled = Working(Role.FOLLOWER)
    stalled.stall()
    record = stalled.engine.get("w")
    assert record is not None
    heard = stalled.engine.succession.heard(record, stalled.now)
    assert heard.of(Cause.TIMEOUT) == (0.0, 10.0)
    assert heard.of(Cause.NO_PROGRESS) is None
    stalled.note(3)
    stalled.jump(4.0)
    assert stalled.engine.succession.heard(record, stalled.now) == Heard(Timer(4.0, 6.0), Timer(4.0, 26.0))
    new = Member()
    new.engine.declare("n", Declaration(10.0, progress_timeout=30.0), new.now, new.out)
    new.say(Kind.NOTE, "n", 7, None)
    record = new.engine.get("n")
    assert record is not None
    assert new.engine.succession.heard(record, new.now) == Heard(Timer(0.0, 10.0), None)


def test_a_worker_that_is_paused_here_is_heard() -> None:
    """By what it says, and not by what an operator allowed."""
    member = Member()
    member.feed("n", declaration=Declaration(10.0))
    member.say(Kind.EXTEND, "n", 60.0)
    member.say(Kind.PAUSE, "n", 0.0)
    record = member.engine.get("n")
    assert record is not None
    member.jump(4.0)
    assert member.engine.succession.heard(record, member.now) == Heard(Timer(4.0, 6.0), None)
    member.jump(7.0)
    assert member.engine.succession.heard(record, member.now) == Heard(None, None)
    member.feed("n")
    assert member.engine.succession.heard(record, member.now) == Heard(Timer(0.0, 10.0), None)


def test_who_saw_newer_progress_acquits() -> None:
    """The progress timer goes on from then, and the feeds' is not touched."""
    leader = Working(Role.LEADER)
    leader.stall()
    leader.engine.succession.acquit("w", Timer(10.0, 20.0), leader.now)
    leader.out.clear()
    leader.stall(19.0)
    assert leader.proposed() == []
    leader.stall(2.0)
    assert leader.proposed() == [("w", Cause.NO_PROGRESS)]


def test_an_incident_of_no_progress_is_gone_on_with_though_the_worker_feeds() -> None:
    """And is over if this member has seen progress; the same value once more is none."""
    member = Working(Role.FOLLOWER)
    member.stall()
    record = member.engine.get("w")
    assert record is not None
    details = record.detailed()
    left = past(cause=Cause.NO_PROGRESS, progress=details.progress)
    member.lead(left)
    member.note(2)
    assert member.state() is State.EXPIRED
    member.note(3)
    assert member.state() is State.ALIVE
    other = Working(Role.FOLLOWER)
    other.stall()
    other.note(3)
    other.lead(left)
    assert other.state() is State.ALIVE
    other.stall(5.0)
    assert other.proposed() == []


def test_a_failure_that_was_not_fed_over_goes_on_with_the_next_leader() -> None:
    """Its timer has time left since its last feed: that was before the failure."""
    member = Member()
    member.say(Kind.FAIL, "w", "disk full")
    member.lead(past(cause=Cause.FAILED, reason="disk full"))
    assert member.state() is State.EXPIRED
    other = Member()
    other.say(Kind.FAIL, "w", "disk full")
    other.feed()
    other.lead(past(cause=Cause.FAILED, reason="disk full"))
    assert other.state() is State.ALIVE


@pytest.mark.parametrize("cause", sorted(set(Cause) - OF_SILENCE - {Cause.TOO_FEW}))
def test_what_happened_is_ended_by_a_feed_after_it_alone(cause: Cause) -> None:
    """Only the former leader heard of it: what was fed here before is no word against it."""
    member = Member()
    member.jump(3.0)
    member.lead(past(cause=cause, age=2.0, silence=1.0))
    assert member.state() is State.EXPIRED
    assert "recovered" not in member.said()
    member.feed()
    assert member.state() is State.ALIVE
    fed = Member()
    fed.jump(3.0)
    fed.feed()
    fed.jump(1.0)
    fed.lead(past(cause=cause, age=2.0, silence=1.0))
    assert fed.state() is State.ALIVE


def test_of_an_age_by_another_hosts_clock_what_is_certain_counts() -> None:
    """By that clock it was opened an hour ago, and the feed came after it."""
    member = Member()
    member.jump(3.0)
    member.lead(past(cause=Cause.FAILED, age=3600.0, age_least=2.0))
    assert member.state() is State.EXPIRED
    assert "recovered" not in member.said()


def test_an_incident_that_was_adopted_instead_of_the_own_proposal() -> None:
    member = Member(Role.LEADER)
    member.jump(10.1)
    assert member.engine.succession.adopt(past(), member.now, member.out)
    assert member.gate.held == {}
    record = member.engine.get("w")
    assert record is not None
    assert record.incident is not None
    assert record.incident.id == "other-1"


def test_what_concerns_this_host_alone_is_judged_in_any_role() -> None:
    member = Member()
    member.gate.is_local = lambda record: record.name == "here"
    member.feed("here")
    member.jump(10.1)
    assert member.state("here") is State.EXPIRED
    assert member.proposed() == []
    assert member.engine.succession.follow(member.now) == []
    member.gate.role = Role.LEADER
    assert member.engine.succession.follow(member.now) == []
    assert member.state("here") is State.EXPIRED


def test_a_leader_that_may_have_been_replaced_goes_on_with_nothing() -> None:
    member = Member(Role.LEADER)
    member.jump(10.1)
    member.engine.succession.open("w", "claimed-1", member.now, member.out)
    member.out.clear()
    member.gate.may_act = lambda: False
    member.jump(31.0)
    member.jump(3.0)
    assert member.out == []
    member.gate.may_act = lambda: True
    member.jump(0.1)
    member.jump(0.0)
    assert member.steps() == [1]


def test_a_new_process_of_the_name_withdraws_what_is_held_of_the_former() -> None:
    member = Member(Role.LEADER)
    member.jump(10.1)
    member.out.clear()
    member.feed(who=BOB)
    assert [each.name for each in member.out if isinstance(each, Withdraw)] == ["w"]


def test_what_a_former_run_has_left_is_no_word_of_the_worker() -> None:
    """Restored with a whole timeout, and not heard since: the incident that another leader left goes on."""
    before = Member(Role.ALONE)
    assert before.engine.succession.follow(before.now) == []
    assert before.lead(past()) == []
    assert before.state() is State.EXPIRED
    heard = Member(Role.ALONE)
    heard.engine.succession.follow(heard.now)
    heard.jump(1.0)
    heard.feed()
    heard.lead(past())
    assert heard.state() is State.ALIVE
