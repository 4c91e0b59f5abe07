"""``depends_on``: an incident is not escalated while another watchdog, which this one depends on, is down.

The config refuses circles; what is declared in code may have one, so blame never goes round in a circle.
"""

from __future__ import annotations

from banken_supervisor.engine.record import OpenIncident, Record, deadline
from banken_supervisor.engine.table import Table

RECHECK_S = 0.5
"""Seconds until the next look, where a dependency was due but not judged yet."""


def down(table: Table, record: Record, now: float) -> str | None:
    """The first of those it depends on that is down, or about to be found so."""
    if record.policy is None:
        return None
    for name in record.policy.depends_on:
        parent = table.by_name.get(name)
        if parent is None:
            continue
        if parent.is_down:
            if not _blames(table, parent, record):
                return name
            continue
        due = deadline(parent)
        if parent.is_judged and due is not None and due <= now:
            return name
    return None


def blame(table: Table, record: Record, incident: OpenIncident, parent: str, now: float) -> None:
    """Mark the incident, and look again later: soon, if the parent is only about to be found down."""
    incident.blamed, incident.next_step, incident.recovering = parent, None, False
    incident.presumed = not table.by_name[parent].is_down
    declared = record.declaration
    incident.next_run = now + (RECHECK_S if incident.presumed else min(declared.interval, declared.timeout))


def _blames(table: Table, parent: Record, record: Record) -> bool:
    """Whether the parent's own incident is blamed on ``record``: then nobody would be notified of either."""
    seen = {parent.name}
    while parent.incident is not None:
        name = parent.incident.blamed
        if name == record.name:
            return True
        above = None if name is None or name in seen else table.by_name.get(name)
        if above is None:
            return False
        seen.add(above.name)
        parent = above
    return False
