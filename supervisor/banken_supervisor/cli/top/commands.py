"""What the view may tell the supervisor: to pause a watchdog, and to resume it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

from banken_supervisor.cli.printing import clean
from banken_supervisor.operator_client.supervisor_client import tell

if TYPE_CHECKING:
    from banken.control import Control


class Confirm(ModalScreen[bool]):
    """A question, and whether the answer was yes."""

    DEFAULT_CSS = """
    Confirm { align: center middle; }
    Confirm Static {
        width: auto; max-width: 90%; height: auto; padding: 1 3; border: solid $warning; background: $surface;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,Y", "dismiss(True)", "Yes"),
        Binding("n,N,escape,q,enter", "dismiss(False)", "No"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        yield Static(Text(self._question, "bold"))


def pause(control: Control, name: str, *, resume: bool) -> str:
    """Pause a watchdog or resume it; what came of it, in words. Not on the thread that draws."""
    from banken.errors import RequestFailed, Unreachable
    from banken.protocol.messages import Kind

    shown = clean(name)
    try:
        if not control.request("status", name=name)["rows"]:
            return f"{shown} is not watched any more"
        if resume:
            tell(control, Kind.RESUME, name)
            return f"{shown} is resumed: its whole timeout begins now"
        tell(control, Kind.PAUSE, name, 0.0)
    except (Unreachable, RequestFailed) as fault:
        return f"nothing was done: {fault}"
    return f"{shown} is paused: not judged until it is resumed (p again, or banken resume {shown})"
