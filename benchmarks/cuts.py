"""A worker's host is cut off and comes back: how old are the feeds that arrive, and when is it heard again?

    python benchmarks/cuts.py [--times 20] [--cuts 1,4,15,40]

As root, on Linux: two network namespaces, the supervisor's feed socket in one, a worker with a key in the other,
and a link between them that is taken down and up again. Each feed says when it was sent; both have one clock.
Asked: no feed that is older than 2.5 s arrives, and one does within 2 s of the end of a cut.
Exit code 1: it was missed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import zmq
from common import ROOTS, environment

for _root in ROOTS:
    sys.path.insert(0, str(_root))

from banken.client import Client  # noqa: E402
from banken.protocol.codec import decode  # noqa: E402
from banken_supervisor.keys.directory import KeyDirectory  # noqa: E402
from banken_supervisor.sources.tcp_feeds import prepare_server  # noqa: E402
from banken_supervisor.sources.zap import KeyGate  # noqa: E402

ADDRESS = "tcp://10.78.0.1:7767"
OLD_S, BACK_S = 2.5, 2.0
EVERY_S = 0.02
"""Seconds between two feeds."""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Cut a worker's host off, and heal that again.")
    parser.add_argument("--times", type=int, default=20, help="how often each (default: %(default)s)")
    parser.add_argument("--cuts", default="1,4,15,40", help="seconds (default: %(default)s)")
    options = parser.parse_args()
    missed = False
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bkb")))
        ours, theirs = stack.enter_context(_two_hosts())
        keys = KeyDirectory(directory)
        keys.new("watch", server=True)
        path = keys.new("w", address=ADDRESS)
        keys.allow("w", ["*"], None)
        receiver = _start(stack, ours, "receive", str(directory))
        _start(stack, theirs, "feed", str(path))
        _heard(receiver, 20.0)
        for seconds in (float(each) for each in options.cuts.split(",")):
            oldest, latest = 0.0, 0.0
            for _ in range(options.times):
                _ip(ours, "link", "set", "link0", "down")
                time.sleep(seconds)
                _ip(ours, "link", "set", "link0", "up")
                healed = time.monotonic()
                age, back = _heard(receiver, 30.0, healed)
                oldest, latest = max(oldest, age), max(latest, back)
                time.sleep(0.5)
            missed |= oldest > OLD_S or latest > BACK_S
            print(
                f"cut for {seconds:g} s, {options.times} times: the oldest feed was {oldest:.2f} s old, "
                f"heard again within {latest:.2f} s",
                flush=True,
            )
    return int(missed)


def _heard(receiver: subprocess.Popen[str], within: float, since: float = 0.0) -> tuple[float, float]:
    """Read on until a feed came that was sent after ``since``: (the oldest that came meanwhile, when that one did
    after ``since``), seconds."""
    assert receiver.stdout is not None
    oldest, deadline = 0.0, time.monotonic() + within
    for line in receiver.stdout:
        sent, came = map(float, line.split())
        oldest = max(oldest, came - sent)
        if sent > since:
            return oldest, max(0.0, came - since)
        if time.monotonic() > deadline:
            break
    raise RuntimeError("it was not heard again")


@contextmanager
def _two_hosts() -> Iterator[tuple[str, str]]:
    names = tuple(f"bkb-{each}{os.getpid()}" for each in "ab")
    with ExitStack() as stack:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True)
            stack.callback(subprocess.run, ["ip", "netns", "delete", name], check=False)
        one, two = names
        _ip(one, "link", "add", "link0", "type", "veth", "peer", "name", "link0", "netns", two)
        for name, address in ((one, "10.78.0.1/24"), (two, "10.78.0.2/24")):
            _ip(name, "address", "add", address, "dev", "link0")
            _ip(name, "link", "set", "link0", "up")
            _ip(name, "link", "set", "lo", "up")
        yield one, two


def _ip(name: str, *words: str) -> None:
    subprocess.run(["ip", "-n", name, *words], check=True)


def _start(stack: ExitStack, name: str, *words: str) -> subprocess.Popen[str]:
    command = ["ip", "netns", "exec", name, sys.executable, __file__, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def _receive(directory: str) -> None:
    """Write of each feed when it was sent, and when it came."""
    keys = KeyDirectory(directory)
    own = keys.server_pair()
    context: zmq.Context[Any] = zmq.Context()
    gate = KeyGate(context, frozenset(keys.allowed()), lambda host, key: None)
    server = context.socket(zmq.PULL)
    prepare_server(server, gate, (own.public, own.secret))
    server.bind("tcp://0.0.0.0:7767")
    while True:
        message = decode(server.recv())
        if message.args:
            print(message.args[0], time.monotonic(), flush=True)


def _feed(key: str) -> None:
    client = Client(ADDRESS, key=key)
    handle = client.watchdog("w", 60, resolution=0)
    while True:
        handle.feed(progress=time.monotonic())
        time.sleep(EVERY_S)


if __name__ == "__main__":
    if sys.argv[1:2] in (["receive"], ["feed"]):
        {"receive": _receive, "feed": _feed}[sys.argv[1]](sys.argv[2])
    sys.exit(main())
