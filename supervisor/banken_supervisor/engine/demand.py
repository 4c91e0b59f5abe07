"""What a program has said that it will have done by a time (notified.py)."""

from __future__ import annotations

from typing import NamedTuple

from banken.protocol.incidents import Cause


class Demand(NamedTuple):
    """What is to have happened by a time, whatever else is said."""

    due: float
    cause: Cause
    reason: str
    """of the incident, if it has not"""
    seen: str = ""
    """what was seen of that last"""
    alone: bool = False
    """nothing else is judged meanwhile, but for the end of its process"""
