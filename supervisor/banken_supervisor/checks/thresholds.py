"""Limits as people write them: ``< 2GiB``, ``< 95 % for 5m``, ``>= 2``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, NamedTuple

from banken_supervisor.actions import options
from banken_supervisor.checks.outcome import Outcome
from banken_supervisor.text.durations import format_s
from banken_supervisor.text.quoting import kind_of, quoted

BYTES, PERCENT, COUNT, SECONDS, DEGREES = "bytes", "%", "count", "s", "°C"
"""What a limit is of."""

_SIZES = {
    "b": 1,
    "kb": 10**3,
    "kib": 2**10,
    "mb": 10**6,
    "mib": 2**20,
    "gb": 10**9,
    "gib": 2**30,
    "tb": 10**12,
    "tib": 2**40,
}
_form = re.compile(
    r"\s*(<=|>=|==|<|>)\s*(\d{1,15}(?:\.\d{1,6})?)\s*(.*?)\s*(?:\sfor\s+(\S.{0,40}?))?\s*", re.ASCII | re.DOTALL
)
_EXAMPLES = {BYTES: "< 2GiB", PERCENT: "< 90 %", COUNT: "< 1000", SECONDS: "< 24h", DEGREES: "< 85"}
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": lambda found, limit: found < limit,
    "<=": lambda found, limit: found <= limit,
    ">": lambda found, limit: found > limit,
    ">=": lambda found, limit: found >= limit,
    "==": lambda found, limit: found == limit,
}


class Threshold(NamedTuple):
    """A comparison that passes, and how long it may not."""

    written: str
    operator: str
    limit: float
    unit: str
    for_s: float = 0.0
    """seconds for which it must not pass until it counts"""

    def __str__(self) -> str:
        return self.written

    def passes(self, found: float) -> bool:
        return _OPERATORS[self.operator](found, self.limit)


def threshold(value: object, *units: str, with_for: bool = False) -> Threshold:
    """One of these units. ValueError says which there are."""
    if isinstance(value, Threshold):
        return value
    examples = " or ".join(f'"{_EXAMPLES[unit]}"' for unit in units)
    if with_for:
        examples += f' or "{_EXAMPLES[units[0]]} for 5m"'
    if isinstance(value, bool) or not isinstance(value, str):
        raise ValueError(f"must be a comparison such as {examples}, not {kind_of(value)}")
    found = _form.fullmatch(options.text(value, longest=100, what="a comparison"))
    if found is None:
        raise ValueError(f"{quoted(value)} is no comparison; allowed is one such as {examples}")
    operator, number, unit, period = found.groups()
    limit, of = _limit(value, float(number), unit, units, examples)
    if period is not None and not with_for:
        raise ValueError(f"{quoted(value)}: for is not allowed here; fails = … says how many failures count")
    for_s = 0.0 if period is None else options.duration(period)
    return Threshold(value.strip(), operator, limit, of, for_s)


def _limit(written: str, number: float, unit: str, units: tuple[str, ...], examples: str) -> tuple[float, str]:
    """The limit in the unit of one of these, and which."""
    if unit == "%" and PERCENT in units:
        return number, PERCENT
    if unit.lower() in _SIZES and BYTES in units:
        return number * _SIZES[unit.lower()], BYTES
    if unit in ("", "°C", "C") and DEGREES in units:
        return number, DEGREES
    if unit == "" and COUNT in units:
        return number, COUNT
    if unit and SECONDS in units:
        try:
            return options.duration(f"{number:g}{unit}"), SECONDS
        except ValueError:
            pass
    what = f"{quoted(unit)} is no unit of this" if unit else "has no unit"
    raise ValueError(f"{quoted(written)}: {what}; allowed is one such as {examples}")


def comparison(*units: str, with_for: bool = False) -> Any:
    """What makes a Threshold a comparison of these units, see ``threshold``."""
    examples = [_EXAMPLES[unit] for unit in units]
    return options.kind(
        lambda value: threshold(value, *units, with_for=with_for),
        {"type": "string", "pattern": r"^\s*(<=|>=|==|<|>)\s*\d", "examples": examples},
    )


def shown(value: float, unit: str) -> str:
    """A figure with its unit, for people."""
    if unit == BYTES:
        for size, name in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
            if value >= size:
                return f"{value / size:.1f} {name}"
        return f"{value:.0f} bytes"
    if unit == SECONDS:
        return format_s(value)
    return f"{value:.0f}" if unit == COUNT else f"{value:.1f} {unit}"


class Since:
    """Since when each limit has not been kept: what ``for`` needs from one run to the next."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._kept: set[str] = set()
        """limits that were kept once"""

    def judge(self, found: Mapping[str, tuple[float | None, Threshold]]) -> Outcome:
        """Whether all pass, or have failed for too short a time; with all figures, the bad ones first. None is one
        that the first look does not have. A pass is provisional while there is such a one, or one that was not kept
        since the first look: nobody knows for how long before that."""
        now = monotonic()
        bad, good, missing = [], [], [name for name, (value, _) in found.items() if value is None]
        for name, (value, limit) in found.items():
            if value is None:
                continue
            words = f"{name} {shown(value, limit.unit)}"
            if limit.passes(value):
                self._since.pop(name, None)
                self._kept.add(name)
                good.append(words)
                continue
            lasted = now - self._since.setdefault(name, now)
            if lasted >= limit.for_s:
                bad.append(f"{words}, {limit} was expected")
            else:
                good.append(f"{words} for {format_s(lasted)} (allowed: {format_s(limit.for_s)})")
        text = "; ".join([*bad, *good]) or f"{', '.join(missing)}: the first look has nothing to compare with"
        is_open = bool(missing) or not self._since.keys() <= self._kept
        return Outcome(not bad, text, provisional=not bad and is_open)
