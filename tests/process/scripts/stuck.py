"""Programs of a supervisor: ``stuck.py HANG MARK``.

The first process feeds once and hangs, in a function of hang.py or of this file; a later one, which finds the file
MARK, feeds until it is ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import hang

from banken import client


def stopped() -> None:
    """Stopped by a signal, as by a careless ``kill -STOP`` or a Ctrl-Z."""
    os.kill(os.getpid(), signal.SIGSTOP)


def deaf() -> None:
    """Ignore SIGTERM, and hang."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def forked() -> None:
    """Leave a child behind that keeps all descriptors, ignores SIGTERM and is in a session of its own; hang."""
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", script], start_new_session=True, close_fds=False)
    Path(f"{sys.argv[2]}.child").write_text(str(child.pid))
    time.sleep(600)


def unsaid() -> None:
    """Hang without a single feed: the caller has not fed for this one."""
    time.sleep(600)


def feeds() -> None:
    """Feed until ended."""
    while True:
        client.feed()
        time.sleep(0.05)


if __name__ == "__main__":
    name, mark = sys.argv[1], Path(sys.argv[2])
    client.enable_dumps()
    if mark.exists() or name == "feeds":
        feeds()
    mark.touch()
    if name != "unsaid":
        while not client.stats()["sent"]:  # on a busy machine one wait for the connection is not always enough
            client.feed()
        client.close()  # the feed has left before anything hangs
    (globals().get(name) or getattr(hang, name))()
