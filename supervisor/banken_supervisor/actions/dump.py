"""``dump``: keep on record what the process was doing, before anything else is done to it."""

from __future__ import annotations

import threading

from banken_supervisor.actions import options
from banken_supervisor.actions.base import Action, Outcome, Subject, World

MARGIN_S = 5.0
"""Seconds beyond its own limit that the collector may take until the run counts as stuck."""


class Dump(Action):
    """``seconds``: how long it may take."""

    name = "dump"

    def __init__(self, *, seconds: float = 5.0) -> None:
        self._seconds = options.seconds(seconds, "seconds", 0.1, 60)
        self.limit_s = self._seconds + MARGIN_S

    def run(self, subject: Subject, world: World, ended: threading.Event) -> Outcome:
        """Collect it. The executor hands it to the later actions of the same incident."""
        evidence = dict(world.collect(subject, self._seconds))
        return Outcome(True, str(evidence.get("headline") or "evidence taken"), {"evidence": evidence})
