"""Two hosts on one machine: a supervisor in one network namespace, its worker in another. As root, in about 15 s:

    python examples/hosts/two_hosts.py

It makes keys, starts both, shows the status, cuts the network until the worker expires, and heals it. Whatever
it made is removed at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

WATCH, WORKER = f"banken-a{os.getpid()}", f"banken-b{os.getpid()}"
ADDRESS = "tcp://10.77.0.1:7767"
BANKEN = [sys.executable, "-m", "banken_supervisor"]

CODE = """
import time
from banken import client

while True:
    client.watchdog("trainer-1", timeout=3, resolution=0).feed()
    time.sleep(0.2)
"""


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def on(host: str, *command: str, **more: str) -> subprocess.Popen[bytes]:
    """Start a command in a namespace, with these variables besides."""
    return subprocess.Popen(["ip", "netns", "exec", host, *command], env={**os.environ, **more})


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit("it did not happen in time")
        time.sleep(0.1)


def main() -> None:
    with contextlib.ExitStack() as end:
        directory = Path(end.enter_context(tempfile.TemporaryDirectory(prefix="banken-")))
        for host in (WATCH, WORKER):
            run("ip", "netns", "add", host)
            end.callback(run, "ip", "netns", "delete", host)
        run("ip", "link", "add", "link0", "netns", WATCH, "type", "veth", "peer", "name", "link0", "netns", WORKER)
        for host, address in ((WATCH, "10.77.0.1/24"), (WORKER, "10.77.0.2/24")):
            run("ip", "-n", host, "address", "add", address, "dev", "link0")
            for link in ("lo", "link0"):
                run("ip", "-n", host, "link", "set", link, "up")

        here, keys = str(directory / "run"), str(directory / "keys")
        print(run(*BANKEN, "keys", "new", "watch", "--server", "--dir", keys), end="")
        new = ["keys", "new", "trainer", "--for", ADDRESS, "--feed", "trainer*", "--dir", keys]
        print(run(*BANKEN, *new), end="")

        listen = ["run", "--address", here, "--no-journal", "--listen", "tcp://0.0.0.0:7767", "--keys", keys]
        supervisor = on(WATCH, *BANKEN, *listen)
        end.callback(supervisor.wait)
        end.callback(supervisor.terminate)
        key = str(directory / "keys" / "trainer.key")
        worker = on(WORKER, sys.executable, "-c", CODE, BANKEN_ADDRESS=ADDRESS, BANKEN_KEY=key)
        end.callback(worker.wait)
        end.callback(worker.kill)

        def state() -> str | None:
            found = subprocess.run(
                [*BANKEN, "status", "--json", "--address", here], capture_output=True, check=False
            )
            rows = json.loads(found.stdout)["watchdogs"] if found.returncode == 0 else []
            return rows[0]["state"] if rows else None

        until(lambda: state() == "alive")
        print(run(*BANKEN, "status", "--address", here))
        print("the network is cut")
        run("ip", "-n", WATCH, "link", "set", "link0", "down")
        until(lambda: state() == "expired")
        print("the network is back")
        run("ip", "-n", WATCH, "link", "set", "link0", "up")
        until(lambda: state() == "alive")
        print("heard again")


if __name__ == "__main__":
    main()
