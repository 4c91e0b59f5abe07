"""Whether the supervisors of other hosts take the feeds of this name with this key: they are asked.

A feed is never answered. So one that is refused, for the key may not feed this name, looks as one that is taken.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import monotonic

from banken.control import Control
from banken.errors import Unreachable
from banken_supervisor.operator_client.supervisor_client import may_feed

ASK_S = 2.0
"""Seconds to wait for an answer."""

AGAIN_S, REFUSED_S = 60.0, 10.0
"""Seconds until it is asked again: rights may change; sooner where it is refused, for that is being mended."""


class FeedRights:
    """Asks each address that ``reached`` was called with, on a thread of its own, and again and again from then on.
    ``fault``: reports an exception of the thread."""

    def __init__(self, addresses: Sequence[str], key: str, name: str, fault: Callable[[Exception], None]) -> None:
        self._key, self._name, self._fault = key, name, fault
        self._may: dict[str, bool] = {}
        self._ask_at = dict.fromkeys(addresses, float("inf"))
        """monotonic time"""
        self._wake, self._ends = threading.Event(), False
        self._thread = threading.Thread(target=self._work, name="banken-feed-rights", daemon=True)

    def start(self) -> None:
        """RuntimeError: no thread is to be had."""
        self._thread.start()

    def close(self) -> None:
        """End it; a question that is not answered yet is not waited for."""
        self._ends = True
        self._wake.set()

    def reached(self, address: str) -> None:
        """It takes messages again: ask it now."""
        self._ask_at[address] = 0.0
        self._wake.set()

    def may(self, address: str) -> bool | None:
        """Whether it takes this name's feeds; True too where it does not tell. None: it was not asked yet."""
        return self._may.get(address)

    def _work(self) -> None:
        while not self._ends:
            self._wake.wait(max(0.0, min(AGAIN_S, min(self._ask_at.values()) - monotonic())))
            self._wake.clear()
            for address, due in list(self._ask_at.items()):
                if due > monotonic() or self._ends:
                    continue
                self._ask_at[address] = monotonic() + AGAIN_S
                try:
                    self._ask(address)
                except Exception as fault:  # noqa: BLE001  # the next question is independent of it
                    self._fault(fault)

    def _ask(self, address: str) -> None:
        try:
            with Control(address, ASK_S, self._key) as control:
                self._may[address] = may_feed(control, self._name)
        except Unreachable:  # it takes feeds, and answers nothing: its port for commands may be shut
            self._may.setdefault(address, True)
        if not self._may[address]:
            self._ask_at[address] = monotonic() + REFUSED_S
