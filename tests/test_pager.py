"""Reading a list by pages while it shrinks: nothing that stays is missed, and it ends."""

from __future__ import annotations

import random
from typing import Any

import pytest

from banken_supervisor.operator_client.pager import STEPS_BACK_MAX, Pager, all_rows


class ShrinkingList:
    """A supervisor's list, answered as ``status`` answers it; ``before`` each answer something happens to it."""

    def __init__(self, names: list[str], limit: int) -> None:
        self.names, self.limit = names, limit
        self.requests = 0
        self.before: dict[int, list[str]] = {}
        """by the number of the request: what is removed before it is answered"""

    def request(self, op: str, *, name: str | None, offset: int) -> dict[str, Any]:
        """One page."""
        for each in self.before.get(self.requests, []):
            self.names.remove(each)
        self.requests += 1
        end = offset + self.limit
        rows = [{"name": each} for each in self.names[offset:end]]
        return {"rows": rows, "next": end if end < len(self.names) else None, "total": len(self.names)}


def test_pages_follow_each_other() -> None:
    """Where nothing changes, each page is read once."""
    names = ShrinkingList([f"n{number}" for number in range(25)], 10)
    assert len(all_rows(names)) == 25  # type: ignore[arg-type]
    assert names.requests == 3


@pytest.mark.parametrize("at", [1, 2])
def test_rows_that_move_up_are_not_missed(at: int) -> None:
    """Neither before a further page nor before the last one."""
    names = ShrinkingList([f"n{number}" for number in range(25)], 10)
    names.before = {at: ["n0", "n3", "n5"]}
    found = {row["name"] for row in all_rows(names)}  # type: ignore[arg-type]
    assert set(names.names) <= found


@pytest.mark.parametrize("seed", range(50))
def test_random_removals(seed: int) -> None:
    """Whatever is removed at whatever time, what stays is read."""
    source = random.Random(seed)
    names = ShrinkingList([f"n{number}" for number in range(100)], source.randint(1, 30))
    gone = source.sample(names.names, 40)
    for each in gone:
        names.before.setdefault(source.randrange(12), []).append(each)
    found = {row["name"] for row in all_rows(names)}  # type: ignore[arg-type]
    assert set(names.names) <= found


def test_a_list_that_always_shrinks_has_an_end() -> None:
    """Going back is bounded."""
    pager, total, turns = Pager(), 1_000_000, 0
    while pager.offset is not None:
        following = pager.offset + 10 if pager.offset < 5_000 else None
        total -= 20
        pager.turn(following, total)
        turns += 1
        assert turns < STEPS_BACK_MAX + 1_000
