"""A year of one supervisor: restarts each hour, a reboot each week, clocks that are set, and summer time.

``python -m simulation.year DAYS SEED [FROM]`` from ``tests/`` runs it by hand, from the day FROM (2026-01-01). Who
plays is in ``CAST``; what each does is a generator here, which says how many seconds pass until its next step. The
oracle (year_oracle.py) hears what is done, and never what it means for the supervisor.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message
from banken_supervisor.config import Config, load

from .year_calendar import Spell, next_beginning, open_until
from .year_host import DAY, YearHost
from .year_oracle import Judged, YearOracle

HOUR = 3600.0
ROOM = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where the journal of a long run lies: in memory, if it can."""
BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
DEFAULT_S, PROGRAM_GRACE_S = 60.0, 60.0

Steps = Iterator[float]


@dataclass(frozen=True)
class Role:
    """One of the cast."""

    judged: Judged
    plays: Callable[[Year, Judged], Steps] | None = None
    table: str = ""
    """watchdog or program: it stands in the config; empty: its worker declares it, or nobody"""
    keys: str = ""
    """beside what follows from ``judged``"""
    declares: bool = False


# -- what they do ---------------------------------------------------------------------------------------


def steady(year: Year, one: Judged) -> Steps:
    """Feeds in time, and hangs now and then. What it said while nobody was there it says again."""
    assert one.timeout is not None
    hangs = 0.15 if one.timeout >= DAY else 0.03
    while True:
        year.feed(one)
        if year.chance(hangs):
            yield one.timeout * year.random.uniform(1.01, 2.0) + year.random.uniform(0.0, HOUR)
        else:
            yield one.timeout * year.random.choice((0.1, 0.5, 0.9, 0.97))


def bursts(year: Year, one: Judged) -> Steps:
    """Feeds for a while, falls silent, and comes back after some hours."""
    limit = one.timeout or DEFAULT_S
    while True:
        for _ in range(year.random.choice((1, 5, 60))):
            year.feed(one)
            yield limit * year.random.choice((0.2, 0.9, 0.97))
        yield limit * year.random.uniform(1.1, 3.0) + year.random.uniform(0.5, 8.0) * HOUR


def maintained(year: Year, one: Judged) -> Steps:
    """Is silent in its windows, and sometimes too long after them. Where each feed would be many, it feeds at night
    only."""
    assert one.timeout is not None
    while True:
        until = open_until(one.windows, year.true_wall)
        if until is not None:
            left, mood = until - year.true_wall, year.random.random()
            if mood < 0.6:
                yield left + one.timeout * year.random.uniform(0.0, 0.9)
            elif mood < 0.8:
                yield left + one.timeout * year.random.uniform(1.1, 2.0)
        year.feed(one)
        if one.timeout < 60.0 and not year.true_wall // HOUR % 24 >= 20 and not year.true_wall // HOUR % 24 < 3:
            yield year.random.uniform(10, 15) * HOUR
        yield one.timeout * year.random.choice((0.5, 0.9, 0.97))


def cron_job(year: Year, one: Judged) -> Steps:
    """A job at 02:30 in Berlin that says so when it is done. cron does not catch up."""
    job = Spell(2, 30, 0.0, BERLIN)
    while True:
        wait = next_beginning(job, year.true_wall) - year.true_wall
        planned = year.host.at + wait
        yield wait + year.random.uniform(1.0, 600.0)
        if year.host.at - planned < 601.0 and not year.chance(0.02):
            year.feed(one)


def server(year: Year, one: Judged) -> Steps:
    """Serves, and has never heard of a watchdog. Sometimes it is killed."""
    while True:
        year.begin(one)
        yield year.random.uniform(0.5, 6.0) * DAY
        year.end(one)
        yield year.random.uniform(1.0, 2.0)


def trainer(year: Year, one: Judged) -> Steps:
    """Takes long to start, sometimes too long; then it feeds until it is killed."""
    assert one.timeout is not None
    while True:
        year.begin(one)
        yield year.random.uniform(66.0, 200.0) if year.chance(0.2) else year.random.uniform(0.0, 58.0)
        for _ in range(int(year.random.uniform(1.0, 30.0))):
            year.feed(one)
            yield one.timeout * year.random.choice((0.3, 0.9, 0.97))
        if year.chance(0.3):
            yield one.timeout * year.random.uniform(0.1, 3.0)
        year.end(one)
        yield year.random.uniform(1.0, 2.0)


def now_and_then(year: Year, one: Judged) -> Steps:
    """A program that the operator starts and stops."""
    assert one.timeout is not None
    while True:
        yield year.random.uniform(1.0, 10.0) * HOUR
        year.begin(one)
        yield year.random.uniform(66.0, 70.0) if year.chance(0.2) else year.random.uniform(0.0, 58.0)
        for _ in range(year.random.choice((2, 20))):
            year.feed(one)
            yield one.timeout * year.random.choice((0.5, 0.97))
        yield year.random.choice((0.0, 30.0))
        year.stop(one)


