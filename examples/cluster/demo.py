"""Three supervisors as one, three etcd, and a fault in each round: who leads then, and what was done.

    python examples/cluster/demo.py --rounds 3 --fault kill-leader

Each supervisor has a network namespace of its own, with an etcd in it, and the workers have another one; where this
user may make none, all of them are on ports of 127.0.0.1, and no host can be cut off. Needs etcd (Debian:
etcd-server). In each round two workers fall silent after the fault, and two steps of a ladder are to be done for
each; twenty others live on. Everything is gone at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from banken.control import Control
from banken.errors import BankenError

BANKEN = [sys.executable, "-m", "banken_supervisor"]
INSIDE = "BANKEN_DEMO_NAMESPACES"
TTL_S, TIMEOUT_S, STEP_S = 3.0, 2.0, 0.5
HOSTS, STEPS, LIVING = 3, 2, 20
STOPPED_S = 8.0

CONFIG = """
[supervisor]
listen = ["{listen}"]
keys = "{keys}"

[cluster]
name = "demo"
member = "{name}"
endpoints = {endpoints}
insecure = true       # http between namespaces of one machine
ttl = "{ttl}s"

[[watchdog]]
name = "w-*"
timeout = "{timeout}s"
interval = "1h"
ladder = [
  {{ do = "exec", command = ["sh", "{deed}", "0", "{name}"] }},
  {{ do = "exec", after = "{step}s", command = ["sh", "{deed}", "1", "{name}"] }},
]
"""

WORKER = """
import sys, threading, time
from banken import client
alive = set()

def listen():
    for line in sys.stdin:
        verb, name = line.split()
        (alive.add if verb == "feed" else alive.discard)(name)

threading.Thread(target=listen, daemon=True).start()
while True:
    for name in list(alive):
        client.feed(name)
    time.sleep(0.05)
