"""``banken check`` and ``status`` on a member of a cluster that follows another one."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from banken.errors import RequestFailed
from banken_supervisor.cli import check, leader_incidents
from banken_supervisor.cli.check import Thresholds, judge
from banken_supervisor.cli.leader_incidents import leader_of, marked
from banken_supervisor.cli.status_table import cells


def row(name: str, left: float = 1.0, state: str = "alive") -> dict[str, Any]:
    return {
        "name": name, "state": state, "silence": 9.0, "left": left, "timeout": 3.0, "grace": 3.0, "pid": None,
        "incidents": 0, "by": "operator",
    }  # fmt: skip


def incident(name: str, how: str | None = None) -> dict[str, Any]:
    return {
        "id": f"i-{name}", "name": name, "cause": "timeout", "opened": time.time() - 5.0, "closed": None,
        "how": how, "reason": None,
    }  # fmt: skip


class Follower:
    """A member that follows m3. ``answers``: of m3, one after the other, the last one again and again."""

    def __init__(self, *answers: dict[str, Any] | str, watched: int = 3) -> None:
        self.rows = {name: row(name) for name in ("w1", "w2", "w3")}
        self.answers = list(answers)
        self.watched = watched

    def request(self, op: str, **args: Any) -> Any:
        if op == "summary":
            states = {"alive": self.watched}
            cluster = {"role": "follower", "leader": "m3", "member": "m1", "away": None, "members": {"m3": True}}
            return {
                "cluster": cluster, "states": states, "watchdogs": self.watched, "journal": None, "stalls": 0,
                "uptime": 1.0,
            }  # fmt: skip
        if op == "status":
            found = [each for name, each in self.rows.items() if args.get("name") in (None, name)]
            return {"rows": found, "next": None, "total": len(found)}
        if op == "look":
            return {"rows": [self.rows[name] for name in args["names"] if name in self.rows], "gone": []}
        if op == "incidents":
            assert args["open"] is args["others"] is True
            answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
            self.found = answer if isinstance(answer, dict) else {"m3": {"rows": [], "why": answer}}
            return {"number": 7}
        assert op == "incidents_found"
        return {"done": True, "members": self.found}


def judged(follower: Follower, *names: str) -> tuple[int, str]:
    return judge(check._find(follower, names, None), Thresholds(None, 0))  # type: ignore[arg-type]


@pytest.mark.parametrize("watched", [3, 1000])
def test_what_the_leader_has_opened_is_down(watched: int) -> None:
    """Of what is watched here; what is the leader's alone is not."""
    rows = [incident("w1"), incident("w2", "given-up"), incident("own-of-m3")]
    code, text = judged(Follower({"m3": {"rows": rows, "why": None}}, watched=watched))
    assert code == 2
    states = f"1 given-up, 1 expired, {watched - 2:,} alive"
    assert re.match(rf"{states}: w2 given-up \(timeout 5(\.\d+)? s ago\); w1 expired", text), text
    assert text.endswith("; by m3, which leads the cluster")


def test_names_that_were_asked_for_are_looked_at() -> None:
    """One that is down, and one that is not."""
    answer = {"m3": {"rows": [incident("w1")], "why": None}}
    assert judged(Follower(answer), "w1")[0] == 2
    assert judged(Follower(answer), "w2") == (0, "w2 alive (silent for 9 s)")


@pytest.mark.parametrize("answer", ["does not answer", {"m2": {"rows": [], "why": None}}])
def test_what_is_not_known_is_a_warning(answer: dict[str, Any] | str) -> None:
    """It is no OK that nobody has given."""
    code, text = judged(Follower(answer))
    assert code == 1
    assert "this member follows m3, and does not know what that has opened: " in text


def test_a_leader_that_is_busy_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many plugins ask at once."""
    busy = "4 searches are under way already; ask again"
    assert judged(Follower(busy, busy, {"m3": {"rows": [], "why": None}}))[0] == 0
    monkeypatch.setattr(leader_incidents, "PATIENCE_S", 0.1)
    with pytest.raises(RequestFailed, match="under way"):
        leader_incidents.down_by(Follower(busy), "m3", ())  # type: ignore[arg-type]


def test_a_silent_one_is_said_to_be_overdue() -> None:
    """Not those that are in time, or down."""
    late, well, down = marked([row("a", 0.0), row("b"), row("c", 0.0, "expired")], "m3")
    assert cells(late)[-1] == "overdue: m3, which leads the cluster, judges it"
    assert "overdue" not in "".join(cells(well) + cells(down))


def test_who_is_followed() -> None:
    cluster = {"role": "follower", "leader": "m3", "member": "m1"}
    assert leader_of({"cluster": cluster}) == "m3"
    assert leader_of({"cluster": {**cluster, "role": "leader", "leader": "m1"}}) is None
    assert leader_of({"cluster": {**cluster, "leader": None}}) is None
    assert leader_of({}) is None
