"""Reading a list that takes several requests, while rows are removed from it.

The supervisor addresses rows by their place in the list. When rows before the next page are removed, all rows
behind them move up, and a reader that simply went on would miss some. ``total`` shows it: the page is then read
again from as many places earlier as rows were removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from banken.protocol.answers import AnswerNotUnderstood

if TYPE_CHECKING:
    from banken.control import Control

STEPS_BACK_MAX = 100
"""How often one reading goes back. A list that shrinks all the time would otherwise never end."""


PAGES_MAX = 20_000
"""Pages of one list; a supervisor's have 100 rows or more, but for long texts."""

FEW = 500
"""Watchdogs of which all rows come with one request."""


class Pager:
    """Says at which offset the next page begins."""

    def __init__(self) -> None:
        self.offset: int | None = 0
        """the offset to request next; None: the list is complete"""
        self._total: int | None = None
        self._steps_back = STEPS_BACK_MAX
        self._left = PAGES_MAX

    def turn(self, following: int | None, total: int) -> None:
        """Note the page that was read at ``offset``: where it says that the next one begins, and how many rows
        there are in all. AnswerNotUnderstood: it does not go ahead, or the list has no end."""
        assert self.offset is not None
        self._left -= 1
        if following is not None and (following <= self.offset or not self._left):
            raise AnswerNotUnderstood("the list that the supervisor gives has no end")
        removed = 0 if self._total is None else self._total - total
        self._total = total
        if removed > 0 and self._steps_back > 0:
            self._steps_back -= 1
            self.offset = max(0, self.offset - removed)
        else:
            self.offset = following


def all_rows(control: Control, name: str | None = None, op: str = "status") -> list[dict[str, Any]]:
    """Every watchdog that ``name`` (a name, a pattern, None: any) matches, however many requests that takes.

    ``op``: ``status`` or ``suggest``. Raises Unreachable and RequestFailed.
    """
    return list({row["name"]: row for page in pages(control, op, name=name) for row in page["rows"]}.values())


def pages(control: Control, op: str, **args: Any) -> Iterator[dict[str, Any]]:
    """The answers that make up a list, one after the other; a row may come twice, the later is the newer."""
    pager = Pager()
    while pager.offset is not None:
        page = control.request(op, offset=pager.offset, **args)
        pager.turn(page["next"], page["total"])
        yield page
