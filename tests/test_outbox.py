"""What is told waits until it is on disk, keeps its order, and is told in portions."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.journal import JournalSettings
from banken_supervisor.outbox.outbox import COMMIT_WAIT_S, FOLLOWING_S, PORTION_S, WRITING_S, Outbox

COUNT = 400
EACH_S = 0.0005
WAIT_S = 20.0


def test_a_storm_is_announced_in_portions_and_in_its_order(tmp_path: Path) -> None:
    """Hundreds of announcements that one commit sets free do not hold the loop: no turn takes much longer than its
    portion, none is lost, and an action that follows from one waits for it."""
    asked: queue.Queue[Callable[[], None]] = queue.Queue()
    outbox = Outbox(JournalSettings(str(tmp_path / "journal.db")), "run-1", asked.put)
    told: list[int] = []

    def announce(number: int) -> None:
        time.sleep(EACH_S)
        told.append(number)

    for number in range(COUNT):
        event = Event(EventType.PAUSED, f"w-{number}", {"seconds": None})
        outbox.record(event, number, time.time(), lambda number=number: announce(number))
    outbox.after_commit(lambda: told.append(COUNT))
    assert told == []  # nothing is told before the loop has heard that it is on disk
    turns = 0
    deadline = time.monotonic() + WAIT_S
    while len(told) <= COUNT:
        assert time.monotonic() < deadline
        if outbox.patience() != 0.0:
            asked.get(timeout=WAIT_S)()
        before = len(told)
        outbox.turn()
        turns += 1
        # A bound in what is told and not in time: a busy machine makes a turn longer, never fuller.
        assert (len(told) - before - 1) * EACH_S <= PORTION_S
    outbox.close(WAIT_S)
    assert told == list(range(COUNT + 1))
    assert turns >= COUNT * EACH_S / PORTION_S


def test_time_in_which_the_supervisor_was_stopped_is_no_wait_for_the_disk(tmp_path: Path) -> None:
    """Else it would tell, when it goes on, what is not on disk yet: its writer was stopped, too."""
    now = [100.0]
    outbox = Outbox(JournalSettings(str(tmp_path / "journal.db")), "run-1", lambda do: None)
    outbox.clock = lambda: now[0]
    told: list[str] = []
    # Nobody hears of the commit, as if the writer had been stopped before it.
    outbox.record(Event(EventType.PAUSED, "w", {"seconds": None}), 1, time.time(), lambda: told.append("paused"))
    assert outbox.patience() == pytest.approx(WRITING_S)
    now[0] += 2 * WRITING_S
    assert outbox.patience() == pytest.approx(COMMIT_WAIT_S - 2 * WRITING_S)
    outbox.turn()
    assert told == []
    now[0] += COMMIT_WAIT_S - 0.1
    outbox.turn()
    assert told == []
    now[0] += 0.2
    outbox.turn()
    assert told == ["paused"]
    outbox.close(1.0)


def test_what_can_wait_gives_way_to_an_event_and_to_what_follows_it_for_a_moment(tmp_path: Path) -> None:
    """Not for longer: a slow disk holds up no message for as long as a commit takes."""
    now, asked = [100.0], queue.Queue[Callable[[], None]]()
    outbox = Outbox(JournalSettings(str(tmp_path / "journal.db")), "run-1", asked.put)
    outbox.clock = lambda: now[0]
    assert outbox.first_for <= 0.0
    outbox.record(Event(EventType.PAUSED, "w", {"seconds": None}), 1, time.time(), lambda: None)
    assert outbox.first_for == pytest.approx(WRITING_S)
    now[0] += WRITING_S
    assert outbox.first_for <= 0.0
    while outbox.patience() != 0.0:
        asked.get(timeout=WAIT_S)()
    outbox.turn()
    assert outbox.first_for == outbox.patience() == pytest.approx(FOLLOWING_S)
    now[0] += FOLLOWING_S
    assert outbox.first_for <= 0.0
    assert outbox.patience() is None
    outbox.close(WAIT_S)


def test_what_can_wait_has_a_turn_though_event_follows_event(tmp_path: Path) -> None:
    """One each 4 ms, of many repeated steps, say: whoever else wants to be heard is, twenty times a second."""
    now, asked = [100.0], queue.Queue[Callable[[], None]]()
    outbox = Outbox(JournalSettings(str(tmp_path / "journal.db")), "run-1", asked.put)
    outbox.clock = lambda: now[0]
    assert not outbox.holds_up()
    held_up = []
    for number in range(100):
        outbox.record(Event(EventType.PAUSED, "w", {"seconds": None}), number, time.time(), lambda: None)
        outbox.committed(10**9)
        outbox.turn()
        now[0] += 0.004
        held_up.append(outbox.holds_up())
    assert 6 <= held_up.count(False) <= 10, held_up
    outbox.close(WAIT_S)


def test_a_journal_that_does_not_end_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who stops a supervisor closes it, and whoever ends its parts does so again."""
    outbox = Outbox(JournalSettings(str(tmp_path / "journal.db")), "run-1", lambda do: None)
    waits: list[float] = []
    close = outbox.journal.close
    monkeypatch.setattr(outbox.journal, "close", lambda wait: waits.append(wait) or close(wait))
    outbox.close(WAIT_S)
    outbox.close(1.0)
    assert len(waits) == 1


def test_work_that_waits_for_a_slow_disk_is_handed_over_at_the_end(tmp_path: Path) -> None:
    """Events are not: they are told when they are on disk. At the journal's end the work would come too late."""
    outbox = Outbox(JournalSettings(str(tmp_path / "journal.db")), "run-1", lambda do: None)
    told: list[str] = []
    outbox.record(Event(EventType.PAUSED, "w", {"seconds": None}), 1, time.time(), lambda: told.append("paused"))
    outbox.after_commit(lambda: told.append("one"))
    outbox.after_commit(lambda: told.append("two"))
    outbox.hand_over_work()
    outbox.settle(0.0)
    assert told == ["one", "two"]
    outbox.close(WAIT_S)
    assert told == ["one", "two", "paused"]
