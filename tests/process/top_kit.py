"""``banken top`` without a terminal: a pilot presses keys, and what is drawn is read. The supervisor is real."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from textual.pilot import Pilot

from banken_supervisor.cli.top.app import TopApp
from process.kit import START_S


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
