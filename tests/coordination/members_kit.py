"""A cluster of real supervisors on one host, with a real etcd.

Each member is ``banken run`` with its own address and ports, and one worker with a key feeds them all. The ladder's
steps write a line each into one file."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from banken_supervisor.coordination.records import unpack_leader
from banken_supervisor.keys.access import Control
from banken_supervisor.keys.directory import KeyDirectory
from hosts_kit import free_ports
from process.kit import START_S, Home, until

from . import etcd_kit

WORKER = """
import json, sys, time
from banken import client
alive = set(json.loads(sys.argv[1]))
import threading
one = threading.Lock()  # what was released is not fed after that; what falls silent at once does so in one round
def read():
    for line in sys.stdin:
        verb, *names = line.split()
        with one:
            (alive.update if verb == "feed" else alive.difference_update)(names)
            if verb == "release":
                for name in names:
                    client.release(name)
threading.Thread(target=read, daemon=True).start()
while True:
    with one:
        for name in alive:
            client.feed(name)
    time.sleep(0.05)
"""

CONFIG = """
[supervisor]
listen = ["{listen}"]
keys = "../keys"

[cluster]
name = "test"
member = "{name}"
endpoints = {endpoints}
ttl = "{ttl}s"
brake = "3s"

[[watchdog]]
name = "w-own-*"
scope = "local"
timeout = "1s"
interval = "60s"
ladder = [{{ do = "exec", command = ["sh", "{deed}", "0", "{name}"] }}]

[[watchdog]]
name = "w-host-*"
scope = "cluster"
timeout = "1s"
interval = "60s"
ladder = [{{ do = "dump" }}, {{ do = "kill", after = "0.3s" }}]

{more}
[[watchdog]]
name = "w-*"
timeout = "2s"
interval = "60s"
ladder = [
  {{ do = "exec", command = ["sh", "{deed}", "0", "{name}"] }},
  {{ do = "exec", after = "0.5s", command = ["sh", "{deed}", "1", "{name}"] }},
]
"""


class Relay:
    """Passes on what the worker says to a member's port for feeds, until it is told not to."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open = threading.Event()
        self._open.set()
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self, *, on: bool) -> None:
        """Pass on nothing more, or again."""
        (self._open.clear if on else self._open.set)()

    def close(self) -> None:
        self._open.set()
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self._open.wait()
                try:
                    other = socket.create_connection(("127.0.0.1", self._to))
                except OSError:
                    peer.close()
                    continue
                for one, two in ((peer, other), (other, peer)):
                    threading.Thread(target=self._pass_on, args=(one, two), daemon=True).start()

    def _pass_on(self, one: socket.socket, two: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                self._open.wait()
                two.sendall(data)
        for each in (one, two):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


WITHOUT_ASKING = """
import sys
from banken_supervisor.runtime.member_links import MemberLink
MemberLink.ask = lambda *_: False
sys.argv[0] = "banken"
from banken_supervisor.cli import main
main()
"""


STOPS_BEFORE_THE_DEED = """
import os, signal, sys, threading
from banken_supervisor.runtime.incident_terms import Terms
permits, lock = Terms.permits, threading.Lock()
def stop_first(self, target):
    with lock:
        try:
            os.unlink("../stop-now")
        except OSError:
            pass
        else:
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
    return permits(self, target)
Terms.permits = stop_first
sys.argv[0] = "banken"
from banken_supervisor.cli import main
main()
"""
"""A member that is stopped between the claim of an action and the action, if a file says so."""


class Deed(NamedTuple):
    """One line that a step has written."""

    name: str
    step: int
    incident: str
    member: str
    at: float
    """wall clock"""
    fence: int
    """of the leader whose action it was, by its environment; 0: none"""


class Member:
    """One supervisor."""

    def __init__(self, place: Path, name: str, config: str) -> None:
        self.name, self.place = name, place / name
        self.place.mkdir()
        self.address = str(self.place / "a")
        (self.place / "banken.toml").write_text(config)
        self.home = Home(self.address)
        self.program = ["-m", "banken_supervisor"]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {"HOME": str(self.place), "PATH": os.environ["PATH"], "BANKEN_ADDRESS": self.address}
        environment["PYTHONFAULTHANDLER"] = "1"
        if "PYTHONPATH" in os.environ:  # of a clone: else it would run what is installed
            environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.program, "run", "-c", "banken.toml"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=self.place,
            )  # fmt: skip
        until(self._answers, f"{self.name} answers", START_S)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.name} has ended: {self.process.returncode}"
        with contextlib.suppress(Exception):
            self.home.ask("ping")
            return True
        return False

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.send(number)
            self.process.wait(START_S)
            self.process = None


