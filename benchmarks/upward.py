"""Many hosts, each with a supervisor of its own, that feed one set of three: what that costs the set, and when the
death of a host is an incident there.

    python benchmarks/upward.py                   # 50 hosts of 1,000 workers; 5 of them die
    python benchmarks/upward.py --more 950        # and 950 further names, fed as hosts are: 1,000 hosts in all

The set is real: three ``banken run`` with [cluster], three etcd, tcp with keys. A host is a real engine with its
driver, and 1,000 workers that feed it once a second from memory; what feeds the set is what ``banken run`` has
for it (runtime/upward.py). Hosts that die are processes of their own, and are killed. ``--more`` is one client that
sends what those hosts would send, without hosts.

This file is also those processes (``python benchmarks/upward.py hosts|feeds …``). Exit status 1 if an incident came
later than was asked, or not exactly once.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter, deque
from contextlib import ExitStack
from itertools import cycle, islice
from math import inf
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
for home in ("tests", "client", "supervisor"):
    sys.path.append(str(ROOT / home))  # an installed banken comes first

import traffic  # noqa: E402
from common import Child, cpu_seconds, percentile, say, wait_for  # noqa: E402

from banken.client import Client  # noqa: E402
from banken.control import Events  # noqa: E402
from banken.protocol.messages import Declaration, Kind  # noqa: E402
from banken_supervisor.coordination.settings import UpwardSettings  # noqa: E402
from banken_supervisor.engine.driver import Driver  # noqa: E402
from banken_supervisor.engine.effects import Event  # noqa: E402
from banken_supervisor.engine.engine import Engine  # noqa: E402
from banken_supervisor.engine.rules import Rules  # noqa: E402
from banken_supervisor.runtime.upward import Upward, counts_of  # noqa: E402

HOSTS, WORKERS, DEATHS = 50, 1_000, 5
TIMEOUT_S, LATE_S = 5.0, 0.5
TURN_S = 0.05
TOGETHER = 15
"""Hosts in one process, of those that live."""

CONFIG = """
[supervisor]
listen = ["{listen}"]
keys = "../keys"

[cluster]
name = "test"
member = "{name}"
endpoints = {endpoints}

[[watchdog]]
name = "host/*"
ladder = [{{ do = "log" }}]
"""


class Host:
    """One, in memory: each of its workers feeds it once a second."""

    def __init__(self, name: str, workers: int, addresses: tuple[str, ...], key: str) -> None:
        now = time.monotonic()
        self.driver = Driver(Engine(Rules(Declaration(60.0, 60.0, 60.0)), "run", b"token"), now)
        self._frames = traffic.frames(Kind.FEED, traffic.names("w", workers), 60.0)
        self._next = cycle(self._frames)
        self._mail: deque[Any] = deque()
        self._turns, self._owed, self._at = 0, float(workers), now
        self.upward = Upward(
            UpwardSettings(addresses, key, f"host/{name}", TIMEOUT_S), lambda: counts_of(self.driver, self._turns),
            self._mail.append, self._tell, self._fault,
        )  # fmt: skip

    def turn(self, now: float) -> None:
        """As runtime/loop.py does, from memory."""
        driver = self.driver
        driver.wake(now, TURN_S)
        driver.read(islice(self._next, int(self._owed)))
        driver.drained(int(self._owed), complete=True)
        self._owed = self._owed % 1.0 + (now - self._at) * len(self._frames)
        self._at = now
        while self._mail:
            self._mail.popleft()()
        driver.decide()
        driver.out.clear()
        self._turns += 1

    def _tell(self, event: Event) -> None:
        sys.stderr.write(f"{event.data['text']}\n")

    def _fault(self, fault: Exception) -> None:
        sys.stderr.write(f"{fault!r}\n")


def _hosts(first: str, count: str, workers: str, addresses: str, key: str) -> None:
    made = [
        Host(str(number), int(workers), tuple(addresses.split(",")), key)
        for number in range(int(first), int(first) + int(count))
    ]
    for each in made:
        each.upward.start()
    ended = Flag()
    Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    say(ready=True)
    while not ended.wait(TURN_S):
        for each in made:
            each.turn(time.monotonic())


def _feeds(first: str, count: str, addresses: str, key: str) -> None:
    """What so many hosts send."""
    client, turns = Client(addresses, key=key, release_at_exit=False), 0
    names = [f"host/{number}" for number in range(int(first), int(first) + int(count))]
    for name in names:
        client.watchdog(name, TIMEOUT_S, progress_timeout=TIMEOUT_S + 0.2, resolution=0)
        time.sleep(0.001)
    ended = Flag()
    Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    say(ready=True)
    began, sent = time.monotonic(), 0
    while not ended.wait(0.005):
        while sent < (time.monotonic() - began) * len(names):
            turns += 1
            client.feed(names[sent % len(names)], progress=turns, status="1,000 watchdogs, 0 incidents")
            sent += 1


class Listener:
    """Incidents of hosts, by all members' events."""

    def __init__(self, addresses: list[str]) -> None:
        self.heard: list[tuple[str, str, float]] = []
        """names, ids and wall clocks"""
        for each in addresses:
            Thread(target=self._listen, args=(each,), daemon=True).start()

    def _listen(self, address: str) -> None:
        with Events(address) as events:
            while True:
                event = events.next(1.0)
                if event is not None and event["type"] == "expired" and event["name"].startswith("host/"):
                    self.heard.append((event["name"], event["incident"], event["time"]))


