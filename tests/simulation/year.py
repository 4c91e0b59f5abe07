"""A year of one supervisor: restarts each hour, a reboot each week, a wall clock that is set, and long deadlines.

The oracle knows what the issue of long deadlines says and nothing of the code: a watchdog is due by its last feed
and its timeout; it is not convicted before, and at most a minute later than that, or than the start of the
supervisor after it; the time that the host was off counts for an hour and more. What is up to a minute long has its
full timeout again after each start. ``python -m simulation.year DAYS SEED`` from ``tests/`` runs it by hand.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, field
from math import inf

from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message
from banken_supervisor.engine.effects import Effect, Event, EventType
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.snapshot import PastFeed, Snapshot
from banken_supervisor.journal.clock_history import ClockHistory, Reading, extend
from banken_supervisor.journal.entries import ClockSpan
from snapshot_kit import Shelf

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0

TIMEOUTS = (0.05, 1.0, 30.0, 60.0, 61.0, 100.0, 900.0, 2 * HOUR, 25 * HOUR, 8 * DAY, 30 * DAY)

SHORT_MAX = 60.0
LATE_MAX = 60.0
ALLOWED_S = 2.0
"""Seconds beyond the full timeout, and half of one more, that a short one has after a start."""

OFF_COUNTS_FROM = HOUR


@dataclass
class Dog:
    """One watchdog and its worker. Times are real seconds."""

    name: str
    timeout: float
    fed: float = 0.0
    """when its last feed was heard"""
    off: float = 0.0
    """how long the host was off since"""
    next_feed: float = 0.0
    convicted: float | None = None
    hang: float | None = None
    """until when its worker is silent"""

    def due(self) -> float:
        return self.fed + self.timeout + (0.0 if self.timeout >= OFF_COUNTS_FROM else self.off)


@dataclass
class Year:
    """``seed`` decides everything."""

    seed: int
    engine_type: type[Engine] = Engine
    reboot_every: int = 168
    """hours"""
    at: float = 0.0
    ticks: float = 100.0
    wrong: float = 0.0
    """seconds by which the wall clock is wrong"""
    boots: int = 1
    lives: int = 0
    verdicts: int = 0
    findings: list[str] = field(default_factory=list)
    spans: list[ClockSpan] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.shelf = Shelf()
        self.feeds: dict[str, tuple[str, float]] = {}
        """by name: the boot and the ticks of what the shelf has of its last feed"""
        self.dogs = {str(timeout): Dog(str(timeout), timeout) for timeout in TIMEOUTS}
        self.out: list[Effect] = []
        self.started = 0.0

    def reading(self) -> Reading:
        return Reading(f"boot-{self.boots}", self.ticks, 1.8e9 + self.at + self.wrong)

    def look_at_clocks(self) -> None:
        span = extend(self.spans[-1] if self.spans else None, self.reading())
        if self.spans and self.spans[-1].number == span.number:
            self.spans.pop()
        self.spans.append(span)

    def pass_time(self, seconds: float) -> None:
        self.at += seconds
        self.ticks += seconds

    def left(self) -> Snapshot:
        """What the journal has, its times as ages by its clocks."""
        clocks, found = ClockHistory(self.spans, self.reading()), self.shelf.left(self.at)
        feeds: dict[str, PastFeed] = {}
        for name, last in found.feeds.items():
            boot, ticks = self.feeds[name]
            age, on = clocks.age_of_ticks(boot, ticks), clocks.age_of_ticks(boot, ticks, off_counts=False)
            feeds[name] = last._replace(age=age, host_on=on)
        return Snapshot(found.watchdogs, found.open, found.runs, feeds)

    def start(self) -> None:
        self.lives += 1
        self.started = self.at
        self.engine = self.engine_type(Rules(Declaration()), f"run{self.lives}", b"token")
        self.engine.table.tracks_changes = True
        if self.lives > 1:
            self.engine.restore(self.left(), self.now, self.out)
        self.look_at_clocks()
        self.keep()

    @property
    def now(self) -> float:
        """Deadline time, which begins anew with each supervisor."""
        return 1e6 + self.at - self.started

    def keep(self) -> None:
        for effect in self.out:
            if isinstance(effect, Event) and effect.name is not None and effect.type is EventType.EXPIRED:
                self.judge(self.dogs[effect.name])
        self.shelf.put(self.engine, self.out, self.now, self.at)
        for name, (_, at) in self.shelf.feeds.items():
            if at == self.at:
                self.feeds[name] = f"boot-{self.boots}", self.ticks
        self.out.clear()

    def latest(self, dog: Dog) -> float:
        """When it has to be convicted by, as long as this supervisor runs."""
        if dog.timeout > SHORT_MAX:
            return max(dog.due(), self.started) + LATE_MAX
        again = self.started + dog.timeout * 1.5 + ALLOWED_S if self.started > dog.fed else 0.0
        return max(dog.due(), again) + LATE_MAX / 60.0

    def judge(self, dog: Dog) -> None:
        self.verdicts += 1
        if dog.convicted is not None:
            self.findings.append(f"doubled: {dog.name} at {self.at:.3f}")
        elif self.at < dog.due() - 0.01:
            self.findings.append(f"false: {dog.name} at {self.at:.3f}, due {dog.due():.3f}")
        elif self.at > self.latest(dog):
            self.findings.append(f"late: {dog.name} at {self.at:.3f}, due {dog.due():.3f}")
        dog.convicted = self.at

    def feed(self, dog: Dog) -> None:
        said = Declaration(dog.timeout, 100 * DAY, dog.timeout)
        frame = encode(Message(Kind.FEED, dog.name, None, 0.0, said, ()))
        self.engine.intake(iter([frame]), self.now, self.out)
        self.keep()
        dog.fed, dog.off, dog.convicted = self.at, 0.0, None
        if self.random.random() < 0.05:
            dog.next_feed = self.at + dog.timeout * self.random.uniform(1.01, 3.0) + self.random.uniform(0.0, HOUR)
        else:
            share = self.random.choice((0.1, 0.5, 0.9, 0.97))
            dog.next_feed = self.at + dog.timeout * share if dog.timeout > SHORT_MAX else HOUR

    def up(self, until: float) -> None:
        """The supervisor runs."""
        engine, dogs = self.engine, self.dogs
        while self.at < until:
            due = engine.table.deadlines.next_due()
            moments = [until, inf if due is None else max(self.at, self.at + due - self.now) + 0.001]
            moments.append(min(dog.next_feed for dog in dogs.values()))
            kept = engine.last_feeds.patience(self.now)
            moments.append(inf if kept is None else self.at + kept)
            self.pass_time(max(0.0, min(moments) - self.at))
            if engine.verdicts.sweep(self.now, self.out):
                engine.verdicts.judge(self.now, self.now, self.out)
            self.keep()
            for dog in dogs.values():
                if dog.next_feed <= self.at < until:
                    self.feed(dog)
        self.look_at_clocks()
        for dog in dogs.values():
            if dog.convicted is None and self.latest(dog) < self.at and dog.fed > 0.0:
                self.findings.append(f"missed: {dog.name} at {self.at:.3f}, due {dog.due():.3f}")
                dog.convicted = self.at

    def away(self, seconds: float, *, off: float = 0.0) -> None:
        """No supervisor; ``off``: for so long of it no host. What workers say meanwhile they say again soon."""
        self.pass_time(seconds)
        if off:
            self.at += off
            self.boots += 1
            self.ticks = 20.0
            self.at += 20.0
        for dog in self.dogs.values():
            dog.off += off
            if dog.next_feed <= self.at:
                dog.next_feed = self.at + self.random.uniform(0.0, 1.5)

    def run(self, days: float) -> Year:
        """That many days."""
        rng = self.random
        self.start()
        hour = 0
        while self.at < days * DAY and len(self.findings) < 20:
            hour += 1
            begin = self.at
            for _ in range(rng.choice((1, 1, 1, 4))):  # some hours have several
                self.up(min(begin + HOUR, self.at + rng.uniform(0.1, 1.0) * HOUR))
                if rng.random() < 0.05:
                    self.wrong = rng.choice((0.0, 0.0, -HOUR, HOUR, 400 * DAY, -10_000 * DAY, rng.uniform(-5, 5)))
                if hour % self.reboot_every == 0:
                    hour += 1
                    self.away(5.0, off=rng.choice((60.0, 20 * MINUTE, 3 * HOUR)))
                else:
                    self.away(rng.choice((0.3, 3.0, 20.0)))
                self.start()
        return self


def main() -> None:
    """By hand."""
    days, seed = float(sys.argv[1]), int(sys.argv[2])
    year = Year(seed).run(days)
    print(f"seed {seed}: {year.at / DAY:.1f} days, {year.lives} supervisors, {year.verdicts} verdicts")
    print("\n".join(year.findings) or "nothing false, missed, late or doubled")
    sys.exit(bool(year.findings))


if __name__ == "__main__":
    main()
