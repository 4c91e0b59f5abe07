"""The watchdog's handle, and the two timers that it may have: in this process, or at a supervisor.

A timer reads a handle through ``timer.Watched``; the handle uses a timer through ``timer.Timer``. Neither knows the
other, so this is where a handle that is given no timer gets one.
"""

from banken.watchdog.handle import Watchdog
from banken.watchdog.local_timer import LocalTimer

__all__ = ["Watchdog"]

Watchdog._default_timer = LocalTimer
