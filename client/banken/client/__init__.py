"""Feeding a supervisor in another process.

    from banken import client

    client.feed("worker-3")

The functions of this package belong to one default client per process, which connects to
``$BANKEN_ADDRESS`` or to the default address when it is first used. ``Client`` makes further ones.
"""

from __future__ import annotations

from banken.client.section import Section
from banken.client.zmq_client import Client

__all__ = [
    "Client",
    "Section",
    "busy",
    "close",
    "connect",
    "enable_dumps",
    "extend",
    "fail",
    "feed",
    "idle",
    "leave",
    "pause",
    "release",
    "resume",
    "section",
    "stats",
    "watchdog",
    "watched",
]

_default = Client()

# Bound methods and not functions that look the default client up: that would make each feed slower.
feed = _default.feed
fail = _default.fail
release = _default.release
leave = _default.leave
pause = _default.pause
resume = _default.resume
extend = _default.extend
watchdog = _default.watchdog
section = _default.section
busy = _default.busy
idle = _default.idle
watched = _default.watched
connect = _default.connect
stats = _default.stats
close = _default.close


def enable_dumps(signal: int | None = None, *, ask: bool = True) -> bool:
    """Let the supervisor see where this process hangs (banken.diagnostics.dumps); whether it now can."""
    from banken.diagnostics import dumps

    return dumps.enable_dumps(signal, address=_default.address.text, ask=ask)
