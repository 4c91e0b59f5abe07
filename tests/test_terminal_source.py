"""What the live views ask for, against a supervisor whose list changes while it is read; events that come twice."""

from __future__ import annotations

from typing import Any, cast

import pytest

from banken.control import Control
from banken.errors import Unreachable
from banken_supervisor.cli.events import Printer
from banken_supervisor.cli.poller import CHUNK, LONG, Source


class Listing:
    """Answers ``status`` and ``look`` as a supervisor does, from ``names``; ``meanwhile`` is called before each."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.asked: list[tuple[str, int]] = []
        self.meanwhile: dict[int, list[str]] = {}
        """names that are released before the request of this number"""

    def request(self, op: str, **args: Any) -> Any:
        for gone in self.meanwhile.get(len(self.asked), []):
            self.names.remove(gone)
        self.asked.append((op, len(args.get("names", ())) or args.get("limit", 0)))
        if op == "look":
            found = [name for name in args["names"] if name in self.names]
            return {"rows": [{"name": name, "feeds": [[1.0, 2.0]]} for name in found], "gone": []}
        offset, limit = args["offset"], args["limit"]
        page = self.names[offset : offset + limit]
        end = offset + len(page)
        return {
            "rows": [{"name": name} for name in page],
            "next": end if end < len(self.names) else None,
            "total": len(self.names),
        }


def read(listing: Listing, source: Source) -> int:
    """One whole pass; how often the supervisor was left in peace meanwhile."""
    return sum(1 for _ in source._listing(cast(Control, listing)))


def test_nobody_is_missed_while_others_are_released() -> None:
    """Those behind a released one move up, across the edge of the page that was read."""
    listing = Listing([f"w-{number:03}" for number in range(350)])
    listing.meanwhile = {1: [f"w-{number:03}" for number in range(50, 90)], 3: ["w-000", "w-349"]}
    source = Source("/nowhere", lambda: None)
    read(listing, source)
    assert set(listing.names) <= set(source.snapshot.rows)
    assert source.snapshot.complete


def test_a_long_list_is_read_in_small_pieces_with_rests() -> None:
    """At most a hundred in a request, and a rest after each."""
    listing = Listing([f"w-{number}" for number in range(LONG + 250)])
    source = Source("/nowhere", lambda: None)
    assert read(listing, source) == len(listing.asked) == 8
    assert {size for _, size in listing.asked} == {CHUNK}
    source.every_rate = True
    read(listing, source)
    assert all("feeds" in row for row in source.snapshot.rows.values())


def test_what_was_seen_closely_is_not_lost_with_the_next_list() -> None:
    """The page keeps its gaps while the list is read; who is gone is gone."""
    listing = Listing(["a", "b", "c"])
    source = Source("/nowhere", lambda: None)
    read(listing, source)
    source.visible = ("a", "b")
    source._look(cast(Control, listing))
    listing.names.remove("b")
    read(listing, source)
    assert source.snapshot.rows == {"a": {"name": "a", "feeds": [[1.0, 2.0]]}, "c": {"name": "c"}}


def test_a_problem_is_dated_from_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told as long as it lasts, with the time of its first appearance; what was known stays."""
    times = iter([10.0, 20.0, 30.0, 40.0])
    monkeypatch.setattr("banken_supervisor.cli.poller.monotonic", lambda: next(times))
    source = Source("/nowhere", lambda: None)
    for _ in range(2):
        source._tell(problem=str(Unreachable("no supervisor answers")))
    assert (source.snapshot.problem, source.snapshot.since, source.snapshot.at) == (
        "no supervisor answers", 20.0, 30.0,
    )  # fmt: skip
    source._tell(problem="")
    assert source.snapshot.problem == ""


def test_an_event_from_the_journal_is_not_printed_again(capsys: pytest.CaptureFixture[str]) -> None:
    """One that was being announced while the journal was read arrives as well; another's number may be the same."""
    printer = Printer(True, None, ())
    printer.past = {(5, 1.5)}
    for seq, time in ((5, 1.5), (5, 99.0), (6, 1.5)):
        printer.show({"seq": seq, "time": time, "type": "expired"})
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()] == ['{"seq": 5', '{"seq": 6']
    counted = Printer(True, 1, ("a*",))
    for name in ("b", "ab", "ac"):
        counted.show({"seq": 1, "time": 1.0, "type": "expired", "name": name})
    assert '"ab"' in (said := capsys.readouterr().out)
    assert said.count("\n") == 1
    assert counted.enough
