"""The life of one program, whole.

Theory of operation
-------------------
A program is STOPPED until it is asked to start. QUEUED, it waits for its turn: those of a lower start order are
spawned first. When its turn comes a spawn is asked for and it is STARTING until the shell has said that the
process exists (RUNNING) or could not be made. An end that nobody asked for, a failed spawn included, is followed by
BACKOFF (it will start again), STOPPED (its restart policy does not want it again) or GIVEN_UP (a budget is spent;
only a request leaves that). STOPPING lasts from the request to stop, which may have to wait for its turn too, until
the process is gone. A group's round (one-for-all, rest-for-one) takes its members down and holds them in BACKOFF
until all of them are gone and the wait is over; then they start in order.

The only events that change a state are those of ``ProgramTrigger``; what is not in the table must not happen and
raises ``IllegalStep``.
"""

from __future__ import annotations

from enum import Enum


class ProgramState(Enum):
    """Where a program is in its life. The value is the word that people read."""

    STOPPED = "stopped"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    GIVEN_UP = "given-up"


class ProgramTrigger(Enum):
    """What can happen to a program."""

    START = "start"
    """it was asked to"""
    TURN = "turn"
    """nothing of a lower order is waited for: it is spawned"""
    SPAWNED = "spawned"
    ADOPTED = "adopted"
    """a former supervisor had started it, and it still runs"""
    RETRY = "retry"
    """it ended by itself and is to start again"""
    END = "end"
    """it ended by itself and stays down"""
    GIVE_UP = "give-up"
    """it ended by itself, and a budget is spent"""
    DUE = "due"
    """the wait is over"""
    STOP = "stop"
    """it was asked to, or its group's round takes it down"""
    GONE = "gone"
    """it ended as asked, or never came to be"""
    HOLD = "hold"
    """its group's round waits for others"""


class IllegalStep(RuntimeError):
    """The table below has no such line: a fault in the supervisor, never in a program."""


_S, _T = ProgramState, ProgramTrigger

STEPS: dict[tuple[ProgramState, ProgramTrigger], ProgramState] = {
    (_S.STOPPED, _T.START): _S.QUEUED,
    (_S.STOPPED, _T.STOP): _S.STOPPED,
    (_S.STOPPED, _T.ADOPTED): _S.RUNNING,
    (_S.QUEUED, _T.START): _S.QUEUED,
    (_S.QUEUED, _T.TURN): _S.STARTING,
    (_S.QUEUED, _T.STOP): _S.STOPPED,
    (_S.QUEUED, _T.HOLD): _S.BACKOFF,
    (_S.STARTING, _T.START): _S.STARTING,
    (_S.STARTING, _T.SPAWNED): _S.RUNNING,
    (_S.STARTING, _T.RETRY): _S.BACKOFF,  # it could not be spawned
    (_S.STARTING, _T.END): _S.STOPPED,
    (_S.STARTING, _T.GIVE_UP): _S.GIVEN_UP,
    (_S.STARTING, _T.STOP): _S.STOPPING,
    (_S.RUNNING, _T.START): _S.RUNNING,
    (_S.RUNNING, _T.RETRY): _S.BACKOFF,
    (_S.RUNNING, _T.END): _S.STOPPED,
    (_S.RUNNING, _T.GIVE_UP): _S.GIVEN_UP,
    (_S.RUNNING, _T.STOP): _S.STOPPING,
    (_S.BACKOFF, _T.START): _S.QUEUED,
    (_S.BACKOFF, _T.DUE): _S.QUEUED,
    (_S.BACKOFF, _T.STOP): _S.STOPPED,
    (_S.BACKOFF, _T.HOLD): _S.BACKOFF,
    (_S.STOPPING, _T.START): _S.STOPPING,  # it starts again when it is gone
    (_S.STOPPING, _T.SPAWNED): _S.STOPPING,  # the spawn was under way when the stop came
    (_S.STOPPING, _T.STOP): _S.STOPPING,
    (_S.STOPPING, _T.GONE): _S.STOPPED,
    (_S.STOPPING, _T.HOLD): _S.BACKOFF,
    (_S.GIVEN_UP, _T.START): _S.QUEUED,
    (_S.GIVEN_UP, _T.STOP): _S.STOPPED,
}


def step(state: ProgramState, trigger: ProgramTrigger) -> ProgramState:
    """The state that follows; IllegalStep where the table has no line."""
    try:
        return STEPS[state, trigger]
    except KeyError:
        raise IllegalStep(f"a program that is {state.value} cannot take {trigger.value!r}") from None
