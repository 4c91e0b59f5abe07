"""``host``: this machine has disk, memory and CPU to spare, and is cool. The figures are psutil's."""

from __future__ import annotations

import re
from functools import partial
from time import monotonic
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field, model_validator

from banken_supervisor.actions import options
from banken_supervisor.actions.options import Table
from banken_supervisor.checks.base import CheckFields
from banken_supervisor.checks.outcome import Outcome
from banken_supervisor.checks.progress import Progress
from banken_supervisor.checks.subject import Subject
from banken_supervisor.checks.thresholds import (
    BYTES,
    COUNT,
    DEGREES,
    PERCENT,
    Since,
    Threshold,
    comparison,
    threshold,
)
from banken_supervisor.text.quoting import kind_of, quoted

DISKS_MAX = 50

_disk = re.compile(r"\s*(/.*?)\s*((?:<|>|==).*)", re.DOTALL)


class DiskLimit(NamedTuple):
    """Of the file system that a path lies in."""

    path: str
    limit: Threshold

    def __str__(self) -> str:
        return f"{self.path} {self.limit}"


def disks(value: object) -> tuple[DiskLimit, ...]:
    """``"/var < 90 %"``, or a list of such."""
    allowed = 'allowed is a path and a comparison, such as "/var < 90 %" or "/ < 500GB", or a list of such'
    found = []
    given = value if isinstance(value, (list, tuple)) else [value]
    if not given or len(given) > DISKS_MAX:
        raise ValueError(f"has {len(given)} limits; 1 to {DISKS_MAX} are allowed")
    for each in given:
        if not isinstance(each, str):
            raise ValueError(f"must be a text, not {kind_of(each)}; {allowed}")
        match = _disk.fullmatch(options.text(each))
        if match is None:
            raise ValueError(f"{quoted(each)} is no limit; {allowed}")
        found.append(DiskLimit(match[1], threshold(match[2], PERCENT, BYTES, with_for=True)))
    return tuple(found)


_DISKS = {"anyOf": [options.STRING, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}


class HostTable(Table):
    """The limits; at least one."""

    disk: Annotated[tuple[DiskLimit, ...], *options.kind(disks, _DISKS)] | None = Field(
        None, description='Used of a file system, or of its inodes if that is more: "/var < 90 %"; or a list.'
    )
    memory: Annotated[Threshold, *comparison(PERCENT, BYTES, with_for=True)] | None = Field(
        None, description='Used, without what the kernel can take back: "< 90 %".'
    )
    swap: Annotated[Threshold, *comparison(PERCENT, BYTES, with_for=True)] | None = Field(
        None, description='Used: "< 50 %".'
    )
    load: Annotated[Threshold, *comparison(COUNT, with_for=True)] | None = Field(
        None, description='Mean of the last minute: "< 8".'
    )
    temperature: Annotated[Threshold, *comparison(DEGREES, with_for=True)] | None = Field(
        None, description='The hottest sensor, in °C: "< 85".'
    )
    cpu: Annotated[Threshold, *comparison(PERCENT, with_for=True)] | None = Field(
        None, description='Of all cores, since the last run: "< 95 % for 5m".'
    )

    @model_validator(mode="after")
    def _some(self) -> HostTable:
        if not any(getattr(self, key) for key in type(self).model_fields):
            raise ValueError('is empty; allowed is one such as { disk = "/var < 90 %", memory = "< 90 %" }')
        return self


class Earlier:
    """From one run to the next."""

    def __init__(self) -> None:
        self.since = Since()
        self.cpu: tuple[float, float, float] | None = None
        """CPU seconds in all, those idle, and when"""


class Host(CheckFields):
    """Of this machine."""

    kind: ClassVar[str] = "host"

    host: HostTable = Field(description='Limits of this machine: { disk = "/var < 90 %", memory = "< 90 %" }.')

    @property
    def label(self) -> str:
        table = self.host
        words = [f"disk {each}" for each in table.disk or ()]
        words += [
            f"{key} {limit}"
            for key in ("memory", "swap", "load", "temperature", "cpu")
            if (limit := getattr(table, key))
        ]
        return "host " + ", ".join(words)

    async def look(self, subject: Subject, progress: Progress) -> Outcome:
        """Ask the kernel; file systems and sensors on threads, for they may not answer."""
        import psutil

        from banken_supervisor.checks.blocking import call
        from banken_supervisor.checks.host_figures import disk, hottest, load

        kept = subject.kept = subject.kept if isinstance(subject.kept, Earlier) else Earlier()
        table, figures = self.host, dict[str, tuple[float | None, Threshold]]()
        for each in table.disk or ():
            progress.text = f"the file system of {each.path} does not answer"
            figures[f"disk {each.path}"] = (
                await call(("disk", each.path), partial(disk, each.path, each.limit.unit)),
                each.limit,
            )
        if table.memory is not None:
            memory = psutil.virtual_memory()
            figures["memory"] = (
                memory.percent if table.memory.unit == PERCENT else memory.total - memory.available,
                table.memory,
            )
        if table.swap is not None:
            swap = psutil.swap_memory()
            figures["swap"] = swap.percent if table.swap.unit == PERCENT else swap.used, table.swap
        if table.load is not None:
            figures["load"] = load(), table.load
        if table.temperature is not None:
            progress.text = "its sensors do not answer"
            heat = await call(("sensors",), hottest)
            if heat is None:
                return Outcome(False, "this machine has no sensor of temperature that can be read")
            figures["temperature"] = heat, table.temperature
        if table.cpu is not None:
            figures["cpu"] = self._cpu(kept), table.cpu
        return kept.since.judge(figures)

    def _cpu(self, kept: Earlier) -> float | None:
        """Percent of all cores since the last run; None: there was none."""
        import psutil

        times = psutil.cpu_times()
        # Linux counts guests' time in user's as well.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        idle = times.idle + getattr(times, "iowait", 0.0)
        before, kept.cpu = kept.cpu, (total, idle, monotonic())
        if before is None or total <= before[0]:
            return None
        return max(0.0, 100 - (idle - before[1]) / (total - before[0]) * 100)
