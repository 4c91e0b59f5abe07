"""What is certain of an age, by the store's count of its transactions, whatever the clocks of hosts say."""

from __future__ import annotations

from math import inf

import pytest

from banken.protocol.incidents import Cause
from banken_supervisor.coordination.records import Claim
from banken_supervisor.runtime import claimed_incidents
from banken_supervisor.runtime.claimed_incidents import past_incident
from banken_supervisor.runtime.revision_times import NOTES_MAX, RevisionTimes


def times(*read: tuple[int, float]) -> RevisionTimes:
    made = RevisionTimes()
    for revision, at in read:
        made.note(revision, at)
    return made


def test_what_was_written_is_as_old_as_the_first_turn_after_it_was_read() -> None:
    noted = times((5, 10.0), (5, 11.0), (8, 12.0), (9, 13.0), (9, 14.0))
    assert noted.age(5, 20.0) == 9.0
    assert noted.age(3, 20.0) == 9.0  # before this member began: it is older
    assert noted.age(6, 20.0) == 7.0
    assert noted.age(8, 20.0) == 7.0
    assert noted.age(9, 20.0) == 6.0


def test_what_was_not_read_yet_has_no_certain_age() -> None:
    noted = times((5, 10.0), (5, 11.0))
    assert noted.age(6, 20.0) == 0.0
    assert noted.age(None, 20.0) == 0.0
    noted.forget()
    assert noted.age(5, 20.0) == 0.0


def test_what_is_old_is_known_less_exactly_and_never_as_too_old() -> None:
    noted = times(*((number, float(number)) for number in range(1, 10 * NOTES_MAX)))
    now = 10.0 * NOTES_MAX
    assert len(noted._at) <= NOTES_MAX
    assert all(0.0 <= noted.age(number, now) < now - number for number in range(1, 10 * NOTES_MAX, 7))
    assert noted.age(10 * NOTES_MAX - 100, now) == 99.0


def test_what_was_written_is_younger_than_what_was_noted_of_a_lower_revision() -> None:
    noted = times((5, 10.0), (5, 11.0), (8, 12.0), (9, 13.0), (9, 14.0))
    assert noted.before(5) == -inf
    assert noted.before(6) == 11.0
    assert noted.before(8) == 11.0
    assert noted.before(9) == 13.0
    assert noted.before(10) == 14.0
    noted.forget()
    assert noted.before(10) == -inf


@pytest.mark.parametrize("skew", [-3600.0, 0.0, 3600.0])
def test_a_clock_that_differs_makes_no_age_certain(skew: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claimed_incidents, "wall", lambda: 1000.0 + skew)
    past = past_incident("w", Claim("c-1", Cause.FAILED.value, 990.0, 1.0, 10.0, "m1", "x"), None, 50.0, 9.0)
    assert past.age_least == 9.0
    assert past.age == max(9.0, 10.0 + skew)
