"""What the programs and the tests tell each other: lines in ``told``, and a line on stdin that asks for the end."""

from __future__ import annotations

import os
import select
import sys
import time

from banken import client


def tell(line: str) -> None:
    """Append one line to ``told``; the lines of several processes do not mix."""
    with open("told", "a") as file:
        file.write(f"{line}\n")


def asked_to_end(seconds: float = 0.05) -> bool:
    """Whether the test has asked for an ordinary end; waits that long for it."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def connected() -> None:
    """Wait until this process is connected. A first message waits 0.1 s for that, else it is lost."""
    sender = client._default._to()
    with sender._lock:
        sender._open()
    deadline = time.monotonic() + 20.0  # on a busy machine
    while not sender.reachable() and time.monotonic() < deadline:
        time.sleep(0.002)


def until_there(path: str) -> None:
    """Wait until a file exists."""
    while not os.path.exists(path):
        time.sleep(0.01)
