"""Whether the end of a process is an incident, by its status and by what it said before."""

from __future__ import annotations

from banken.protocol.messages import Exit, ProcessIdentity
from banken_supervisor.engine.record import Details, Record


def is_clean_end(record: Record, status: int | None, is_left: bool, why: str | None) -> bool:
    """Whether this end of a process is no incident."""
    allowed = record.declaration.exit
    if allowed is not Exit.UNCLEAN:
        return allowed is Exit.NEVER
    found = is_left and why is None if status is None else status in record.declaration.clean
    return found or record.is_ending


def word_of(details: Details, process: ProcessIdentity) -> tuple[bool, str | None]:
    """(whether it had said that it ends, the exception that it named)."""
    leaving = details.leaving or {}
    return process in leaving, leaving.get(process)
