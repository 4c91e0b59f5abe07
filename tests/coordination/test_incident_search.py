"""Incidents of several members: what each says is put together, and what is odd is passed over."""

from __future__ import annotations

from typing import Any

import pytest

from banken.errors import Refused
from banken.protocol.incidents import Cause
from banken_supervisor.cli.cluster_incidents import HANDED_OVER, _record, merged
from banken_supervisor.control.incidents_api import Search
from banken_supervisor.journal.entries import IncidentRecord
from banken_supervisor.journal.reading import plain
from banken_supervisor.runtime.incident_search import KEPT_MAX, UNDER_WAY_MAX, IncidentSearch

ALL = Search((), False, None, 10)


def record(**more: Any) -> IncidentRecord:
    return IncidentRecord(**{"id": "i-1", "name": "w", "cause": Cause.TIMEOUT, "opened": 100.0, **more})


@pytest.mark.parametrize("other", [{"closed": 130.0, "how": "fed"}, {}, {"how": "given-up"}])
def test_who_went_on_with_it_knows_how_it_ended(other: dict[str, Any]) -> None:
    """Whichever of them was asked first."""
    former = record(closed=120.0, how=HANDED_OVER, pid=7, silence=9.0)
    last = record(opened=100.5, **other)
    for found in (merged(former, last), merged(last, former)):
        assert (found.closed, found.how) == (last.closed, last.how)
        assert (found.opened, found.pid, found.silence) == (100.0, 7, 9.0)


def test_a_row_is_read_and_an_odd_one_is_passed_over() -> None:
    good = plain(record(closed=120.0, how="fed"))
    assert _record(good) == record(closed=120.0, how="fed")
    for odd in (None, [], {}, {**good, "cause": "boredom"}, {**good, "opened": "x"}, {**good, "name": 5}):
        assert _record(odd) is None


class Bench:
    """A search whose thread and loop are this test."""

    def __init__(self, path: str | None = None) -> None:
        self.jobs: list[Any] = []
        self.search = IncidentSearch(path, lambda lane, work: self.jobs.append(work), lambda do: do(), {})

    def run(self) -> None:
        while self.jobs:
            self.jobs.pop(0)()


def test_a_search_is_asked_for_until_it_is_done() -> None:
    bench = Bench()
    number = bench.search.search(ALL, others=False)
    assert bench.search.found(number) == {"done": False, "members": {}}
    bench.run()
    assert bench.search.found(number) == {"done": True, "members": {"": {"rows": [], "why": "keeps no journal"}}}
    assert bench.search.found(number + 1) == {"done": True, "members": {}}  # nobody has asked for that


def test_searches_are_bounded() -> None:
    bench = Bench()
    for _ in range(UNDER_WAY_MAX):
        bench.search.search(ALL, others=False)
    with pytest.raises(Refused, match="under way"):
        bench.search.search(ALL, others=False)
    for _ in range(KEPT_MAX + 5):
        bench.run()
        bench.search.search(ALL, others=False)
    assert len(bench.search._found) == KEPT_MAX


def test_a_journal_that_cannot_be_read_is_said_so() -> None:
    bench = Bench("/nowhere/journal")
    number = bench.search.search(ALL, others=False)
    bench.run()
    (said,) = bench.search.found(number)["members"].values()
    assert said["rows"] == []
    assert said["why"]
