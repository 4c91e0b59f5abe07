"""etcd as a process: one member or three, each with a directory and ports of its own."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from banken_supervisor.coordination.etcd import EtcdStore
from banken_supervisor.coordination.store import Away

ETCD = shutil.which("etcd")

STARTED_S = 20.0


class Member:
    """One etcd. ``more``: further options."""

    def __init__(self, directory: Path, name: str, ports: tuple[int, int], more: Sequence[str] = ()) -> None:
        self.name, self._directory, self._more = name, directory, list(more)
        self.client, self.peer = (f"127.0.0.1:{port}" for port in ports)
        self.scheme = "https" if "--cert-file" in self._more else "http"
        self.process: subprocess.Popen[bytes] | None = None
        self._token = 1

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.client}"

    def start(self, cluster: str, state: str = "new") -> None:
        assert ETCD is not None
        with (self._directory / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    ETCD, "--name", self.name, "--data-dir", str(self._directory / self.name),
                    "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
                    "--listen-peer-urls", f"http://{self.peer}", "--initial-advertise-peer-urls", f"http://{self.peer}",
                    "--initial-cluster", cluster, "--initial-cluster-state", state, "--pre-vote",
                    "--initial-cluster-token", f"etcd-{self._token}",
                    "--heartbeat-interval", "100", "--election-timeout", "1000", *self._more,
                ],
                stdout=log, stderr=log, env={"ETCD_UNSUPPORTED_ARCH": "arm64", "PATH": "/usr/bin:/bin"},
            )  # fmt: skip

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def forget(self) -> None:
        """Its data are gone, and it is a member of another cluster."""
        shutil.rmtree(self._directory / self.name)
        self._token += 1

    def stop(self) -> None:
        """Kill it, stopped or not; its data stay."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Etcd:
    """A cluster of ``count`` members."""

    def __init__(self, directory: Path, count: int = 1, more: Sequence[str] = ()) -> None:
        self.members = [
            Member(directory, f"m{number}", ports, more) for number, ports in enumerate(_ports(count), 1)
        ]
        self._cluster = ",".join(f"{each.name}=http://{each.peer}" for each in self.members)

    @property
    def urls(self) -> list[str]:
        return [each.url for each in self.members]

    def start(self) -> None:
        for each in self.members:
            each.start(self._cluster)

    def restart(self, member: Member) -> None:
        member.start(self._cluster, "existing")

    def lose_data(self) -> None:
        """Set up anew on the same hosts, as the docs say: with another token."""
        self.stop()
        for each in self.members:
            each.forget()
        self.start()

    def store(self, base: str = "banken/test/") -> EtcdStore:
        return EtcdStore(self.urls, base)

    def leading(self) -> Member:
        """Which of them leads."""
        for each in self.members:
            store = EtcdStore([each.url], "")
            with contextlib.suppress(Away), contextlib.closing(store):
                found = store._ask("maintenance/status", {}, 2.0)
                if found["leader"] == found["header"]["member_id"]:
                    return each
        raise AssertionError("no etcd leads")

    def wait(self, store: EtcdStore) -> None:
        """Until it answers."""
        deadline = time.monotonic() + STARTED_S
        while True:
            try:
                store.read("x", 1.0)
            except Away:
                assert time.monotonic() < deadline, "etcd does not answer"
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        for each in self.members:
            with contextlib.suppress(ProcessLookupError):
                if each.process is not None:
                    each.send(signal.SIGCONT)
            each.stop()


@contextlib.contextmanager
def running(count: int = 1, more: Sequence[str] = ()) -> Iterator[Etcd]:
    """A cluster that answers; gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="bk-etcd-"))
    etcd = Etcd(directory, count, more)
    try:
        etcd.start()
        store = etcd.store()
        etcd.wait(store)
        store.close()
        yield etcd
    finally:
        etcd.stop()
        shutil.rmtree(directory, ignore_errors=True)


def _ports(count: int) -> list[tuple[int, int]]:
    """Free ones: all are held until all are known."""
    with contextlib.ExitStack() as held:
        ports = []
        for _ in range(2 * count):
            taken = held.enter_context(socket.socket())
            taken.bind(("127.0.0.1", 0))
            ports.append(taken.getsockname()[1])
    return [(ports[2 * each], ports[2 * each + 1]) for each in range(count)]
