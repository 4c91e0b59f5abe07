"""The life cycle of one program.

Theory of operation
-------------------
A program is STOPPED until it gets a start request. QUEUED: it waits for its turn, because programs of a lower start
order are spawned first. STARTING: a spawn was requested, and the shell has not yet reported that the process exists
(RUNNING) or that the spawn failed. A failed spawn, or an end without a request, is followed by BACKOFF (it will
start again), STOPPED (its restart policy does not restart it) or GIVEN_UP (a restart budget is used up; only a
request leaves this state). STOPPING lasts from the stop request, which may have to wait for its turn, until the
process has ended. A group restart (one-for-all, rest-for-one) stops its members and keeps them in BACKOFF until all
of them have stopped and the backoff is over; then they start in order.

Only a ``ProgramTrigger`` changes a state. A pair that is not in the table raises ``IllegalProgramTransition``.
"""

from __future__ import annotations

from enum import Enum


class ProgramState(Enum):
    """State of a program. People see the value."""

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
    """a start request"""
    TURN = "turn"
    """its turn has come: no program of a lower start order is waited for, so it is spawned"""
    SPAWNED = "spawned"
    ADOPTED = "adopted"
    """an earlier supervisor had started it, and it still runs"""
    RETRY = "retry"
    """it ended by itself and is to start again"""
    END = "end"
    """it ended by itself and stays down"""
    GIVE_UP = "give-up"
    """it ended by itself, and a restart budget is used up"""
    DUE = "due"
    """the backoff is over"""
    STOP = "stop"
    """a stop request, or a group restart stops it"""
    STOP_LEFTOVERS = "stop its leftovers"
    """a stop request while it has no process, and what its last one has started still ends"""
    GONE = "gone"
    """its process has ended after a stop request, or never existed"""
    WAIT_FOR_GROUP = "wait for its group"
    """it waits for the other programs of a group restart"""


class IllegalProgramTransition(RuntimeError):
    """The table below has no such pair: a fault in the supervisor, not in a program."""


_S, _T = ProgramState, ProgramTrigger

PROGRAM_TRANSITIONS: dict[tuple[ProgramState, ProgramTrigger], ProgramState] = {
    (_S.STOPPED, _T.START): _S.QUEUED,
    (_S.STOPPED, _T.STOP): _S.STOPPED,
    (_S.STOPPED, _T.STOP_LEFTOVERS): _S.STOPPING,
    (_S.STOPPED, _T.ADOPTED): _S.RUNNING,
    (_S.QUEUED, _T.START): _S.QUEUED,
    (_S.QUEUED, _T.TURN): _S.STARTING,
    (_S.QUEUED, _T.STOP): _S.STOPPED,
    (_S.QUEUED, _T.STOP_LEFTOVERS): _S.STOPPING,
    (_S.QUEUED, _T.WAIT_FOR_GROUP): _S.BACKOFF,
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
    (_S.BACKOFF, _T.STOP_LEFTOVERS): _S.STOPPING,
    (_S.BACKOFF, _T.WAIT_FOR_GROUP): _S.BACKOFF,
    (_S.STOPPING, _T.START): _S.STOPPING,  # it starts again when its process has ended
    (_S.STOPPING, _T.SPAWNED): _S.STOPPING,  # the stop request came during the spawn
    (_S.STOPPING, _T.STOP): _S.STOPPING,
    (_S.STOPPING, _T.GONE): _S.STOPPED,
    (_S.STOPPING, _T.WAIT_FOR_GROUP): _S.BACKOFF,
    (_S.GIVEN_UP, _T.START): _S.QUEUED,
    (_S.GIVEN_UP, _T.STOP): _S.STOPPED,
    (_S.GIVEN_UP, _T.STOP_LEFTOVERS): _S.STOPPING,
}


def next_state(state: ProgramState, trigger: ProgramTrigger) -> ProgramState:
    """The next state; IllegalProgramTransition if the table has no such pair."""
    try:
        return PROGRAM_TRANSITIONS[state, trigger]
    except KeyError:
        raise IllegalProgramTransition(f"a program that is {state.value} cannot take {trigger.value!r}") from None
