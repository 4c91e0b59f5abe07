"""Events in words, for the log."""

from __future__ import annotations

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
        case EventType.ACTION | EventType.WOULD_ACT:
            does = "does" if event.type is EventType.ACTION else "would do"
            level = f" ({data['level']})" if "level" in data else ""
            return (
                f"{name} rung {data['rung']}{level} {does} {data['do']!r}, run {data['run']} [{data['incident']}]"
            )
        case EventType.ACTION_DONE | EventType.ACTION_FAILED | EventType.ACTION_STUCK | EventType.ACTION_SKIPPED:
            text = f": {data['text']}" if "text" in data else ""
            return f"{name} {data['do']} {event.type.value.removeprefix('action-')}{text} [{data['incident']}]"
        case EventType.STALLED:
            return f"the supervisor itself lost {data['lost']:.3f} s; it is held against nobody"
        case EventType.REFUSED:
            return f"{name} refused ({data['reason']}): {data['text']} ({data['total']} so far)"
    told = ", ".join(f"{key} {value}" for key, value in data.items() if value is not None)
    return f"{name} {event.type.value}{': ' if told else ''}{told}"
