"""The life of one watchdog, whole: its states, what changes them, and what each change does.

Theory of operation
-------------------
A watchdog is WAITING from its declaration until its first feed, and has ``grace`` for it; one that only the
operator's config names has no deadline before its worker is heard of. Once fed it is ALIVE, and
has ``timeout`` until the next feed. A deadline that passes, or the worker's own report (fail), is a verdict: it
opens an incident, and the watchdog is EXPIRED. Any feed closes the incident. While EXPIRED, the callback runs again
every ``interval`` and the ladder is climbed; a ladder whose budget is spent ends in GIVEN_UP, which only a feed, a
pause, a release or a new process leaves. PAUSED suspends judgement until a time or until resumed; feeds are noted,
and open and close nothing. RELEASED is the end: the record is removed.

``TRANSITIONS`` is the whole of it. Each line says which state follows, how an open incident ends (if it does), and
what is done (``Does``; lifecycle.py has one method for each). What is not in the table must not happen and raises
``IllegalTransition``. (The idea of one table that says both: h11, ``_state.py``.)
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import NamedTuple


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
    """a new process has the name: a new life with a new grace"""
    TAKE_DOWN = "take-down"
    """its program was taken down on purpose"""
    PAUSE = "pause"
    RESUME = "resume"
    STAND_BY = "stand-by"
    """a pause ends of what is not judged before its first feed"""
    RUN_ON = "run-on"
    """a pause ends of what was not fed before it, nor in it, and has no timeout, or a longer grace"""
    GIVE_UP = "give-up"
    RELEASE = "release"


class Does(StrEnum):
    """What a transition does, beside closing the incident and changing the state: a method of Lifecycle by name."""

    NOTHING = "nothing"
    FIRST_FEED = "first_feed"
    """the grace is over: a whole timeout from now"""
    START_TIMEOUT = "start_timeout"
    """fed: a whole timeout from now"""
    OPEN_INCIDENT = "open_incident"
    ESCALATE = "escalate"
    """the next step of the ladder, or the callback once more"""
    REPORT_FAILURE = "report_failure"
    """an event says that the worker failed again; the incident, or the pause, stays"""
    START_GRACE = "start_grace"
    """a new process: it has the grace of a start"""
    AWAIT_RESTART = "await_restart"
    """no deadline until its program is up again"""
    FED_IN_PAUSE = "fed_in_pause"
    """fed while it is not judged: it is no start-up any more that the pause ends in"""
    REBORN_IN_PAUSE = "reborn_in_pause"
    """a new process while it is not judged: it has its grace after the pause"""
    SUSPEND = "suspend"
    """not judged until the pause ends"""
    JUDGE_AGAIN = "judge_again"
    """the pause is over: a whole timeout from now"""
    STAND_BY = "stand_by"
    """the pause is over: its first feed is waited for, as before"""
    STOP_ESCALATION = "stop_escalation"
    """the budget is spent: ``on_give_up`` runs, and nothing more by itself"""
    REMOVE = "remove"


class Transition(NamedTuple):
    """One line of the table."""

    state: State
    """the state that follows"""
    does: Does
    ends: str | None = None
    """how an incident that is open, or given up, ends; None: it stays"""


class IllegalTransition(RuntimeError):
    """The table has no such line: a fault in the supervisor, never in a worker."""


FED, PASSED, READY, ENOUGH = "fed", "passed", "ready", "enough alive"
"""How an incident ends when the watchdog has recovered: by a feed; a check's by a result; a program's by READY or
what else makes it ready; a group's by enough members. All other ends are no recovery."""

RECOVERIES = frozenset({FED, PASSED, READY, ENOUGH})

_S, _T, _D = State, Trigger, Does

