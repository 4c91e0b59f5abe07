"""A gevent worker that imports banken before it patches: ``green.py WORK ADDRESS``."""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any

from connected import connected

from banken import Incident, Watchdog, client

MANY = 1_100
"""Files that it has open: more than select takes."""


def say(what: Any) -> None:
    """One line to whoever started this process."""
    os.write(1, json.dumps(what).encode() + b"\n")


def callback(address: str) -> None:
    """Many files are open; a callback is set; the hub goes on; the watchdog is not fed, and the callback runs."""
    import time

    resource.setrlimit(resource.RLIMIT_NOFILE, (MANY + 500, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(MANY)]
    client.connect(address)
    connected()
    client.enable_dumps()
    ran: list[Incident] = []

    def note(incident: Incident) -> None:
        ran.append(incident)

    dog = client.watchdog("green", timeout=1.5, callback=note)
    turns = 0
    until = time.monotonic() + 15
    while not ran and time.monotonic() < until:
        time.sleep(0.01)
        turns += 1
    say({"ran": len(ran), "turns": turns, "open": len(others)})
    dog.idle()
    sys.stdin.readline()


def work(address: str) -> None:
    """Work in greenlets, one of which hangs; and a watchdog with its timer in the process."""
    import time

    import gevent

    client.connect(address)
    connected()
    dog = client.watchdog("green", timeout=60)
    local: list[Incident] = []

    def note(incident: Incident) -> None:
        local.append(incident)

    own = Watchdog(timeout=0.3, interval=30, callback=note)
    own.start_in_thread()

    def serve(seconds: float) -> None:
        with dog.work("GET /x", limit=0.5):
            time.sleep(seconds)

    hangs = gevent.spawn(serve, 2.0)
    turns = 0
    while not hangs.ready():
        serve(0.01)
        turns += 1
    say({"turns": turns, "local": len(local)})
    time.sleep(0.5)
    sys.stdin.readline()


if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()
    globals()[sys.argv[1]](*sys.argv[2:])
