"""Entries of the journal as plain data: what ``--json`` prints, the web's API answers and the export writes.

Times are seconds since 1970 (UTC), durations seconds.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from banken_supervisor.journal.entries import Declared, EventSeen, EvidenceTaken
from banken_supervisor.journal.reading import Story


def plain(entry: Any) -> dict[str, Any]:
    """An entry's fields, under the names that they have in Python. ValueError: damaged evidence."""
    found = {each.name: getattr(entry, each.name) for each in fields(entry)}
    if isinstance(entry, Declared):
        found["declaration"] = entry.declaration._asdict()
        found["owner"] = None if entry.owner is None else entry.owner._asdict()
        found["state"] = entry.state.value
    elif isinstance(entry, EvidenceTaken):
        found["data"] = entry.data
        del found["blob"]
    return found


def event(record: EventSeen) -> dict[str, Any]:
    """One event of a timeline."""
    return {"time": record.time, "type": record.type, **(record.data if isinstance(record.data, dict) else {})}


def whole(story: Story) -> dict[str, Any]:
    """One incident with all that is kept of it."""
    return {
        **plain(story.incident),
        "steps": [{key: each for key, each in plain(step).items() if key != "incident"} for step in story.steps],
        "events": [event(each) for each in story.events],
        "evidence": [{"taken": each.taken, **each.data} for each in story.evidence],
        "problems": list(story.problems),
    }
