"""Clients that are connected. A first message waits 0.1 s for that, and is lost if it takes longer."""

from __future__ import annotations

import time

from banken import client
from banken.client import Client

PATIENCE_S = 20.0
"""On a busy machine."""


def connected(mine: Client = client._default) -> Client:
    """The client (default: the process's own), once it is connected to a supervisor, which must be there."""
    sender = mine._to()
    with sender._lock:
        sender._open()
    deadline = time.monotonic() + PATIENCE_S
    while not sender.reachable():
        assert time.monotonic() < deadline, "there is no supervisor"
        time.sleep(0.002)
    return mine
