"""Which process a name belongs to, where only the latest may feed it."""

from __future__ import annotations

from enum import Enum

from banken.model import Incarnation
from banken_supervisor.core.dog import Dog

DISPLACED_MAX = 16
"""Processes remembered per name as no longer entitled; the oldest is forgotten first."""


class Claim(Enum):
    """What a message's sender is to the watchdog it names."""

    OWNER = "owner"
    NEWCOMER = "newcomer"
    """a later process: the name is its own from now on"""
    DISPLACED = "displaced"
    """an earlier process: refused"""


def claim(dog: Dog, who: Incarnation | None) -> Claim:
    """Whose message is this? ``None`` (nobody in particular, an operator's command) is never in a contest.

    On one host the later process start is the newer; across hosts, or within one tick, the order of arrival
    decides.
    """
    owner = dog.owner
    if who is None or who == owner:
        return Claim.OWNER
    if dog.rare is not None and who in dog.rare.displaced:
        return Claim.DISPLACED
    if owner is not None and who.boot == owner.boot and 0 < who.start < owner.start:
        return Claim.DISPLACED
    return Claim.NEWCOMER


def take_over(dog: Dog, who: Incarnation) -> None:
    """``who`` owns the name from now on; whoever did is displaced."""
    if dog.owner is not None:
        displace(dog, dog.owner)
    dog.owner = who


def displace(dog: Dog, who: Incarnation) -> None:
    """Remember that ``who`` may no longer feed this name."""
    displaced = dog.more().displaced
    if who not in displaced:
        displaced.append(who)
        del displaced[:-DISPLACED_MAX]
