"""What a member of a cluster can be, and what changes its role."""

from __future__ import annotations

from enum import Enum


class Role(Enum):
    """What a member is. The value is the word that people read."""

    AWAY = "away"
    """it has not heard from the store lately, and does not lead"""
    FOLLOWER = "follower"
    LEADER = "leader"
    RESIGNED = "resigned"
    """it has stepped down, and never leads again in this run"""


class Trigger(Enum):
    """What can happen to a member."""

    ANSWERED = "the store has answered"
    UNANSWERED = "the store has not answered"
    TOOK_OVER = "a takeover is written"
    DEPOSED = "another one leads, or the store's data were replaced"
    RESIGNED = "it was asked to step down"


_R, _T = Role, Trigger

TRANSITIONS: dict[tuple[Role, Trigger], Role] = {
    (_R.AWAY, _T.ANSWERED): _R.FOLLOWER,
    (_R.AWAY, _T.UNANSWERED): _R.AWAY,
    (_R.AWAY, _T.RESIGNED): _R.RESIGNED,
    (_R.FOLLOWER, _T.ANSWERED): _R.FOLLOWER,
    (_R.FOLLOWER, _T.UNANSWERED): _R.AWAY,
    (_R.FOLLOWER, _T.TOOK_OVER): _R.LEADER,
    (_R.FOLLOWER, _T.RESIGNED): _R.RESIGNED,
    (_R.LEADER, _T.ANSWERED): _R.LEADER,
    (_R.LEADER, _T.UNANSWERED): _R.LEADER,
    (_R.LEADER, _T.DEPOSED): _R.FOLLOWER,
    (_R.LEADER, _T.RESIGNED): _R.RESIGNED,
    (_R.RESIGNED, _T.ANSWERED): _R.RESIGNED,
    (_R.RESIGNED, _T.UNANSWERED): _R.RESIGNED,
    (_R.RESIGNED, _T.RESIGNED): _R.RESIGNED,
}
