"""The options of sockets between hosts: what libzmq makes of them when a connection ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

PUSH = """
import os, sys, time, zmq
from banken.tcp import OPTIONS
socket = zmq.Context().socket(zmq.PUSH)
pings = {zmq.HEARTBEAT_IVL: 20, zmq.HEARTBEAT_TIMEOUT: 60_000} if sys.argv[2] == "pings" else {}
for option, value in {**OPTIONS, **pings, zmq.SNDHWM: 0}.items():
    socket.setsockopt(option, value)
socket.connect(sys.argv[1])
until = time.monotonic() + 1.5
while time.monotonic() < until:
    for _ in range(20):
        socket.send(b"x" * 100)
    time.sleep(0.01)
os._exit(0)
"""

PULL = """
import subprocess, sys, time, zmq
from banken_supervisor.sources.tcp_feeds import SERVER_OPTIONS
socket = zmq.Context().socket(zmq.PULL)
for option, value in {**SERVER_OPTIONS, zmq.LINGER: 0}.items():
    socket.setsockopt(option, value)
socket.bind("tcp://127.0.0.1:*")
end = socket.getsockopt_string(zmq.LAST_ENDPOINT)
subprocess.run([sys.executable, "-c", *sys.argv[1:2], end, *sys.argv[2:]], check=True)
time.sleep(1.5)
while socket.poll(500):
    socket.recv()
print("lives")
"""


@pytest.mark.process
@pytest.mark.parametrize("how", ["quiet", "pings"])
def test_a_connection_that_ends_unread_does_not_end_the_process(how: str) -> None:
    """With heartbeats of its own, or with a limit of its queue and a peer that pings, libzmq 4.3.5 aborts then."""
    found = subprocess.run(
        [sys.executable, "-c", PULL, PUSH, how], capture_output=True, text=True, timeout=60, check=False
    )
    assert (found.returncode, found.stdout) == (0, "lives\n"), found.stderr