"""


class Host:
    """One of the three: an etcd and a supervisor."""

    def __init__(self, place: Path, number: int, network: Network) -> None:
        self.name, self.place, self.network = f"watch-{number}", place / f"watch-{number}", network
        self.place.mkdir()
        self.address = str(self.place / "run")
        self.ip = network.ip(number)
        self.client, self.peer, self.feeds = (network.port(each) for each in (2379, 2380, 7767))
        self.etcd: subprocess.Popen[bytes] | None = None
        self.banken: subprocess.Popen[bytes] | None = None

    def start(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        with (self.place / log).open("ab") as file:
            return subprocess.Popen(
                [*self.network.on(self.name), *command], stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )

    def start_etcd(self, cluster: str, state: str) -> None:
        client, peer = f"http://{self.ip}:{self.client}", f"http://{self.ip}:{self.peer}"
        self.etcd = self.start(
            ["etcd", "--name", self.name, "--data-dir", str(self.place / "etcd"),
             "--listen-client-urls", client, "--advertise-client-urls", client,
             "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
             "--initial-cluster", cluster, "--initial-cluster-state", state, "--pre-vote"],
            "etcd.log",
        )  # fmt: skip

    def start_banken(self) -> None:
        config = str(self.place / "banken.toml")
        self.banken = self.start([*BANKEN, "run", "-c", config, "--address", self.address], "banken.log")
        until(lambda: self.ask("ping") is not None, f"{self.name} answers")

    def ask(self, op: str, **args: Any) -> Any:
        """What its supervisor says; None: nothing."""
        with contextlib.suppress(BankenError), Control(self.address, 1.0) as control:
            return control.request(op, **args)
        return None

    def hears(self, names: list[str]) -> bool:
        answer = self.ask("status")
        return answer is not None and set(names) <= {
            each["name"] for each in answer["rows"] if each["state"] == "alive"
        }

    def knows_all(self) -> bool:
        """Else it leads only if nobody has led for twice the ttl, as in the first seconds of a cluster."""
        answer = self.ask("registry", part="watched", offset=0)
        return answer is not None and bool(answer["whole"])

    def leads(self) -> bool:
        answer = self.ask("summary")
        return answer is not None and bool(answer["cluster"]["acts"])

    def close(self) -> None:
        for process in (self.banken, self.etcd):
            if process is not None:
                process.kill()
                process.wait()


class Network:
    """Namespaces on a bridge, or ports of 127.0.0.1. ``has_namespaces``: whether this process is in one."""

    def __init__(self, *, has_namespaces: bool) -> None:
        self.has_namespaces = has_namespaces
        if has_namespaces:
            ip("link", "add", "switch", "type", "bridge")
            for each in ("lo", "switch"):
                ip("link", "set", each, "up")
            for number in range(1, HOSTS + 2):
                host = "workers" if number > HOSTS else f"watch-{number}"
                ip("netns", "add", host)
                ip("link", "add", f"{host}-end", "type", "veth", "peer", "name", "link0", "netns", host)
                ip("link", "set", f"{host}-end", "master", "switch", "up")
                ip("-n", host, "address", "add", f"{self.ip(number)}/24", "dev", "link0")
                for each in ("lo", "link0"):
                    ip("-n", host, "link", "set", each, "up")

    def ip(self, number: int) -> str:
        return f"10.77.0.{number}" if self.has_namespaces else "127.0.0.1"

    def port(self, usual: int) -> int:
        if self.has_namespaces:
            return usual
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return int(free.getsockname()[1])

    def on(self, host: str) -> list[str]:
        """What stands before a command that is to run there."""
        return ["ip", "netns", "exec", host] if self.has_namespaces else []

    def link(self, host: str, state: str) -> None:
        ip("link", "set", f"{host}-end", state)


class Demo:
    """The cluster, its workers, and what its ladders have done."""

    def __init__(self, place: Path, network: Network, ttl: float) -> None:
        self.place, self.network, self.ttl, self.number = place, network, ttl, 0
        self.hosts = [Host(place, number, network) for number in range(1, HOSTS + 1)]
        self.cluster = ",".join(f"{each.name}=http://{each.ip}:{each.peer}" for each in self.hosts)
        self.deeds_file = place / "deeds"
        self.deeds_file.touch()
        self.worker: subprocess.Popen[bytes] | None = None
        self.silent: set[str] = set()

    def start(self) -> None:
        deed, keys = self.place / "deed.sh", str(self.place / "keys")
        deed.write_text(f'echo "$BANKEN_NAME $1 $2 $(date +%s.%N)" >> {self.deeds_file}\n')
        listen = [f"tcp://{each.ip}:{each.feeds}" for each in self.hosts]
        run(*BANKEN, "keys", "new", "watch", "--server", "--dir", keys)
        run(*BANKEN, "keys", "new", "workers", "--for", ",".join(listen), "--feed", "w-*", "--dir", keys)
        endpoints = json.dumps([f"http://{each.ip}:{each.client}" for each in self.hosts])
        for host, at in zip(self.hosts, listen, strict=True):
            (host.place / "banken.toml").write_text(
                CONFIG.format(
                    listen=at, keys=keys, name=host.name, endpoints=endpoints, ttl=self.ttl, timeout=TIMEOUT_S,
                    step=STEP_S, deed=deed,
                )
            )  # fmt: skip
            host.start_etcd(self.cluster, "new")
        for host in self.hosts:
            host.start_banken()
        environment = {
            **os.environ, "BANKEN_ADDRESS": ",".join(listen), "BANKEN_KEY": str(self.place / "keys" / "workers.key")
        }  # fmt: skip
        self.worker = subprocess.Popen(
            [*self.network.on("workers"), sys.executable, "-c", WORKER], stdin=subprocess.PIPE, env=environment
        )
        self.feed([f"w-alive-{number}" for number in range(LIVING)])

    def say(self, verb: str, names: list[str]) -> None:
        assert self.worker is not None
        assert self.worker.stdin is not None
        self.worker.stdin.write("".join(f"{verb} {name}\n" for name in names).encode())
        self.worker.stdin.flush()

    def feed(self, names: list[str]) -> None:
        """Have these fed, and wait until all members hear them and one of them leads."""
        self.say("feed", names)
        until(lambda: all(each.hears(names) for each in self.hosts), "all members hear the workers")
        until(lambda: all(each.knows_all() for each in self.hosts), "all members know all workers")
        until(lambda: any(each.leads() for each in self.hosts), "one of them leads")

    def leader(self) -> Host:
        return until(lambda: next((each for each in self.hosts if each.leads()), None), "somebody leads")

    def deeds(self) -> list[tuple[str, str, float]]:
        """(name, step, wall clock) of each that was done."""
        rows = [line.split() for line in self.deeds_file.read_text().splitlines()]
        return [(row[0], row[1], float(row[3])) for row in rows]

    def round(self, fault: str) -> dict[str, Any]:
        """One fault, two workers that fall silent, and what came of it."""
        self.number += 1
        names = [f"w-{self.number}-{letter}" for letter in "ab"]
        self.feed(names)
        before = self.leader()
        others = [each for each in self.hosts if each is not before]
        living_before = self.on_living()
        begun = time.monotonic()
        mend = FAULTS[fault](self, before)
        self.silent.update(names)
        self.say("stop", names)
        silent = time.time()
        takeover = None
        if fault in TAKEOVERS:
            until(lambda: any(each.leads() for each in others), "another one leads")
            takeover = round(time.monotonic() - begun, 3)
        wanted = {(name, str(step)) for name in names for step in range(STEPS)}
        patience = time.monotonic() + 30.0
        while not wanted <= {each[:2] for each in self.deeds()} and time.monotonic() < patience:
            time.sleep(0.02)
        done_s = round(time.monotonic() - begun, 3)
        mend()
        until(lambda: all(each.ask("ping") is not None for each in self.hosts), "all members answer again")
        time.sleep(1.0)  # what a former leader does now would be twice
        if fault not in TAKEOVERS and self.leader() is not before:
            takeover = round(time.monotonic() - begun, 3)
        deeds = [each for each in self.deeds() if each[:2] in wanted]
        found = Counter(each[:2] for each in deeds)
        late = max((at - silent - TIMEOUT_S - STEP_S * int(step) for _, step, at in deeds), default=0.0)
        return {
            "fault": fault,
            "leader": before.name,
            "takeover_s": takeover,
            "done_s": done_s,
            "late_s": round(late, 3),
            "deeds_twice": sum(count - 1 for count in found.values()),
            "deeds_missing": len(wanted) - len(found),
            "deeds_on_living": self.on_living() - living_before,
        }

    def on_living(self) -> int:
        return sum(name not in self.silent for name, _, _ in self.deeds())

    def close(self) -> None:
        if self.worker is not None:
            self.worker.kill()
            self.worker.wait()
        for each in self.hosts:
            each.close()

    # -- faults: each returns what mends it --------------------------------------------------------

    def kill_leader(self, leader: Host) -> Callable[[], None]:
        assert leader.banken is not None
        leader.banken.kill()
        leader.banken.wait()
        return leader.start_banken

    def stop_leader(self, leader: Host) -> Callable[[], None]:
        assert leader.banken is not None
        leader.banken.send_signal(signal.SIGSTOP)
        timer = threading.Timer(STOPPED_S, leader.banken.send_signal, [signal.SIGCONT])
        timer.start()
        return timer.join

    def cut_leader(self, leader: Host) -> Callable[[], None]:
        self.network.link(leader.name, "down")
        return lambda: self.network.link(leader.name, "up")

    def cut_follower(self, leader: Host) -> Callable[[], None]:
        others = [each for each in self.hosts if each is not leader]
        return self.cut_leader(others[self.number % len(others)])

    def kill_etcd(self, leader: Host) -> Callable[[], None]:
        host = self.hosts[self.number % HOSTS]
        assert host.etcd is not None
        host.etcd.kill()
        host.etcd.wait()
        return lambda: host.start_etcd(self.cluster, "existing")

    def no_etcd(self, leader: Host) -> Callable[[], None]:
        processes = [each.etcd for each in self.hosts if each.etcd is not None]

        def back() -> None:
            for each in processes:
                each.send_signal(signal.SIGCONT)

        for each in processes:
            each.send_signal(signal.SIGSTOP)
        timer = threading.Timer(STOPPED_S, back)
        timer.start()
        return timer.join


FAULTS: dict[str, Callable[[Demo, Host], Callable[[], None]]] = {
    "kill-leader": Demo.kill_leader,
    "stop-leader": Demo.stop_leader,
    "cut-leader": Demo.cut_leader,
    "cut-follower": Demo.cut_follower,
    "kill-etcd": Demo.kill_etcd,
    "no-etcd": Demo.no_etcd,
}

TAKEOVERS = frozenset({"kill-leader", "stop-leader", "cut-leader"})
CUTS = frozenset({"cut-leader", "cut-follower"})
"""Need a network of one's own."""


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def ip(*words: str) -> None:
    run("ip", *words)


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            sys.exit(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)
    return found


