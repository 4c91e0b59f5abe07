"""Rounds of one fault each on a cluster of real processes; prints what became of the deeds.

    cd tests; python -m coordination.rounds --fault kill-leader --rounds 100

In each round two workers fall silent while something happens, and the two steps of each one's ladder have to be
done: once each, and not by a leader that was replaced.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from .members_kit import STOPS_BEFORE_THE_DEED, WITHOUT_ASKING, Cluster, Member, cluster

TIMEOUT_S, STEP_S = 2.0, 0.5
"""Of the watchdogs, and from the first step to the second; as in members_kit.CONFIG."""

STEPS = (0, 1)


class Round(NamedTuple):
    """What became of one. Seconds."""

    takeover_s: float | None
    late_s: float | None
    """the latest deed after its deadline; None: one is missing"""
    deeds_twice: int
    deeds_missing: int
    deeds_on_living: int
    by_old: int
    """deeds by the leader from before, after another one has led"""


class Rounds:
    """One cluster, and what is done to it."""

    def __init__(self, made: Cluster) -> None:
        self.cluster = made
        self.number = 0

    def run(self, fault: str) -> Round:
        """One round of this fault."""
        self.number += 1
        names = [f"w-{self.number}-{letter}" for letter in "ab"]
        made = self.cluster
        made.feed(*names)
        for member in made.members:
            _until(partial(_knows_all, member), f"{member.name} knows all watchdogs, and may lead at once")
        before = made.leader()
        mend = FAULTS[fault](self, before)
        silent = made.say("stop", *names)
        takeover = None
        if fault in TAKEOVERS:
            made.leader(other_than=before.name)
            takeover = time.time() - self.since
        over_at = time.time()
        deadline = over_at + 30.0
        wanted = len(names) * len(STEPS)
        while len(made.done(*names)) + self.unknown(names) < wanted and time.time() < deadline:
            time.sleep(0.02)
        mend()
        time.sleep(0.3)
        found = made.done(*names)
        deeds = [each for each in made.deeds() if each.name in names]
        due = {step: silent + TIMEOUT_S + step * STEP_S for step in STEPS}
        late = max((each.at - due[each.step] for each in deeds), default=None)
        missing = sum(found[name, step] == 0 for name in names for step in STEPS)
        missing -= min(missing, self.unknown(names))
        by_old = 0
        if takeover is not None:
            led = self.since + takeover
            by_old = sum(each.member == before.name and each.at > led for each in deeds)
        living = Counter(each.name for each in made.deeds() if each.name not in self.silent_ever(names))
        for member in made.members:
            _until(lambda member=member: bool(made.watched(member) or True), "it answers")
        return Round(
            takeover, None if missing else late, sum(max(0, count - 1) for count in found.values()), missing,
            sum(living.values()), by_old,
        )  # fmt: skip

    def silent_ever(self, names: list[str]) -> set[str]:
        self._silent = getattr(self, "_silent", set()) | set(names)
        return self._silent

    def unknown(self, names: list[str]) -> int:
        """Deeds of which a new leader has said that it does not know whether they were done."""
        logs = "".join((each.place / "log").read_text(errors="replace") for each in self.cluster.members)
        lines = [
            line for line in logs.splitlines() if "action-unknown" in line or "it is not known whether" in line
        ]
        return sum(any(f" {name} " in line for name in names) for line in lines)

    since = 0.0
    """wall clock at which the fault began"""

    # -- faults: each returns what mends it --------------------------------------------------------

    def nothing(self, leader: Member) -> Callable[[], None]:
        self.since = time.time()
        return lambda: None

    def kill_leader(self, leader: Member) -> Callable[[], None]:
        self.since = time.time()
        leader.end(signal.SIGKILL)
        return leader.start

    def end_leader(self, leader: Member) -> Callable[[], None]:
        self.since = time.time()
        leader.end(signal.SIGTERM)
        return leader.start

    def stop_leader(self, leader: Member) -> Callable[[], None]:
        self.since = time.time()
        leader.send(signal.SIGSTOP)

        def go_on() -> None:
            time.sleep(max(0.0, self.since + 8.0 - time.time()))
            leader.send(signal.SIGCONT)
            time.sleep(1.0)

        return go_on

    def stop_before_deed(self, leader: Member) -> Callable[[], None]:
        """The leader is stopped when it has written that it begins an action, immediately before it does."""
        self.since = time.time() + TIMEOUT_S
        (self.cluster.place / "stop-now").touch()

        def go_on() -> None:
            leader.send(signal.SIGCONT)
            time.sleep(1.0)

        return go_on

    def stop_follower(self, leader: Member) -> Callable[[], None]:
        follower = next(each for each in self.cluster.members if each is not leader)
        self.since = time.time()
        follower.send(signal.SIGSTOP)

        def go_on() -> None:
            follower.send(signal.SIGCONT)
            time.sleep(1.0)

        return go_on

    def cut_follower(self, leader: Member, *, with_leading_etcd: bool = False) -> Callable[[], None]:
        """A follower's host is cut off, and an etcd with it: neither answers, nor ends a connection."""
        follower = next(each for each in self.cluster.members if each is not leader)
        etcd = self.cluster.etcd
        leading = etcd.leading()
        others = [each for each in etcd.members[1:] if each is not leading]  # the first one is asked first
        both = (follower, leading if with_leading_etcd else others[0])
        self.since = time.time()
        for each in both:
            each.send(signal.SIGSTOP)

        def go_on() -> None:
            for each in both:
                each.send(signal.SIGCONT)
            time.sleep(2.0)

        return go_on

    def kill_etcd(self, leader: Member) -> Callable[[], None]:
        etcd = self.cluster.etcd
        member = etcd.members[self.number % len(etcd.members)]
        self.since = time.time()
        member.stop()

        def restart() -> None:
            etcd.restart(member)
            time.sleep(2.0)

        return restart

    def no_etcd(self, seconds: float) -> Callable[[Member], Callable[[], None]]:
        def fault(leader: Member) -> Callable[[], None]:
            etcd = self.cluster.etcd
            for each in etcd.members:
                each.send(signal.SIGSTOP)
            self.since = time.time()

            def back() -> None:
                for each in etcd.members:
                    each.send(signal.SIGCONT)

            timer = threading.Timer(seconds, back)
            timer.start()
            return timer.join

        return fault

    def lose_data(self, leader: Member) -> Callable[[], None]:
        """The store is set up anew between the first steps and the second ones."""
        names = [f"w-{self.number}-{letter}" for letter in "ab"]

        def lose() -> None:
            _until(lambda: sum(self.cluster.done(*names).values()) >= len(names), "the first steps are done")
            self.cluster.etcd.lose_data()

        self.since = time.time()
        thread = threading.Thread(target=lose)
        thread.start()
        return thread.join

    def deaf(self, leader: Member) -> Callable[[], None]:
        """The leader does not hear the workers for a while, and the others do."""
        relay = self.cluster.relays[self.cluster.members.index(leader)]
        living = [f"w-alive-{self.number}-{each}" for each in range(20)]
        made = self.cluster
        made.say("feed", *living)
        _until(lambda: set(living) <= made.watched(leader), "the living are heard")
        relay.cut(on=True)
        self.since = time.time()
        time.sleep(10.0)
        relay.cut(on=False)
        time.sleep(2.0)
        return lambda: made.say("release", *living) and None


