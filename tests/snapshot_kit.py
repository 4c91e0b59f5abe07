"""A journal without a disk: what a engine tells and what it says is to be kept, for another one to begin with."""

from __future__ import annotations

from typing import Any

from banken.protocol.incidents import Cause
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.last_feeds import is_long
from banken_supervisor.engine.snapshot import (
    Checkpoint,
    PastFeed,
    PastIncident,
    PastRun,
    Snapshot,
    checkpoint,
    last_feed,
)
from engine_kit import events_of


class Shelf:
    """Everything that was put there, with the wall-clock time of each, seconds."""

    def __init__(self) -> None:
        self.registry: dict[str, tuple[Checkpoint, float]] = {}
        self.feeds: dict[str, tuple[PastFeed, float]] = {}
        self.opened: dict[str, tuple[Event, float]] = {}
        """by id, the incidents that nobody closed"""
        self.given_up: set[str] = set()
        """ids of those that were given up"""
        self.closed: dict[str, tuple[Event, float, str]] = {}
        self.ran: dict[str, list[tuple[dict[str, Any], float]]] = {}

    def put(self, engine: Engine, effects: list[Effect], now: float, wall: float) -> None:
        """Keep what these effects tell, and the records that have changed. ``now``: deadline time."""
        for event in events_of(effects):
            self._event(event, wall)
        for name in list(engine.table.changed):
            del engine.table.changed[name]
            record = engine.get(name)
            kept = None if record is None else checkpoint(record, engine.table.program_of, now)
            if record is not None and kept is not None:
                self.registry[name] = kept, wall
                if is_long(record):
                    engine.table.fed[name] = None
            else:
                self.registry.pop(name, None)
                self.feeds.pop(name, None)
        engine.last_feeds.turn(now)
        for name in list(engine.table.fed):
            del engine.table.fed[name]
            record = engine.get(name)
            if record is not None and record.is_judged and is_long(record):
                self.feeds[name] = last_feed(record, now), wall

    def left(self, wall: float) -> Snapshot:
        """What a new supervisor finds."""
        watchdogs = [
            kept if kept.left is None else kept._replace(left=kept.left - (wall - at))
            for kept, at in self.registry.values()
        ]
        ran: dict[str, list[PastRun]] = {}
        for id_, (event, _, _) in self.closed.items():
            assert event.name is not None
            ran.setdefault(event.name, []).extend(self._ran(id_, wall))
        return Snapshot(
            watchdogs,
            [self._begun(id_, event, at, wall) for id_, (event, at) in self.opened.items()],
            ran,
            {name: last._replace(age=wall - at, host_on=wall - at) for name, (last, at) in self.feeds.items()},
        )

    def _event(self, event: Event, wall: float) -> None:
        data = event.data
        match event.type:
            case EventType.EXPIRED:
                self.opened[data["incident"]] = event, wall
            case EventType.GIVEN_UP:
                self.given_up.add(data["incident"])
            case EventType.RECOVERED | EventType.CLOSED:
                found = self.opened.pop(data["incident"], None)
                if found is not None:
                    self.closed[data["incident"]] = *found, data["how"]
            case EventType.ACTION:
                self.ran.setdefault(data["incident"], []).append((data, wall))

    def _ran(self, id_: str, wall: float) -> list[PastRun]:
        return [PastRun(data["step"], data["run"], data["do"], wall - at) for data, at in self.ran.get(id_, ())]

    def _begun(self, id_: str, event: Event, at: float, wall: float) -> PastIncident:
        data = event.data
        return PastIncident(
            id_,
            event.name or "",
            Cause(data["cause"]),
            wall - at + data["age"],
            data["silence"],
            data["timeout"],
            data.get("reason"),
            data.get("status"),
            data.get("progress"),
            steps=tuple(self._ran(id_, wall)),
            given_up=id_ in self.given_up,
        )
