"""The life of one watchdog, whole.

Theory of operation
-------------------
A watchdog is WAITING from its declaration until its first feed, and has ``grace`` for it. Fed, it is
ALIVE, and has ``timeout`` until the next. A deadline that passes, or the worker's own word (fail), is a
verdict: it opens an incident and the watchdog is EXPIRED. Any feed ends the incident. While EXPIRED the
callback runs again every ``interval``; a ladder that is spent ends in GIVEN_UP, which only a feed or a
declaration by a new process leaves. PAUSED suspends judgement until a time or until resumed; feeds are
taken note of and change nothing. RELEASED is the end: the watchdog is forgotten.

The only events that change a state are those of ``Trigger``; what is not in the table must not happen
and raises ``IllegalTransition``.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Where a watchdog is in its life. The value is the word that people read."""

    WAITING = "waiting"
    ALIVE = "alive"
    EXPIRED = "expired"
    PAUSED = "paused"
    GIVEN_UP = "given-up"
    RELEASED = "released"


class Trigger(Enum):
    """What can happen to a watchdog."""

    FEED = "feed"
    DEADLINE = "deadline"
    FAIL = "fail"
    REBORN = "reborn"
    """a new process declared the name: a new life with a new grace"""
    PAUSE = "pause"
    RESUME = "resume"
    GIVE_UP = "give-up"
    RELEASE = "release"


class IllegalTransition(RuntimeError):
    """The table below has no such line: a fault in the supervisor, never in a worker."""


_S, _T = State, Trigger

TRANSITIONS: dict[tuple[State, Trigger], State] = {
    (_S.WAITING, _T.FEED): _S.ALIVE,
    (_S.WAITING, _T.DEADLINE): _S.EXPIRED,
    (_S.WAITING, _T.FAIL): _S.EXPIRED,
    (_S.WAITING, _T.REBORN): _S.WAITING,
    (_S.WAITING, _T.PAUSE): _S.PAUSED,
    (_S.WAITING, _T.RESUME): _S.WAITING,
    (_S.WAITING, _T.RELEASE): _S.RELEASED,
    (_S.ALIVE, _T.FEED): _S.ALIVE,
    (_S.ALIVE, _T.DEADLINE): _S.EXPIRED,
    (_S.ALIVE, _T.FAIL): _S.EXPIRED,
    (_S.ALIVE, _T.REBORN): _S.WAITING,
    (_S.ALIVE, _T.PAUSE): _S.PAUSED,
    (_S.ALIVE, _T.RESUME): _S.ALIVE,
    (_S.ALIVE, _T.RELEASE): _S.RELEASED,
    (_S.EXPIRED, _T.FEED): _S.ALIVE,
    (_S.EXPIRED, _T.DEADLINE): _S.EXPIRED,  # the callback's next run
    (_S.EXPIRED, _T.FAIL): _S.EXPIRED,
    (_S.EXPIRED, _T.REBORN): _S.WAITING,
    (_S.EXPIRED, _T.PAUSE): _S.PAUSED,
    (_S.EXPIRED, _T.RESUME): _S.EXPIRED,
    (_S.EXPIRED, _T.GIVE_UP): _S.GIVEN_UP,
    (_S.EXPIRED, _T.RELEASE): _S.RELEASED,
    (_S.PAUSED, _T.FEED): _S.PAUSED,
    (_S.PAUSED, _T.DEADLINE): _S.ALIVE,  # the pause is over: a whole timeout from here
    (_S.PAUSED, _T.FAIL): _S.PAUSED,
    (_S.PAUSED, _T.REBORN): _S.PAUSED,
    (_S.PAUSED, _T.PAUSE): _S.PAUSED,
    (_S.PAUSED, _T.RESUME): _S.ALIVE,
    (_S.PAUSED, _T.RELEASE): _S.RELEASED,
    (_S.GIVEN_UP, _T.FEED): _S.ALIVE,
    (_S.GIVEN_UP, _T.FAIL): _S.GIVEN_UP,
    (_S.GIVEN_UP, _T.REBORN): _S.WAITING,
    (_S.GIVEN_UP, _T.PAUSE): _S.PAUSED,
    (_S.GIVEN_UP, _T.RESUME): _S.GIVEN_UP,
    (_S.GIVEN_UP, _T.RELEASE): _S.RELEASED,
}


def after(state: State, trigger: Trigger) -> State:
    """The state that follows; IllegalTransition where the table has no line."""
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise IllegalTransition(f"a watchdog that is {state.value} cannot take {trigger.value!r}") from None
