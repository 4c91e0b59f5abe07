"""The registry as it is written: all of it, in order, at a cost that is in proportion to what has changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from banken.process_identity import own_identity
from banken.protocol.incidents import Cause, Incident
from banken.protocol.messages import Declaration, Feeders, Kind, Message, ProcessIdentity
from banken_supervisor.actions.target import ActionReport, ActionTarget
from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.effects import EventType
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.rules import Rules
from banken_supervisor.journal import (
    Cleared,
    Condition,
    Declared,
    Entry,
    IncidentRecord,
    JournalSettings,
    Restored,
    reading,
    restore,
)
from banken_supervisor.outbox.checkpoints import WAIT_S as WAIT_AGAIN_S
from banken_supervisor.outbox.checkpoints import Checkpoints
from banken_supervisor.outbox.outbox import Outbox
from banken_supervisor.processes.process_watcher import ProcessWatcher

WAIT_S = 20.0


def done(run: int, text: str) -> ActionReport:
    """An action that has ended well."""
    target = ActionTarget(Incident("i-1", "w-1", Cause.TIMEOUT, 0.0, 5.0, 5.0), run=run)
    return ActionReport(EventType.ACTION_DONE, "dump", target, text, started=time.time())


class House:
    """A engine whose registry is written into a journal on disk."""

    def __init__(self, path: str) -> None:
        self.driver = Driver(Engine(Rules(Declaration()), "run"), time.monotonic())
        self.outbox = Outbox(JournalSettings(path), "run", lambda do: None)
        self.checkpoints = Checkpoints(self.driver, self.outbox)

    def changed(self, count: int) -> dict[str, None]:
        """So many names have changed, all of them watched no longer."""
        changed: dict[str, None] = self.driver.engine.table.changed
        changed.update((f"w-{number:06}", None) for number in range(count))
        return changed


@pytest.fixture
def houses(tmp_path: Path) -> Any:
    """Makes houses, and closes their journals."""
    made: list[House] = []

    def one() -> House:
        made.append(House(str(tmp_path / f"{len(made)}.db")))
        return made[-1]

    yield one
    for each in made:
        each.outbox.journal.close(0.0)


def test_what_was_only_named_by_others_is_not_trusted_after_a_restart(tmp_path: Path) -> None:
    """An owner, and a member of a pool: each is watched again, and only who said so itself may be acted upon."""
    said, named = own_identity(), own_identity()._replace(nonce=b"liar")
    path = str(tmp_path / "journal.db")
    before = House(path)
    before.checkpoints.is_proved = said.__eq__
    engine, driver = before.driver.engine, before.driver
    for name, declared, who in (
        ("owner", Declaration(5.0), said),
        ("forged", Declaration(5.0), named),
        ("pool", Declaration(5.0, feeders=Feeders.ANY), named),
    ):
        engine.tell(Message(Kind.FEED, name, who, 0.0, declared), driver.now, driver.out)
    before.checkpoints.turn()
    before.outbox.close(WAIT_S)
    after, trusted = House(path), list[ProcessIdentity]()
    watcher = ProcessWatcher()
    after.checkpoints.restore(watcher, trusted.append)
    owners = {record.name: record.owner for record in after.driver.engine.table}
    assert owners == {"owner": said, "forged": named, "pool": named}
    assert trusted == [said]
    watcher.close()
    after.outbox.journal.close(0.0)


def test_which_processes_are_extended_is_known_after_a_restart(tmp_path: Path) -> None:
    """Of several that are judged each by itself, one is."""
    extended, other = own_identity(), own_identity()._replace(pid=1)
    path, declared = str(tmp_path / "journal.db"), Declaration(60.0, feeders=Feeders.EACH)
    before = House(path)
    engine, driver = before.driver.engine, before.driver
    for kind, who, *args in (
        (Kind.FEED, extended), (Kind.FEED, other), (Kind.FEED, extended), (Kind.FEED, other),
        (Kind.EXTEND, extended, 3600.0),
    ):  # fmt: skip
        engine.tell(Message(kind, "w", who, 0.0, declared, tuple(args)), driver.now, driver.out)
    before.checkpoints.turn()
    before.outbox.close(WAIT_S)
    after, watcher = House(path), ProcessWatcher()
    after.checkpoints.restore(watcher, lambda process: None)
    record = after.driver.engine.get("w")
    assert record is not None
    members = record.detailed().members or {}
    assert {each: member.extended_until is not None for each, member in members.items()} == {
        extended: True, other: False,
    }  # fmt: skip
    watcher.close()
    after.outbox.journal.close(0.0)


def test_names_are_written_in_the_order_in_which_they_changed(houses: Callable[[], House]) -> None:
    """Those that change while others are written come after them; one that an event has written is not repeated."""
    house = houses()
    changed = house.changed(1_000)
    written: list[str] = []
    record = house.outbox.journal.record
    house.outbox.journal.record = lambda entry: (written.append(entry.name), record(entry))[1]  # type: ignore[method-assign, union-attr, func-returns-value]
    assert house.outbox.checkpoint_of("w-000700") is not None
    while changed:
        house.checkpoints.turn()
        if len(written) < 1_200:
            changed[f"later-{len(written)}"] = None
    assert written[:999] == [f"w-{number:06}" for number in range(1_000) if number != 700]
    assert all(name.startswith("later-") for name in written[999:])
    assert len(written) > 999


def test_the_cost_grows_with_the_number_of_changes(houses: Callable[[], House]) -> None:
    """Sixteen times as many take about sixteen times as long: what takes the first key of a dict again and again
    takes 256 times as long."""

    def seconds(count: int) -> float:
        best = float("inf")
        for _ in range(3):
            house = houses()
            changed = house.changed(count)
            # What is measured is the way through the names; the journal's thread would take time from this one.
            house.outbox.journal.close(0.0)
            began = time.thread_time()
            while changed:
                house.checkpoints.turn()
            best = min(best, time.thread_time() - began)
        return best

    assert seconds(160_000) < 60 * seconds(10_000)


def test_what_changed_and_what_ended_just_before_the_stop_is_on_disk(houses: Callable[[], House]) -> None:
    """The registry that no turn has come to, and the outcome of an action that ended while others were closed."""
    house = houses()
    engine, driver = house.driver.engine, house.driver
    for number in range(3_000):
        engine.declare(f"w-{number}", Declaration(5.0), driver.now, driver.out)
    assert len(engine.table.changed) == 3_000
    journal = house.outbox.journal
    journal.record(IncidentRecord("i-1", "w-1", Cause.TIMEOUT, time.time()))
    house.outbox.report(done(1, "done at last"))
    house.outbox.close(WAIT_S)
    assert len(restore(journal.path).registry) == 3_000
    story = reading.incident(journal.path, "i-1")
    assert story is not None
    assert [(each.ok, each.text) for each in story.steps] == [(True, "done at last")]
    dropped = journal.state()["dropped"]["step"]
    house.outbox.report(done(2, "too late"))
    assert journal.state()["dropped"]["step"] == dropped + 1


def test_a_journal_that_was_removed_is_whole_again_after_the_end(houses: Callable[[], House]) -> None:
    """Without anything to write, it is noticed only then."""
    house = houses()
    driver = house.driver
    for name in ("w-1", "w-2"):
        driver.engine.tell(Message(Kind.DECLARE, name, None, 0.0, Declaration(60.0)), driver.now, driver.out)
    house.checkpoints.turn()
    assert house.outbox.journal.flush(WAIT_S)
    path = Path(house.outbox.journal.path)
    for each in path.parent.glob(f"{path.name}*"):
        if not each.name.endswith(".lock"):
            each.unlink()
    house.outbox.close(WAIT_S)
    left = restore(str(path))
    assert sorted(each.name for each in left.registry) == ["w-1", "w-2"]


def _recorded(house: House, monkeypatch: pytest.MonkeyPatch) -> list[Entry]:
    """What is recorded from now on."""
    recorded: list[Entry] = []
    record = house.outbox.journal.record

    def spied(entry: Entry) -> int | None:
        recorded.append(entry)
        return record(entry)

    monkeypatch.setattr(house.outbox.journal, "record", spied)
    return recorded


@pytest.mark.parametrize("was_read", [True, False])
def test_the_registry_is_cleared_of_what_is_old_when_all_is_recorded_anew(
    houses: Callable[[], House], monkeypatch: pytest.MonkeyPatch, was_read: bool
) -> None:
    """And never of what this supervisor could not read at its start."""
    house = houses()
    engine, driver = house.driver.engine, house.driver
    house.outbox.left = Restored(was_read=was_read)
    house.checkpoints.restore(ProcessWatcher(), lambda process: None)
    for number in range(500):
        engine.declare(f"w-{number}", Declaration(5.0), driver.now, driver.out)
    house.checkpoints.turn()
    recorded = _recorded(house, monkeypatch)
    before = time.monotonic()
    house.outbox.journal_changed(Condition("ok", resync=True))
    while house.checkpoints.patience() == 0.0:
        house.checkpoints.turn()
    kinds = [type(each) for each in recorded]
    assert kinds[:500] == [Declared] * 500
    assert kinds[500:] == ([Cleared] if was_read else [])
    if was_read:
        (cleared,) = recorded[500:]
        assert isinstance(cleared, Cleared)
        assert before <= cleared.ticks <= min(each.ticks for each in recorded if isinstance(each, Declared))


def test_an_incident_is_written_again_after_its_verdict(
    houses: Callable[[], House], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which says more of it, and is the one that counts."""
    house = houses()
    engine, driver = house.driver.engine, house.driver
    engine.tell(Message(Kind.FAIL, "w", None, 0.0, None, ("broken",)), driver.now, driver.out)
    record = engine.get("w")
    assert record is not None
    assert record.incident is not None
    waiting = {"w"}
    house.checkpoints.waits = waiting.__contains__
    recorded = _recorded(house, monkeypatch)
    house.outbox.journal_changed(Condition("ok", resync=True))
    house.checkpoints.turn()
    assert recorded == []
    assert house.checkpoints.patience() == WAIT_AGAIN_S
    waiting.clear()
    house.checkpoints.turn()
    assert {type(each) for each in recorded} >= {IncidentRecord, Declared, Cleared}
    assert type(recorded[-1]) is Cleared
