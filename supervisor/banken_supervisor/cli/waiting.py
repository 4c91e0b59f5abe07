"""A command that waits until the supervisor has done what it was asked, and shows that it still waits."""

from __future__ import annotations

import time
from collections.abc import Callable

import click

LOOK_EVERY_S = 0.05
"""Seconds between two looks at what is waited for."""

FIRST_WORD_S, MOST_S = 3.0, 60.0
"""Seconds until the first line about what is waited for, and the longest wait between two; each one is doubled."""


def wait(so: Callable[[], bool], word: Callable[[], str], give_up: Callable[[], bool], *, quiet: bool) -> bool:
    """Look again and again; whether it is ``so``. ``give_up``: it will not be, or not soon.

    ``word``: what is waited for; shown on stderr now and then, unless ``quiet``.
    """
    pause = FIRST_WORD_S
    next_word = time.monotonic() + pause
    while not so():
        if give_up():
            return False
        if not quiet and time.monotonic() >= next_word:
            click.echo(f"waiting: {word()}", err=True)
            pause = min(2 * pause, MOST_S)
            next_word = time.monotonic() + pause
        time.sleep(LOOK_EVERY_S)
    return True


class Patience:
    """Ends ``seconds`` after it was created or last renewed."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.renew()

    def renew(self) -> None:
        """There is progress: wait on."""
        self._until = time.monotonic() + self.seconds

    def left(self) -> float:
        """Seconds; negative: it is over."""
        return self._until - time.monotonic()

    def over(self) -> bool:
        """Whether it has ended."""
        return self.left() < 0
