"""What ``summary`` says about the cluster of a supervisor, in words."""

from __future__ import annotations

from typing import Any

from banken_supervisor.text.counts import plural

_ROLES = {
    "follower": "a follower",
    "away": "waiting for the store",
    "resigned": "stepping down",
}

_COUNTS = {
    "claims_waiting": ("claim waits to be written", "claims wait to be written"),
    "held": ("verdict is held until this member leads", "verdicts are held until this member leads"),
    "acquitted": ("worker was heard by another member only", "workers were heard by another member only"),
    "braked": (
        "action waits because most workers fell silent at once",
        "actions wait because most workers fell silent at once",
    ),
    "held_back": (
        "action was dropped because another one led",
        "actions were dropped because another one led",
    ),
}

REFUSES = "it refuses: "
"""Begins what is said of a store that answers, and refuses this user."""


def of_store(away: str, store: str = "the store") -> str:
    """Why the store is of no use now, as a sentence about it. ``store``: what it is called there."""
    if away.startswith(REFUSES):
        return f"{store} {away.removeprefix('it ')}"
    return f"{store} does not answer: {away}"


def headline(found: dict[str, Any]) -> str:
    """Who leads, and what this member is."""
    return (
        f"cluster {found['name']}: {found['leader'] or 'nobody'} leads; this is {found['member']}, {_role(found)}"
    )


def trouble(found: dict[str, Any]) -> list[str]:
    """What an operator has to look at."""
    told = []
    if found["away"] is not None:
        told.append(of_store(found["away"], "the cluster's store"))
    elif found["leader"] is None:
        told.append("nobody is known to lead the cluster")
    if (left := found.get("brake")) is not None:
        told.append(f"most workers fell silent at once: actions on them wait, for up to {max(1.0, left):.0f} s")
    if found.get("same_name"):
        told.append(f"{found['same_name']}: each member needs a name of its own")
    silent = sorted(name for name, is_up in found["members"].items() if not is_up)
    if silent:
        told.append(
            f"of the cluster's members {', '.join(silent)} {'do' if len(silent) > 1 else 'does'} not answer"
        )
    return told


def lines(found: dict[str, Any]) -> list[str]:
    """All of it."""
    told = [headline(found)]
    if found["away"] is not None:
        told.append(of_store(found["away"]))
    else:
        told.append(f"the store answered within {max(1.0, found['seconds'] * 1000):.0f} ms")
    if (left := found.get("brake")) is not None:
        told.append(f"the brake is on for {max(1.0, left):.0f} s")
    if found.get("same_name"):
        told.append(found["same_name"])
    for name, is_up in sorted(found["members"].items()):
        told.append(f"{name} {'answers' if is_up else 'does not answer'}")
    return told + [plural(found[key], *words) for key, words in _COUNTS.items() if found.get(key)]


def _role(found: dict[str, Any]) -> str:
    if found["role"] == "leader":
        return "the leader" if found["acts"] else "the leader, which may not act before the store answers"
    return _ROLES.get(found["role"], "of an unknown role")
