"""What the leader of a cluster has open, for ``banken check`` and ``status`` on a member that follows it.

Only the leader opens the incidents of what is fed to all members. The one that follows times them all the same, and
without the leader's word each of its silent ones would be shown as alive.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from banken.errors import RequestFailed
from banken_supervisor.cli.places import BAD
from banken_supervisor.operator_client.supervisor_client import look

if TYPE_CHECKING:
    from banken.control import Control

PATIENCE_S, POLL_S = 5.0, 0.05
"""Seconds for all of it, and between two questions."""

LOOK_MAX = 200
"""Names in one question."""

BUSY = "under way already"
"""What a member says that has too many searches at once."""

NAMES_MAX = 100
"""Names in one search; for more all are asked for."""


def leader_of(summary: dict[str, Any]) -> str | None:
    """Whom this supervisor follows; None: it leads, nobody does, or it is in no cluster."""
    cluster = summary.get("cluster")
    if cluster is None or cluster["role"] == "leader":
        return None
    leader: str | None = cluster["leader"]
    return leader if leader != cluster["member"] else None


def marked(rows: list[dict[str, Any]], leader: str) -> list[dict[str, Any]]:
    """The rows; those that are overdue here name who judges them."""

    def is_overdue(row: dict[str, Any]) -> bool:
        return row["state"] not in BAD and row["left"] is not None and row["left"] <= 0.0

    return [{**row, "judged_by": leader} if is_overdue(row) else row for row in rows]


def down_by(control: Control, leader: str, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows of the watchdogs of these names and patterns (none: of all) that are known here and of which an incident
    is open with the leader. RequestFailed: it is not known what is."""
    until = time.monotonic() + PATIENCE_S
    while True:
        answer = _search(control, leader, names if len(names) <= NAMES_MAX else (), until)
        why = answer.get("why")
        if not why:
            break
        if BUSY not in why or time.monotonic() >= until:
            raise RequestFailed(why)
        time.sleep(POLL_S)
    found = {row["name"]: row for row in answer["rows"] if row["closed"] is None}
    here: dict[str, dict[str, Any]] = {}
    whose = list(found)
    for begin in range(0, len(whose), LOOK_MAX):
        here |= look(control, whose[begin : begin + LOOK_MAX])
    return [_as_judged(row, found[name]) for name, row in here.items()]


def _search(control: Control, leader: str, names: tuple[str, ...], until: float) -> dict[str, Any]:
    try:
        asked = {"names": list(names), "open": True, "since": None, "limit": 500, "others": True}
        number = control.request("incidents", **asked)["number"]
    except RequestFailed as fault:
        return {"rows": [], "why": str(fault)}
    while not (answer := control.request("incidents_found", number=number))["done"]:
        if time.monotonic() >= until:
            return {"rows": [], "why": "no answer has come in time"}
        time.sleep(POLL_S)
    found: dict[str, Any] = answer["members"].get(leader, {"rows": [], "why": "it is not reached"})
    return found


def _as_judged(row: dict[str, Any], incident: dict[str, Any]) -> dict[str, Any]:
    """The row that is here, with the state that it has with the leader."""
    from banken_supervisor.journal.entries import GIVEN_UP  # with it comes sqlite3

    shown = {
        "id": incident["id"],
        "cause": incident["cause"],
        "age": max(0.0, time.time() - incident["opened"]),
        "reason": incident["reason"],
    }
    state = "given-up" if incident["how"] == GIVEN_UP else "expired"
    return {**row, "state": state, "state_here": row["state"], "incident": shown}
