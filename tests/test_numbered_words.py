"""A word that is said again: it is heard once, also by a supervisor that has it from the one before."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from banken.protocol.codec import WireError, decode, encode
from banken.protocol.messages import Kind, Message, ProcessIdentity
from banken_supervisor.engine.numbered_words import HEARD_MAX
from banken_supervisor.engine.states import State
from engine_kit import events_of
from restart_kit import ALICE, House


class Numbered(House):
    """What is said has a number; ``happened``: types of the events since the last look."""

    def say_numbered(self, kind: Kind, number: int | None, *args: Any, who: ProcessIdentity | None = ALICE) -> None:
        self.engine.take(encode(Message(kind, "w", who, 0.0, None, args, number)), self.now, self.out)
        self.keep()

    def happened(self) -> list[str]:
        types = [each.type.value for each in events_of(self.out)]
        self.forget()
        return types


@pytest.fixture
def house() -> Numbered:
    made = Numbered()
    made.feed()
    made.forget()
    return made


WORDS: list[tuple[Kind, tuple[Any, ...], str]] = [
    (Kind.PAUSE, (60.0,), "paused"),
    (Kind.EXTEND, (60.0,), "extended"),
    (Kind.FAIL, ("disk full",), "expired"),
]


@pytest.mark.parametrize(("kind", "args", "event"), WORDS)
def test_one_that_was_not_heard_is_heard_once(house: Numbered, kind: Kind, args: Any, event: str) -> None:
    house.crash(1.0)
    house.happened()
    house.say_numbered(kind, -1, *args)
    assert event in house.happened()
    house.say_numbered(kind, -1, *args)
    assert house.happened() == []


@pytest.mark.parametrize(("kind", "args", "event"), WORDS)
def test_one_that_was_heard_before_a_restart_does_nothing(
    house: Numbered, kind: Kind, args: Any, event: str
) -> None:
    house.say_numbered(kind, 1, *args)
    assert event in house.happened()
    house.crash(1.0)
    house.happened()
    house.say_numbered(kind, -1, *args)
    assert house.happened() == []
    house.say_numbered(kind, 2, *args)
    assert house.happened() != []


def test_what_an_operator_said_since_stays(house: Numbered) -> None:
    """He ended the worker's pause, or began one after its end: what the worker says again changes nothing."""
    house.say_numbered(Kind.PAUSE, 1, 0.0)
    house.say_numbered(Kind.RESUME, None, who=None)
    house.crash(1.0)
    house.say_numbered(Kind.PAUSE, -1, 0.0)
    assert house.state() is State.ALIVE
    house.say_numbered(Kind.PAUSE, 2, 0.0)
    house.say_numbered(Kind.RESUME, 3)
    house.say_numbered(Kind.PAUSE, None, 0.0, who=None)
    house.crash(1.0)
    house.say_numbered(Kind.RESUME, -3)
    assert house.state() is State.PAUSED


def test_a_resume_that_changed_nothing_was_heard_too(house: Numbered) -> None:
    house.say_numbered(Kind.RESUME, 1)
    house.say_numbered(Kind.PAUSE, None, 0.0, who=None)
    house.crash(1.0)
    house.say_numbered(Kind.RESUME, -1)
    assert house.state() is State.PAUSED


def test_a_failure_whose_incident_is_over_opens_no_other(house: Numbered) -> None:
    house.say_numbered(Kind.FAIL, 1, "disk full")
    house.feed()
    house.crash(1.0)
    house.happened()
    house.say_numbered(Kind.FAIL, -1, "disk full")
    assert (house.happened(), house.state()) == ([], State.ALIVE)


def test_what_is_said_again_by_no_known_process_is_not_heard(house: Numbered) -> None:
    house.say_numbered(Kind.PAUSE, -1, 0.0, who=None)
    assert house.state() is State.ALIVE


@pytest.mark.parametrize(("kind", "args", "event"), WORDS)
@pytest.mark.parametrize(("other", "more"), [(Kind.EXTEND, (5.0,)), (Kind.FAIL, ("no room",))])
def test_what_is_said_again_after_a_newer_word_of_another_matter_is_heard(
    house: Numbered, kind: Kind, args: Any, event: str, other: Kind, more: Any
) -> None:
    """The next supervisor hears the newer one at once, and the other one a second later."""
    if kind is other:
        return
    house.say_numbered(other, 6, *more)
    house.feed()
    house.happened()
    house.say_numbered(kind, -5, *args)
    assert event in house.happened()
    house.crash(1.0)
    house.happened()
    house.say_numbered(kind, -5, *args)
    assert house.happened() == []


def test_a_pause_that_is_said_again_after_its_end_is_out_of_date(house: Numbered) -> None:
    """Another client of the same process has ended it."""
    house.say_numbered(Kind.RESUME, 6)
    house.say_numbered(Kind.PAUSE, -5, 0.0)
    assert house.state() is State.ALIVE


def test_what_is_said_again_by_no_known_process_is_watched_by_nobody(house: Numbered) -> None:
    """It would never be fed."""
    house.say(Kind.RELEASE, "w", who=None)
    house.happened()
    house.say_numbered(Kind.PAUSE, -1, 60.0, who=None)
    assert (house.state(), house.happened()) == (None, [])


def test_of_a_pool_that_was_paused_by_each_process_every_pause_is_known(house: Numbered) -> None:
    """As many as a server on a large machine has. An operator has ended it since."""
    pool = [ALICE._replace(pid=1000 + each) for each in range(32)]
    for who in pool:
        house.say_numbered(Kind.PAUSE, 5, 0.0, who=who)
    house.say_numbered(Kind.RESUME, None, who=None)
    house.crash(1.0)
    for who in pool:
        house.say_numbered(Kind.PAUSE, -5, 0.0, who=who)
        assert house.state() is State.ALIVE


def test_numbers_of_the_latest_processes_are_kept(house: Numbered) -> None:
    """Each process counts for itself."""
    for pid in range(HEARD_MAX + 1):
        house.say_numbered(Kind.PAUSE, 5, 60.0, who=ALICE._replace(pid=1000 + pid))
    house.crash(1.0)
    house.say_numbered(Kind.RESUME, None, who=None)
    for pid in range(1, HEARD_MAX + 1):
        house.say_numbered(Kind.PAUSE, -5, 60.0, who=ALICE._replace(pid=1000 + pid))
        assert house.state() is State.ALIVE
    house.say_numbered(Kind.PAUSE, -5, 60.0, who=ALICE._replace(pid=1000))
    assert house.state() is State.PAUSED


@pytest.mark.parametrize(("kind", "args", "event"), WORDS)
def test_in_a_cluster_it_does_not_bring_back_a_name_that_was_released_since(
    house: Numbered, kind: Kind, args: Any, event: str
) -> None:
    """The client says it to all members when one of them comes back."""
    house.engine.table.keeps_released = True
    house.say_numbered(kind, 1, *args)
    house.say_numbered(Kind.RELEASE, None, who=None)
    house.happened()
    house.say_numbered(kind, -1, *args)
    assert (house.happened(), house.engine.get("w")) == ([], None)
    house.say_numbered(kind, 2, *args)
    assert event in house.happened()


@pytest.mark.parametrize("number", [0, "1", 1.0, None, True, 10**15 + 1, -(10**15) - 1])
def test_a_number_is_a_number(number: Any) -> None:
    body = msgpack.unpackb(encode(Message(Kind.RESUME, "w", ALICE, 0.0, None)))
    with pytest.raises(WireError, match="a number is 1 to"):
        decode(msgpack.packb([*body, number]))
