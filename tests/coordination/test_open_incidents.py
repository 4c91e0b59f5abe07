"""A worker that only a follower hears again: its incident at the leader ends."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from banken.protocol.incidents import Cause
from banken.protocol.messages import Kind
from banken_supervisor.engine.claim_gate import Role
from banken_supervisor.engine.hearing import Timer
from banken_supervisor.engine.states import State
from banken_supervisor.runtime.members import NAMES_MAX
from banken_supervisor.runtime.open_incidents import ASK_S, SETTLES_S, OpenIncidents

from .test_claim_gate import Member, Working, past

Decide = Callable[[str, Timer | None], None]


class Leader:
    """A leader's engine, and what is asked of the other members."""

    def __init__(self, member: Member) -> None:
        self.member, self.acts = member, True
        self.asked: list[tuple[str, Cause, Decide]] = []
        self.heard: list[tuple[str, str]] = []
        self.link = SimpleNamespace(is_up=True, times_up=1)
        members: Any = SimpleNamespace(links={"m2": self.link}, ask=lambda *asked: self.asked.append(asked))
        self.open = OpenIncidents(
            member, members, lambda: self.acts, lambda *heard: self.heard.append(heard)  # type: ignore[arg-type]
        )  # fmt: skip

    def settle(self) -> None:
        """The other member answers for long."""
        self.open._look_at("m2", self.link)  # type: ignore[arg-type]
        self.open._up["m2"] = self.open._up["m2"]._replace(since=-1e9)

    def is_open(self, cause: Cause, due: float) -> None:
        """The claim of ``w`` is written."""
        assert self.member.engine.succession.open("w", "claimed-1", self.member.now, self.member.out)
        self.open.note("w", "claimed-1", cause, due)
        self.member.out.clear()
        self.settle()

    def ask(self, seconds: float, now: float, answer: Timer | None) -> None:
        """It is asked after a while, and this is the answer."""
        self.member.jump(seconds)
        self.asked.clear()
        self.open.turn(now)
        for _, _, decide in self.asked:
            decide("m2" if answer else "", answer)


def test_one_ear_ends_an_incident_of_silence() -> None:
    """The timer goes on from the feed that was heard there."""
    leader = Leader(Member(Role.LEADER))
    member = leader.member
    member.jump(10.1)
    leader.is_open(Cause.TIMEOUT, member.now)
    leader.ask(2.0, 1.0, None)
    assert [asked[:2] for asked in leader.asked] == [("w", Cause.TIMEOUT)]
    leader.ask(0.1, 1.0 + ASK_S / 2, Timer(0.5, 9.5))
    assert leader.asked == []
    assert member.state() is State.EXPIRED
    leader.ask(0.1, 1.0 + ASK_S, Timer(0.5, 9.5))
    assert member.state() is State.ALIVE
    assert "recovered" in member.said()
    assert leader.heard == [("w", "m2")]
    member.jump(9.4)
    assert member.proposed() == []
    member.jump(0.2)
    assert member.proposed() == [("w", Cause.TIMEOUT)]
    leader.ask(0.0, 3.0, None)
    assert leader.asked == []
    assert leader.open.patience(3.0) is None


def test_what_was_heard_before_an_incident_does_not_end_it() -> None:
    """Nor is any ended by a member that may have been replaced."""
    leader = Leader(Member(Role.LEADER))
    member = leader.member
    member.jump(1.0)
    member.say(Kind.FAIL, "w", "broken")
    leader.is_open(Cause.FAILED, member.now)
    leader.ask(3.0, 1.0, Timer(3.5, 6.5))
    assert member.state() is State.EXPIRED
    leader.acts = False
    leader.ask(0.0, 3.0, Timer(1.0, 9.0))
    assert member.state() is State.EXPIRED
    leader.acts = True
    leader.ask(0.0, 5.0, Timer(1.0, 9.0))
    assert member.state() is State.ALIVE


def test_a_failure_that_was_said_again_is_ended_by_a_feed_after_it() -> None:
    leader = Leader(Member(Role.LEADER))
    member = leader.member
    member.say(Kind.FAIL, "w", "broken")
    leader.is_open(Cause.FAILED, member.now)
    member.jump(2.0)
    member.say(Kind.FAIL, "w", "still broken")
    leader.ask(1.0, 1.0, Timer(2.0, 8.0))
    assert member.state() is State.EXPIRED
    leader.ask(1.0, 3.0, Timer(1.0, 9.0))
    assert member.state() is State.ALIVE


@pytest.mark.parametrize("restarts", [True, False])
def test_what_a_member_hears_when_it_answers_again_may_be_old(*, restarts: bool) -> None:
    """It stood still, and reads late what was sent before. What comes later is new."""
    leader = Leader(Member(Role.LEADER))
    member = leader.member
    member.jump(10.1)
    leader.is_open(Cause.TIMEOUT, member.now)
    member.jump(6.0)
    if restarts:
        leader.link.times_up += 1  # between two turns
    else:
        leader.link.is_up = False
        leader.ask(0.0, 1.0, None)
        leader.link.is_up = True
    leader.ask(0.0, 2.0, Timer(0.1, 9.9))
    assert leader.asked
    leader.ask(1.0, 3.0, Timer(1.1, 8.9))
    leader.ask(SETTLES_S, 7.0, Timer(1.1 + SETTLES_S, 5.0))
    assert member.state() is State.EXPIRED
    leader.ask(1.0, 9.0, Timer(0.5, 9.5))
    assert member.state() is State.ALIVE


def test_an_incident_of_no_progress_is_ended_by_progress() -> None:
    """The feeds' timer is not touched."""
    working = Working(Role.LEADER)
    leader = Leader(working)
    working.stall()
    leader.is_open(Cause.NO_PROGRESS, working.now)
    leader.ask(2.0, 1.0, None)
    assert leader.asked[0][1] is Cause.NO_PROGRESS
    record = working.engine.get("w")
    assert record is not None
    fed_at = record.fed_at
    leader.ask(0.0, 3.0, Timer(1.0, 29.0))
    assert working.state() is State.ALIVE
    assert record.fed_at == fed_at
    assert record.detailed().progress_at == working.now - 1.0


@pytest.mark.parametrize("cause", [Cause.EXITED, Cause.TOO_FAST, Cause.CHECK, Cause.TOO_FEW])
def test_of_what_no_feed_ends_nobody_is_asked(cause: Cause) -> None:
    leader = Leader(Member(Role.LEADER))
    leader.open.note("w", "claimed-1", cause, 0.0)
    assert leader.open.patience(0.0) is None


def test_of_many_some_are_asked_about_at_a_time_and_all_in_turn() -> None:
    leader = Leader(Member())
    names = [f"n-{number}" for number in range(2 * NAMES_MAX + 5)]
    for name in names:
        leader.member.feed(name)
    leader.member.jump(100.0)
    leader.member.lead(*(past(id=f"i-{name}", name=name) for name in names))
    for name in names:
        leader.open.note(name, f"i-{name}", Cause.TIMEOUT, 0.0)
    seen: list[str] = []
    for turn in range(3):
        leader.ask(0.0, turn * ASK_S, None)
        assert len(leader.asked) == NAMES_MAX
        seen += [name for name, _, _ in leader.asked]
    assert seen[: len(names)] == names
    leader.link.is_up = False
    leader.ask(0.0, 10.0, None)
    assert leader.asked == []
    leader.open.stop()
    assert leader.open.patience(0.0) is None
