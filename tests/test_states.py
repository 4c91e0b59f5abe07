"""The transition table."""

from __future__ import annotations

from itertools import product

import pytest

from banken_supervisor.engine.lifecycle import Lifecycle
from banken_supervisor.engine.states import (
    TRANSITIONS,
    Does,
    IllegalTransition,
    State,
    Transition,
    Trigger,
    transition,
)


def test_what_is_not_in_the_table_is_a_named_error() -> None:
    """Every pair either leads to a state or raises IllegalTransition that names both."""
    for state, trigger in product(State, Trigger):
        if (state, trigger) in TRANSITIONS:
            assert isinstance(transition(state, trigger), Transition)
        else:
            with pytest.raises(IllegalTransition, match=state.value):
                transition(state, trigger)


def test_the_end_is_the_end() -> None:
    """Nothing leads out of RELEASED, and from everywhere else a release leads into it."""
    assert not [pair for pair in TRANSITIONS if pair[0] is State.RELEASED]
    for state in State:
        if state is not State.RELEASED:
            assert transition(state, Trigger.RELEASE).state is State.RELEASED


def test_a_feed_never_leads_to_silence() -> None:
    """Fed, a watchdog is ALIVE, unless it is paused."""
    for state in (State.WAITING, State.ALIVE, State.EXPIRED, State.GIVEN_UP):
        assert transition(state, Trigger.FEED).state is State.ALIVE
    assert transition(State.PAUSED, Trigger.FEED).state is State.PAUSED


def test_every_state_can_be_reached() -> None:
    """From WAITING, by lines of the table."""
    reached = {State.WAITING}
    for _ in State:
        reached |= {new.state for (old, _), new in TRANSITIONS.items() if old in reached}
    assert reached == set(State)


def test_everything_that_a_transition_does_has_its_method() -> None:
    """The table names methods of Lifecycle, by their values."""
    assert [does for does in Does if not callable(getattr(Lifecycle, f"_{does.value}", None))] == []
