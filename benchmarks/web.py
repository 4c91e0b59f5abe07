"""15. The web process: the first list, how soon a verdict is on a stream, and what 200 streams cost.

A supervisor with 5,000 watchdogs and a ``banken web``, each a process of its own; this one reads the streams.
*First list*: from connecting until the last of all rows has arrived. *Verdict to stream*: from the event's own
time to its arrival, 100 verdicts one after the other, with one stream and with 200; a page is to show one within
a second.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from statistics import median
from typing import IO

from common import Child, Figure, cpu_seconds, percentile, resident_bytes, short_directory

WATCHDOGS = 5_000
STREAMS = 200
VERDICTS = 100

FIRST_MS_MAX = 1_000
TOLD_MS_MAX = 100
TOLD_ALL_MS_MAX = 1_000
END_S_MAX = 2


def run(quick: bool) -> list[Figure]:
    """First list, verdict to stream (p99), memory, and the end with all streams open."""
    with short_directory() as directory, Child(directory, 0, file="keeper"), tempfile.TemporaryFile() as log:
        _watch(directory)
        banken = [sys.executable, "-m", "banken_supervisor"]
        web = subprocess.Popen(
            [*banken, "web", "--open", "--address", directory, "--listen", "127.0.0.1:0"], stderr=log
        )
        try:
            port = _port(web, log)
            return _measured(web, port, quick=quick)
        finally:
            web.kill()
            web.wait()


def _measured(web: subprocess.Popen[bytes], port: int, *, quick: bool) -> list[Figure]:
    first = []
    for _ in range(3 if quick else 10):
        one = _Stream(port)
        first.append(1000 * one.listed())
        one.socket.close()
        time.sleep(0.1)
    alone = resident_bytes(web.pid) / 2**20
    count = 20 if quick else VERDICTS
    streams = [_Stream(port)]
    streams[0].listed()
    single = _verdicts(port, streams, count)
    while len(streams) < STREAMS:
        streams.append(_Stream(port))
    for each in streams[1:]:
        each.listed()
    busy = cpu_seconds(web.pid)
    many = _verdicts(port, streams, count)
    busy = (cpu_seconds(web.pid) - busy) / count
    memory = resident_bytes(web.pid) / 2**20
    began = time.monotonic()
    web.send_signal(signal.SIGTERM)
    web.wait(10)
    end = time.monotonic() - began
    for each in streams:
        each.socket.close()
    return [
        Figure("web", f"all of {WATCHDOGS} rows on a new stream", median(first), "ms", at_most=FIRST_MS_MAX),
        Figure("web", "verdict to stream, p99", percentile(single, 0.99), "ms", at_most=TOLD_MS_MAX),
        Figure(
            "web",
            f"verdict to the last of {STREAMS} streams, p99",
            percentile(many, 0.99),
            "ms",
            at_most=TOLD_ALL_MS_MAX,
            note=f"median {median(many):.1f} ms; {1000 * busy:.1f} ms of processor time a verdict",
        ),
        Figure("web", f"memory with {STREAMS} streams", memory, "MiB", note=f"{alone:.0f} MiB with none"),
        Figure("web", f"SIGTERM to the end with {STREAMS} streams", end, "s", at_most=END_S_MAX),
    ]


def _watch(directory: str) -> None:
    from banken.control import Control
    from banken.protocol.codec import encode
    from banken.protocol.messages import Declaration, Kind, Message

    declared = Declaration(3600.0, 3600.0, 3600.0)
    with Control(directory, timeout=15.0) as control:
        for number in range(WATCHDOGS):
            frame = encode(Message(Kind.FEED, f"worker-{number}", None, 0.0, declared))
            control.request("tell", frame=frame)


def _port(web: subprocess.Popen[bytes], log: IO[bytes]) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and web.poll() is None:
        said = os.pread(log.fileno(), 4096, 0).decode()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", said)
        if found and "answers" in said:
            return int(found[1])
        time.sleep(0.02)
    raise RuntimeError("banken web did not start")


def _verdicts(port: int, streams: list[_Stream], count: int) -> list[float]:
    """Milliseconds from each verdict until all streams have it."""
    took = []
    for number in range(count):
        name = f"falls-{number}-{len(streams)}"
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", f"/ping/{name}/fail")
        connection.getresponse().read()
        connection.close()
        told, heard = _heard(streams, name)
        took.append(1000 * (heard - told))
        time.sleep(0.05)
    return took


def _heard(streams: list[_Stream], name: str) -> tuple[float, float]:
    """(when the verdict fell, when the last stream had it)"""
    wanted, told = set(streams), 0.0
    with selectors.DefaultSelector() as selector:
        for each in streams:
            selector.register(each.socket, selectors.EVENT_READ, each)
        while wanted:
            ready = selector.select(10)
            if not ready:
                raise RuntimeError(f"{len(wanted)} streams were not told of {name}")
            for key, _ in ready:
                for event in key.data.events():
                    if event.get("name") == name and event.get("type") == "expired":
                        wanted.discard(key.data)
                        told = event["time"]
    return told, time.time()


class _Stream:
    def __init__(self, port: int) -> None:
        self.began = time.monotonic()
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.sendall(f"GET /api/v1/stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        self._read = b""

    def listed(self) -> float:
        """Seconds until the last row is there."""
        while b'"complete":true}' not in self._read:
            self._read = self._read[-64:] + self.socket.recv(1 << 18)
        self._read = b""
        return time.monotonic() - self.began

    def events(self) -> list[dict[str, object]]:
        """The supervisor's events that have arrived."""
        self._read += self.socket.recv(1 << 18)
        *blocks, self._read = self._read.split(b"\n\n")
        lines = [block.rpartition(b"data: ")[2] for block in blocks if b"event: event\n" in block]
        return [json.loads(line) for line in lines]
