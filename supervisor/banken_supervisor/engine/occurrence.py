"""What happens to a watchdog: a trigger of the table in states.py, and what is known of it."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from banken.protocol.incidents import Cause
from banken_supervisor.engine.states import Trigger


class Occurrence(NamedTuple):
    """What happens to a watchdog, and what is known of it. Times are deadline time, seconds."""

    trigger: Trigger
    due: float | None = None
    """the deadline that passed; None: now"""
    cause: Cause | None = None
    """of the incident that is opened"""
    reason: str | None = None
    """given to ``fail``, or how a process ended"""
    death: str | None = None
    """as ``OpenIncident.death``"""
    until: float = inf
    """when a pause ends"""
    seconds: float | None = None
    """how long the pause is; None: without an end"""
    by: str | None = None
    """who paused it, where that was no operator"""
    how: str | None = None
    """how an incident ends, in place of the table's word"""
    incident: str | None = None
    """the id of the incident that is opened, where a claim has given it one (claim_gate.py)"""
