"""What tests of workers on other hosts share."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def free_ports() -> int:
    """The first of three in a row that nobody has, below those that the system gives to connections."""
    for _ in range(100):
        port = random.randrange(20_000, 32_000)
        with suppress(OSError):
            for each in range(port, port + 3):
                socket.create_server(("0.0.0.0", each)).close()
            return port
    raise AssertionError("no three ports in a row are free")
