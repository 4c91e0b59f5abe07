"""The application: tabs, filter, keys, and whether the supervisor answers."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import events as textual_events
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import ContentSwitcher, Footer, Input, Static

from banken_supervisor.cli.printing import clean
from banken_supervisor.cli.source import LOOKED_MAX, Snapshot, Source
from banken_supervisor.cli.top import help as help_page
from banken_supervisor.cli.top import incidents as incident_list
from banken_supervisor.cli.top import text
from banken_supervisor.cli.top.background import Follower, Reader
from banken_supervisor.cli.top.commands import Confirm, pause
from banken_supervisor.cli.top.detail import Detail
from banken_supervisor.cli.top.events import Events, read_past
from banken_supervisor.cli.top.head import supervisor, tabs, watchdogs
from banken_supervisor.cli.top.incidents import Incidents
from banken_supervisor.cli.top.log import LogPage
from banken_supervisor.cli.top.order import FILTER_MAX, Order
from banken_supervisor.cli.top.page import Page
from banken_supervisor.cli.top.programs import Programs
from banken_supervisor.cli.top.table import Table
from banken_supervisor.cli.top.watchdogs import Watchdogs

if TYPE_CHECKING:
    from banken.control import Control

VIEWS = ("watchdogs", "programs", "incidents", "events")

TICK_S = 1.0
"""Seconds after which ages are shown anew though nothing came, and the journal's incidents are read again."""

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
    CSS = """
    #head { height: 2; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    #tabs {
        height: 1; padding: 0 1; background: $surface; text-wrap: nowrap; text-overflow: ellipsis;
        link-style: none; link-color: $foreground; link-background: $surface;
        link-style-hover: bold; link-color-hover: $foreground; link-background-hover: $surface;
    }
    ContentSwitcher { height: 1fr; padding: 0 1; }
    #filter { height: 1; border: none; padding: 0 1; display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False, priority=True),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("escape", "all", "All", key_display="Esc"),
        Binding("s", "sort", "Sort"),
        *(Binding(key, f"sort('{sort}')", show=False) for key, sort in zip("SNLDRI", (
            "state", "name", "left", "silence", "rate", "incidents"), strict=True)),
        Binding("r", "reverse", "Reverse"),
        Binding("p", "pause", "Pause"),
        Binding("i", "incident", "Incident"),
        Binding("l", "log", "Log"),
        *(Binding(str(number), f"view('{view}')", show=False) for number, view in enumerate(VIEWS, 1)),
        Binding("tab", "turn_view(1)", show=False, priority=True),
        Binding("shift+tab", "turn_view(-1)", show=False, priority=True),
        Binding("question_mark", "help", "Help", key_display="?"),
    ]  # fmt: skip

    def __init__(self, address: str, *, sort: str = "state", reverse: bool = False, filter: str = "") -> None:  # noqa: A002  (as the option)
        super().__init__(ansi_color=bool(os.environ.get("NO_COLOR")))
        self.fault = ""
        self.animation_level = "none"
        self.view = VIEWS[0]
        self.wanted = dict.fromkeys(VIEWS, "") | {"watchdogs": filter}
        self.order = Order(sort, reverse=reverse)
        self._address = address
        self._source = Source(address, lambda: self._tell(Changed()))
        self._follower = Follower(address, lambda: self._tell(Happened()))
        self._reader = Reader(lambda then: self._tell(Done(then)))
        self._threads = (self._source, self._follower, self._reader)
        self._incidents_read = 0.0

    def _tell(self, message: Message) -> None:
        """From any thread; after the end nobody listens."""
        with suppress(RuntimeError):
            self.post_message(message)

    def compose(self) -> ComposeResult:
        """Head, tabs, the four lists, the filter, keys."""
        yield Static(id="head")
        yield Static(id="tabs")
        with ContentSwitcher(initial=self.view):
            yield Watchdogs("watchdogs", self.order)
            yield Programs("programs")
            yield Incidents("incidents")
            yield Events("events")
        yield Input(
            id="filter", compact=True, max_length=FILTER_MAX, placeholder="part of a name, worker-*, a state"
        )
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Start the threads."""
        self.table("watchdogs").focus()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            with suppress(NotImplementedError, RuntimeError, ValueError):  # not on the main thread: in a test
                loop.add_signal_handler(number, self.exit, None, 128 + number)
        for each in self._threads:
            each.start()
        address = self._address
        self._reader.ask("events", lambda: read_past(address), self._show_past)
        self.set_interval(TICK_S, self._tick)
        self._show()

    def on_unmount(self) -> None:
        """End the threads."""
        for each in self._threads:
            each.close()

    # -- what comes ---------------------------------------------------------------------------------

    @on(Changed)
    @on(Table.Turned)
    def _show(self) -> None:
        """Show the newest snapshot."""
        if not self.is_running or not self.screen_stack:
            return
        snapshot = self._source.snapshot
        main = self.screen_stack[0]
        self._show_head(snapshot)
        main.query_one(Watchdogs).update_from(snapshot, self.wanted["watchdogs"])
        main.query_one(Programs).update_from(snapshot, self.wanted["programs"])
        if isinstance(self.screen, Detail):
            self.screen.update_from(snapshot)
        self._look_closely()

    def _show_head(self, snapshot: Snapshot) -> None:
        main = self.screen_stack[0]
        lines = [watchdogs(snapshot, self._address), supervisor(snapshot, self._address, monotonic())]
        main.query_one("#head", Static).update(Text("\n", no_wrap=True, overflow="ellipsis").join(lines))
        main.query_one("#tabs", Static).update(tabs(self.view, snapshot, self.wanted[self.view]))

    def _look_closely(self) -> None:
        """Have the source ask for the feeds of what is to be seen."""
        screen = self.screen
        names = [screen.watchdog] if isinstance(screen, Detail) else self.table("watchdogs").page
        visible = tuple(names[:LOOKED_MAX])
        self._source.every_rate = self.order.sort == "rate"
        if visible != self._source.visible:
            self._source.visible = visible
            self._source.turned()

    def on_happened(self) -> None:
        """Show the events that came."""
        found = self._follower.take()
        self.screen_stack[0].query_one(Events).put(found, self.wanted["events"])
        if any(event["type"] in INCIDENT_EVENTS for event in found):
            self._read_incidents()

    def on_done(self, message: Done) -> None:
        """Show what a thread has done."""
        message.then()

    def _show_past(self, found: Any) -> None:
        self.screen_stack[0].query_one(Events).put_past(found, self.wanted["events"])

    def _tick(self) -> None:
        if not self._source.is_alive():
            self.fault = "the thread that asks the supervisor has ended, which must not happen: please report it"
            self.exit(return_code=1)
            return
        self._show_head(self._source.snapshot)
        if self.view == "incidents" and monotonic() - self._incidents_read > 2 * TICK_S:
            self._read_incidents()

    def _read_incidents(self) -> None:
        self._incidents_read = monotonic()
        address = self._address
        self._reader.ask("incidents", lambda: incident_list.read_list(address), self._show_incidents)

    def _show_incidents(self, found: Any) -> None:
        self.screen_stack[0].query_one(Incidents).put(found, self.wanted["incidents"])

    # -- keys ---------------------------------------------------------------------------------------

    def table(self, view: str) -> Table:
        """The list of a tab."""
        return self.screen_stack[0].query_one(f"#{view}", Table)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of the lists do nothing on a page above them, and letters are letters while a filter is typed."""
        if action in ("filter", "sort", "reverse", "view", "turn_view", "all"):
            lists = len(self.screen_stack) == 1
            typing = lists and self.query_one("#filter", Input).display
            return lists and {
                "sort": self.view == "watchdogs", "reverse": self.view == "watchdogs", "filter": not typing,
                "all": typing or bool(self.wanted[self.view]),
            }.get(action, True)  # fmt: skip
        if action in ("pause", "incident", "log"):
            return self._acts_on(action)
        return True

    def _acts_on(self, action: str) -> bool:
        """Whether there is something here that the key could be for."""
        if not self.screen_stack or isinstance(self.screen, Detail):
            return bool(self.screen_stack)
        if len(self.screen_stack) > 1:
            return False
        where = {"pause": ("watchdogs",), "incident": ("watchdogs", "incidents"), "log": ("watchdogs", "programs")}
        return self.view in where[action]

    def action_view(self, view: str) -> None:
        """Show another tab."""
        self.view = view
        self.screen_stack[0].query_one(ContentSwitcher).current = view
        self.query_one("#filter", Input).display = False
        self.table(view).focus()
        if view == "incidents":
            self._read_incidents()
        self._show()
        self.refresh_bindings()

    def action_turn_view(self, by: int) -> None:
        """Show the next tab."""
        self.action_view(VIEWS[(VIEWS.index(self.view) + by) % len(VIEWS)])

    def action_sort(self, sort: str = "") -> None:
        """Sort by this, or by the next."""
        table = self.screen_stack[0].query_one(Watchdogs)
        self.order.choose(sort or table.next_sort())
        self._show()
        table.select(0)

    @on(Table.SortAsked)
    def _sort_asked(self, message: Table.SortAsked) -> None:
        if message.sort == self.order.sort:
            self.action_reverse()
        else:
            self.action_sort(message.sort)

    def action_reverse(self) -> None:
        """The other way round."""
        self.order.turn()
        self._show()
        self.table("watchdogs").select(0)

    def action_filter(self) -> None:
        """Begin to type a filter."""
        typed = self.query_one("#filter", Input)
        typed.value = self.wanted[self.view]
        typed.display = True
        typed.focus()
        self.refresh_bindings()

    @on(Input.Changed, "#filter")
    def _filter_typed(self, message: Input.Changed) -> None:
        if self.query_one("#filter", Input).display:
            self._filter_by(message.value)

    @on(Input.Submitted, "#filter")
    def _filter_kept(self) -> None:
        self.query_one("#filter", Input).display = False
        self.table(self.view).focus()
        self.refresh_bindings()

    def action_all(self) -> None:
        """Show all again."""
        self._filter_kept()
        self._filter_by("")

    def _filter_by(self, wanted: str) -> None:
        self.wanted[self.view] = wanted
        table = self.table(self.view)
        if isinstance(table, (Incidents, Events)):
            table.filter_by(wanted)
        self._show()

    def on_key(self, event: textual_events.Key) -> None:
        """Enter and arrows end the typing of a filter as one expects."""
        if event.key in ("down", "up") and isinstance(self.focused, Input):
            self._filter_kept()

    def action_help(self) -> None:
        """What the keys do."""
        if not isinstance(self.screen, Page):
            self.push_screen(help_page.page())

    @on(Table.Opened)
    def _opened(self, message: Table.Opened) -> None:
        match message.table:
            case Watchdogs():
                self.push_screen(Detail(message.key, self._address, self._reader), lambda _: self._show())
                self.call_later(self._show)
            case Programs():
                self.action_log()
            case Incidents():
                self._open_incident(None, message.key)
            case Events():
                event = message.table.events.get(message.key, {})
                if event.get("incident"):
                    self._open_incident(None, event["incident"])

    def _watchdog(self) -> str | None:
        """The one that is shown or selected."""
        if not self.screen_stack:
            return None
        if isinstance(self.screen, Detail):
            return self.screen.watchdog
        if len(self.screen_stack) == 1 and self.view == "watchdogs":
            return self.table("watchdogs").selected or None
        return None

    def action_incident(self) -> None:
        """The open incident of the watchdog, or its last one, in full."""
        if self.view == "incidents" and len(self.screen_stack) == 1:
            if selected := self.table("incidents").selected:
                self._open_incident(None, selected)
        elif (name := self._watchdog()) is not None:
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
        name = self.table("programs").selected if self.view == "programs" else self._watchdog()
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
        name = self._watchdog()
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
