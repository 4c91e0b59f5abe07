"""Whether the end of a process is an incident, by its status and by what it said before."""

from __future__ import annotations

from banken.protocol.messages import Exit, ProcessIdentity
from banken_supervisor.engine.descriptions import exited_event
from banken_supervisor.engine.effects import Effect
from banken_supervisor.engine.record import Details, Record


def is_clean_end(record: Record, status: int | None, is_left: bool, why: str | None) -> bool:
    """Whether this end of a process is no incident."""
    allowed = record.declaration.exit
    if allowed is not Exit.UNCLEAN:
        return allowed is Exit.NEVER
    found = is_left and why is None if status is None else status in record.declaration.clean
    return found or record.is_ending


def tell_unjudged_end(record: Record, process: ProcessIdentity, out: list[Effect]) -> None:
    """Another process has the name now, and not this one: an end that is not judged yet is no incident any more.
    One that would have been is told."""
    details = record.details
    if details is None or process not in (details.ended or ()):
        return
    status = (details.ended or {})[process]
    is_left, why = word_of(details, process)
    if not is_clean_end(record, status, is_left, why):
        said = {} if why is None else {"reason": why}
        out.append(exited_event(record, process, status, said))


def word_of(details: Details, process: ProcessIdentity) -> tuple[bool, str | None]:
    """(whether it had said that it ends, the exception that it named)."""
    leaving = details.leaving or {}
    return process in leaving, leaving.get(process)
