"""What tests of workers on other hosts share."""

from __future__ import annotations

import socket
from contextlib import suppress


def free_ports() -> int:
    """The first of three in a row that nobody has."""
    for _ in range(100):
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = int(first.getsockname()[1])
            with suppress(OSError, OverflowError):
                for more in (1, 2):
                    socket.create_server(("127.0.0.1", port + more)).close()
                return port
    raise AssertionError("no three ports in a row are free")
