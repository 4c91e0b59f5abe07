"""The checks of the config in force, and which of them are to run at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from banken_supervisor.config.placed_checks import PlacedCheck


class ChecksInForce:
    """The checks of the config in force. ``version`` is another one with each config, and of each supervisor."""

    def __init__(self) -> None:
        self.placed: tuple[PlacedCheck, ...] = ()
        self.directory = "."
        """of the config file: relative paths in checks begin there"""
        self.at_once = 1
        """how many may run at the same time"""
        self.asked: dict[str, None] = {}
        """those that somebody wants to be run now"""
        self.readiness: tuple[PlacedCheck, ...] = ()
        """those by which programs are ready"""
        self._owners: list[tuple[str, bool]] = []
        self._place = 0
        self._run_id = os.urandom(4).hex()
        self._numbers = count(1)
        self.version = f"{self._run_id}-0"

    def set(self, placed: Sequence[PlacedCheck], directory: str, at_once: int) -> None:
        """A config is in force from now on."""
        self.placed, self.directory, self.at_once = tuple(placed), directory, at_once
        self.version = f"{self._run_id}-{next(self._numbers)}"
        self.asked.clear()
        self.readiness = tuple(check for check in placed if check.is_readiness)
        self._owners = list({check.of: check.is_programs for check in placed}.items())

    def owners(self, most: int) -> list[tuple[str, bool]]:
        """The next of the names that have checks, at most so many, in turn: each with whether it is a program."""
        if len(self._owners) <= most:
            return self._owners
        self._place = self._place % len(self._owners)
        found = self._owners[self._place : self._place + most]
        self._place += most
        return found
