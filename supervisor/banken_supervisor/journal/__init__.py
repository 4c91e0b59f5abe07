"""What the supervisor remembers: an SQLite file, written by one thread and read by many processes.

``Journal`` is the writer, ``restore`` what a new supervisor begins with, ``reading`` what the command line shows
and ``checking`` what an operator does to the file. entries.py says what is kept, tables.py and schema.py how.
"""

from __future__ import annotations

from banken_supervisor.journal.clock_history import ClockHistory, Reading
from banken_supervisor.journal.condition import Condition
from banken_supervisor.journal.entries import (
    GIVEN_UP,
    Cleared,
    Declared,
    Entry,
    EventSeen,
    EvidenceTaken,
    IncidentClosed,
    IncidentRecord,
    LastFeed,
    Rank,
    Released,
    StepNotBegun,
    StepRun,
)
from banken_supervisor.journal.journal_file import JournalSettings
from banken_supervisor.journal.reading import Restored, restore
from banken_supervisor.journal.retention import Limits
from banken_supervisor.journal.schema import JournalDamaged, JournalError, JournalRefused, JournalUnreadable
from banken_supervisor.journal.values import squeeze
from banken_supervisor.journal.writer import Journal

__all__ = [
    "GIVEN_UP",
    "Cleared",
    "ClockHistory",
    "Condition",
    "Declared",
    "Entry",
    "EventSeen",
    "EvidenceTaken",
    "IncidentClosed",
    "IncidentRecord",
    "Journal",
    "JournalDamaged",
    "JournalError",
    "JournalRefused",
    "JournalSettings",
    "JournalUnreadable",
    "LastFeed",
    "Limits",
    "Rank",
    "Reading",
    "Released",
    "Restored",
    "StepNotBegun",
    "StepRun",
    "restore",
    "squeeze",
]
