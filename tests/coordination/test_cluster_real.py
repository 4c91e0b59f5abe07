"""A cluster of real processes: whatever happens to the leader, to etcd or to its ears, each deed is done once.

A few rounds of each; ``python -m coordination.rounds`` makes hundreds.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .members_kit import STOPS_BEFORE_THE_DEED, Cluster, cluster
from .rounds import Rounds

pytestmark = [pytest.mark.process, pytest.mark.etcd, pytest.mark.timeout(180)]

TTL = 2.0


@pytest.fixture(scope="module")
def rounds() -> Iterator[Rounds]:
    with cluster(TTL, 3, 3) as made:
        for each in made.members:
            each.program = ["-c", STOPS_BEFORE_THE_DEED]
        made.start("w-0")
        yield Rounds(made)


@pytest.mark.parametrize(
    "fault",
    [
        "nothing",
        "kill-leader",
        "end-leader",
        "stop-leader",
        "kill-etcd",
        "no-etcd-2",
        "deaf",
        "stop-follower",
        "stop-before-deed",
    ],
)
def test_every_deed_is_done_once(rounds: Rounds, fault: str) -> None:
    """Two workers fall silent, one step each at once and one later; the living are left alone."""
    found = rounds.run(fault)
    assert found.deeds_missing == 0
    assert found.deeds_twice == 0
    assert found.deeds_on_living == 0
    assert found.by_old == 0


def test_one_member_answers_for_itself_and_says_who_leads(rounds: Rounds) -> None:
    made: Cluster = rounds.cluster
    leader = made.leader()
    for each in made.members:
        found = each.home.ask("summary")["cluster"]
        assert (found["name"], found["member"], found["leader"]) == ("test", each.name, leader.name)
        assert found["role"] == ("leader" if each is leader else "follower")
        assert found["away"] is None
