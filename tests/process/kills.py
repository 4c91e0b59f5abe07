"""kill -9 of the real supervisor, again and again, under load: what each left and what the next made of it.

For the test of the suite and for ``benchmarks/kills.py``. Three kinds of watchdogs: *steady* ones, processes that
feed all the time; *quick* ones, that fall due and recover many times a second; and *climbing* ones, whose ladder
runs a command for each step, and each command leaves a line in a file.
"""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from banken.client import Client
from banken.control import Control, Events
from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message
from banken_supervisor.journal import reading
from banken_supervisor.journal.entries import IncidentRecord
from process.kit import START_S, Home, until
from process.test_adoption_real import Runner

QUICK, CLIMBING, STEADY = 100, 8, 10

STEADY_TIMEOUT = 1.0

ENOUGH = 25
"""Incidents that must have been heard of before the kill, or it proves nothing."""

LONGER_EVERY, LONGER_AT = 20, 9
"""One of so many kills comes when what fell due before the supervisor began has been made up for."""

LONGER_S = 2.6

CONVICTED_S = 2.0 + STEADY_TIMEOUT + 0.5
"""Seconds until the last supervisor would have convicted a steady one that it took for silent: the time that
workers have to come back, the timeout, and the spread."""

DRAINED_S = 0.03
"""What the kernel still had of a killed supervisor's is heard when nothing more comes for so many seconds."""

SLOW_EVERY = 4
"""Every so many kills the disk is slow before the kill: a step that does not wait to be on record would be run, and
run again by the next supervisor. Without this the command's own start takes longer than the commit."""

SLOW_S = 0.25
"""Seconds that nothing can be written then: longer than the climb waits for its next step."""

SLOW_MAX = 0.4
"""Above this the writer gives up waiting (after 0.5 s), and nothing waits for it any more: too late for a kill."""

CONFIG = """
[supervisor]
journal = "journal.db"

[[watchdog]]
name = "climbing-*"
timeout = "100ms"
interval = "1h"
ladder = [
  {{ do = "exec", command = {command} }},
  {{ after = "150ms", do = "exec", command = {command} }},
  {{ after = "300ms", do = "exec", command = {command} }},
]
"""


WARM = """
import sys
import banken_supervisor.config.deep, banken_supervisor.runtime.supervisor
from banken_supervisor.cli import main
if sys.stdin.readline():
    main()
"""


class Standby(Runner):
    """``banken run -c`` again and again; while one runs, the next has its modules loaded and waits for a line."""

    _next: subprocess.Popen[bytes] | None = None

    def spawn(self) -> subprocess.Popen[bytes]:
        """The one that waits, told to begin; another one waits in its place."""
        ready = self._next or self._warm()
        assert ready.stdin is not None
        ready.stdin.write(b"\n")
        ready.stdin.close()
        self._next = self._warm()
        return ready

    def close(self) -> None:
        """End all."""
        self.kill()
        if self._next is not None:
            assert self._next.stdin is not None
            self._next.stdin.close()
            self._next.wait(10)

    def _warm(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", WARM, *self.arguments()]
        with open(self.log, "ab") as errors:
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors)


@dataclass
class Count:
    """What was seen over all kills."""

    kills: int = 0
    announced: int = 0
    resumed: int = 0
    steps: int = 0
    slow: int = 0
    """kills while the disk was slow"""
    back: list[float] = field(default_factory=list)
    """seconds from when a new supervisor answers until the steady ones have fed it; of those that lived so long"""
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.doubled or self.false)


