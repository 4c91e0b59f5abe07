"""What a signal asks for that ends a supervisor: its end, its end at once, or what one before it has asked for."""

from __future__ import annotations

from signal import SIGHUP, SIGINT, SIGTERM

import pytest

from banken_supervisor.runtime.signals import ONE_CAUSE_S, EndSignals, Wish

LATER = 1000.0 + ONE_CAUSE_S


@pytest.mark.parametrize("first", [SIGHUP, SIGINT, SIGTERM])
def test_the_first_asks_for_the_end_and_one_that_comes_later_for_the_end_at_once(first: int) -> None:
    signals = EndSignals()
    assert signals.wish(first, 1000.0) is Wish.END
    assert signals.wish(SIGTERM, LATER) is Wish.END_AT_ONCE
    assert EndSignals().wish(first, 0.0) is Wish.END


def test_those_soon_after_the_first_have_its_cause() -> None:
    """However many; the time runs from the first on, so that they cannot put off the end at once for ever."""
    signals = EndSignals()
    signals.wish(SIGTERM, 1000.0)
    for share in (0.0, 0.5, 0.9):
        assert signals.wish(SIGINT, 1000.0 + share * ONE_CAUSE_S) is Wish.NOTHING_NEW
    assert signals.wish(SIGINT, LATER) is Wish.END_AT_ONCE


def test_a_hang_up_after_the_first_asks_for_nothing_new() -> None:
    """The kernel sends another one when the shell of a closed terminal has ended, which may take long."""
    signals = EndSignals()
    signals.wish(SIGHUP, 1000.0)
    assert signals.wish(SIGHUP, LATER + 1000.0) is Wish.NOTHING_NEW
    assert signals.wish(SIGTERM, LATER + 1000.0) is Wish.END_AT_ONCE
