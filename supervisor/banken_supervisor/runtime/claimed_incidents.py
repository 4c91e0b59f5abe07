"""From a claim in the store to an incident of the engine."""

from __future__ import annotations

from banken.clock import wall
from banken.protocol.incidents import Cause
from banken_supervisor.coordination.records import Begun, Claim
from banken_supervisor.engine.ladder import Step
from banken_supervisor.engine.record import Record, deadline
from banken_supervisor.engine.snapshot import PastIncident, PastRun
from banken_supervisor.runtime.spent_budgets import RUNS_MAX


def past_incident(name: str, claim: Claim, record: Record | None, now: float, least: float) -> PastIncident:
    """The incident as a restart would find it; ``now``: deadline time. Its age is taken from this supervisor's own
    timer, for the clock of the host where it was opened may be another one. ``least``: seconds of it
    that are certain."""
    due = deadline(record) if record is not None and record.is_judged else None
    age = now - due if due is not None and due <= now else max(least, wall() - claim.opened)
    steps = tuple(
        PastRun(each.step, each.run, each.action, max(0.0, age - (each.at - claim.opened))) for each in claim.begun
    )
    details = None if record is None else record.details
    status, progress = (None, None) if details is None else (details.status, details.progress)
    return PastIncident(
        claim.id, name, Cause(claim.cause), age, claim.silence, claim.timeout, claim.reason, status, progress,
        steps, claim.given_up, least,
    )  # fmt: skip


def with_begun(claim: Claim, begun: Begun, step: Step) -> Claim:
    """The claim, with another run of this step. Of the earlier ones as many stay as its budget looks at: else it
    would grow for as long as its step is repeated, until the store does not take it."""
    most = RUNS_MAX if step.budget is not None or step.backoff is not None else 0
    ended = [each for each in claim.begun if each.step == begun.step and each.ended]
    dropped = set(ended[: max(0, len(ended) - most)])
    return claim._replace(begun=(*(each for each in claim.begun if each not in dropped), begun))


def without(claim: Claim, begun: Begun) -> Claim:
    """The claim, without this run, which was not begun. Where the claim has no other run of its step, the one
    before stays, with its time: else the next leader would begin the first one again. All stays of what is given
    up: the next leader begins nothing there, and says that it is not known."""
    if claim.given_up:
        return claim
    left = tuple(each for each in claim.begun if (each.step, each.run) != (begun.step, begun.run))
    if begun.run > 1 and all(each.step != begun.step for each in left):
        left = (*left, begun._replace(run=begun.run - 1, ended=True))
    return claim._replace(begun=left)


def with_ended(claim: Claim, step: int, run: int) -> Claim:
    """The claim, with this run of a step marked as ended."""
    return claim._replace(
        begun=tuple(
            each._replace(ended=True) if (each.step, each.run) == (step, run) else each for each in claim.begun
        )
    )
