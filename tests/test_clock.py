"""The credited clock."""

from __future__ import annotations

import pytest

from banken.clock import START, CreditedClock


@pytest.mark.parametrize(
    ("asked", "elapsed", "credited"),
    [
        (1.0, 1.0, 1.0),
        (1.0, 0.2, 0.2),  # woken early
        (1.0, 1.05, 1.05),  # a little late: within the allowance
        (1.0, 6.0, 1.1),  # stopped for five seconds
        (0.0, 0.02, 0.02),
        (0.0, 60.0, 0.1),
        (0.5, -3.0, 0.0),  # a monotonic clock that is not
    ],
)
def test_a_pass_earns_what_it_asked_for_and_a_little(asked: float, elapsed: float, credited: float) -> None:
    """Time beyond the wait asked for and the allowance is lost, and counted."""
    clock = CreditedClock(100.0, allowance=0.1)
    assert clock.credit(100.0 + elapsed, asked) == pytest.approx(START + credited)
    assert clock.lost == pytest.approx(max(0.0, elapsed - credited))
    assert clock.stalls == (1 if elapsed - credited > 1e-9 and elapsed > 0 else 0)


def test_lost_time_is_lost_once() -> None:
    """After a stall the clock goes on from where it was, at full speed."""
    clock = CreditedClock(0.0, allowance=0.1)
    clock.credit(50.0, 1.0)
    before = clock.now
    assert clock.credit(51.0, 1.0) == pytest.approx(before + 1.0)


def test_a_share_slows_time_down() -> None:
    """A pass that could not see everything is credited in part, and that is no stall."""
    clock = CreditedClock(0.0)
    assert clock.credit(0.1, 0.0, share=0.1) == pytest.approx(START + 0.01)
    assert clock.stalls == 0
