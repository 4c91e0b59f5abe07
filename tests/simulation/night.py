"""One simulated night from one seed: what the tests, the planted faults and the long run all call."""

from __future__ import annotations

from typing import NamedTuple

from .mail import SECOND, Finding
from .simulated_host import Parts, SimulatedHost
from .workers import DEFAULTS, PROFILES, Night, Profile


class Report(NamedTuple):
    """What one night showed."""

    seed: int
    profile: str
    hours: float
    counts: dict[str, int]
    verdicts: int
    findings: list[Finding]
    fingerprint: str
    tail: list[str]
    """the last lines of the trace"""

    def number(self, kind: str) -> int:
        """How many findings are of this kind."""
        return sum(finding.kind == kind for finding in self.findings)


def night(
    seed: int,
    profile: Profile | None = None,
    *,
    parts: Parts = Parts(),  # noqa: B008  # a constant
    host: type[SimulatedHost] = SimulatedHost,
    hours: float | None = None,
    stop_at_finding: bool = False,
) -> Report:
    """Simulate one night; ``profile`` follows from the seed unless it is given."""
    profile = profile or PROFILES[seed % len(PROFILES)]
    length = profile.hours if hours is None else hours
    place = host(seed, DEFAULTS, parts)
    Night(seed, place, profile)
    end = int(length * 3600 * SECOND)
    at = 0
    while at < end and not (stop_at_finding and place.oracle.findings):
        at = min(end, at + SECOND if stop_at_finding else end)
        try:
            place.run(at)
        except Exception as fault:
            place.oracle.findings.append(Finding("broken", place.at, "", repr(fault)))
            break
    return Report(
        seed,
        profile.name,
        at / SECOND / 3600,
        place.counts,
        place.oracle.verdicts,
        place.oracle.findings,
        place.fingerprint(),
        list(place.trace),
    )
