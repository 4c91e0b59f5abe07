"""Numbers as block characters: sparklines; rates. Pure."""

from __future__ import annotations

from collections.abc import Sequence

TICKS = "▁▂▃▄▅▆▇█"
"""Heights of a sparkline, the lowest first."""

PLAIN_TICKS = "_.-=+*%#"
"""The same where the terminal has no block characters."""


def sparkline(values: Sequence[float], top: float, width: int, ticks: str = TICKS) -> str:
    """One character a value, the newest ``width`` of them; from 0 (the lowest) to ``top`` or more (the highest)."""
    newest = values[-width:] if width > 0 else ()
    shares = (1.0 if top <= 0 else min(max(value / top, 0.0), 1.0) for value in newest)
    return "".join(ticks[min(int(share * len(ticks)), len(ticks) - 1)] for share in shares)


def rate(feeds: Sequence[Sequence[float]]) -> float | None:
    """Feeds a second, from ``[age, gap]`` of the last ones, newest last (seconds); None: there are too few to tell.

    Counted from the feed before the oldest until now: it sinks while nothing comes.
    """
    if not feeds:
        return None
    age, gap = feeds[0]
    span = age + gap
    return len(feeds) / span if span > 0 else None


def rate_text(rate: float | None) -> str:
    """Feeds a second in at most seven characters: ``4.7/s``, ``12/min``; ``-`` where it is not known."""
    if rate is None:
        return "-"
    for factor, unit in ((1, "s"), (60, "min"), (3600, "h")):
        value = rate * factor
        if value >= 1 or unit == "h":
            return f"{value:.1f}/{unit}" if value < 10 else f"{min(value, 99999):.0f}/{unit}"
    raise AssertionError("the last unit takes all")


def supports(encoding: str | None) -> bool:
    """Whether block characters can be written in this encoding."""
    try:
        TICKS.encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True