def _load(members: list[Any], seconds: float) -> dict[str, list[float]]:
    """Of each member: CPU, in percent of a core, and messages a second."""
    pids = [each.process.pid for each in members]
    before = [
        (cpu_seconds(pid), each.home.ask("summary")["messages"]) for pid, each in zip(pids, members, strict=True)
    ]
    began = time.monotonic()
    time.sleep(seconds)
    after = [
        (cpu_seconds(pid), each.home.ask("summary")["messages"]) for pid, each in zip(pids, members, strict=True)
    ]
    took = time.monotonic() - began
    return {
        "cpu_percent": [round(100 * (new[0] - old[0]) / took, 1) for old, new in zip(before, after, strict=True)],
        "messages_per_s": [round((new[1] - old[1]) / took, 1) for old, new in zip(before, after, strict=True)],
    }


def _known(member: Any) -> int:
    return int(member.home.ask("summary")["states"].get("alive", 0))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="What many hosts cost the set that watches them.")
    parser.add_argument("--hosts", type=int, default=HOSTS, help="simulated hosts (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=WORKERS, help="of each (default: %(default)s)")
    parser.add_argument("--deaths", type=int, default=DEATHS, help="hosts that are killed (default: %(default)s)")
    parser.add_argument("--more", type=int, default=0, help="further names, fed as hosts are (default: 0)")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement (default: %(default)s)")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before it began", flush=True)
    from coordination.members_kit import cluster

    with cluster(5.0, 3, 3) as made, ExitStack() as stack:
        return _measure(made, stack, options)


def _measure(made: Any, stack: ExitStack, options: argparse.Namespace) -> int:
    import json

    from banken_supervisor.keys.access import Control
    from banken_supervisor.keys.directory import KeyDirectory

    keys = KeyDirectory(made.place / "keys")
    keys.new("hosts")
    key = keys.path / "hosts.key"
    public = keys.server().key.decode()
    key.write_text(key.read_text() + "[servers]\n" + "".join(f'"{each}" = "{public}"\n' for each in made.listen))
    keys.allow("hosts", ["host/*"], Control.NONE)
    for member, listen in zip(made.members, made.listen, strict=True):
        (member.place / "banken.toml").write_text(
            CONFIG.format(listen=listen, name=member.name, endpoints=json.dumps(made.etcd.urls))
        )
        member.start()
    made.leader()
    told = Listener([each.address for each in made.members])
    _say("no host", _load(made.members, options.seconds))
    addresses = ",".join(made.listen)

    def start(*command: object) -> Child:
        child = stack.enter_context(Child(*command, file="upward"))
        child.line()
        return child

    living = options.hosts - options.deaths
    for first in range(0, living, TOGETHER):
        start("hosts", first, min(TOGETHER, living - first), options.workers, addresses, key)
    dying = [start("hosts", number, 1, options.workers, addresses, key) for number in range(living, options.hosts)]
    for each in made.members:
        wait_for("all hosts are heard", lambda each=each: _known(each) >= options.hosts, 60.0)
    _say(f"{options.hosts} hosts of {options.workers:,} workers", _load(made.members, options.seconds))
    if options.more:
        start("feeds", options.hosts, options.more, addresses, key)
        for each in made.members:
            wait_for("all names are heard", lambda each=each: _known(each) >= options.hosts + options.more, 60.0)
        _say(f"{options.hosts + options.more} hosts", _load(made.members, options.seconds))
    late = []
    for number, child in enumerate(dying, living):
        killed = time.time()
        child.process.kill()
        name = f"host/{number}"
        wait_for(
            f"an incident of {name}",
            lambda name=name: any(name == each[0] for each in told.heard),
            TIMEOUT_S + 30.0,
        )
        late.append(min(at for found, _, at in told.heard if found == name) - killed)
    time.sleep(2.0)
    incidents = Counter(name for name, _ in {(name, id_) for name, id_, _ in told.heard})
    others = sum(count for name, count in incidents.items()) - len(dying)
    worst = max(late, default=inf)
    print(
        f"{len(dying)} hosts killed: their incidents after {min(late, default=inf):.2f} to {worst:.2f} s, median "
        f"{percentile(late, 0.5) if late else inf:.2f} s (asked: at most {TIMEOUT_S + LATE_S:g} s); "
        f"incidents besides those: {others}"
    )
    return int(worst > TIMEOUT_S + LATE_S or others != 0)


def _say(what: str, found: dict[str, list[float]]) -> None:
    cpu, messages = ("/".join(map(str, found[key])) for key in ("cpu_percent", "messages_per_s"))
    print(f"{what}: {messages} messages/s, {cpu} % of a core", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["hosts"]:
        _hosts(*sys.argv[2:])
    elif sys.argv[1:2] == ["feeds"]:
        _feeds(*sys.argv[2:])
    else:
        sys.exit(main())
