"""Incidents and their stories as plain data: what ``--json`` prints, and the web's API answers.

Times are seconds since 1970 (UTC), durations seconds.
"""

from __future__ import annotations

from typing import Any

from banken_supervisor.journal.reading import Story
from banken_supervisor.journal.rows import EventRecord, IncidentRecord

_STEP = ("step", "run", "action", "started", "ok", "text")


def shown(record: IncidentRecord) -> dict[str, Any]:
    """One incident."""
    return record._asdict()


def event(record: EventRecord) -> dict[str, Any]:
    """One event of a timeline."""
    return {"time": record.time, "type": record.type, **(record.data if isinstance(record.data, dict) else {})}


def whole(story: Story) -> dict[str, Any]:
    """One incident with all that is kept of it."""
    return {
        **shown(story.incident),
        "steps": [{key: getattr(step, key) for key in _STEP} for step in story.steps],
        "events": [event(each) for each in story.events],
        "evidence": [{"taken": each.taken, **as_dict(each.data)} for each in story.evidence],
        "problems": list(story.problems),
    }


def as_dict(data: Any) -> dict[str, Any]:
    """Kept data, whatever it is, as a dict."""
    return data if isinstance(data, dict) else {"data": data}
