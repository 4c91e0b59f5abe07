"""Which names are released when no memory is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice

from banken_supervisor.engine.record import Record

AMONG = 20_000
"""The newest names are looked at, so many."""

FEW = 100
"""A process with so few of them keeps all: it is not they that need the memory."""


def names_to_release(newest: Iterable[Record], count: int) -> list[Record]:
    """At most ``count`` of the ``newest`` names that only a worker has declared, of processes that have many, or
    that name no process. Those without an open incident go first: what is down should stay to be seen, but a crowd
    that died must not take the memory that the living need."""
    workers = [
        record
        for record in islice(newest, AMONG)
        if not record.operator and record.policy is None and not record.is_group
    ]
    have = Counter(record.owner for record in workers)
    crowds = [record for record in workers if record.owner is None or have[record.owner] > FEW]
    crowds.sort(key=lambda record: record.is_down)
    return crowds[:count]
