"""What a page asks for, without a browser: ``viewer.py PORT NAME…`` reads the stream and looks at the names once a
second.

It stands for a browser on another machine. It says that it is ready when the first rows have come; SIGTERM ends it.
"""

from __future__ import annotations

import http.client
import socket
import sys
import threading
import time

from common import exit_on_sigterm, say


def main(port: int, names: list[str]) -> None:
    """Read and look until ended."""
    exit_on_sigterm()
    stream = socket.create_connection(("127.0.0.1", port), timeout=30)
    stream.sendall(f"GET /api/v1/stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    stream.recv(65_536)
    threading.Thread(target=_read, args=(stream,), daemon=True).start()
    say(ready=True)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while True:
        connection.request("GET", f"/api/v1/look?names={','.join(names)}")
        connection.getresponse().read()
        time.sleep(1.0)


def _read(stream: socket.socket) -> None:
    stream.settimeout(None)
    while stream.recv(262_144):
        pass


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
