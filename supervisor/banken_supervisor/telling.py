"""Events in words, for the log."""

from __future__ import annotations

from banken_supervisor import wording
from banken_supervisor.core.effects import Event, EventType


def sentence(event: Event) -> str:
    """One line for people."""
    data = event.data
    name = event.name or "supervisor"
    match event.type:
        case EventType.EXPIRED | EventType.RUNG:
            again = "" if data["run"] == 1 else f", run {data['run']}"
            why = f": {data['reason']}" if "reason" in data else ""
            said = f", last status {data['status']!r}" if "status" in data else ""
            return (
                f"{name} {event.type.value} ({data['cause']}{again}){why}: silent for {data['silence']:.3f} s"
                f", {data['late'] * 1000:.1f} ms after its deadline{said} [{data['incident']}]"
            )
        case EventType.RECOVERED | EventType.CLOSED:
            return f"{name} {event.type.value} ({data['how']}) after {data['lasted']:.3f} s [{data['incident']}]"
        case EventType.STALLED:
            return f"the supervisor itself lost {data['lost']:.3f} s; it is held against nobody"
        case EventType.REFUSED:
            return f"{name} refused ({data['reason']}): {data['text']} ({data['total']} so far)"
    worded = wording.sentence({"type": event.type.value, "name": event.name, **data})
    if worded is not None:
        return f"{name} {worded}" + (f" [{data['incident']}]" if "incident" in data else "")
    told = ", ".join(f"{key} {value}" for key, value in data.items() if value is not None)
    return f"{name} {event.type.value}{': ' if told else ''}{told}"
