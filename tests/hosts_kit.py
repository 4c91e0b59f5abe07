"""What tests of workers on other hosts share."""

from __future__ import annotations

import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from banken.client import Client
from banken.control import Control
from banken_supervisor.keys import access
from banken_supervisor.keys.directory import KeyDirectory
from banken_supervisor.runtime.supervisor import Supervisor
from recovery_kit import until


def free_ports() -> int:
    """The first of three in a row that nobody has, below those that the system gives to connections."""
    for _ in range(100):
        port = random.randrange(20_000, 32_000)
        with suppress(OSError):
            for each in range(port, port + 3):
                socket.create_server(("0.0.0.0", each)).close()
            return port
    raise AssertionError("no three ports in a row are free")


class Host:
    """A supervisor with its keys."""

    def __init__(self, directory: Path, keys: KeyDirectory | None = None) -> None:
        """``keys``: those of another supervisor, which it has, too."""
        self.here = str(directory / "s")
        port = free_ports()
        self.address = f"tcp://127.0.0.1:{port}"
        self.keys = KeyDirectory(directory / "keys") if keys is None else keys
        if keys is None:
            self.keys.new("watch", server=True)
        self.supervisor = Supervisor(self.here, listen=[f"tcp://0.0.0.0:{port}"], keys=self.keys.path)

    def key(self, name: str, *feed: str, control: access.Control | None = None, allow: bool = True) -> Path:
        """A key of this name, which may feed names that fit these patterns; in force."""
        path = self.keys.new(name, address=self.address)
        if allow:
            self.keys.allow(name, feed or (name,), control)
            self.reload()
        return path

    def reload(self, ok: bool = True) -> str:
        """Read the rights again; what was said of it."""
        number = self.ask("reload")["number"]
        last = until(lambda: (found := self.ask("reloaded"))["number"] >= number and found, "it has been read")
        assert last["ok"] is ok, last
        return str(last["text"])

    def ask(self, op: str, **args: Any) -> Any:
        with Control(self.here, 10.0) as control:
            return control.request(op, **args)

    def row(self, name: str) -> dict[str, Any] | None:
        return next(iter(self.ask("status", name=name)["rows"]), None)

    def refused(self, reason: str) -> int:
        return int(self.ask("summary")["refused"].get(reason, 0))

    def client(self, path: Path) -> Any:
        return closing(Client(self.address, key=path, release_at_exit=False))


@contextmanager
def running_host() -> Iterator[Host]:
    """One that runs, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="bk-") as directory:
        made = Host(Path(directory))
        with made.supervisor:
            yield made