FAULTS: dict[str, Callable[[Rounds, Member], Callable[[], None]]] = {
    "nothing": Rounds.nothing,
    "kill-leader": Rounds.kill_leader,
    "end-leader": Rounds.end_leader,
    "stop-leader": Rounds.stop_leader,
    "deaf": Rounds.deaf,
    "stop-before-deed": Rounds.stop_before_deed,
    "stop-follower": Rounds.stop_follower,
    "cut-follower": Rounds.cut_follower,
    "cut-follower-and-leading-etcd": partial(Rounds.cut_follower, with_leading_etcd=True),
    "kill-etcd": Rounds.kill_etcd,
    "lose-data": Rounds.lose_data,
    "no-etcd-2": lambda rounds, leader: rounds.no_etcd(2.0)(leader),
    "no-etcd-8": lambda rounds, leader: rounds.no_etcd(8.0)(leader),
}

TAKEOVERS = frozenset({"kill-leader", "end-leader", "stop-leader", "stop-before-deed"})


CUTS = ("cut-leader", "cut-follower")
"""Done by the example, whose members have networks of their own; it must be run as one who may make them."""

DEMO = Path(__file__).parents[2] / "examples" / "cluster" / "demo.py"


def cut(fault: str, count: int, ttl: float) -> list[Round]:
    """So many rounds of a host that is cut off."""
    command = [sys.executable, str(DEMO), "--fault", fault, "--rounds", str(count), "--ttl", str(ttl), "--json"]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["rounds"]
    return [
        Round(
            each["takeover_s"], None if each["deeds_missing"] else each["late_s"], each["deeds_twice"],
            each["deeds_missing"], each["deeds_on_living"], 0,
        )
        for each in found
    ]  # fmt: skip


