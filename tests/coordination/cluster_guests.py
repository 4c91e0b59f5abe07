"""Guests of a simulated cluster: watchdogs that no config names, whose workers come, feed, and go, with a word or
without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any, Protocol

from banken.protocol.codec import encode
from banken.protocol.messages import Kind, Message, ProcessIdentity

NAMES = tuple(f"g-{number}" for number in range(3))
FEED_S = 0.4
HEARD_S = 1.0
"""Seconds after which what was said has been heard."""


class Host(Protocol):
    """What they need of the world."""

    now: float

    def after(self, seconds: float, do: Callable[[], None]) -> None: ...

    def send(self, name: str, frame: bytes, done: int) -> None: ...


@dataclass(eq=False)
class Guests:
    """``came``: by name, when it came; it is there until it has gone."""

    _world: Host
    came: dict[str, float] = field(default_factory=dict)
    died: dict[str, float] = field(default_factory=dict)
    """when they went without a word"""
    released: dict[str, float] = field(default_factory=dict)
    """when they went in order"""
    _numbers: Any = field(default_factory=lambda: count(1000))

    def come(self, name: str) -> None:
        """It comes, or another process of it, and feeds."""
        since, number = self._world.now, next(self._numbers)
        process = ProcessIdentity(b"otherone", number, 1, b"%04d" % number)
        self.died.pop(name, None)
        self.released.pop(name, None)
        self.came[name] = since
        feed, release = (encode(Message(kind, name, process, 0.0, None)) for kind in (Kind.FEED, Kind.RELEASE))

        def go_on() -> None:
            if self.came.get(name) == since and name in self.released:
                self._world.send(name, release, -1)
                del self.came[name]
            elif self.came.get(name) == since and name not in self.died:
                self._world.send(name, feed, 0)
                self._world.after(FEED_S, go_on)

        go_on()

    def go(self, name: str) -> None:
        """It goes in order, with its next word."""
        self.released[name] = self._world.now

    def die(self, name: str) -> None:
        """It goes without a word."""
        self.died[name] = self._world.now

    def feeds(self, name: str) -> bool:
        """Whether it is there and feeds."""
        return name in self.came and name not in self.died and name not in self.released

    def change(self, rng: Random) -> None:
        """One of them does something."""
        name = rng.choice(NAMES)
        rng.choice((self.go, self.die) if self.feeds(name) else (self.come,))(name)
