"""Incidents of the other members of a cluster, for ``banken incidents``."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from banken.errors import BankenError
from banken.protocol.incidents import Cause
from banken_supervisor.journal.entries import HANDED_OVER, IncidentRecord
from banken_supervisor.operator_client.supervisor_client import ask, connect
from banken_supervisor.text.sanitize import ODD

SUMMARY_S, PATIENCE_S, POLL_S = 0.5, 15.0, 0.05
"""Seconds for the first question, for all members, and between two questions."""


def with_others(
    address: str | None,
    own: Sequence[IncidentRecord],
    names: Collection[str],
    open_only: bool,
    since: float | None,
    limit: int,
) -> tuple[list[IncidentRecord], Mapping[str, str]]:
    """These, and those of the other members, each once; and of which members there are none, and why."""
    if not (ask(address, SUMMARY_S, "summary") or {}).get("cluster"):
        return list(own), {}
    # An incident that is over with this member may be open with the next one: all are asked for, then chosen.
    asked = {"names": list(names), "open": open_only, "since": since, "limit": min(limit, 500), "others": True}
    try:
        members = _search(address, asked)
    except BankenError as fault:
        return list(own), {"the other members": str(fault)}
    found = {each.id: each for each in own}
    for answer in members.values():
        for row in answer.get("rows", ()):
            if (record := _record(row)) is not None:
                found[record.id] = record if record.id not in found else merged(found[record.id], record)
    listed = [each for each in found.values() if not open_only or each.closed is None]
    listed.sort(key=lambda each: (each.opened, each.id), reverse=True)
    return listed[:limit], {name: answer["why"] for name, answer in members.items() if answer.get("why")}


def merged(one: IncidentRecord, other: IncidentRecord) -> IncidentRecord:
    """What two members say of one incident: whoever went on with it knows how it ended."""
    first, last = sorted((one, other), key=_knows)
    return replace(last, opened=min(one.opened, other.opened), silence=first.silence, pid=last.pid or first.pid)


def _knows(record: IncidentRecord) -> tuple[bool, bool, float]:
    return record.how != HANDED_OVER, record.closed is not None, record.closed or 0.0


def _search(address: str | None, asked: dict[str, Any]) -> dict[str, Any]:
    until = time.monotonic() + PATIENCE_S
    with connect(address) as control:
        number = control.request("incidents", **asked)["number"]
        while True:
            answer = control.request("incidents_found", number=number)
            if answer["done"] or time.monotonic() >= until:
                return dict(answer["members"])
            time.sleep(POLL_S)


def _record(row: Any) -> IncidentRecord | None:
    """A row as the journal's; None: it is none."""
    try:
        known = {each.name: row[each.name] for each in fields(IncidentRecord)}
        record = IncidentRecord(**{**known, "cause": Cause(known["cause"])})
        float(record.opened), float(record.closed or 0.0), str(record.id) + record.name
    except ODD:
        return None
    return record
