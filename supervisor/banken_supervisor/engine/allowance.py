"""What a restart allows a timer, until the timer is set again.

What was said while no supervisor ran did not arrive, and of what is kept the last word may be missing. So each
timer that goes on after a restart has one value of this kind: that of the feeds (each process's, where each is
judged by itself), and that of the progress. A feed ends the one, a progress value the other: neither speaks for the
other. A check has one, too, while the process that runs the checks starts.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple


class Allowance(NamedTuple):
    """Deadline time and seconds."""

    until: float = -inf
    """it is not judged before"""
    unsure: float = 0.0
    """seconds by which what set the timer last may be younger than is known: it runs so much longer"""


NOTHING_ALLOWED = Allowance()
