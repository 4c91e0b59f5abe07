"""``banken top`` without a terminal: a pilot presses keys, and what is drawn is read. The supervisor is real."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from textual.pilot import Pilot

from banken.client import Client
from banken_supervisor.cli.top.app import TopApp
from process.kit import START_S, Home, until
from process.ladder_kit import Command

SEEN_S = 2.0
"""Seconds within which a message is seen, or was lost: on a busy machine the first ones may be."""


def running(home: Home) -> Command:
    """``banken run`` there, answering."""
    one = Command("run", "--address", home.address)
    home._closing.append(one)
    until(lambda: home._answers(one), "the supervisor answers", START_S)
    return one


def fed(home: Home, *names: str, timeout: float = 300) -> Client:
    """Watchdogs that are alive, in the order that they were fed in; their client."""
    client = home.client()
    for name in names:
        handle = client.watchdog(name, timeout=timeout)
        surely(handle.feed, lambda name=name: home.row(name).get("state") == "alive")  # type: ignore[misc]
    return client


def failed(home: Home, client: Client, name: str, reason: str) -> None:
    """It has failed."""
    surely(lambda: client.fail(name, reason), lambda: home.row(name).get("state") == "expired")


def recovered(home: Home, client: Client, name: str) -> None:
    """It was fed again."""
    surely(lambda: client.feed(name), lambda: home.row(name).get("state") == "alive")


def surely(send: Callable[[], Any], seen: Callable[[], Any]) -> None:
    """Send it, and again where it was lost, until it is seen."""
    for _ in range(10):
        send()
        deadline = time.monotonic() + SEEN_S
        while time.monotonic() < deadline:
            if seen():
                return
            time.sleep(0.01)
    raise AssertionError("nothing that was sent has arrived")


class Top:
    """One that runs."""

    def __init__(self, app: TopApp, pilot: Pilot[None]) -> None:
        self.app, self._pilot = app, pilot

    def shown(self) -> str:
        """What is on the screen, line by line."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text.rstrip() for strip in strips)

    def lines(self) -> list[str]:
        """The rows of the list, without the head and the keys."""
        return [line.strip() for line in self.shown().splitlines()[4:-1] if line.strip()]

    def names(self) -> list[str]:
        """The names in the list of watchdogs, in order, those that are to be seen."""
        table = self.app.main.table("watchdogs")
        return table.page

    async def sees(self, *texts: str) -> str:
        """Wait until all these are on the screen; the whole of it then."""
        return await self.until(lambda: all(text in self.shown() for text in texts), repr(texts))

    async def until(self, condition: Callable[[], Any], what: str) -> str:
        """Wait until it is so; the whole screen then."""
        deadline = time.monotonic() + START_S
        while not condition():
            assert time.monotonic() < deadline, f"top does not show {what}, but:\n{self.shown()}"
            await self._pilot.pause(0.05)
        return self.shown()

    async def press(self, *keys: str) -> None:
        """Press these, one after the other."""
        await self._pilot.press(*keys)

    async def type(self, text: str) -> None:
        """Type letters."""
        await self._pilot.press(
            *({"/": "slash", "?": "question_mark", "-": "minus", "*": "asterisk"}.get(c, c) for c in text)
        )

    async def resize(self, columns: int, lines: int) -> None:
        """As when the corner of the window is dragged."""
        await self._pilot.resize_terminal(columns, lines)
        await self._pilot.pause()


def watch(
    address: str, story: Callable[[Top], Awaitable[None]], *, size: tuple[int, int] = (120, 30), **options: Any
) -> TopApp:
    """Run top at this address, and ``story`` with it; the application after its end."""
    app = TopApp(address, **options)

    async def run() -> None:
        async with app.run_test(size=size, notifications=True) as pilot:
            await story(Top(app, pilot))

    asyncio.run(run())
    return app
