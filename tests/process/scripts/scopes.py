"""Processes that work and are idle: ``scopes.py WORK ADDRESS [ARGUMENT …]``. Each work is a function below."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import sys
import threading
import time
from typing import Any

from connected import connected

from banken import client


def say(what: Any) -> None:
    """One line to whoever started this process; whole, whoever else writes."""
    os.write(1, json.dumps(what).encode() + b"\n")


def told() -> str:
    """Wait for a line."""
    return sys.stdin.readline().strip()


def serve(address: str, limit: str) -> None:
    """Four threads serve requests; at a line one more, which hangs until the next line."""
    client.connect(address)
    connected()
    client.enable_dumps()
    dog = client.watchdog("web", timeout=60)
    stop, leave = threading.Event(), threading.Event()
    served = [0, 0, 0, 0]

    def requests(number: int) -> None:
        while not stop.is_set():
            with dog.work("GET /quick", limit=float(limit)):
                time.sleep(0.002)
            served[number] += 1

    def stuck() -> None:
        with dog.work("GET /stuck", limit=float(limit)):
            leave.wait()  # here

    threads = [threading.Thread(target=requests, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    say({"pid": os.getpid()})
    told()
    hanging = threading.Thread(target=stuck, name="request-5")
    began = time.monotonic()
    hanging.start()
    say(began)
    told()
    before, deadline = sum(served), time.monotonic() + 10
    while sum(served) - before <= 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    say(sum(served) - before)
    leave.set()
    hanging.join()
    told()
    stop.set()
    for thread in threads:
        thread.join()


def idle(address: str, timeout: str) -> None:
    """Idle, until a line."""
    client.connect(address)
    connected()
    client.watchdog("web", timeout=float(timeout)).idle()
    say({"pid": os.getpid()})
    told()


def held(address: str, limit: str) -> None:
    """At a line it begins work that keeps the interpreter lock for three times its limit."""
    client.connect(address)
    connected()
    dog = client.watchdog("web", timeout=60)
    with dog.work("GET /quick", limit=float(limit)):
        pass
    say({"pid": os.getpid()})
    told()
    keep = ctypes.PyDLL(None).usleep
    say(time.monotonic())
    with dog.work("GET /held", limit=float(limit)):
        keep(int(3e6 * float(limit)))
    told()


def tasks(address: str, limit: str) -> None:
    """A coroutine hangs among others that do not; its thread only ever waits for the loop."""
    client.connect(address)
    connected()
    client.enable_dumps()

    @client.watched("etl", limit=60)
    async def quick() -> None:
        await asyncio.sleep(0.01)

    @client.watched("etl", limit=float(limit))
    async def stuck() -> None:
        await asyncio.Event().wait()  # here

    async def main() -> None:
        asyncio.create_task(stuck(), name="job-7").add_done_callback(print)
        say(time.monotonic())
        while True:
            await quick()

    asyncio.run(main())


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