class Nights:
    """One address, one journal, one load; supervisors that are killed. ``seed``: decides when. ``steady``: how many
    processes feed all the time."""

    def __init__(self, home: Home, runner: Runner, seed: str, steady: int = STEADY) -> None:
        self.count = Count()
        self._steady = steady
        self._home = home
        self._runner = runner
        self._chance = random.Random(seed)
        self._journal = str(runner.config.parent / "journal.db")
        self._lines = Path(runner.config).parent / "steps"
        self._lines.touch()
        script = f'echo "$BANKEN_INCIDENT $BANKEN_STEP $BANKEN_RUN" >> {self._lines}'
        runner.configure(_config(script))
        self._heard: dict[str, str] = {}
        self._opened: Counter[str] = Counter()
        self._climbs = 0
        """incidents with a ladder that were heard of"""
        home.worker("herd", steady, STEADY_TIMEOUT, max(0.02, steady / 1_000)).hear()
        declared = Declaration(0.05, 3600.0, 0.05)
        names = [f"quick-{n}" for n in range(QUICK)]
        self._frames = [encode(Message(Kind.FEED, name, None, 0.0, declared)) for name in names]
        self._climbing = [encode(Message(Kind.FEED, f"climbing-{n}", None, 0.0, None)) for n in range(CLIMBING)]

    def kill(self) -> None:
        """One more supervisor, its load, its end, and a look at what it left."""
        self._runner.start()
        with Control(self._home.address, 5.0) as control:
            before = control.request("status", name="*")["rows"]
        self.count.resumed += sum("incident" in row for row in before)
        self._live(self._chance.uniform(0.02, 0.5))
        self.count.kills += 1
        self._look()

    def finish(self) -> Count:
        """A last supervisor, which lives long enough to convict the steady ones, were it wrong."""
        self._runner.start()
        client = self._home.client()
        with Events(self._home.address) as events:
            until(self._all_steady, "the steady ones are alive", START_S)
            give_over = time.monotonic() + CONVICTED_S
            while (left := give_over - time.monotonic()) > 0:
                self._note(events.next(left))
        client.close()
        self._runner.kill()
        self._look()
        count = self.count
        count.announced = len(self._heard)
        names = {record.name for record in self._records()}
        count.false = sorted(name for name in names if name.startswith("w-"))
        return count

    def _live(self, until_s: float) -> None:
        longer = LONGER_S if self.count.kills % LONGER_EVERY == LONGER_AT else 0.0
        slow = not longer and self.count.kills % SLOW_EVERY == SLOW_EVERY - 1
        client = self._home.client()
        with Events(self._home.address) as events:
            began = time.monotonic()
            heard_before, climbs_before = len(self._heard), self._climbs
            kill_at = None
            turn = 0
            away = True
            while kill_at is None or time.monotonic() < kill_at:
                self._feed(client, turn, longer > 0.0)
                turn += 1
                if away and self._all_steady():
                    away = False
                    self.count.back.append(time.monotonic() - began)
                give_over = time.monotonic() + 0.03
                while (left := give_over - time.monotonic()) > 0:
                    self._note(events.next(left))
                if kill_at is None and len(self._heard) >= heard_before + ENOUGH:
                    kill_at = time.monotonic() + until_s + longer
                if slow and kill_at is not None and self._climbs > climbs_before:
                    break  # its next step is due in a moment
                assert time.monotonic() - began < START_S, "too few incidents were heard of"
            if not slow or not self._kill_slow(events):
                self._runner.kill()
            while (event := events.next(DRAINED_S)) is not None:  # what the kernel still had
                self._note(event)
        client.close()

    def _kill_slow(self, events: Events) -> bool:
        """Kill while nothing can be written. False: that was not done in time, and it lives on."""
        with closing(sqlite3.connect(self._journal, timeout=5.0, isolation_level=None)) as disk:
            disk.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            while (left := began + SLOW_S - time.monotonic()) > 0:
                self._note(events.next(left))
            in_time = time.monotonic() - began < SLOW_MAX
            if in_time:
                self._runner.kill()
                self.count.slow += 1
        return in_time

    def _feed(self, client: Client, turn: int, let_them_climb: bool) -> None:
        for frame in self._frames[turn % 4 :: 4]:
            client._deliver(frame)
        if turn % 40 == 0 and not let_them_climb:
            for frame in self._climbing:
                client._deliver(frame)

    def _note(self, event: dict[str, Any] | None) -> None:
        if event is None or not isinstance(event.get("incident"), str):
            return
        id_, kind = event["incident"], event["type"]
        if kind == "expired" and "replay" not in event:
            self._opened[id_] += 1
            self._climbs += event["name"].startswith("climbing-")
            if self._opened[id_] > 1:
                self.count.doubled.append(f"{id_} was announced {self._opened[id_]} times")
        self._heard[id_] = "over" if self._heard.get(id_) == "over" or kind == "recovered" else kind

    def _look(self) -> None:
        """What was heard is there, what was heard to be over is closed, no two of one watchdog overlap, and no step
        left two lines."""
        records = self._records()
        kept = {record.id: record for record in records}
        lost = [id_ for id_ in self._heard if id_ not in kept]
        lost += [id_ for id_, how in self._heard.items() if how == "over" and kept[id_].closed is None]
        self.count.lost += [f"kill {self.count.kills}: {id_}" for id_ in lost]
        until_: dict[str, float] = {}
        for record in sorted(records, key=lambda each: each.opened):
            if record.opened < until_.get(record.name, 0.0) - 0.001:
                self.count.doubled.append(f"{record.id} of {record.name} was opened while another was open")
            until_[record.name] = float("inf") if record.closed is None else record.closed
        lines = Counter(self._lines.read_text().splitlines())
        self.count.steps = sum(lines.values())
        self.count.doubled += [f"{line} ran {times} times" for line, times in lines.items() if times > 1]

    def _records(self) -> list[IncidentRecord]:
        return reading.incidents(self._journal, limit=10_000_000)

    def _all_steady(self) -> bool:
        """Whether all live, and have fed this supervisor: what it has not heard of yet has more time left."""
        rows = self._home.rows("w-*").values()
        fed = [row["state"] == "alive" and row["left"] <= row["timeout"] + row["resolution"] for row in rows]
        return fed == [True] * self._steady


def _config(script: str) -> str:
    quoted = script.replace("\\", "\\\\").replace('"', '\\"')
    return CONFIG.format(command=f'["/bin/sh", "-c", "{quoted}"]')
