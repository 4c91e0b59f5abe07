"""Recommended settings by kind of work: seconds unfed until the verdict, seconds between repeats.

from banken import Watchdog, presets
watchdog = Watchdog(*presets.REALTIME)
watchdog = client.watchdog("arm-2", *presets.REALTIME)
"""

from __future__ import annotations

from typing import NamedTuple


class Preset(NamedTuple):
    """A pair of settings that unpacks into ``Watchdog(timeout, interval)``; seconds."""

    timeout: float
    interval: float


REALTIME = Preset(10, 2)
"""control loops, robots, streams"""

SERVICE = Preset(60, 15)
"""request handlers, daemons"""

BATCH = Preset(300, 60)
"""training steps, jobs that chew on large pieces"""

BACKGROUND = Preset(1800, 300)
"""nightly and housekeeping tasks"""
