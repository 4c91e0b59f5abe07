"""What ``summary`` says about the supervisors that this one feeds, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def headline(found: dict[str, Any]) -> str:
    """As what this host is watched, and by whom."""
    to = found["destinations"]
    taken = [each["address"] for each in to if takes(each)]
    line = f"upward: {found['name']} is fed to {len(taken)} of {len(to)}"
    return "; ".join([f"{line} supervisors" if len(to) != 1 else f"{line} supervisor", *trouble(found)])


def trouble(found: dict[str, Any]) -> list[str]:
    """What an operator has to look at."""
    return [f"{each['address']} {_why(found['name'], each)}" for each in found["destinations"] if not takes(each)]


def takes(destination: Mapping[str, Any]) -> bool:
    """Whether it takes the feeds, as far as is known."""
    return bool(destination["reachable"]) and not destination.get("refused")


def _why(name: str, destination: dict[str, Any]) -> str:
    if destination["reachable"]:
        return f"refuses the feeds of {name}: the key may not feed that name there"
    what = "does not let this supervisor in" if destination["denied"] else "does not take feeds"
    return f"{what} ({destination['dropped']:,} feeds were dropped)"