TRANSITIONS: dict[tuple[State, Trigger], Transition] = {
    (_S.WAITING, _T.FEED): Transition(_S.ALIVE, _D.FIRST_FEED),
    (_S.WAITING, _T.DEADLINE): Transition(_S.EXPIRED, _D.OPEN_INCIDENT),
    (_S.WAITING, _T.FAIL): Transition(_S.EXPIRED, _D.OPEN_INCIDENT),
    (_S.WAITING, _T.REBORN): Transition(_S.WAITING, _D.START_GRACE),
    (_S.WAITING, _T.TAKE_DOWN): Transition(_S.WAITING, _D.AWAIT_RESTART),
    (_S.WAITING, _T.PAUSE): Transition(_S.PAUSED, _D.SUSPEND),
    (_S.WAITING, _T.RESUME): Transition(_S.WAITING, _D.NOTHING),
    (_S.WAITING, _T.RELEASE): Transition(_S.RELEASED, _D.REMOVE),
    (_S.ALIVE, _T.FEED): Transition(_S.ALIVE, _D.START_TIMEOUT),
    (_S.ALIVE, _T.DEADLINE): Transition(_S.EXPIRED, _D.OPEN_INCIDENT),
    (_S.ALIVE, _T.FAIL): Transition(_S.EXPIRED, _D.OPEN_INCIDENT),
    (_S.ALIVE, _T.REBORN): Transition(_S.WAITING, _D.START_GRACE),
    (_S.ALIVE, _T.TAKE_DOWN): Transition(_S.WAITING, _D.AWAIT_RESTART),
    (_S.ALIVE, _T.PAUSE): Transition(_S.PAUSED, _D.SUSPEND),
    (_S.ALIVE, _T.RESUME): Transition(_S.ALIVE, _D.NOTHING),
    (_S.ALIVE, _T.RELEASE): Transition(_S.RELEASED, _D.REMOVE),
    (_S.EXPIRED, _T.FEED): Transition(_S.ALIVE, _D.START_TIMEOUT, ends=FED),
    (_S.EXPIRED, _T.DEADLINE): Transition(_S.EXPIRED, _D.ESCALATE),
    (_S.EXPIRED, _T.FAIL): Transition(_S.EXPIRED, _D.REPORT_FAILURE),
    (_S.EXPIRED, _T.REBORN): Transition(_S.WAITING, _D.START_GRACE, ends="reborn"),
    (_S.EXPIRED, _T.TAKE_DOWN): Transition(_S.WAITING, _D.AWAIT_RESTART, ends="stopped"),
    (_S.EXPIRED, _T.PAUSE): Transition(_S.PAUSED, _D.SUSPEND, ends="paused"),
    (_S.EXPIRED, _T.RESUME): Transition(_S.EXPIRED, _D.NOTHING),
    (_S.EXPIRED, _T.GIVE_UP): Transition(_S.GIVEN_UP, _D.STOP_ESCALATION),
    (_S.EXPIRED, _T.RELEASE): Transition(_S.RELEASED, _D.REMOVE, ends="released"),
    (_S.PAUSED, _T.FEED): Transition(_S.PAUSED, _D.FED_IN_PAUSE),
    (_S.PAUSED, _T.DEADLINE): Transition(_S.ALIVE, _D.JUDGE_AGAIN),
    (_S.PAUSED, _T.FAIL): Transition(_S.PAUSED, _D.REPORT_FAILURE),
    (_S.PAUSED, _T.REBORN): Transition(_S.PAUSED, _D.REBORN_IN_PAUSE),
    (_S.PAUSED, _T.PAUSE): Transition(_S.PAUSED, _D.SUSPEND),
    (_S.PAUSED, _T.RESUME): Transition(_S.ALIVE, _D.JUDGE_AGAIN),
    (_S.PAUSED, _T.STAND_BY): Transition(_S.WAITING, _D.STAND_BY),
    (_S.PAUSED, _T.RUN_ON): Transition(_S.WAITING, _D.JUDGE_AGAIN),
    (_S.PAUSED, _T.RELEASE): Transition(_S.RELEASED, _D.REMOVE),
    (_S.GIVEN_UP, _T.FEED): Transition(_S.ALIVE, _D.START_TIMEOUT, ends=FED),
    (_S.GIVEN_UP, _T.FAIL): Transition(_S.GIVEN_UP, _D.REPORT_FAILURE),
    (_S.GIVEN_UP, _T.REBORN): Transition(_S.WAITING, _D.START_GRACE, ends="reborn"),
    (_S.GIVEN_UP, _T.TAKE_DOWN): Transition(_S.WAITING, _D.AWAIT_RESTART, ends="stopped"),
    (_S.GIVEN_UP, _T.PAUSE): Transition(_S.PAUSED, _D.SUSPEND, ends="paused"),
    (_S.GIVEN_UP, _T.RESUME): Transition(_S.GIVEN_UP, _D.NOTHING),
    (_S.GIVEN_UP, _T.RELEASE): Transition(_S.RELEASED, _D.REMOVE, ends="released"),
}


def transition(state: State, trigger: Trigger) -> Transition:
    """What follows; IllegalTransition where the table has no line."""
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise IllegalTransition(f"a watchdog that is {state.value} cannot take {trigger.value!r}") from None
