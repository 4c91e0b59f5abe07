"""Which process a name belongs to, where only the latest may feed it."""

from __future__ import annotations

from enum import Enum

from banken.protocol.messages import ProcessIdentity
from banken_supervisor.engine.record import Record

DISPLACED_MAX = 16
"""Processes remembered per name as no longer entitled; the oldest is forgotten first."""


class Claim(Enum):
    """What a message's sender is to the watchdog it names."""

    OWNER = "owner"
    NEWCOMER = "newcomer"
    """a later process: the name is its own from now on"""
    DISPLACED = "displaced"
    """an earlier process: refused"""


def claim(record: Record, process: ProcessIdentity | None) -> Claim:
    """Whose message is this? ``None`` (a command of the operator's) never contests a name.

    On one host the later process start is the newer; across hosts, or within one tick, the order of arrival counts.
    """
    owner = record.owner
    if process is None or process == owner:
        return Claim.OWNER
    if record.details is not None and process in record.details.displaced:
        return Claim.DISPLACED
    if owner is not None and process.boot == owner.boot and 0 < process.start < owner.start:
        return Claim.DISPLACED
    return Claim.NEWCOMER


def displace(record: Record, process: ProcessIdentity) -> None:
    """Remember that ``process`` may no longer feed this name."""
    displaced = record.detailed().displaced
    if process not in displaced:
        displaced.append(process)
        del displaced[:-DISPLACED_MAX]
