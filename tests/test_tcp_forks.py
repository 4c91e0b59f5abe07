"""A program that listens for other hosts and forks: its child has nothing of theirs when it has ended."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

from banken_supervisor.runtime.supervisor import Supervisor
from hosts_kit import Host
from recovery_kit import until


def test_a_forked_child_holds_neither_ports_nor_workers() -> None:
    """The next supervisor binds the same ports, and hears the worker that fed the one before."""
    with tempfile.TemporaryDirectory(prefix="bk-") as directory:
        host = Host(Path(directory))
        with host.supervisor:
            client = host.client(host.key("worker"))
            with client as worker:
                handle = worker.watchdog("worker", 60, resolution=0)
                until(lambda: [handle.feed()] and host.row("worker"), "it is heard")
                runs, has_begun = os.pipe()
                child = os.fork()
                if not child:
                    os.write(has_begun, b"1")
                    time.sleep(60)
                    os._exit(0)
                try:
                    assert os.read(runs, 1), "by now it has closed what is not its own"
                    os.close(runs)
                    os.close(has_begun)
                    host.supervisor.stop()
                    with Supervisor(host.here, listen=[host.address], keys=host.keys.path):
                        until(lambda: [handle.feed()] and host.row("worker"), "it is heard again")
                finally:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
