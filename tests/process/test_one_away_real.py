"""A worker of two supervisors, one of which is away, with few descriptors left (RLIMIT_NOFILE)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from banken_supervisor.keys.directory import KeyDirectory
from hosts_kit import free_ports
from process.kit import Home, until

pytestmark = pytest.mark.process

WORKER = """
import os, resource, sys, time
from banken.client import Client
address, key, free = sys.argv[1], sys.argv[2], int(sys.argv[3])
client = Client(address, key=key)
dog = client.watchdog("w", timeout=60, resolution=0)
while not client.stats()["destinations"][1]["sent"]:
    dog.feed()
    time.sleep(0.05)
client._sender.destinations[0].stop_monitor()  # as if it had been there until now
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for _ in range(free):
    os.close(held.pop())
print(flush=True)
for _ in sys.stdin:
    before = client.stats()["destinations"][1]["sent"]
    time.sleep(0.15)  # the one that refused is left out for so long
    dog.feed()
    print(client.stats()["destinations"][1]["sent"] - before, flush=True)
"""


@pytest.mark.parametrize("free", [0, 1, 3])
def test_the_one_that_is_there_hears_every_feed(home: Home, tmp_path: Path, free: int) -> None:
    """To learn why the other one refuses takes descriptors that there are not."""
    home.supervisor()
    away = KeyDirectory(tmp_path / "away")
    away.new("away", server=True)
    other = f"tcp://127.0.0.1:{free_ports()}"
    keys = KeyDirectory(tmp_path / "worker")
    path = keys.new("w")
    path.write_text(f'{path.read_text()}\n[servers]\n"{other}" = "{away.server().key.decode()}"\n')
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, f"{other},{home.address}", str(path), str(free)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert worker.stdout.readline() == "\n"
        heard = []
        for _ in range(4):
            worker.stdin.write("\n")
            worker.stdin.flush()
            heard.append(worker.stdout.readline())
        assert heard == ["1\n"] * 4
        until(lambda: home.row("w")["state"] == "alive", "it is heard")
    finally:
        worker.kill()
        worker.communicate()
