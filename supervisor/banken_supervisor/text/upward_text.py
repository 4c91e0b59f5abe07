"""What ``summary`` says about the supervisors that this one feeds, in words."""

from __future__ import annotations

from typing import Any


def headline(found: dict[str, Any]) -> str:
    """As what this host is watched, and by whom."""
    to = found["destinations"]
    taken = [each["address"] for each in to if each["reachable"]]
    line = f"upward: {found['name']} is fed to {len(taken)} of {len(to)}"
    return "; ".join([f"{line} supervisors" if len(to) != 1 else f"{line} supervisor", *trouble(found)])


def trouble(found: dict[str, Any]) -> list[str]:
    """What an operator has to look at."""
    return [
        f"{each['address']} {_why(each)} ({each['dropped']:,} feeds were dropped)"
        for each in found["destinations"]
        if not each["reachable"]
    ]


def _why(destination: dict[str, Any]) -> str:
    if destination["denied"]:
        return "does not let this supervisor in"
    return "does not take feeds"
