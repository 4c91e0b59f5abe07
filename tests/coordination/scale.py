"""How a cluster of three real members, with three real etcd, bears up under many watchdogs.

    cd tests; python -m coordination.scale                   # as in docs/howto/cluster.md: minutes
    cd tests; python -m coordination.scale --short           # a look: a tenth of it
    cd tests; python -m coordination.scale --only late,many,puts

*late*: workers fall silent one after the other; when is the first step of each ladder done, after its deadline?
*many*: ten thousand fall silent at once; when are all deeds done, and is one done twice? *puts*: does what is fed
change how much is written in etcd? The deed is an action of a user's own in the first, which writes a line, and
``log`` in the second, whose end is looked up in the members' journals. Three members and three etcd share one
machine; the first line says how busy that was.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from banken_supervisor.journal import reading

from .members_kit import Cluster, Member, cluster

CONFIG = """
[supervisor]
listen = ["{listen}"]
keys = "../keys"
limits = {{ names_per_process = 100_000, events_per_second = 1_000_000, events_burst = 10_000_000 }}

[cluster]
name = "test"
member = "{name}"
endpoints = {endpoints}
ttl = "{ttl}s"

[[watchdog]]
name = "w-living-*"
timeout = "1h"

[[watchdog]]
name = "w-many-*"
timeout = "{many}s"
interval = "1h"
ladder = [{{ do = "log" }}]

[[watchdog]]
name = "w-late-*"
timeout = "{late}s"
interval = "1h"
ladder = [{{ do = "deed", file = "{file}", member = "{name}" }}]

[actions]
deed = "deeds:Deed"
"""

DEEDS = '''
import os, time
from banken_supervisor.actions import Action, Outcome

class Deed(Action):
    """Writes a line."""

    name = "deed"

    def __init__(self, *, file, member):
        self._file, self._member = file, member

    def run(self, target, context, ended):
        line = f"{target.incident.name} {target.step} {target.incident.id} {self._member} {time.time()}\\n"
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, line.encode())
        os.close(descriptor)
        return Outcome(True, "done")
'''

FEEDER = """
import json, sys, time
from banken.client import Client
client, dogs = Client(), {}
def feed(name, timeout):
    if name not in dogs:  # as the config declares it
        dogs[name] = client.watchdog(name, timeout, 3600.0, resolution=0)
    else:
        dogs[name].feed()
for line in sys.stdin:
    said = json.loads(line)
    names = [f"{said['names']}-{number}" for number in range(said["count"])]
    times, sent, began = [], 0, time.monotonic()
    if said["do"] == "each":
        for number, name in enumerate(names):
            time.sleep(max(0.0, began + number * said["every"] - time.monotonic()))
            feed(name, said["timeout"])
            times.append(time.time())
    else:
        due, rate = began, said["rate"]
        until = began + said["seconds"]
        while (now := time.monotonic()) < until:
            while rate and sent < (now - began) * rate:
                dogs[names[sent % len(names)]].feed()
                sent += 1
            time.sleep(0.002)
    print(json.dumps({"times": times, "sent": sent, **client.stats()}), flush=True)