def told(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def enter_namespaces() -> None:
    """Go on in a network and a mount namespace of one's own, if this user may; else return."""
    if INSIDE in os.environ or not all(shutil.which(each) for each in ("unshare", "ip", "mount")):
        return
    enter = ["unshare", "--net", "--mount", *(() if os.geteuid() == 0 else ("--user", "--map-root-user"))]
    # `ip netns` keeps its names in /run: in one that nobody else sees.
    prepare = "mount -t tmpfs demo /run && ip link add probe type bridge && ip link delete probe"
    if subprocess.run([*enter, "sh", "-c", prepare], capture_output=True, check=False).returncode == 0:
        script = [sys.executable, os.path.abspath(__file__), *sys.argv[1:]]
        inside = ["sh", "-c", 'mount -t tmpfs demo /run && exec "$@"', "sh", *script]
        os.execvpe(enter[0], [*enter, *inside], {**os.environ, INSIDE: "1"})


@contextlib.contextmanager
def running(ttl: float, *, has_namespaces: bool) -> Iterator[Demo]:
    with tempfile.TemporaryDirectory(prefix="bk-") as place:
        demo = Demo(Path(place), Network(has_namespaces=has_namespaces), ttl)
        try:
            demo.start()
            yield demo
        finally:
            demo.close()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Three supervisors as one: a fault in each round.")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="of each fault (1)")
    parser.add_argument("--fault", choices=FAULTS, action="append", help="may be given several times (all)")
    parser.add_argument("--ttl", type=float, default=TTL_S, metavar="S", help=f"of the cluster ({TTL_S:g})")
    parser.add_argument("--json", action="store_true", help="print one object to stdout, and nothing else")
    parser.add_argument("--hold", action="store_true", help="leave it up, until Ctrl-C")
    given = parser.parse_args()
    if given.rounds < 0 or not 1.0 <= given.ttl <= 60.0:
        parser.error("--rounds is 0 or more, --ttl from 1 to 60 seconds")
    return given


def stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    given = arguments()
    if shutil.which("etcd") is None:
        sys.exit("etcd is not installed, or not in $PATH (Debian: apt-get install etcd-server)")
    enter_namespaces()
    has_namespaces = INSIDE in os.environ
    if not has_namespaces:
        told("this user may make no network namespaces: all is on ports of 127.0.0.1")
    faults = given.fault or [each for each in FAULTS if has_namespaces or each not in CUTS]
    if CUTS.intersection(faults) and not has_namespaces:
        sys.exit("a host can be cut off only in a network namespace: run this as root")
    signal.signal(signal.SIGTERM, stop)
    rounds = []
    with running(given.ttl, has_namespaces=has_namespaces) as demo:
        told(f"up: {', '.join(each.name for each in demo.hosts)}, ttl {given.ttl:g} s")
        told(
            f"{'fault':12} {'takeover s':>10} {'done s':>7} {'late s':>7} {'twice':>6} {'missing':>8} "
            f"{'on living':>10}"
        )
        for fault in faults * given.rounds:
            found = demo.round(fault)
            rounds.append(found)
            takeover = "-" if found["takeover_s"] is None else f"{found['takeover_s']:.2f}"
            told(
                f"{fault:12} {takeover:>10} {found['done_s']:>7.2f} {found['late_s']:>7.2f} "
                f"{found['deeds_twice']:>6} {found['deeds_missing']:>8} {found['deeds_on_living']:>10}"
            )
        if given.hold:
            for each in demo.hosts:
                told(f"banken top --address {each.address}")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
    if given.json:
        print(json.dumps({"ttl_s": given.ttl, "rounds": rounds}))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
