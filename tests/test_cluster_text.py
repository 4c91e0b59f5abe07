"""What ``banken cluster status`` says."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.text.cluster_text import REFUSES, headline, lines
from banken_supervisor.text.event_text import level

CLUSTER: dict[str, Any] = {
    "name": "plant", "member": "a", "role": "follower", "acts": False, "term": None, "leader": "b", "away": None,
    "seconds": 0.0042, "members": {"c": False, "b": True}, "claims_waiting": 0, "held": 0, "acquitted": 0,
    "held_back": 0, "brake": None, "braked": 0,
}  # fmt: skip


def test_all_of_it() -> None:
    """The members by name, and of the counts none that is 0."""
    assert lines(CLUSTER) == [
        "cluster plant: b leads; this is a, a follower",
        "the store answered within 4 ms",
        "b answers",
        "c does not answer",
    ]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("claims_waiting", "1,204 claims wait to be written"),
        ("held", "1,204 verdicts are held until this member leads"),
        ("acquitted", "1,204 workers were heard by another member only"),
        ("braked", "1,204 actions wait because most workers fell silent at once"),
        ("held_back", "1,204 actions were dropped because another one led"),
    ],
)
def test_each_count(key: str, text: str) -> None:
    assert lines({**CLUSTER, key: 1204})[4:] == [text]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("claims_waiting", "1 claim waits to be written"),
        ("held", "1 verdict is held until this member leads"),
        ("acquitted", "1 worker was heard by another member only"),
        ("braked", "1 action waits because most workers fell silent at once"),
        ("held_back", "1 action was dropped because another one led"),
    ],
)
def test_each_count_of_one(key: str, text: str) -> None:
    assert lines({**CLUSTER, key: 1})[4:] == [text]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"away": "no answer"}, "the store does not answer: no answer"),
        ({"away": f"{REFUSES}u: wrong password"}, "the store refuses: u: wrong password"),
        ({"seconds": 0.0}, "the store answered within 1 ms"),
        ({"seconds": 1.2345}, "the store answered within 1234 ms"),
        ({"brake": 12.4}, "the brake is on for 12 s"),
    ],
)
def test_what_else_is_said(more: dict[str, Any], text: str) -> None:
    assert text in lines({**CLUSTER, **more})


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"leader": None}, "nobody leads; this is a, a follower"),
        ({"role": "leader", "leader": "a", "acts": True}, "a leads; this is a, the leader"),
        ({"role": "leader", "leader": "a"}, "this is a, the leader, which may not act before the store answers"),
        ({"role": "away"}, "this is a, waiting for the store"),
        ({"role": "resigned"}, "this is a, stepping down"),
        ({"role": "new"}, "this is a, of an unknown role"),
    ],
)
def test_what_this_member_is(more: dict[str, Any], text: str) -> None:
    assert headline({**CLUSTER, **more}).endswith(text)


@pytest.mark.parametrize(
    ("what", "at"),
    [
        ("leads", logging.INFO), ("engine-back", logging.INFO), ("engine-away", logging.WARNING),
        ("brake", logging.WARNING), ("same-name", logging.WARNING),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_logged_as_a_warning(what: str, at: int) -> None:
    assert level(Event(EventType.CLUSTER, None, {"what": what, "text": "…", "member": "a"})) == at
