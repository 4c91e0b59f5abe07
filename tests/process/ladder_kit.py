"""What the tests of whole ladders share: ``banken run -c FILE`` as operators start it, and its command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from process.kit import SCRIPTS, START_S, Child, Home, Stream, until, written
from process.program_kit import Yard

LONG = 40.0
"""Seconds within which what must happen happens, on a busy machine."""

HANGS = (SCRIPTS / "hang.py").read_text().splitlines()


class Command(Child):
    """A process of banken's own command line."""

    def __init__(self, *args: object) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed in close()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "banken_supervisor", *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        self.pid = self.process.pid
        self._read = b""

    def said(self) -> str:
        """What it wrote to stdout by now; needs something to be there."""
        assert self.process.stdout is not None
        return os.read(self.process.stdout.fileno(), 65536).decode(errors="replace")

    def log(self) -> str:
        """All that it wrote to stderr."""
        return written(self._errors).decode(errors="replace")


class House(Home):
    """A home whose supervisor is ``banken run -c FILE``."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.place = Path(address).parent
        self.file = self.place / "banken.toml"
        self._yard = Yard(address)

    def run(self, config: str) -> Stream:
        """The supervisor with this config, answering; its events from now on."""
        self.file.write_text(config or "[supervisor]\n")
        self.run_by = Command("run", "-c", self.file, "--address", self.address)
        self._closing.append(self.run_by)
        until(lambda: self._answers(self.run_by), "the supervisor answers", START_S)
        return self.events()

    def banken(self, *args: object, code: int = 0) -> str:
        """One command at this address; its stdout, and its stderr where it was to fail."""
        command = [sys.executable, "-m", "banken_supervisor", *map(str, args), "--address", self.address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_S * 2, check=False)
        assert done.returncode == code, f"{command} gave {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout if code == 0 else done.stderr

    def incident(self, id_: str) -> dict[str, Any]:
        """``banken incident ID --json``"""
        found: dict[str, Any] = json.loads(self.banken("incident", id_, "--json"))
        return found

    def incidents(self, name: str) -> list[dict[str, Any]]:
        """``banken incidents NAME --json``, the newest first."""
        found: list[dict[str, Any]] = json.loads(self.banken("incidents", name, "--json"))
        return found

    def program(self, name: str) -> dict[str, Any]:
        """What is known of one program."""
        return next(row for row in self.ask("programs")["rows"] if row["name"] == name)

    def close(self) -> None:
        """End the supervisor, then what it started."""
        super().close()
        self._yard.close()


def line_of(function: str) -> int:
    """The line that a function of hang.py hangs in."""
    start = next(n for n, text in enumerate(HANGS) if re.match(rf"(?:async )?def {function}\(", text))
    return next(n for n, text in enumerate(HANGS[start:], start + 1) if text.endswith("  # here"))


def stuck(name: str, hang: str, *more: str, ladder: str, place: Path) -> str:
    """A program of scripts/stuck.py: it hangs in its first process and feeds in those after it."""
    command = json.dumps([sys.executable, str(SCRIPTS / "stuck.py"), hang, str(place / f"{name}.hung")])
    return "\n".join(
        [
            "[[program]]",
            f'name = "{name}"',
            f"command = {command}",
            *more,
            'timeout = "1s"',
            'interval = "1h"',
            'grace = "30s"',
            f"ladder = {ladder}",
            "",
        ]
    )


@contextmanager
def listening() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server on 127.0.0.1 that takes every POST: its host and port, and the bodies so far."""
    bodies: list[dict[str, Any]] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bodies.append(json.loads(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Taker)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", bodies
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