def late_comer(year: Year, one: Judged) -> Steps:
    """Is named in the config long before its worker is there."""
    yield year.random.uniform(0.1, 2.0) * DAY
    yield from bursts(year, one)


def paused(year: Year, one: Judged) -> Steps:
    """Feeds, and is paused by the operator, who does not look at the clock."""
    assert one.timeout is not None
    while True:
        year.feed(one)
        yield one.timeout * year.random.choice((0.2, 0.9))
        if year.chance(0.2):
            seconds = year.random.choice((10.0, 600.0, 3 * HOUR))
            year.pause(one, seconds)
            yield seconds + one.timeout * year.random.choice((0.5, 0.5, 1.5))


NIGHT = (Spell(2, 30, HOUR, BERLIN),)
TWO = (Spell(1, 45, 45 * 60.0, LORD_HOWE), Spell(2, 0, 60 * 60.0, LORD_HOWE))
SUNDAYS = (Spell(1, 30, 2 * HOUR, NEW_YORK, "SUN"),)
WEEKEND = (Spell(23, 0, 5 * HOUR, BERLIN, "SAT"),)
HOURLY = (Spell(None, 15, 600.0, BERLIN),)

CAST = (
    *(Role(Judged(f"w{t:g}", t, 0.0), bursts if t <= 100 else steady, declares=True)
      for t in (0.05, 1.0, 30.0, 60.0, 61.0, 100.0, 900.0, 2 * HOUR, 25 * HOUR, 8 * DAY, 30 * DAY)),
    Role(Judged("redis"), server, "program", 'ladder = [{ do = "log", text = "down" }]'),
    Role(Judged("memcached"), server, "program", 'depends_on = ["redis"]'),
    Role(Judged("postgres"), server, "program"),
    Role(Judged("trainer", 600.0, PROGRAM_GRACE_S), trainer, "program", 'grace = "1m"'),
    Role(Judged("tool", 5.0, PROGRAM_GRACE_S), now_and_then, "program"),
    Role(Judged("never", 0.05), None, "watchdog"),
    Role(Judged("late", 0.05), late_comer, "watchdog"),
    Role(Judged("expected", 50.0, 30.0), late_comer, "watchdog", "expect = true"),
    Role(Judged("ladder"), bursts, "watchdog", 'ladder = [{ do = "log", text = "down" }]'),
    Role(Judged("plain"), bursts),
    Role(Judged("job", 26 * HOUR), cron_job, "watchdog"),
    Role(Judged("off", 600.0, off_counts=True), steady, "watchdog", "count_host_off = true"),
    Role(Judged("on", 2 * HOUR, off_counts=False), steady, "watchdog", "count_host_off = false"),
    Role(Judged("paused", 2 * HOUR), paused, "watchdog"),
    Role(Judged("night", 30.0, windows=NIGHT), maintained, "watchdog"),
    Role(Judged("night-long", 2 * HOUR, windows=NIGHT), maintained, "watchdog"),
    Role(Judged("two", 900.0, windows=TWO), maintained, "watchdog"),
    Role(Judged("sundays", 600.0, windows=SUNDAYS), maintained, "watchdog"),
    Role(Judged("weekend", 25 * HOUR, windows=WEEKEND), maintained, "watchdog"),
    Role(Judged("hourly", 900.0, windows=HOURLY), maintained, "watchdog"),
)  # fmt: skip


def config_of(cast: tuple[Role, ...]) -> str:
    """The config file."""
    lines = [f'[supervisor]\ndefaults = {{ timeout = "{DEFAULT_S}s", interval = "3000d" }}']
    for role in cast:
        if not role.table:
            continue
        one = role.judged
        lines += [f"[[{role.table}]]", f'name = "{one.name}"']
        if role.table == "program":
            lines.append('command = ["sleep", "1d"]')
        if one.timeout is not None:
            lines.append(f'timeout = "{one.timeout}s"')
        if one.grace and role.table == "watchdog":
            lines.append(f'grace = "{one.grace}s"')
        windows = (
            f'{{ cron = "{each.cron}", for = "{each.seconds:g}s", timezone = "{each.zone}" }}'
            for each in one.windows
        )
        if one.windows:
            lines.append(f"maintenance = [{', '.join(windows)}]")
        lines.append(role.keys)
    return "\n".join(lines) + "\n"


