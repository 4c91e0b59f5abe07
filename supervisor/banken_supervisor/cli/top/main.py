"""The screen with the lists: head, tabs, the four lists, the filter."""

from __future__ import annotations

from time import monotonic
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Footer, Input, Static

from banken_supervisor.cli.places import Places, program_severity
from banken_supervisor.cli.poller import Snapshot
from banken_supervisor.cli.printing import clean
from banken_supervisor.cli.top import incidents
from banken_supervisor.cli.top.events import EventTable
from banken_supervisor.cli.top.head import VIEWS, supervisor, tabs, watchdogs
from banken_supervisor.cli.top.order import FILTER_MAX, Order
from banken_supervisor.cli.top.table import Row, RowTable
from banken_supervisor.cli.top.watchdogs import (
    COLUMNS,
    NO_PROGRAMS,
    NOBODY,
    PROGRAM_COLUMNS,
    program_rows,
    watchdog_rows,
)

PLACEHOLDER = "part of a name, worker-*, a state"

ONLY_IN = {
    "sort": ("watchdogs",),
    "reverse": ("watchdogs",),
    "pause": ("watchdogs",),
    "incident": ("watchdogs", "incidents"),
    "log": ("watchdogs", "programs"),
}
"""Keys that do something in some of the lists only."""

SORT_KEYS = {"S": "state", "N": "name", "L": "left", "D": "silence", "R": "rate", "I": "incidents"}


