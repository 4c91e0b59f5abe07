"""A text over the whole screen: what detail, incident, log and help are shown on."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static


class Page(Screen[None]):
    """A title and lines that scroll. ``q`` and Escape go back."""

    DEFAULT_CSS = """
    Page #title { height: 1; text-wrap: nowrap; text-overflow: ellipsis; text-style: bold reverse; padding: 0 1; }
    Page #text { height: 1fr; padding: 1 1 0 1; scrollbar-size-vertical: 1; }
    Page #lines { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape,left", "app.pop_screen", "Back"),
        Binding("up,k", "go('scroll_up')", show=False),
        Binding("down,j", "go('scroll_down')", show=False),
        Binding("pageup", "go('scroll_page_up')", show=False),
        Binding("pagedown,space", "go('scroll_page_down')", show=False),
        Binding("home,g", "go('scroll_home')", show=False),
        Binding("end,G", "go('scroll_end')", show=False),
    ]

    def __init__(self, title: str, lines: list[Text] | None = None) -> None:
        super().__init__()
        # Held, not looked up: lines may come while the screen is taken down.
        self._heading = Static(Text(title), id="title")
        self._body = Static(Text("\n").join(lines or [Text("reading …")]), id="lines")

    def compose(self) -> ComposeResult:
        """Title, text, keys."""
        yield self._heading
        with VerticalScroll(id="text", can_focus=False):
            yield self._body
        yield Footer(show_command_palette=False)

    def put(self, lines: list[Text], title: str | None = None) -> None:
        """Show these lines in place of the former; where the text was scrolled to, it stays."""
        self._body.update(Text("\n").join(lines))
        if title is not None:
            self._heading.update(Text(title))

    def action_go(self, how: str) -> None:
        """Scroll the text."""
        getattr(self.query_one("#text", VerticalScroll), f"action_{how}")()
