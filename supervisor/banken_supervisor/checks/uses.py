"""``uses``: what the program uses, with its whole process tree, is within limits."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from banken_supervisor.actions.options import Table
from banken_supervisor.checks.base import CheckFields
from banken_supervisor.checks.outcome import Outcome
from banken_supervisor.checks.progress import Progress
from banken_supervisor.checks.subject import Subject
from banken_supervisor.checks.thresholds import BYTES, COUNT, PERCENT, SECONDS, Since, Threshold, comparison

CPU_LEAST_S = 0.05
"""Seconds between two looks at CPU time: within less, one tick would be much."""


class UsesTable(Table):
    """The limits; at least one."""

    memory: Annotated[Threshold, *comparison(BYTES, with_for=True)] | None = Field(
        None, description='Of all its processes: "< 2GiB", "< 2GiB for 5m".'
    )
    cpu: Annotated[Threshold, *comparison(PERCENT, with_for=True)] | None = Field(
        None, description='Of one core, since the last run: "< 95 % for 5m".'
    )
    files: Annotated[Threshold, *comparison(COUNT, with_for=True)] | None = Field(
        None, description='Open descriptors of all: "< 1000".'
    )
    children: Annotated[Threshold, *comparison(COUNT, with_for=True)] | None = Field(
        None, description='Processes that it started: "< 50".'
    )
    age: Annotated[Threshold, *comparison(SECONDS)] | None = Field(None, description='Since it began: "< 24h".')

    @model_validator(mode="after")
    def _some(self) -> UsesTable:
        if not self.limits():
            raise ValueError('is empty; allowed is one such as { memory = "< 2GiB", cpu = "< 95 % for 5m" }')
        return self

    def limits(self) -> dict[str, Threshold]:
        """Those that are set."""
        return {key: limit for key in type(self).model_fields if (limit := getattr(self, key)) is not None}


class Earlier:
    """From one run to the next."""

    def __init__(self) -> None:
        self.since = Since()
        self.process = (0, 0)
        self.cpu: tuple[str, float, float] | None = None
        """of what, CPU seconds, and when, monotonic"""


class Uses(CheckFields):
    """Within its limits."""

    kind: ClassVar[str] = "uses"

    uses: UsesTable = Field(description='Limits of the program: { memory = "< 2GiB", cpu = "< 95 % for 5m" }.')

    @property
    def label(self) -> str:
        return "uses " + ", ".join(f"{key} {limit}" for key, limit in self.uses.limits().items())

    async def look(self, subject: Subject, progress: Progress) -> Outcome:
        """Add up its processes, on a thread."""
        from banken_supervisor.checks.blocking import call
        from banken_supervisor.checks.process_tree import usage

        if not subject.pid:
            return Outcome(False, f"{subject.name} has no process")
        kept = subject.kept if isinstance(subject.kept, Earlier) else Earlier()
        if kept.process != (subject.pid, subject.start):
            kept = Earlier()  # another process: what the last one used is no measure
            kept.process = subject.pid, subject.start
        subject.kept = kept
        progress.text = "its processes cannot be looked at"
        try:
            found = await call(("uses", *kept.process), partial(usage, *kept.process))
        except ProcessLookupError:
            return Outcome(False, f"pid {subject.pid} has ended")
        figures: dict[str, tuple[float | None, Threshold]] = {}
        values: dict[str, Any] = {
            "memory": found.memory, "files": found.files, "children": found.children, "age": found.age_s,
            "cpu": self._cpu(kept, found.cpu_of, found.cpu_s),
        }  # fmt: skip
        for key, limit in self.uses.limits().items():
            if key == "files" and found.files < 0:
                return Outcome(False, "its open files cannot be seen: they are another user's")
            figures[key] = values[key], limit
        return kept.since.judge(figures)

    def _cpu(self, kept: Earlier, of: str, cpu_s: float) -> float | None:
        """Percent of a core since the last run; None: there was none."""
        now = monotonic()
        before = kept.cpu
        if before is not None and before[0] == of and now - before[2] < CPU_LEAST_S:
            return None
        kept.cpu = of, cpu_s, now
        if before is None or before[0] != of:
            return None
        return max(0.0, cpu_s - before[1]) / (now - before[2]) * 100
