"""Programs that hang, and end all the same: ``python hangs.py CASE``."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time

from signs import connected

from banken import client

TIMEOUT = 1


def feed(name: str, seconds: float) -> None:
    """Feed for so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        client.feed(name)
        time.sleep(0.05)


def child(how: str) -> None:
    """A child that is forked while its parent feeds, and ends while that hangs."""
    time.sleep(0.2)
    connected()
    if how == "section":
        with client.section("load", timeout=TIMEOUT):
            time.sleep(0.1)
    elif how == "feed":  # the code that it shares with its parent feeds its parent's name, too
        client.feed("trainer")
    else:
        client.feed("loader")
    if how == "_exit":
        os._exit(0)


def parent(how: str) -> None:
    """It hangs, while a child that it forked ends in order."""
    connected()
    client.watchdog("trainer", 2 * TIMEOUT).feed()
    multiprocessing.get_context("fork").Process(target=child, args=(how,)).start()
    time.sleep(1000)


def member(seconds: float) -> None:
    """One of a pool: it feeds for so long, and then hangs; the last one ends in order."""
    connected()
    client.watchdog("pool", TIMEOUT, feeders="any")
    feed("pool", abs(seconds))
    if seconds > 0:
        time.sleep(1000)


def pool(method: str) -> None:
    """Three feed one name: two hang, and one has done its share and ends."""
    context = multiprocessing.get_context(method)
    for seconds in (0.1, 0.1, -0.4):
        context.Process(target=member, args=(seconds,)).start()
    time.sleep(1000)


def step() -> None:
    """One step of a program."""
    connected()
    client.feed(status="one step")


def steps(method: str) -> None:
    """A program one process of which ends in order, while the program itself runs on, and hangs."""
    if method == "command":
        subprocess.run([sys.executable, __file__, "step"], check=True)
    else:
        worker = multiprocessing.get_context(method).Process(target=step)
        worker.start()
        worker.join()
    time.sleep(1000)


def failing(status: int) -> None:
    """It says that it failed, and ends."""
    connected()
    client.watchdog("job", 30).feed()
    client.fail("job", "no database")
    sys.exit(status)


def stuck() -> None:
    """It feeds once and hangs; on SIGTERM it ends in order."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    connected()
    client.watchdog("stuck", TIMEOUT).feed()
    time.sleep(1000)


def replacing() -> None:
    """A server that starts its worker again whenever that has ended."""
    while True:
        subprocess.run([sys.executable, __file__, "stuck"], check=False)


if __name__ == "__main__":
    case, *how = sys.argv[1:]
    if case == "failing":
        failing(int(how[0]))
    else:
        globals()[case](*how)
