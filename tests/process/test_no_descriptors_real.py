"""A worker with no descriptor left (RLIMIT_NOFILE): its callbacks and feeds come later, and nothing hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from process.kit import Home

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="how many it takes is counted on Linux"),
]

BEGINNING = """
import inspect, json, logging, os, resource, sys, threading, time
import banken.watchdog.remote_timer  # what is imported late has no descriptor either
from banken.client import Client, callback_listener
logging.basicConfig(stream=sys.stderr)
callback_listener.RETRY_MAX = 0.5
address, left = sys.argv[1], int(sys.argv[2])

def until(true, what):
    end = time.monotonic() + 20
    while not true():
        if time.monotonic() > end:
            sys.exit(f"never: {what}")
        time.sleep(0.02)

def within(seconds, work):  # on a thread of its own: it may never return
    done = threading.Event()
    threading.Thread(target=lambda: (work(), done.set()), daemon=True).start()
    return done.wait(seconds)

def take_all():
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    taken = []
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        for _ in range(left):
            os.close(taken.pop())
    return taken

said, called = {}, threading.Event()
"""

CALLBACK = """
client = Client(address)
dog = client.watchdog("w", timeout=60, interval=60, resolution=0)
until(lambda: client.fail("w", "first"), "it is connected")
taken = take_all()
said["set"] = within(10, lambda: dog.set_callback(called.set))
for _ in range(40):
    dog.feed()
    time.sleep(0.05)
for each in taken:
    os.close(each)
until(lambda: dog.feed() or (client.fail("w", "again") and called.wait(0.1)), "the callback comes after all")
print(json.dumps(said))
"""

FEED = """
taken = take_all()
client = Client(address)
dogs = []
said["fed"] = within(10, lambda: dogs.append(client.watchdog("w", timeout=60, resolution=0)) or dogs[0].feed())
dog = dogs[0]
said["sent"] = client.stats()["sent"]
for each in taken:
    os.close(each)
until(lambda: dog.feed() or client.stats()["sent"], "it feeds after all")
print(json.dumps(said))
"""


def run(code: str, *args: object) -> tuple[dict[str, Any], str]:
    """What a process says that runs this."""
    command = [sys.executable, "-c", BEGINNING + code, *map(str, args)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.parametrize("left", range(5))
def test_a_callback_that_is_set_without_descriptors_comes_later(home: Home, left: int) -> None:
    """With none, and with some that do not suffice: it is told once, to set it neither raises nor hangs, and it is
    tried again with the feeds until the thread listens."""
    home.supervisor()
    said, errors = run(CALLBACK, home.address, left)
    assert said == {"set": True}
    assert errors.count("callbacks cannot be run in this process: too many files are open in it") == 1
    assert "Traceback" not in errors


@pytest.mark.parametrize("left", range(5))
def test_a_first_feed_without_descriptors_is_dropped_and_ends_nothing(home: Home, left: int) -> None:
    """libzmq would end the process that gets some, but not all that it needs."""
    home.supervisor()
    said, errors = run(FEED, home.address, left)
    assert said == {"fed": True, "sent": 0}
    assert "Traceback" not in errors
