"""What this member of a cluster does for the leader: steps that need a process of this host.

Belongs to the loop's thread, but for ``permits``. It is this member's own config that says what a step is: the
leader names the watchdog and the step, and nothing else. Each run of a step is done once; what became of it is
remembered for whoever asks. One that was dropped before it began was not done: it may be begun again, for this
leader or the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from banken_supervisor.actions.dispatcher import Dispatcher, incident_of
from banken_supervisor.actions.keyed_executor import STOPPED
from banken_supervisor.actions.target import ActionReport, ActionTarget, StopReason
from banken_supervisor.control.leader_steps import Asked, RunKey
from banken_supervisor.coordination.leadership_thread import View
from banken_supervisor.coordination.roles import Role
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.effects import EventType, RunCallback, RunStep
from banken_supervisor.engine.ended_by_ladder import ENDS
from banken_supervisor.engine.record import Record
from banken_supervisor.text.cluster_text import of_store

RUNS_MAX = 1_000
"""Runs that are remembered, the latest."""


@dataclass(slots=True)
class _Run:
    name: str
    fence: int
    report: ActionReport | None = None
    """None: it has not ended"""
    is_told: bool = False
    """whether its leader has heard what became of it"""

    @property
    def was_dropped(self) -> bool:
        """Whether it was not begun, and is due again."""
        return self.report is not None and self.report.type is EventType.ACTION_DROPPED


@dataclass(eq=False)
class StepsForLeader:
    """``is_here``: whether the process of a watchdog is one of this host, or a program of this supervisor's."""

    _driver: Driver
    _view: Callable[[], View]
    _dispatcher: Dispatcher
    _is_here: Callable[[Record], bool]
    _runs: dict[RunKey, _Run] = field(default_factory=dict)
    _stops: bool = False

    def do(self, asked: Asked) -> dict[str, Any]:
        """Begin it. ``taken``: it was begun, now or before. ``here``: whether its process is here; ``why`` it is
        not done. ``stops``: this member is about to end, and may be back soon."""
        run = self._runs.get(asked.key)
        if run is not None and not run.was_dropped:
            return {"taken": True, "here": True, "why": None}
        record = self._driver.engine.get(asked.name)
        if record is None or not self._is_here(record):
            return {"taken": False, "here": False, "why": "its process is not here"}
        if self._stops:
            return {"taken": False, "here": True, "why": STOPPED, "stops": True}
        if (why := self._refusal(asked, record)) is not None:
            return {"taken": False, "here": True, "why": why}
        self._begin(asked, record)
        return {"taken": True, "here": True, "why": None}

    def did(self, key: RunKey, end: StopReason | None) -> dict[str, Any]:
        """What became of it. ``end``: why nothing more is to be waited for. ``dropped``: it was not begun, and may
        be asked for again; ``stops``: not of this member, which is about to end."""
        found = {"known": True, "done": False, "ok": False, "skipped": False, "text": "", "stops": self._stops}
        run = self._runs.get(key)
        if run is None:
            return found | {"known": False}
        report = run.report
        if report is None:
            if end is not None:
                self._dispatcher.executor.cancel(run.name, key.incident, end)
            return found
        run.is_told = True
        is_skipped = run.was_dropped or report.type is EventType.ACTION_SKIPPED
        return found | {
            "done": True, "ok": report.type is EventType.ACTION_DONE, "skipped": is_skipped,
            "dropped": run.was_dropped, "text": report.text, "data": report.data,
        }  # fmt: skip

    def stop(self) -> None:
        """This member is about to end: what waits is dropped, and what runs waits no longer."""
        self._stops = True
        for key, run in self._awaited():
            self._dispatcher.executor.cancel(run.name, key.incident, StopReason.STOPPING)

    def is_awaited(self) -> bool:
        """Whether the leader has not heard yet what became of a step."""
        return bool(self._awaited())

    def _awaited(self) -> list[tuple[RunKey, _Run]]:
        """Those of which the leader, another member, has not heard the end."""
        view = self._view()
        if view.role is Role.LEADER:
            return []
        return [each for each in self._runs.items() if each[1].fence == view.leader_term and not each[1].is_told]

    def takes(self, report: ActionReport) -> bool:
        """What became of an action. True: it was the leader's, who tells of it."""
        run = self._runs.get(_key_of(report.target))
        if run is None or run.was_dropped:  # then this member leads now, and has begun it itself
            return False
        run.report = report
        return True

    def permits(self, target: ActionTarget) -> bool | None:
        """Whether it may begin: asked on its thread, immediately before. None: it is not for the leader."""
        run = self._runs.get(_key_of(target))
        if run is None or run.report is not None:
            return None
        return not self._stops and self._is_older(run.fence) is None

    def _refusal(self, asked: Asked, record: Record) -> str | None:
        """Why this is not done, though its process is here."""
        if (why := self._is_older(asked.fence)) is not None:
            return why
        ladder = None if record.policy is None else record.policy.ladder
        steps = () if ladder is None else (*ladder.steps, *ladder.on_give_up)
        if asked.key.step >= len(steps) or steps[asked.key.step].do != asked.do:
            return f"its config has no {asked.do!r} at this place of the ladder"
        return "its config says that it only observes" if ladder is not None and ladder.observe else None

    def _is_older(self, fence: int) -> str | None:
        """Why the leader with this fence is not obeyed; None: it is the last one, as far as this member knows."""
        view = self._view()
        if view.away is not None:
            return f"it does not know who leads, for {of_store(view.away)}"
        if view.leader_term > fence:
            return f"another one leads since (fence {view.leader_term}, not {fence})"
        return None

    def _begin(self, asked: Asked, record: Record) -> None:
        driver = self._driver
        about = RunCallback(
            asked.name, None, asked.key.incident, asked.cause, driver.now, asked.silence, asked.timeout, driver.now,
            1, asked.reason, None, None,
        )  # fmt: skip
        details, policy = record.details, record.policy
        assert policy is not None
        step = (*policy.ladder.steps, *policy.ladder.on_give_up)[asked.key.step]
        scope = None if details is None else details.scope
        if step.do in ENDS:
            record.detailed().asked_to_end = driver.now
        effect = RunStep(
            about, step, asked.key.step, asked.key.run, False, record.owner,
            tuple(driver.engine.history.feeds(record, driver.now)), scope,
        )  # fmt: skip
        self._runs[asked.key] = _Run(asked.name, asked.fence)
        if len(self._runs) > RUNS_MAX:
            del self._runs[next(iter(self._runs))]
        self._dispatcher.run(effect, incident_of(about, driver.now))


def _key_of(target: ActionTarget) -> RunKey:
    return RunKey(target.incident.id, target.step, target.run)
