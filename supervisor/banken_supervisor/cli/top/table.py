"""A list of rows with a selected one. Only what is to be seen is drawn, so a list may be long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from banken_supervisor.cli.top.columns import GAP, Column, Placed, fit

SELECTED = Style(reverse=True)
"""Not a colour: it is to be seen without colours, too."""


class Columns(NamedTuple):
    """What a table shows above its rows."""

    columns: Sequence[Column]
    sort: str = ""
    reverse: bool = False


class RowTable(ScrollView, can_focus=True):
    """Rows by key, in the order that ``show`` is given. Whoever derives says what a cell holds.

    The selected row stays selected wherever it comes to stand. Is it gone, the one in its place is selected.
    """

    DEFAULT_CSS = """
    RowTable { height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "step(-1)", show=False),
        Binding("down,j", "step(1)", show=False),
        Binding("pageup", "turn(-1)", show=False),
        Binding("pagedown,space", "turn(1)", show=False),
        Binding("home,g", "end(-1)", show=False),
        Binding("end,G", "end(1)", show=False),
        Binding("enter", "open", "Detail"),
    ]

    class Opened(Message):
        """Enter, or a double click, on a row."""

        def __init__(self, table: RowTable, key: str) -> None:
            super().__init__()
            self.table, self.key = table, key

    class SortAsked(Message):
        """A click on the title of a column that can be sorted by."""

        def __init__(self, sort: str) -> None:
            super().__init__()
            self.sort = sort

    class Turned(Message):
        """Other rows are to be seen now."""

    def __init__(self, id_: str, *, follows: bool = False) -> None:
        super().__init__(id=id_)
        self.keys: list[str] = []
        self.selected = ""
        self.empty = ""
        """what is shown in place of rows where there are none"""
        self._columns = Columns(())
        self._placed: list[Placed] = []
        self._fitted = 0
        self._follows = follows
        self._place = 0

    def cell(self, key: str, column: Column, width: int) -> Text:
        """What a row shows in a column; longer texts are cut to ``width``."""
        raise NotImplementedError

    def show(self, columns: Columns, keys: list[str], empty: str = "") -> None:
        """Show these rows. A table that ``follows`` goes on showing its end, if that is where it was."""
        at_end = self._follows and self._place >= len(self.keys) - 1
        self._columns, self.keys, self.empty = columns, keys, empty
        if at_end:
            self._place = max(0, len(keys) - 1)
        elif self.selected in keys:
            self._place = keys.index(self.selected)
        else:
            self._place = max(0, min(self._place, len(keys) - 1))
        self.selected = keys[self._place] if keys else ""
        self._fit()
        self._reveal()
        self.refresh()

    @property
    def page(self) -> list[str]:
        """The keys of the rows that are to be seen."""
        first = self.scroll_offset.y
        return self.keys[first : first + self._room]

    @property
    def place(self) -> int:
        """Where the selected row stands, from 0."""
        return self._place

    @property
    def titles(self) -> list[str]:
        """The titles of the columns that fit."""
        return [each.column.title for each in self._placed]

    def select(self, place: int) -> None:
        """Select the row that stands there, or the nearest."""
        if self.keys:
            self._place = max(0, min(place, len(self.keys) - 1))
            self.selected = self.keys[self._place]
            self._reveal()
            self.refresh()

    def action_step(self, by: int) -> None:
        """One row up or down."""
        self.select(self._place + by)

    def action_turn(self, by: int) -> None:
        """One page up or down."""
        self.select(self._place + by * self._room)

    def action_end(self, which: int) -> None:
        """To the first row, or to the last."""
        self.select(0 if which < 0 else len(self.keys))

    def action_open(self) -> None:
        """Tell that the selected row is to be opened."""
        if self.selected:
            self.post_message(self.Opened(self, self.selected))

    def on_click(self, event: events.Click) -> None:
        """Select a row, open it by a double click, or sort by the column whose title it is."""
        if event.y == 0:
            if sort := self._sort_at(event.x):
                self.post_message(self.SortAsked(sort))
            return
        place = self.scroll_offset.y + event.y - 1
        if place < len(self.keys):
            self.select(place)
            if event.chain == 2:
                self.action_open()

    def on_resize(self, event: events.Resize) -> None:
        """Other columns may fit now."""
        self._fit()
        self._reveal()
        self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Other rows are to be seen."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(self.Turned())

    def render_line(self, y: int) -> Strip:
        """One line of the widget: the titles, or a row."""
        width = self.width
        if width != self._fitted:  # the scrollbar came or went since
            self._fit()
        if y == 0:
            return self._strip(self._line([self._title(each) for each in self._placed]), width, Style(dim=True))
        place = self.scroll_offset.y + y - 1
        if place < len(self.keys):
            key = self.keys[place]
            cells = [self.cell(key, each.column, each.width) for each in self._placed]
            selected = place == self._place and self.has_focus
            return self._strip(self._line(cells), width, SELECTED if selected else Style.null())
        return self._strip(Text(self.empty if y == 2 and not self.keys else ""), width, Style.null())

    @property
    def width(self) -> int:
        """Cells of a line, the scrollbar's left out."""
        return self.scrollable_content_region.width

    @property
    def _room(self) -> int:
        return max(1, self.size.height - 1)

    def _fit(self) -> None:
        self.virtual_size = Size(self.width, len(self.keys) + 1)
        self._fitted = self.width
        self._placed = fit(self._columns.columns, self._fitted)

    def _reveal(self) -> None:
        first, room = self.scroll_offset.y, self._room
        if self._place < first:
            self.scroll_to(y=self._place, animate=False, immediate=True)
        elif self._place >= first + room:
            self.scroll_to(y=self._place - room + 1, animate=False, immediate=True)

    def _title(self, placed: Placed) -> Text:
        column = placed.column
        if not column.sort or column.sort != self._columns.sort:
            return Text(column.title)
        return Text(column.title + ("▲" if self._columns.reverse else "▼"), Style(bold=True))

    def _line(self, cells: Sequence[Text]) -> Text:
        line = Text(no_wrap=True, end="")
        for number, (text, placed) in enumerate(zip(cells, self._placed, strict=True)):
            text.truncate(placed.width, overflow="ellipsis")
            text.align("right" if placed.column.right else "left", placed.width)
            line.append(" " * GAP if number else "").append_text(text)
        return line

    def _strip(self, line: Text, width: int, style: Style) -> Strip:
        line.end = ""
        strip = Strip(line.render(self.app.console)).adjust_cell_length(width)
        return strip.apply_style(style).apply_style(self.rich_style)

    def _sort_at(self, x: int) -> str:
        left = 0
        for placed in self._placed:
            if left <= x < left + placed.width + GAP:
                return placed.column.sort
            left += placed.width + GAP
        return ""