"""

TTL_S = 3.0
TIMEOUT_S, MANY_TIMEOUT_S, LIVING_TIMEOUT_S = 4.0, 10.0, 3600.0
NEW_EVERY_S = 0.0005
"""Seconds between the first feeds of two names: faster than this they are a flood, and their key is cut off."""

MOST = 1_000_000
"""Events of one journal."""

LATE_MAX_S, ALL_MAX_S, PUTS_MAX = 0.050, 3.0, 0.10


@dataclass(frozen=True)
class Sizes:
    """How much of each."""

    late: int
    many: int
    living: int
    """watchdogs that are well meanwhile: when most of all fall silent, that is another matter"""
    rates: tuple[int, ...]
    """feeds a second"""
    seconds: float
    """for each rate"""


LONG = Sizes(200, 10_000, 11_000, (0, 1_000, 10_000, 50_000), 30.0)
SHORT = Sizes(30, 1_000, 1_100, (0, 1_000), 12.0)


class Scale:
    """A cluster, and a process that feeds it."""

    def __init__(self, made: Cluster, sizes: Sizes) -> None:
        self.cluster, self.sizes = made, sizes
        for member, listen in zip(made.members, made.listen, strict=True):
            (member.place / "deeds.py").write_text(DEEDS)
            (member.place / "banken.toml").write_text(
                CONFIG.format(
                    listen=listen, name=member.name, endpoints=json.dumps(made.etcd.urls), ttl=made.ttl,
                    late=TIMEOUT_S, many=MANY_TIMEOUT_S, file=made.deeds_file,
                )
            )  # fmt: skip
        self.feeder: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Until the living are known to all."""
        for each in self.cluster.members:
            each.start()
        key = str(self.cluster.place / "keys" / "worker.key")
        environment = {**os.environ, "BANKEN_ADDRESS": ",".join(self.cluster.heard_at), "BANKEN_KEY": key}
        self.feeder = subprocess.Popen(
            [sys.executable, "-c", FEEDER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.cluster.leader()
        self.feed_all("w-living", self.sizes.living, LIVING_TIMEOUT_S)

    def ask(self, **said: Any) -> dict[str, Any]:
        """Have the feeder do something, until it is done."""
        assert self.feeder is not None
        assert self.feeder.stdin is not None
        assert self.feeder.stdout is not None
        self.feeder.stdin.write(json.dumps(said) + "\n")
        self.feeder.stdin.flush()
        found: dict[str, Any] = json.loads(self.feeder.stdout.readline())
        return found

    def feed_all(self, names: str, count: int, timeout: float) -> None:
        """Once each, until every member has heard them all."""
        before = [each.home.ask("summary")["watchdogs"] for each in self.cluster.members]
        self.ask(do="each", names=names, count=count, timeout=timeout, every=NEW_EVERY_S)
        deadline = time.monotonic() + 60.0
        for known, member in zip(before, self.cluster.members, strict=True):
            while member.home.ask("summary")["watchdogs"] < known + count:
                assert time.monotonic() < deadline, f"{member.name} does not hear all of {names}"
                time.sleep(0.05)

    def deeds(self, names: str, count: int, within: float) -> list[tuple[str, float]]:
        """Of these, when they were done; until all are, and a moment longer."""
        deadline = time.monotonic() + within
        while len(self._deeds(names)) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)
        return self._deeds(names)

    def _deeds(self, names: str) -> list[tuple[str, float]]:
        return [(each.name, each.at) for each in self.cluster.deeds() if each.name.startswith(names + "-")]

    def logged(self, names: str, count: int, within: float) -> list[tuple[str, float]]:
        """The same, where the deed is to log."""
        deadline = time.monotonic() + within
        while self._acted() < count and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(2.0)  # the journal is written, and nothing comes after it
        return [
            (event.name, event.time)
            for each in self.cluster.members
            for event in reading.events(
                f"{each.address}/journal.db", lambda kind, _: kind == "action-done", limit=MOST
            )
            if event.name is not None and event.name.startswith(names + "-")
        ]

    def _acted(self) -> int:
        return sum(each.home.ask("summary")["events"].get("action-done", 0) for each in self.cluster.members)

    def close(self) -> None:
        if self.feeder is not None:
            self.feeder.kill()
            self.feeder.communicate()


def late(scale: Scale) -> dict[str, Any]:
    """One after the other."""
    count = scale.sizes.late
    fed = scale.ask(do="each", names="w-late", count=count, timeout=TIMEOUT_S, every=0.1)["times"]
    due = {f"w-late-{number}": at + TIMEOUT_S for number, at in enumerate(fed)}
    deeds = scale.deeds("w-late", count, TIMEOUT_S + 30.0)
    lateness = sorted(at - due[name] for name, at in deeds)
    p99 = lateness[min(len(lateness) - 1, int(0.99 * len(lateness)))] if lateness else None
    return {
        "deeds": len(deeds), "missing": count - len({name for name, _ in deeds}), "twice": _twice(deeds),
        "median_s": lateness[len(lateness) // 2] if lateness else None, "p99_s": p99,
        "max_s": lateness[-1] if lateness else None, "asked_s": LATE_MAX_S,
        "met": len(deeds) == count and p99 is not None and p99 <= LATE_MAX_S,
    }  # fmt: skip


def many(scale: Scale) -> dict[str, Any]:
    """All at once."""
    count = scale.sizes.many
    scale.feed_all("w-many", count, MANY_TIMEOUT_S)
    fed = scale.ask(do="each", names="w-many", count=count, timeout=MANY_TIMEOUT_S, every=0.0)["times"]
    cpu = _cpu(scale.cluster.members)
    deeds = scale.logged("w-many", count + scale._acted(), MANY_TIMEOUT_S + 60.0)
    done = sorted(at for _, at in deeds)
    all_s = done[-1] - (fed[0] + MANY_TIMEOUT_S) if done else None
    return {
        "silent": count, "fed_within_s": fed[-1] - fed[0], "deeds": len(deeds),
        "missing": count - len({name for name, _ in deeds}), "twice": _twice(deeds),
        "first_s": done[0] - (fed[0] + MANY_TIMEOUT_S) if done else None, "all_s": all_s,
        "cpu_s": [round(after - before, 2) for before, after in zip(cpu, _cpu(scale.cluster.members), strict=True)],
        "asked_s": ALL_MAX_S,
        "met": len(deeds) == count == len(set(deeds)) and all_s is not None and all_s <= ALL_MAX_S,
    }  # fmt: skip


def puts(scale: Scale) -> dict[str, Any]:
    """How often the store is written, at each rate of feeds."""
    found = []
    store = scale.cluster.etcd.store("banken/test/")
    try:
        for rate in scale.sizes.rates:
            time.sleep(1.0)
            heard = [each.home.ask("summary")["messages"] for each in scale.cluster.members]
            before, began = store.read("leader", 5.0).revision, time.monotonic()
            scale.ask(do="rate", names="w-living", count=scale.sizes.living, rate=rate, seconds=scale.sizes.seconds)
            after, took = store.read("leader", 5.0).revision, time.monotonic() - began
            more = [each.home.ask("summary")["messages"] for each in scale.cluster.members]
            found.append({
                "feeds_per_s": rate,
                "heard_per_s": [round((new - old) / took) for old, new in zip(heard, more, strict=True)],
                "puts_per_s": (after - before) / took,
            })  # fmt: skip
    finally:
        store.close()
    per_s = [each["puts_per_s"] for each in found]
    return {
        "rates": found,
        "spread": max(per_s) / min(per_s) - 1.0,
        "met": max(per_s) / min(per_s) - 1.0 <= PUTS_MAX,
    }


PARTS: dict[str, Callable[[Scale], dict[str, Any]]] = {"puts": puts, "late": late, "many": many}


def _twice(deeds: list[tuple[str, float]]) -> int:
    return sum(count - 1 for count in Counter(name for name, _ in deeds).values())


def _cpu(members: list[Member]) -> list[float]:
    return [time.clock_gettime((~each.process.pid << 3) | 2) for each in members if each.process is not None]


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"


def lines(part: str, found: dict[str, Any]) -> list[str]:
    """For people."""
    verdict = "met" if found["met"] else "MISSED"
    whole = f"missing {found.get('missing')}, twice {found.get('twice')}"
    if part == "late":
        figures = " / ".join(_ms(found[key]) for key in ("median_s", "p99_s", "max_s"))
        return [
            f"late: {found['deeds']} deeds, median / p99 / max {figures} after the deadline; {whole}: {verdict}"
        ]
    if part == "many":
        figures = f"first after {_ms(found['first_s'])}, all after {_ms(found['all_s'])}"
        cpu = ", ".join(f"{each:.1f}" for each in found["cpu_s"])
        return [f"many: {found['silent']:,} silent at once; {figures}; {whole}; CPU {cpu} s: {verdict}"]
    rows = [
        f"  {each['feeds_per_s']:>7,} feeds/s, heard {'/'.join(map(str, each['heard_per_s']))}: "
        f"{each['puts_per_s']:.2f} puts/s"
        for each in found["rates"]
    ]
    return [f"puts: within {found['spread'] * 100:.0f} %: {verdict}", *rows]


def main() -> int:
    """Print a table, or with ``--json`` one object. Exit status 1 if something asked for was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="late, many, puts, with commas between them")
    parser.add_argument("--short", action="store_true", help="a tenth of it")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    wanted = given.only.split(",")
    if unknown := set(wanted) - PARTS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    results: dict[str, dict[str, Any]] = {}
    load = os.getloadavg()[0]
    if not given.json:
        print(f"{os.cpu_count()} cores, load {load:.1f} before it began", flush=True)
    with cluster(TTL_S, 3, 3) as made:
        scale = Scale(made, SHORT if given.short else LONG)
        try:
            scale.start()
            for part in (each for each in PARTS if each in wanted):
                results[part] = PARTS[part](scale)
                if not given.json:
                    print(*lines(part, results[part]), sep="\n", flush=True)
        except BaseException:
            for each in made.members:
                print(f"-- {each.name}", (each.place / "log").read_text()[-3000:], sep="\n", file=sys.stderr)
            raise
        finally:
            scale.close()
    if given.json:
        print(json.dumps({"cores": os.cpu_count(), "load": load, **results}))
    return 0 if all(each["met"] for each in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
