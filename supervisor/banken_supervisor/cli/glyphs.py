"""Numbers as block characters: bars and sparklines. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

TICKS = "▁▂▃▄▅▆▇█"
"""Heights of a sparkline, the lowest first."""

PLAIN_TICKS = "_.-=+*%#"
"""The same where the terminal has no block characters."""

PARTS = " ▏▎▍▌▋▊▉█"
"""Widths of a bar's last cell, in eighths."""

PLAIN_PARTS = " #"


def sparkline(values: Sequence[float], top: float, width: int, ticks: str = TICKS) -> str:
    """One character a value, the newest ``width`` of them; from 0 (the lowest) to ``top`` or more (the highest).

    A value that is no number is a blank.
    """
    if width <= 0:
        return ""
    drawn = []
    for value in values[-width:]:
        if math.isnan(value):
            drawn.append(" ")
            continue
        share = 1.0 if top <= 0 else min(max(value / top, 0.0), 1.0)
        drawn.append(ticks[min(int(share * len(ticks)), len(ticks) - 1)])
    return "".join(drawn)


def bar(share: float, width: int, parts: str = PARTS) -> str:
    """``share`` (0 to 1; what is beyond is cut) of ``width`` cells filled from the left; always ``width`` long.

    More than nothing shows at least the smallest part.
    """
    if width <= 0:
        return ""
    steps = len(parts) - 1
    share = 0.0 if math.isnan(share) else min(max(share, 0.0), 1.0)
    filled = round(share * width * steps)
    if share > 0:
        filled = max(filled, 1)
    whole, rest = divmod(filled, steps)
    return (parts[-1] * whole + (parts[rest] if rest else "")).ljust(width)


def rate(feeds: Sequence[Sequence[float]]) -> float | None:
    """Feeds a second, from ``[age, gap]`` of the last ones, newest last (seconds); None: there are too few to tell.

    Counted from the feed before the oldest until now: it sinks while nothing comes.
    """
    if not feeds:
        return None
    age, gap = feeds[0]
    span = age + gap
    return len(feeds) / span if span > 0 else None


def supports(encoding: str | None) -> bool:
    """Whether block characters can be written in this encoding."""
    try:
        (TICKS + PARTS).encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True