class Main(Screen[None]):
    """Shows what it is given; ``view`` is the tab."""

    CSS = """
    #head { height: 2; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    #tabs {
        height: 1; padding: 0 1; background: $surface; text-wrap: nowrap; text-overflow: ellipsis;
        link-style: none; link-color: $foreground; link-background: $surface;
        link-style-hover: bold; link-color-hover: $foreground; link-background-hover: $surface;
    }
    ContentSwitcher { height: 1fr; padding: 0 1; }
    #cut { height: auto; max-height: 4; padding: 0 1; display: none; color: $text-muted; }
    #filter { height: 1; border: none; padding: 0 1; display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        # With priority they take effect before the next key is looked at: of `/abc` each letter is the filter's.
        Binding("slash", "filter", "Filter", key_display="/", priority=True),
        Binding("enter,up,down", "keep_filter", show=False, priority=True),
        Binding("escape", "all", "All", key_display="Esc", priority=True),
        Binding("s", "sort", "Sort"),
        *(Binding(key, f"sort('{sort}')", show=False) for key, sort in SORT_KEYS.items()),
        Binding("r", "reverse", "Reverse"),
        Binding("p", "app.pause", "Pause"),
        Binding("i", "app.incident", "Incident"),
        Binding("l", "app.log", "Log"),
        Binding("question_mark", "app.help", "Help", key_display="?"),
        Binding("q", "app.quit", "Quit"),
        *(Binding(str(number), f"view('{view}')", show=False) for number, view in enumerate(VIEWS, 1)),
        Binding("tab", "turn_view(1)", show=False, priority=True),
        Binding("shift+tab", "turn_view(-1)", show=False, priority=True),
    ]

    def __init__(self, address: str, order: Order, wanted: str) -> None:
        super().__init__()
        self.view = VIEWS[0]
        self.order = order
        self._address = address
        self._snapshot = Snapshot(0.0)
        self._places = Places(program_severity, "running")
        # Held, not looked up: a snapshot may come while the screen is taken down.
        self._head, self._tabs, self._cut = Static(id="head"), Static(id="tabs"), Static(id="cut")
        self.events = EventTable()
        self._tables: dict[str, RowTable] = {
            "watchdogs": RowTable("watchdogs", COLUMNS, order),
            "programs": RowTable("programs", PROGRAM_COLUMNS),
            "incidents": RowTable("incidents", incidents.COLUMNS),
            "events": self.events,
        }
        self._tables["watchdogs"].wanted = wanted
        self._typed = Input(
            id="filter", compact=True, max_length=FILTER_MAX, placeholder=PLACEHOLDER, select_on_focus=False
        )

    def compose(self) -> ComposeResult:
        yield self._head
        yield self._tabs
        with ContentSwitcher(initial=self.view):
            yield from self._tables.values()
        yield self._cut
        yield self._typed
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """The keys are for the list."""
        self.set_focus(self.table())

    def table(self, view: str = "") -> RowTable:
        """The list of this tab; of the one that is shown."""
        return self._tables[view or self.view]

    @property
    def watchdog(self) -> str | None:
        """The selected one, where watchdogs are shown."""
        return self.table().selected or None if self.view == "watchdogs" else None

    def update_from(self, snapshot: Snapshot) -> None:
        """Show what is known now."""
        self._snapshot = snapshot
        self.show_head()
        none = NOBODY if snapshot.complete else "asking …"
        self.table("watchdogs").put(watchdog_rows(snapshot, self.order), none)
        self.table("programs").put(program_rows(snapshot, self._places), NO_PROGRAMS)

    def show_head(self) -> None:
        """The lines above the lists, with the ages of now."""
        snapshot = self._snapshot
        lines = [watchdogs(snapshot, self._address), supervisor(snapshot, self._address, monotonic())]
        self._head.update(Text("\n").join(lines))
        self._tabs.update(tabs(self.view, snapshot, self.table().wanted))

    @on(RowTable.Selected)
    def _show_cut(self) -> None:
        """Below the list, what does not fit into the selected row."""
        text = self.table().cut
        self._cut.update(Text(text))
        self._cut.display = bool(text)

    def put_incidents(self, found: dict[str, Row] | Exception) -> None:
        """Show what was read of the journal, or why it could not be."""
        if isinstance(found, Exception):
            self.table("incidents").put({}, clean(incidents.why(found)))
        else:
            self.table("incidents").put(found, "no incident so far")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        if action in ONLY_IN:
            return self.view in ONLY_IN[action]
        typing = self._typing
        where = {"filter": not typing, "keep_filter": typing, "all": typing or bool(self.table().wanted)}
        return where.get(action, True)

    def action_view(self, view: str) -> None:
        self.action_keep_filter()
        self.view = view
        self.query_one(ContentSwitcher).current = view
        self.set_focus(self.table())
        self._changed()

    def action_turn_view(self, by: int) -> None:
        self.action_view(VIEWS[(VIEWS.index(self.view) + by) % len(VIEWS)])

    def action_sort(self, sort: str = "") -> None:
        """Sort by this, or by the next."""
        self.order.choose(sort)
        self._sorted()

    def action_reverse(self) -> None:
        self.order.turn()
        self._sorted()

    def action_sort_or_reverse(self, sort: str) -> None:
        """What a click on a title does."""
        if sort == self.order.sort:
            self.action_reverse()
        else:
            self.action_sort(sort)

    def _sorted(self) -> None:
        self._changed()
        self.table("watchdogs").select(0)

    @property
    def _typing(self) -> bool:
        return bool(self._typed.display)

    def action_filter(self) -> None:
        self._typed.value = self.table().wanted
        self._typed.cursor_position = len(self._typed.value)
        self._typed.display = True
        self.set_focus(self._typed)
        self.refresh_bindings()

    def action_all(self) -> None:
        self.action_keep_filter()
        self._filter_by("")

    @on(Input.Changed, "#filter")
    def _filter_typed(self, message: Input.Changed) -> None:
        if self._typing:
            self._filter_by(message.value)

    def action_keep_filter(self) -> None:
        """The keys are for the list again."""
        self._typed.display = False
        self.set_focus(self.table())
        self.refresh_bindings()

    def _filter_by(self, wanted: str) -> None:
        self.table().wanted = wanted
        self.table().show_fitting()
        self._changed()

    def _changed(self) -> None:
        self.update_from(self._snapshot)
        self.refresh_bindings()
        self.post_message(RowTable.Turned())
