"""A worker that ignores SIGTERM, feeds once, and hangs: ``stubborn.py NAME ADDRESS``."""

from __future__ import annotations

import os
import signal
import sys
import time

from connected import connected

from banken.client import Client

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connected(Client(sys.argv[2])).feed(sys.argv[1])
    os.write(1, b'{"fed": true}\n')
    time.sleep(600)
