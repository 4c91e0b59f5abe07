"""Ten thousand connections of another host that say nothing: descriptors stay, and honest peers come in."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from banken_supervisor.keys.directory import KeyDirectory
from hosts_kit import free_ports
from process.kit import START_S, until
from process.run_kit import Running

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO, prlimit")]

DESCRIPTORS = 4_096
"""Of the supervisor. A quarter is for other hosts; besides there are those that libzmq accepts meanwhile."""

CONNECTIONS = 10_000

WORKER = """
import time
from banken import client

while True:
    client.watchdog("w-1", timeout=30, resolution=0).feed()
    time.sleep(0.02)
"""


class Flood:
    """Connects, says nothing, and connects again; as many as this process may have stay open."""

    def __init__(self, port: int) -> None:
        self.made = 0
        self._port, self._ends = port, threading.Event()
        self._most = min(CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        held: deque[socket.socket] = deque()
        while not self._ends.is_set():
            held.append(socket.socket())
            held[-1].setblocking(False)
            held[-1].connect_ex(("127.0.0.1", self._port + self.made % 3))
            self.made += 1
            if len(held) > self._most:
                held.popleft().close()
            if self.made % 50 == 0:
                time.sleep(0.002)
        for each in held:
            each.close()

    def end(self) -> None:
        self._ends.set()
        self._thread.join()


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bk-") as directory:
        yield Path(directory)


def test_silent_connections_take_no_descriptor_from_others(place: Path) -> None:
    """An honest worker on the flooder's own host comes in meanwhile, stays, and so do commands and local feeds."""
    port = free_ports()
    address = f"tcp://127.0.0.1:{port}"
    keys = KeyDirectory(place / "keys")
    keys.new("watch", server=True)
    path = keys.new("w")
    keys.allow("w", ["w-*"], None)
    path.write_text(path.read_text() + f'[servers]\n"{address}" = "{keys.server().key.decode()}"\n')
    running = Running(place, f'[supervisor]\nlisten = ["{address}"]\nkeys = "keys"\n')
    with contextlib.ExitStack() as stack:
        stack.callback(running.close)
        pid = running.run(under=("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")).pid
        flood = Flood(port)
        stack.callback(flood.end)
        most = [0]

        def refused() -> int:
            most.append(len(os.listdir(f"/proc/{pid}/fd")))
            return int(running.home.ask("summary")["refused"].get("connections", 0))

        until(refused, "some are cut off", START_S)
        environment = {**os.environ, "BANKEN_ADDRESS": address, "BANKEN_KEY": str(path)}
        worker = subprocess.Popen([sys.executable, "-c", WORKER], env=environment)
        stack.callback(worker.wait)
        stack.callback(worker.kill)
        until(lambda: refused() and "w-1" in running.watchdogs(), "the honest one comes in", START_S)
        until(lambda: refused() and flood.made >= CONNECTIONS, "there were as many", START_S)
        for _ in range(20):
            refused()
            assert running.watchdogs()["w-1"]["silence"] < 5.0, "who has a key is not cut off for those without"
        running.home.client().feed("local-1")
        until(lambda: "local-1" in running.watchdogs(), "a worker of its own host is taken")
        assert max(most) < 0.8 * DESCRIPTORS, max(most)
        assert not running.home.ask("summary")["descriptors_short"]