class Year:
    """``seed`` decides everything. ``first``: the day it begins with. ``reboot_every``: hours. ``clock_chance``:
    that the clock is set before the supervisor is killed."""

    def __init__(
        self,
        seed: int,
        room: Path,
        first: datetime = datetime(2026, 1, 1, tzinfo=UTC),
        reboot_every: int = 168,
        cast: tuple[Role, ...] = CAST,
        clock_chance: float = 0.04,
    ) -> None:
        self.cast = cast
        self.clock_chance = clock_chance
        self.reboot_every = reboot_every
        self.oracle = YearOracle(replace(role.judged) for role in cast)
        self.host = YearHost(seed, first.timestamp(), str(room / "journal.db"), _loaded(cast, room), self.oracle)
        self.random = self.host.random
        self._frames: dict[str, bytes] = {}
        self._plays: dict[str, Steps] = {}
        self._tables = {role.judged.name: role for role in cast}

    @property
    def true_wall(self) -> float:
        """What a right clock shows."""
        return self.host.begin + self.host.at

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    # -- what the cast does ---------------------------------------------------------------------------

    def feed(self, one: Judged) -> None:
        """It feeds."""
        frame = self._frames.get(one.name)
        if frame is None:
            role, said = self._tables[one.name], None
            if role.declares and one.timeout is not None:
                said = Declaration(one.timeout, 3000 * DAY, one.timeout)
            frame = self._frames[one.name] = encode(Message(Kind.FEED, one.name, None, 0.0, said, ()))
        if one.timeout is None:  # nobody gave it one: the default from now on
            one.timeout = DEFAULT_S
        if self.host.engine.get(one.name) is None and not self._tables[one.name].table and one.state != "unknown":
            self.oracle.findings.append(f"forgotten: {one.name} at {self.host.at:.3f}")
        self.oracle.fed(one.name, self.host.at)
        self.host.feed(frame)

    def begin(self, one: Judged) -> None:
        """Its process starts."""
        self.oracle.began(one.name, self.host.at)
        self.host.start_program(one.name)

    def end(self, one: Judged) -> None:
        """Its process is killed."""
        self.oracle.ended(one.name, self.host.at)
        self.host.end_program(one.name)

    def stop(self, one: Judged) -> None:
        """The operator stops it."""
        self.oracle.stopped(one.name, self.host.at)
        self.host.stop_program(one.name)

    def pause(self, one: Judged, seconds: float) -> None:
        """The operator pauses it."""
        self.oracle.paused(one.name, self.host.at, seconds)
        self.host.say(Kind.PAUSE, one.name, seconds)

    # -- the year ---------------------------------------------------------------------------------------

    def run(self, days: float, findings_max: int = 20) -> Year:
        """That many days, or until so much is wrong."""
        host, oracle, rng = self.host, self.oracle, self.random
        with host.clocks():
            host.start()
            for role in self.cast:
                one = oracle.all[role.judged.name]
                if "expect" in role.keys:
                    oracle.began(one.name, host.at)
                self._play(one.name, rng.uniform(0.0, 600.0))
            for hour in count(1):
                self._hour(hour)
                if host.at >= days * DAY or len(oracle.findings) >= findings_max:
                    break
                host.start()
                for name in self._ended:
                    self.oracle.began(name, host.at)
                    host.start_program(name)
                    self._play(name, rng.uniform(0.0, 50.0))
                if hour % 24 == 1:
                    host.clean_up()
        return self

    def _hour(self, hour: int) -> None:
        host, rng = self.host, self.random
        end = host.at + HOUR
        for again in range(rng.choice((0, 0, 0, 0, 3)), -1, -1):  # some hours have several
            host.run(min(end, host.at + rng.uniform(0.01, 1.0) * HOUR) if again else end)
            if rng.random() < self.clock_chance:
                wrong = rng.choice((0.0, 0.0, 0.0, -HOUR, HOUR, 400 * DAY, -10_000 * DAY, rng.uniform(-5, 5)))
                host.set_clock(wrong)
                host.run(host.at + rng.uniform(0.0, 60.0))
            host.kill()
            self._ended = []
            if again or hour % self.reboot_every:
                host.away(rng.choice((0.3, 3.0, 20.0)))
            else:
                self._ended = list(host.running)
                host.running.clear()
                host.away(5.0, off=rng.choice((60.0, 20 * 60.0, 3 * HOUR)))
            if again:
                host.start()

    def _play(self, name: str, wait: float) -> None:
        """It begins to do what it does; what it did before ends."""
        plays, one = self._tables[name].plays, self.oracle.all[name]
        if plays is None:
            return
        steps = self._plays[name] = plays(self, one)

        def step() -> None:
            if self._plays[name] is steps:
                self.host.after(next(steps), step)

        self.host.after(wait, step)


def _loaded(cast: tuple[Role, ...], room: Path) -> Config:
    path = room / "banken.toml"
    path.write_text(config_of(cast))
    return load(path)


def main() -> None:
    """By hand."""
    days, seed = float(sys.argv[1]), int(sys.argv[2])
    first = datetime.fromisoformat(sys.argv[3] if len(sys.argv) > 3 else "2026-01-01").replace(tzinfo=UTC)
    began = time.process_time()
    with tempfile.TemporaryDirectory(dir=ROOM) as room:
        year = Year(seed, Path(room), first).run(days)
    host, took = year.host, time.process_time() - began
    passed = host.at / DAY
    print(
        f"seed {seed}: {passed:.1f} days from {first.date()} in {took:.0f} s of CPU ({passed / took:.1f} days/s), "
        f"{host.lives} supervisors, {host.boots} boots, {year.oracle.verdicts} verdicts"
    )
    print("\n".join(year.oracle.findings) or "nothing false, missed, late, doubled or lost")
    sys.exit(bool(year.oracle.findings))


if __name__ == "__main__":
    main()