def _knows_all(member: Member) -> bool:
    """Else it leads only if nobody has led for twice ``ttl``, as in the first seconds of a cluster."""
    return bool(member.home.ask("registry", part="watched", offset=0)["whole"])


def _until(done: Callable[[], bool], what: str, within: float = 30.0) -> None:
    deadline = time.monotonic() + within
    while not done():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.02)


def _spread(values: list[float | None]) -> str:
    known = sorted(each for each in values if each is not None)
    return f"{known[0]:.2f} / {median(known):.2f} / {known[-1]:.2f}" if known else "-"


def _print(fault: str, done: list[Round]) -> None:
    takeover, late = _spread([each.takeover_s for each in done]), _spread([each.late_s for each in done])
    twice, missing = sum(each.deeds_twice for each in done), sum(each.deeds_missing for each in done)
    living, old = sum(each.deeds_on_living for each in done), sum(each.by_old for each in done)
    print(
        f"{fault:12} {len(done):4} rounds; takeover {takeover} s; latest deed {late} s; twice {twice}, "
        f"missing {missing}, on living {living}, by the old leader {old}",
        flush=True,
    )


def main() -> int:
    """Print a table, or with ``--json`` one object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fault", choices=sorted((*FAULTS, *CUTS)), action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ttl", type=float, default=3.0)
    parser.add_argument("--etcds", type=int, default=3)
    parser.add_argument(
        "--no-asking", action="store_true", help="nobody asks the others: for showing that it matters"
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    results: dict[str, list[Round]] = {}
    for fault in given.fault or [*FAULTS, *CUTS]:
        if fault in CUTS:
            results[fault] = cut(fault, given.rounds, given.ttl)
            if not given.json:
                _print(fault, results[fault])
            continue
        with cluster(given.ttl, 3, given.etcds) as made:
            try:
                program = WITHOUT_ASKING if given.no_asking else STOPS_BEFORE_THE_DEED
                for each in made.members:
                    each.program = ["-c", program]
                made.start("w-0")
                rounds = Rounds(made)
                results[fault] = []
                for number in range(given.rounds):
                    results[fault].append(one := rounds.run(fault))
                    print(f"{fault} {number + 1}: {one}", file=sys.stderr, flush=True)
            except BaseException:
                for each in made.members:
                    print((each.place / "log").read_text()[-4000:], file=sys.stderr)
                raise
        if not given.json:
            _print(fault, results[fault])
    if given.json:
        rows: list[dict[str, Any]] = [
            {"fault": fault, **each._asdict()} for fault, done in results.items() for each in done
        ]
        print(json.dumps({"ttl_s": given.ttl, "rounds": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
