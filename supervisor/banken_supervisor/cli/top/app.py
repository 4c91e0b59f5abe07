"""The application: its threads, and the pages above the lists."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import App
from textual.binding import Binding, BindingType
from textual.message import Message

from banken_supervisor.cli.poller import LOOKED_MAX, Source
from banken_supervisor.cli.printing import clean
from banken_supervisor.cli.top import help as help_page
from banken_supervisor.cli.top import incidents as incident_list
from banken_supervisor.cli.top import text
from banken_supervisor.cli.top.background import EventThread, FileThread
from banken_supervisor.cli.top.commands import Confirm, pause
from banken_supervisor.cli.top.detail import Detail
from banken_supervisor.cli.top.events import EventTable, read_past
from banken_supervisor.cli.top.incidents import IncidentTable
from banken_supervisor.cli.top.log import LogPage
from banken_supervisor.cli.top.main import Main
from banken_supervisor.cli.top.order import Order
from banken_supervisor.cli.top.page import Page
from banken_supervisor.cli.top.programs import ProgramTable
from banken_supervisor.cli.top.table import RowTable
from banken_supervisor.cli.top.watchdogs import WatchdogTable

if TYPE_CHECKING:
    from banken.control import Control

TICK_S = 1.0
"""Seconds after which ages are shown anew though nothing came."""

REREAD_S = 2.0
"""Seconds after which the journal's incidents are read again, while they are shown."""

INCIDENT_EVENTS = frozenset({"expired", "recovered", "closed", "given-up"})
"""What changes the list of incidents."""


class Changed(Message):
    """There is a new snapshot."""


class Happened(Message):
    """There are events."""


class Done(Message):
    """A thread is done with something; ``then`` shows it."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self.then = then


class TopApp(App[None]):
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
        self._source = Source(address, lambda: self._tell(Changed()))
        self._follower = EventThread(address, lambda: self._tell(Happened()))
        self._reader = FileThread(lambda then: self._tell(Done(then)))
        self._threads = (self._source, self._follower, self._reader)
        self._incidents_read = 0.0

    def _tell(self, message: Message) -> None:
        """From any thread; after the end nobody listens."""
        with suppress(RuntimeError):
            self.post_message(message)

    async def on_mount(self) -> None:
        """Show the lists, and start the threads."""
        await self.push_screen(self.main)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            with suppress(NotImplementedError, RuntimeError, ValueError):  # not on the main thread: in a test
                loop.add_signal_handler(number, self.exit, None, 128 + number)
        for each in self._threads:
            each.start()
        address = self._address
        self._reader.ask("events", lambda: read_past(address), self.main.put_past_events)
        self.set_interval(TICK_S, self._tick)
        self._show()

    def on_unmount(self) -> None:
        """End the threads."""
        for each in self._threads:
            each.close()

    @property
    def _shows(self) -> bool:
        """Whether there is a screen: what comes from the threads may come before and after that."""
        return bool(self.screen_stack) and self.main.is_mounted

    # -- what comes ---------------------------------------------------------------------------------

    @on(Changed)
    @on(RowTable.Turned)
    def _show(self) -> None:
        """Show the newest snapshot."""
        if not self._shows:
            return
        snapshot = self._source.snapshot
        self.main.update_from(snapshot)
        if isinstance(self.screen, Detail):
            self.screen.update_from(snapshot)
        self._look_closely()
        if self.main.view == "incidents" and not self._incidents_read:
            self._read_incidents()

    def _look_closely(self) -> None:
        """Have the source ask for the feeds of what is to be seen."""
        screen = self.screen
        names = [screen.watchdog] if isinstance(screen, Detail) else self.main.table("watchdogs").page
        visible = tuple(names[:LOOKED_MAX])
        self._source.every_rate = self.main.order.sort == "rate"
        if visible != self._source.visible:
            self._source.visible = visible
            self._source.turned()

    def on_happened(self) -> None:
        """Show the events that came."""
        found = self._follower.take()
        if not self._shows:
            return
        self.main.put_events(found)
        if any(event["type"] in INCIDENT_EVENTS for event in found):
            self._read_incidents()

    def on_done(self, message: Done) -> None:
        """Show what a thread has done."""
        if self._shows:
            message.then()

    def _tick(self) -> None:
        if not self._shows:
            return
        if not self._source.is_alive():
            self.fault = "the thread that asks the supervisor has ended, which must not happen: please report it"
            self.exit(return_code=1)
            return
        self.main.show_head()
        if self.main.view == "incidents" and monotonic() - self._incidents_read > REREAD_S:
            self._read_incidents()

    def _read_incidents(self) -> None:
        self._incidents_read = monotonic()
        address = self._address
        self._reader.ask("incidents", lambda: incident_list.read_list(address), self.main.put_incidents)

    # -- keys ---------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A key for what is selected does nothing where nothing of that kind is shown."""
        if action in ("pause", "incident", "log") and self.main.is_current:
            return self.main.check_action(action, parameters)
        return True

    def action_help(self) -> None:
        """What the keys do."""
        self.push_screen(help_page.page())

    @on(RowTable.Opened)
    def _opened(self, message: RowTable.Opened) -> None:
        match message.table:
            case WatchdogTable():
                self.push_screen(Detail(message.key, self._address, self._reader), lambda _: self._show())
                self.call_later(self._show)
            case ProgramTable():
                self.action_log()
            case IncidentTable():
                self._open_incident(None, message.key)
            case EventTable():
                event = message.table.events.get(message.key, {})
                if event.get("incident"):
                    self._open_incident(None, event["incident"])

    @property
    def _watchdog(self) -> str | None:
        """The one that is shown or selected."""
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
        address = self._address

        def show(found: list[str] | Exception) -> None:
            page.put(text.plain([incident_list.why(found)] if isinstance(found, Exception) else found))

        self._reader.ask("incident", lambda: incident_list.read_one(address, name, id_), show)

    def action_log(self) -> None:
        """The log of the selected program, or of the program of the selected watchdog."""
        shows_programs = self.screen is self.main and self.main.view == "programs"
        name = self.main.table().selected if shows_programs else self._watchdog
        row = next((each for each in self._source.snapshot.programs if each["name"] == name), None)
        if row is None:
            self.notify("no program has this name: only programs of the config have a log here", timeout=4)
        elif not row.get("log"):
            self.notify(
                "its output goes to the supervisor's stderr; `log` in its [[program]] names a file", timeout=4
            )
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
                self._tell(Done(lambda: self.notify(said, timeout=5)))

            self._source.order(order)

        self.push_screen(Confirm(f"{'resume' if resume else 'pause'} {text.said(name)}? y/n"), decided)
