"""A text over the whole screen: what detail, incident and help are shown on."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, Static


class Page(Screen[None]):
    """A title and lines that scroll. ``q`` and Escape go back."""

    DEFAULT_CSS = """
    Page { scrollbar-size-vertical: 1; }
    Page #title {
        dock: top; height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; text-style: bold reverse;
    }
    Page #lines { height: auto; padding: 1 1 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape,left", "app.pop_screen", "Back"),
        Binding("up,k", "scroll_up", show=False),
        Binding("down,j", "scroll_down", show=False),
        Binding("pageup", "page_up", show=False),
        Binding("pagedown,space", "page_down", show=False),
        Binding("home,g", "scroll_home", show=False),
        Binding("end,G", "scroll_end", show=False),
    ]

    def __init__(self, title: str, lines: list[Text] | None = None) -> None:
        super().__init__()
        # Held, not looked up: lines may come while the screen is taken down.
        self._heading = Static(Text(title), id="title")
        self._body = Static(Text("\n").join(lines or [Text("reading …")]), id="lines")

    def compose(self) -> ComposeResult:
        yield self._heading
        yield self._body
        yield Footer(show_command_palette=False)

    def put(self, lines: list[Text], title: str | None = None) -> None:
        """Show these lines in place of the former; where the text was scrolled to, it stays."""
        self._body.update(Text("\n").join(lines))
        if title is not None:
            self._heading.update(Text(title))
