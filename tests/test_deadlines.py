"""The deadline queue against a plain sorted list."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from banken_supervisor.engine.deadlines import TICKS_PER_SECOND, Deadlines
from banken_supervisor.engine.record import UNARMED

TICK = 1 / TICKS_PER_SECOND


class Item:
    def __init__(self, name: int) -> None:
        self.name = name
        self.armed = UNARMED


def test_an_item_comes_up_once_at_its_tick() -> None:
    """Not a tick before its time, at most one tick after it, and only once."""
    queue = Deadlines()
    item = Item(0)
    queue.arm(item, 10.0003)
    due = queue.next_due()
    assert due is not None
    assert 10.0003 <= due < 10.0003 + TICK
    assert queue.pop_due(10.0) == []
    assert queue.pop_due(due) == [item]
    assert queue.pop_due(99.0) == []
    assert queue.next_due() is None


def test_arming_earlier_moves_it_and_arming_later_does_not() -> None:
    """Later is found out when the entry comes up; earlier must not be missed."""
    queue = Deadlines()
    item = Item(0)
    queue.arm(item, 10.0)
    queue.arm(item, 20.0)
    assert queue.next_due() == 10.0
    queue.arm(item, 5.0)
    assert queue.pop_due(5.0) == [item]
    assert queue.pop_due(10.0) == []
    assert queue._live == 0


def test_stale_entries_do_not_pile_up() -> None:
    """Ten thousand items armed ever earlier leave a bounded number of entries behind."""
    queue = Deadlines()
    items = [Item(n) for n in range(100)]
    for step in range(1000):
        for item in items:
            queue.arm(item, 10_000.0 - step)
    assert queue._live == 100
    assert queue._live + queue._stale <= 100 + 1025
    assert sorted(item.name for item in queue.pop_due(10_000.0)) == list(range(100))


operations = st.lists(
    st.tuples(st.sampled_from(["arm", "disarm", "pop"]), st.integers(0, 9), st.integers(0, 400)), max_size=80
)


@given(operations)
@settings(max_examples=300, deadline=None)
def test_it_agrees_with_a_plain_table(steps: list[tuple[str, int, int]]) -> None:
    """Any sequence of arm, disarm and pop gives what a table of earliest times gives."""
    queue = Deadlines()
    items = [Item(n) for n in range(10)]
    table: dict[int, float] = {}
    now = 0.0
    for verb, which, number in steps:
        if verb == "arm":
            when = now + number * TICK
            queue.arm(items[which], when)
            table[which] = min(when, table.get(which, when))
        elif verb == "disarm":
            queue.disarm(items[which])
            table.pop(which, None)
        else:
            now += number * TICK
            due = {which for which, when in table.items() if when <= now}
            assert {item.name for item in queue.pop_due(now)} == due
            for each in due:
                del table[each]
        assert queue._live == len(table)
        earliest = queue.next_due()
        assert earliest is None or not table or earliest <= min(table.values())
        assert table == {} or earliest is not None
