"""A list of rows with a selected one. Only what is to be seen is drawn, so a list may be long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from banken_supervisor.cli.printing import clean
from banken_supervisor.cli.top.columns import GAP, Column, Placed, fit, for_names
from banken_supervisor.cli.top.order import Order, fits

ALL = 1_000_000_000
"""Rows: more than there are."""

SELECTED = Style(reverse=True)
"""Not a colour: it is to be seen without colours, too."""


class Row(NamedTuple):
    """One row: by what the filter finds it, and what the columns show."""

    name: str
    state: str
    it: Any


class RowTable(ScrollView, can_focus=True):
    """Rows by key, in the order that ``put`` is given, those that fit ``wanted``.

    The selected row stays selected wherever it comes to stand. Is it gone, the one in its place is selected.
    """

    DEFAULT_CSS = """
    RowTable { height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "go(-1)", show=False),
        Binding("down,j", "go(1)", show=False),
        Binding("pageup", "go(0, -1)", show=False),
        Binding("pagedown,space", "go(0, 1)", show=False),
        Binding("home,g", f"go(-{ALL})", show=False),
        Binding("end,G", f"go({ALL})", show=False),
        Binding("enter", "open", "Detail"),
    ]

    class Opened(Message):
        """Enter, or a double click, on a row."""

        def __init__(self, table: RowTable, key: str) -> None:
            super().__init__()
            self.table, self.key = table, key

    class Turned(Message):
        """Other rows are to be seen now."""

    class Selected(Message):
        """Another row is selected, or the selected one has changed."""

    def __init__(
        self, what: str, columns: Sequence[Column], order: Order | None = None, *, follows: bool = False
    ) -> None:
        """``what`` its rows are: ``watchdogs``. One that ``follows`` goes on showing its end, if it was there."""
        super().__init__(id=what)
        self.rows: dict[str, Row] = {}
        self.keys: list[str] = []
        self.selected = ""
        self.wanted = ""
        """the filter"""
        self._what, self._columns, self._order, self._follows = what, columns, order, follows
        self._none = self._empty = "reading …"
        self._placed: list[Placed] = []
        self._fitted = 0
        self._place = 0

    def put(self, rows: dict[str, Row], none: str) -> None:
        """Show these rows; where there are none at all, the text ``none``."""
        self.rows, self._none = rows, none
        self.show_fitting()

    def show_fitting(self) -> None:
        """Show the rows that fit the filter."""
        at_end = self._follows and self._place >= len(self.keys) - 1
        keys = self.keys = [key for key, row in self.rows.items() if fits(row.name, row.state, self.wanted)]
        unfit = f"no {self._what[:-1]} fits {clean(self.wanted)!r}; Escape shows all"
        self._empty = unfit if self.rows else self._none
        if at_end:
            self._place = max(0, len(keys) - 1)
        elif self.selected in keys:
            self._place = keys.index(self.selected)
        else:
            self._place = max(0, min(self._place, len(keys) - 1))
        self.selected = keys[self._place] if keys else ""
        self._fit()

    @property
    def page(self) -> list[str]:
        """The keys of the rows that are to be seen."""
        first = self.scroll_offset.y
        return self.keys[first : first + self._room]

    @property
    def cut(self) -> str:
        """The text of the selected row's last column, where it is longer than the column; else empty."""
        if not self.selected or not self._placed:
            return ""
        last = self._placed[-1]
        cell = last.column.cell(self.rows[self.selected].it, ALL)
        text = cell if isinstance(cell, str) else cell.plain
        return text if len(text) > last.width else ""

    def select(self, place: int) -> None:
        """Select the row that stands there, or the nearest."""
        if self.keys:
            self._place = max(0, min(place, len(self.keys) - 1))
            self.selected = self.keys[self._place]
            self._reveal()

    def action_go(self, rows: int, pages: int = 0) -> None:
        """So many down; up, if it is negative."""
        self.select(self._place + rows + pages * self._room)

    def action_open(self) -> None:
        if self.selected:
            self.post_message(self.Opened(self, self.selected))

    def on_click(self, event: events.Click) -> None:
        """Select a row, open it by a double click."""
        place = self.scroll_offset.y + event.y - 1
        if event.y and place < len(self.keys):
            self.select(place)
            if event.chain == 2:
                self.action_open()

    def on_resize(self, event: events.Resize) -> None:
        self._fit()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(self.Turned())

    def render_line(self, y: int) -> Strip:
        """One line of the widget: the titles, or a row."""
        if self.scrollable_content_region.width != self._fitted:  # the scrollbar came or went since
            self._fit_columns()
        if y == 0:
            return self._strip(self._line([self._title(each.column) for each in self._placed]), Style(dim=True))
        place = self.scroll_offset.y + y - 1
        if place < len(self.keys):
            it = self.rows[self.keys[place]].it
            cells = [each.column.cell(it, each.width) for each in self._placed]
            selected = place == self._place and self.has_focus
            return self._strip(self._line(cells), SELECTED if selected else Style.null())
        return self._strip(Text(self._empty if y == 2 and not self.keys else ""), Style.null())

    @property
    def _room(self) -> int:
        return max(1, self.size.height - 1)

    def _fit(self) -> None:
        self._fit_columns()
        self._reveal()

    def _fit_columns(self) -> None:
        self._fitted = self.scrollable_content_region.width
        self.virtual_size = Size(self._fitted, len(self.keys) + 1)
        longest = max((len(self.rows[key].name) for key in self.keys), default=0)
        self._placed = fit(for_names(self._columns, longest, self._fitted), self._fitted)

    def _reveal(self) -> None:
        first, room = self.scroll_offset.y, self._room
        if self._place < first:
            self.scroll_to(y=self._place, animate=False, immediate=True)
        elif self._place >= first + room:
            self.scroll_to(y=self._place - room + 1, animate=False, immediate=True)
        self.refresh()
        self.post_message(self.Selected())

    def _title(self, column: Column) -> Text:
        click = Style(meta={"@click": f"screen.sort_or_reverse('{column.sort}')"}) if column.sort else Style()
        if self._order is None or column.sort != self._order.sort:
            return Text(column.title, click)
        return Text(column.title + ("▲" if self._order.reverse else "▼"), click + Style(bold=True))

    def _line(self, cells: Sequence[str | Text]) -> Text:
        line = Text(no_wrap=True)
        for number, (cell, placed) in enumerate(zip(cells, self._placed, strict=True)):
            text = Text(cell) if isinstance(cell, str) else cell
            text.truncate(placed.width, overflow="ellipsis")
            text.align("right" if placed.column.right else "left", placed.width)
            line.append(" " * GAP if number else "").append_text(text)
        return line

    def _strip(self, line: Text, style: Style) -> Strip:
        line.end = ""
        strip = Strip(line.render(self.app.console)).adjust_cell_length(self._fitted)
        return strip.apply_style(style).apply_style(self.rich_style)
