"""The copy of all rows that streams share: a new reader costs the others nothing, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from banken.errors import Unreachable
from banken_supervisor.web import state_cache
from banken_supervisor.web.backend import Backend
from banken_supervisor.web.broadcaster import Broadcaster
from banken_supervisor.web.state_cache import StateCache
from banken_supervisor.web.stream import _pieces
from banken_supervisor.web.supervisor_client import AsyncSupervisorClient
from checks.test_runner import until

PATIENCE_S = 10.0


class Double:
    """A supervisor with these rows, and how often it does not answer for them."""

    def __init__(self) -> None:
        self.connected = True
        self.rows = {"w": "alive"}
        self.refuse = 0

    async def request(self, op: str, then: Callable[[Any], Any] = lambda found: found, **args: Any) -> Any:
        await asyncio.sleep(0)
        if op == "summary":
            return {"pid": 1, "started": 1.0}
        if op == "status" and self.refuse:
            self.refuse -= 1
            raise Unreachable("no answer")
        if op == "look":
            names = args["names"]
            there = {name: state for name, state in self.rows.items() if name in names}
            gone = [name for name in names if name not in self.rows]
            return then({"rows": _rows(there), "gone": gone})
        return then({"rows": _rows(self.rows), "next": None, "total": len(self.rows)})


def _rows(found: dict[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "state": state} for name, state in found.items()]


class Page:
    """What a browser makes of a stream."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self.rows: dict[str, str] = {}
        self.complete = False
        self.heard: list[str] = []
        self._pieces = pieces

    async def until(self, condition: Callable[[], bool]) -> None:
        """Read on until it is so."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._take((await anext(self._pieces)).decode())

    def _take(self, piece: str) -> None:
        for block in piece.split("\n\n"):
            fields = dict(each.split(": ", 1) for each in block.split("\n") if ": " in each)
            if "event" not in fields:
                continue
            self.heard.append(fields["event"])
            told = json.loads(fields["data"])
            if fields["event"] in ("rows", "changed"):
                self.rows |= {row["name"]: row["state"] for row in told["rows"]}
                self.complete = told.get("complete", self.complete)
                for name in told.get("gone", ()):
                    self.rows.pop(name, None)


def play(scene: Callable[[Double, StateCache, Callable[[], Page]], Awaitable[None]]) -> None:
    """Let the scene have a cache that has found its supervisor, and pages."""

    async def main() -> None:
        double, broadcaster = Double(), Broadcaster()
        cache = StateCache(cast(AsyncSupervisorClient, double), broadcaster)
        cache.on_connected(there=True)
        backend = cast(Backend, SimpleNamespace(cache=cache, broadcaster=broadcaster))

        def page() -> Page:
            subscriber = broadcaster.subscribe()
            assert subscriber is not None
            return Page(_pieces(backend, subscriber))

        async with asyncio.timeout(4 * PATIENCE_S):
            await until(lambda: cache.up, "it is found")
            await scene(double, cache, page)
        cache.close()

    asyncio.run(main())


@pytest.mark.parametrize("now", ["expired", None])
def test_a_change_reaches_an_open_page_though_another_is_opened_just_then(
    now: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one has everything read again, between the event and the look at its row."""
    monkeypatch.setattr(state_cache, "FRESH_S", 0.0)

    async def scene(double: Double, cache: StateCache, page: Callable[[], Page]) -> None:
        first, second = page(), page()
        await first.until(lambda: first.complete)
        assert first.rows == {"w": "alive"}
        if now is None:
            del double.rows["w"]
        else:
            double.rows["w"] = now
        cache.on_events([{"seq": 1, "type": "expired", "name": "w"}])
        await second.until(lambda: second.complete)
        assert second.rows.get("w") == now
        await first.until(lambda: first.rows.get("w") == now)

    play(scene)


def test_a_page_whose_rows_did_not_come_in_time_gets_them_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor answers for its summary, and then stands still for longer than is waited."""
    monkeypatch.setattr(state_cache, "SUMMARY_S", 0.05)

    async def scene(double: Double, cache: StateCache, page: Callable[[], Page]) -> None:
        double.refuse = 1
        one = page()
        await one.until(lambda: one.complete)
        assert one.rows == {"w": "alive"}
        assert "up" in one.heard

    play(scene)
