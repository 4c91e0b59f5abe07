"""What a message says that tells of many, and what of one that is over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from banken.protocol.incidents import Cause
from banken_supervisor.actions import ActionTarget
from banken_supervisor.actions.incident_text import (
    BODY_MAX,
    LISTED_MAX,
    body,
    environment,
    facts,
    folded_body,
    folded_facts,
    title,
)
from recovery_kit import subject

BEGAN = 1_790_000_000.0


def many(count: int, **more: Any) -> ActionTarget:
    """One a thirtieth of a second, every seventh by the end of its process, the fifth one critical."""
    told = [
        subject(
            f"w-{number}",
            level="critical" if number == 5 else "warning",
            page="https://banken.example/",
            evidence={"headline": f"in `take` (job.py:{number})"} if number < 8 else None,
            told={
                "cause": Cause.TIMEOUT if number % 7 else Cause.EXITED,
                "opened": BEGAN + number / 30,
                "reason": "\x1b[2J",
            },
            **more,
        )
        for number in range(count)
    ]
    return replace(told[0], others=tuple(told[1:]))


def test_a_storm_in_words() -> None:
    """How many and how fast, the gravest level, ten names, the causes, where the first ones hung, and the page."""
    assert title(many(100)) == "[critical] 100 watchdogs expired within 4 s"
    names = ", ".join(f"w-{number}" for number in range(10))
    lines = folded_body(many(100)).splitlines()
    assert lines[:3] == [
        f"{names} … and 90 more",
        "Causes: 85 × timeout, 15 × exited.",
        "The first expired at 2026-09-21T14:13:20.000+00:00.",
    ]
    assert lines[3:-1] == [f"w-{number}: in `take` (job.py:{number})" for number in range(5)]
    assert lines[-1] == "https://banken.example/"


def test_ends_in_words() -> None:
    """All fed again are recovered; where some ended otherwise, it is said how many and how."""
    over = many(4, recovered=True)
    assert title(over) == "4 watchdogs recovered within 1 s"
    mixed = replace(over, others=tuple(replace(each, how="reborn") for each in over.others))
    assert title(mixed) == "4 watchdogs are over their incidents within 1 s"
    assert "Over: 3 × reborn, 1 × fed." in folded_body(mixed)
    one = subject(recovered=True, how="reborn")
    assert title(one) == "worker-3: over (reborn)"
    for how, words in (
        ("fed", "Fed again"),
        ("passed", "The check passed"),
        ("enough alive", "Enough members are"),
    ):
        well = replace(one, how=how)
        assert title(well) == "worker-3: recovered"
        assert body(well).startswith(words)
    assert body(one).startswith("The incident is over (reborn) after 12.3 s. The incident was opened at 2026-")
    assert (facts(one)["how"], "how" in facts(subject())) == ("reborn", False)
    assert environment(one, {}, ())["BANKEN_HOW"] == "reborn"


def test_a_watchdog_that_is_told_of_more_than_once_is_counted_once() -> None:
    """Repeats of a step: so many notices of so few."""
    one = subject("w")
    assert title(replace(one, others=(one, one))) == "1 watchdog (3 notices) expired within 1 s"


def test_a_message_of_thousands_is_bounded_and_says_what_it_leaves_out() -> None:
    """The body of a message, and the list of a web hook."""
    huge = many(5000)
    assert len(folded_body(huge)) <= BODY_MAX
    found = folded_facts(huge)
    assert (found["count"], len(found["incidents"]), found["left_out"]) == (5000, LISTED_MAX, 5000 - LISTED_MAX)
    assert "cut" not in found
    assert "evidence" not in found["incidents"][0]
    assert found["causes"] == {"timeout": 4285, "exited": 715}
