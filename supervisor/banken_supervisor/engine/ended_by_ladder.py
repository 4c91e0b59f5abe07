"""Whether a ladder has ended the process of a watchdog: such an end is not clean, and releases nothing."""

from __future__ import annotations

from banken_supervisor.engine.record import Record

ENDS = ("kill", "restart", "signal")
"""Steps that end a process, or make it end."""


def was_ended_by_ladder(record: Record) -> bool:
    """Whether such a step was begun, of its open incident, or for the leader of the cluster, who has the incident:
    that one counts until the next feed."""
    details = record.details
    if details is None or record.policy is None:
        return False
    if details.asked_to_end is not None and record.fed_at < details.asked_to_end:
        return True
    steps, incident = record.policy.ladder.steps, details.open_incident
    return incident is not None and any(
        number < len(steps) and steps[number].do in ENDS for number in incident.step_counts
    )
