"""The application: its threads, and the pages above the lists."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on
from textual.binding import Binding, BindingType

from banken_supervisor.cli.poller import LOOKED_MAX, Source
from banken_supervisor.cli.printing import clean
from banken_supervisor.cli.terminal_app import EndingApp
from banken_supervisor.cli.top import help as help_page
from banken_supervisor.cli.top import incidents as incident_list
from banken_supervisor.cli.top import text
from banken_supervisor.cli.top.background import FileThread
from banken_supervisor.cli.top.commands import Confirm, pause
from banken_supervisor.cli.top.detail import Detail
from banken_supervisor.cli.top.events import read_past, remark
from banken_supervisor.cli.top.log import LogPage
from banken_supervisor.cli.top.main import Main
from banken_supervisor.cli.top.order import Order
from banken_supervisor.cli.top.page import Page
from banken_supervisor.cli.top.table import RowTable
from banken_supervisor.operator_client.event_follower import EventThread, missed

if TYPE_CHECKING:
    from banken.control import Control

TICK_S = 1.0
"""Seconds after which ages are shown anew though nothing came."""

EVENTS_MAX = 2000
"""Events that wait to be shown; of more the oldest are left out."""


class TopApp(EndingApp):
    """``banken top``. ``fault`` says after the end what made it end, where that was a fault."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False, priority=True),
    ]

    def __init__(self, address: str, *, sort: str = "state", reverse: bool = False, wanted: str = "") -> None:
        super().__init__(ansi_color=bool(os.environ.get("NO_COLOR")))
        self.fault = ""
        self.animation_level = "none"
        self.main = Main(address, Order(sort, reverse=reverse), wanted)
        self._address = address
        self._heard: deque[dict[str, Any]] = deque(maxlen=EVENTS_MAX)
        self._last_event: int | None = None
        self._source = Source(address, lambda: self._later(self._show))
        self._reader = FileThread(self._later)
        self._threads = (self._source, EventThread(address, self._hear, self._hear_connection), self._reader)

    def _later(self, show: Callable[[], object]) -> None:
        """Have the thread that draws do this, if there is still something to draw on. From any thread."""
        with suppress(RuntimeError):  # the event loop has ended
            self.call_later(lambda: self._shows and show())

    def _hear(self, found: list[dict[str, Any]]) -> None:
        self._heard.extend(found)
        self._later(self._show_events)

    def _hear_connection(self, there: bool) -> None:
        self._hear([remark("connected to the supervisor" if there else "the supervisor is gone")])

    async def on_mount(self) -> None:
        await self.push_screen(self.main)
        for each in self._threads:
            each.start()
        self._reader.ask("events", partial(read_past, self._address), self.main.events.add_past)
        self.set_interval(TICK_S, self._tick)
        self._later(self._show)

    def on_unmount(self) -> None:
        for each in self._threads:
            each.close()

    @property
    def _shows(self) -> bool:
        """Whether there is a screen: what comes from the threads may come before and after that."""
        return bool(self.screen_stack) and self.main.is_mounted

    # -- what comes ---------------------------------------------------------------------------------

    @on(RowTable.Turned)
    def _turned(self) -> None:
        self._later(self._show)

    def _show(self) -> None:
        snapshot = self._source.snapshot
        self.main.update_from(snapshot)
        if isinstance(self.screen, Detail):
            self.screen.update_from(snapshot)
            names = [self.screen.watchdog]
        else:
            names = self.main.table("watchdogs").page
        # What is to be seen is asked for with its feeds.
        visible = tuple(names[:LOOKED_MAX])
        self._source.every_rate = self.main.order.sort == "rate"
        if visible != self._source.visible:
            self._source.visible = visible
            self._source.turned()
        if self.main.view == "incidents":
            self._reader.ask("incidents", partial(incident_list.read_list, self._address), self.main.put_incidents)

    def _show_events(self) -> None:
        found = []
        while self._heard:
            event = self._heard.popleft()
            if "seq" in event:
                if gap := missed(self._last_event, event["seq"]):
                    found.append(remark(gap))
                self._last_event = event["seq"]
            found.append(event)
        self.main.events.add(found)

    def _tick(self) -> None:
        if not self._shows:
            return
        if not self._source.is_alive():
            self.fault = "the thread that asks the supervisor has ended, which must not happen: please report it"
            self.exit(return_code=1)
            return
        self.main.show_head()

    # -- keys ---------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        """A key for what is selected does nothing where nothing of that kind is shown."""
        return not self.main.is_current or self.main.check_action(action, parameters)

    def action_help(self) -> None:
        self.push_screen(help_page.page())

    @on(RowTable.Opened)
    def _opened(self, message: RowTable.Opened) -> None:
        match message.table.id:
            case "watchdogs":
                self.push_screen(Detail(message.key, self._address, self._reader), lambda _: self._show())
                self.call_later(self._show)
            case "programs":
                self.action_log()
            case "incidents":
                self._open_incident(None, message.key)
            case "events":
                row = message.table.rows.get(message.key)
                if row is not None and row.it.get("incident"):
                    self._open_incident(None, row.it["incident"])

    @property
    def _watchdog(self) -> str | None:
        return self.screen.watchdog if isinstance(self.screen, (Detail, Main)) else None

    def action_incident(self) -> None:
        """The open incident of the watchdog, or its last one, in full."""
        if self.screen is self.main and self.main.view == "incidents":
            if selected := self.main.table().selected:
                self._open_incident(None, selected)
        elif (name := self._watchdog) is not None:
            row = self._source.snapshot.rows.get(name, {})
            self._open_incident(name, row.get("incident", {}).get("id"))

    def _open_incident(self, name: str | None, id_: str | None) -> None:
        page = Page(f"incident {clean(id_)}" if id_ else f"the last incident of {text.said(name)}")
        self.push_screen(page)

        def show(found: list[str] | Exception) -> None:
            lines = [incident_list.why(found)] if isinstance(found, Exception) else found
            page.put([Text(line) for line in lines])

        self._reader.ask("incident", partial(incident_list.read_one, self._address, name, id_), show)

    def action_log(self) -> None:
        """The log of the selected program, or of the program of the selected watchdog."""
        shows_programs = self.screen is self.main and self.main.view == "programs"
        name = self.main.table().selected if shows_programs else self._watchdog
        row = next((each for each in self._source.snapshot.programs if each["name"] == name), None)
        if row is None:
            self.notify("no program has this name: only programs of the config have a log here", timeout=4)
        elif not row.get("log"):
            self.notify("it has no log: its output goes to a terminal", timeout=4)
        else:
            self.push_screen(LogPage(row["name"], row["log"], self._reader))

    def action_pause(self) -> None:
        """Pause the watchdog, or resume it, after a yes."""
        name = self._watchdog
        if name is None:
            return
        resume = self._source.snapshot.rows.get(name, {}).get("state") == "paused"

        def decided(yes: bool | None) -> None:
            if not yes:
                self.notify("nothing was done", timeout=3)
                return

            def order(control: Control) -> None:
                said = pause(control, name, resume=resume)
                self._later(partial(self.notify, said, timeout=5))

            self._source.order(order)

        self.push_screen(Confirm(f"{'resume' if resume else 'pause'} {text.said(name)}? y/n"), decided)