class Cluster:
    """Three members and three etcd, or as many as are asked for. ``more``: what their config has besides."""

    def __init__(self, place: Path, etcd: etcd_kit.Etcd, ttl: float, count: int, more: str = "") -> None:
        self.place, self.etcd, self.ttl = place, etcd, ttl
        self.deeds_file = place / "deeds"
        self.deeds_file.touch()
        deed = place / "deed.sh"
        deed.write_text(
            f'echo "$BANKEN_NAME $1 $BANKEN_INCIDENT $2 $(date +%s.%N) $BANKEN_FENCE" >> {self.deeds_file}\n'
        )
        keys = KeyDirectory(place / "keys")
        keys.new("server", server=True)
        keys.new("worker")
        ports = [free_ports() for _ in range(count)]
        self.listen = [f"tcp://127.0.0.1:{port}" for port in ports]
        self.relays = [Relay(port) for port in ports]
        self.heard_at = [f"tcp://127.0.0.1:{relay.port}" for relay in self.relays]
        public = keys.server().key.decode()
        with (place / "keys" / "worker.key").open("a") as file:
            file.write("\n[servers]\n" + "".join(f'"{each}" = "{public}"\n' for each in self.heard_at))
        keys.allow("worker", ["w-*"], Control.NONE)
        self.members = [
            Member(
                place, f"m{number}",
                CONFIG.format(
                    listen=listen, name=f"m{number}", endpoints=json.dumps(etcd.urls), ttl=ttl, deed=deed,
                    more=more,
                ),
            )
            for number, listen in enumerate(self.listen, 1)
        ]  # fmt: skip
        self.worker: subprocess.Popen[bytes] | None = None

    def start(self, *names: str) -> None:
        for each in self.members:
            each.start()
        self.start_worker(*names)
        self.leader()
        self._until_watched(names)

    def start_worker(self, *names: str) -> None:
        key = str(self.place / "keys" / "worker.key")
        environment = {**os.environ, "BANKEN_ADDRESS": ",".join(self.heard_at), "BANKEN_KEY": key}
        self.worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, json.dumps(names)], stdin=subprocess.PIPE, env=environment
        )

    def say(self, verb: str, *names: str) -> float:
        """Have these fed from now on, or not any more; the wall clock then."""
        assert self.worker is not None
        assert self.worker.stdin is not None
        self.worker.stdin.write(f"{verb} {' '.join(names)}\n".encode())
        self.worker.stdin.flush()
        return time.time()

    def feed(self, *names: str) -> None:
        """Have these fed, until every member watches them."""
        self.say("feed", *names)
        self._until_watched(names)

    def _until_watched(self, names: tuple[str, ...]) -> None:
        for each in self.members:
            what = f"{each.name} hears {', '.join(names)}"
            until(lambda each=each: set(names) <= self.watched(each), what, START_S)

    def watched(self, member: Member) -> set[str]:
        assert member.process is not None
        assert member.process.poll() is None, f"{member.name} has ended: {member.process.returncode}"
        return {row["name"] for row in member.home.ask("status")["rows"] if row["state"] == "alive"}

    def leader(self, other_than: str = "", within: float = 30.0) -> Member:
        """Who leads by the store."""
        store = self.etcd.store("banken/test/")

        def found() -> Member | None:
            item = store.read("leader", 2.0).items.get("leader")
            name = "" if item is None else unpack_leader(item.value).member
            return next((each for each in self.members if each.name == name != other_than), None)

        try:
            return until(found, "somebody leads", within)
        finally:
            store.close()

    def deeds(self) -> list[Deed]:
        rows = [[*line.split(), "0"][:6] for line in self.deeds_file.read_text().splitlines()]
        return [
            Deed(name, int(step), incident, who, float(at), int(fence))
            for name, step, incident, who, at, fence in rows
        ]

    def done(self, *names: str) -> dict[str, Any]:
        """How often each step of these names was done."""
        return Counter((each.name, each.step) for each in self.deeds() if each.name in names)

    def close(self) -> None:
        if self.worker is not None:
            self.worker.kill()
            self.worker.communicate()
        for member in self.members:
            member.end()
        for relay in self.relays:
            relay.close()


@contextlib.contextmanager
def cluster(ttl: float = 3.0, members: int = 3, etcds: int = 1, more: str = "") -> Iterator[Cluster]:
    with etcd_kit.running(etcds) as etcd, tempfile.TemporaryDirectory(prefix="bk-") as place:
        made = Cluster(Path(place), etcd, ttl, members, more)
        try:
            yield made
        finally:
            made.close()
