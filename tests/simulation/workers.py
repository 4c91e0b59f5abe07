"""Workers and what happens to them: cadences, coalescing, hangs, deaths, and the troubles of their host."""

from __future__ import annotations

from typing import Any, NamedTuple

from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Feeders, Kind, Message, ProcessIdentity

from .mail import SECOND, Mail
from .simulated_host import SimulatedHost

BOOT = b"one-boot"
RECONNECT = 200_000
"""Longest time a client needs to find a new supervisor, microseconds."""


class Profile(NamedTuple):
    """What kind of night it is. Durations in seconds."""

    name: str
    hours: float
    workers: int
    timeouts: tuple[float, float]
    trouble_every: float
    """mean time between two troubles"""


CALM = Profile("calm", 2.0, 5, (60.0, 600.0), 60.0)
BRISK = Profile("brisk", 0.2, 5, (1.0, 30.0), 8.0)
FRANTIC = Profile("frantic", 0.008, 4, (0.05, 1.0), 0.5)
PROFILES = (CALM, BRISK, FRANTIC)

DEFAULTS = Declaration(20.0, 7.0, 20.0)


class Feeder:
    """One name that one worker feeds, with the client's coalescing."""

    def __init__(self, name: str, declaration: Declaration | None, timeout: float, cadence: str) -> None:
        self.name = name
        self.declaration = declaration
        self.timeout = round(timeout * SECOND)
        self.resolution = 0.01 if declaration is None else round(min(1.0, declaration.timeout / 50), 3)
        self.cadence = cadence
        self.window_until = 0
        self.muted_until = 0
        self.stuck_until = 0
        self.step = 0
        self.frames: dict[tuple[Kind, tuple[Any, ...]], tuple[Message, bytes]] = {}


class Worker:
    """One life of one worker process."""

    def __init__(self, night: Night, feeders: list[Feeder]) -> None:
        self.night, self.host = night, night.host
        self.feeders = feeders
        night.born += 1
        self.who = ProcessIdentity(
            BOOT, 100 + night.born, self.host.at // 10_000 + 1, night.born.to_bytes(4, "big")
        )
        self.connection = self.host.connect()
        self.dead = False
        self.life = 0
        self.reachable_at = 0
        self.last_arrival = 0
        self.dropping_until = self.delaying_until = self.doubling_until = 0

    def live(self) -> None:
        """Start up: declare what is declared, then feed."""
        chance = self.host.random
        for feeder in self.feeders:
            feeder.window_until = 0
            pool = feeder.declaration is not None and feeder.declaration.feeders is Feeders.ANY
            if feeder.declaration is not None and not pool and chance.random() < 0.7:
                self.say(feeder, Kind.DECLARE)
            self.host.after(int(chance.random() * feeder.timeout), self.call, feeder)

    def call(self, feeder: Feeder) -> None:
        """One call of feed(), and the next one is planned."""
        host = self.host
        if self.dead or feeder not in self.feeders:
            return
        if feeder.muted_until > host.at:
            host.after(feeder.muted_until - host.at + host.random.randint(0, 2000), self.call, feeder)
            return
        self.feed(feeder)
        host.after(self._gap(feeder), self.call, feeder)

    def _gap(self, feeder: Feeder) -> int:
        chance, timeout = self.host.random, feeder.timeout
        if feeder.cadence == "even":
            return int(chance.uniform(0.2, 0.6) * timeout)
        if feeder.cadence == "pair" and chance.random() < 0.5:
            # Just inside the window: this call does not travel, and the next comes a whole timeout after it.
            return int(chance.uniform(0.8, 0.99) * feeder.resolution * SECOND)
        return int(chance.uniform(0.95, 0.999) * timeout)

    def feed(self, feeder: Feeder) -> None:
        """A feed that travels only outside the window of the last one that was sent."""
        host = self.host
        if self.dead or host.at < feeder.window_until:
            return
        declaration = feeder.declaration
        if declaration is not None and declaration.progress_timeout is not None:
            if host.at >= feeder.stuck_until and host.random.random() < 0.8:
                feeder.step += 1
            sent = self.say(feeder, Kind.NOTE, feeder.step, None)
        elif host.random.random() < 0.02:
            sent = self.say(feeder, Kind.NOTE, None, "busy")
        else:
            copies = 2 if self.doubling_until > host.at else 1
            sent = self.say(feeder, Kind.FEED, copies=copies)
        feeder.window_until = host.at + round(feeder.resolution * SECOND) if sent else 0

    def say(self, feeder: Feeder, kind: Kind, *args: Any, copies: int = 1) -> bool:
        """Send one message; False when it could not be handed over."""
        known = feeder.frames.get((kind, args))
        if known is None:
            message = Message(kind, feeder.name, self.who, feeder.resolution, feeder.declaration, args)
            known = message, encode(message)
            if kind == Kind.FEED:
                feeder.frames[kind, args] = known
        return self.send(Mail(*known, copies))

    def send(self, mail: Mail) -> bool:
        """Hand ``mail`` to the network; False without a supervisor or without room."""
        host = self.host
        if self.life != host.lives:
            self.life = host.lives
            self.reachable_at = host.started_at + host.random.randint(0, RECONNECT)
        if not host.up or host.at < self.reachable_at or self.dropping_until > host.at:
            return False
        delay = host.random.randint(5, 50)
        if self.delaying_until > host.at:
            delay = host.random.randint(50, max(100, min(feeder.timeout for feeder in self.feeders)))
        self.last_arrival = max(self.last_arrival + 1, host.at + delay)
        host.after(self.last_arrival - host.at, self._arrives, mail, host.lives)
        return True

    def _arrives(self, mail: Mail, life: int) -> None:
        if life == self.host.lives:
            self.host.arrive(self.connection, mail)

    def die(self) -> None:
        """Exit or be killed: what has arrived stays arrived."""
        self.dead = True

    def flood(self, feeder: Feeder, bursts: int) -> None:
        """Feed without coalescing, as fast as the kernel takes it."""
        if not self.dead:
            self.say(feeder, Kind.FEED, copies=1500)
            if bursts > 1:
                self.host.after(2_000, self.flood, feeder, bursts - 1)


class Night:
    """A host of one profile with its workers and troubles, all from one seed."""

    def __init__(self, seed: int, host: SimulatedHost, profile: Profile) -> None:
        self.host, self.profile, self.seed = host, profile, seed
        self.born = 0
        self.workers: list[Worker] = []
        chance = host.random
        host.note(f"seed {seed} {profile.name}")
        for number in range(profile.workers):
            feeders = [self._feeder(f"w{number}.{dog}") for dog in range(chance.randint(1, 3))]
            self.workers.append(Worker(self, feeders))
        pool = Declaration(*self._durations(), Feeders.ANY)
        for _ in range(2):
            self.workers.append(Worker(self, [Feeder("pool", pool, pool.timeout, "even")]))
        host.operators["nobody"] = Declaration(*self._durations())
        host.after(chance.randint(0, SECOND), host.start)
        for worker in self.workers:
            host.after(chance.randint(0, 3 * SECOND), worker.live)
        self._plan()

    def _durations(self) -> tuple[float, float, float]:
        chance = self.host.random
        least, most = self.profile.timeouts
        timeout = round(least * (most / least) ** chance.random(), 3)
        interval = round(timeout * chance.uniform(0.5, 2.0), 3)
        return timeout, interval, round(timeout * chance.uniform(0.5, 3.0), 3)

    def _feeder(self, name: str, *, operators: bool = True) -> Feeder:
        chance = self.host.random
        cadence = chance.choice(("even", "even", "edge", "pair"))
        if chance.random() < 0.1 and self.profile.timeouts[0] <= DEFAULTS.timeout:
            return Feeder(name, None, DEFAULTS.timeout, cadence)
        timeout, interval, grace = self._durations()
        progress = round(timeout * chance.uniform(2.0, 5.0), 3) if chance.random() < 0.3 else None
        said = Declaration(timeout, interval, grace, Feeders.LATEST, None, progress)
        if operators and chance.random() < 0.2:
            self.host.operators[name] = Declaration(*self._durations(), Feeders.LATEST, None, progress)
            return Feeder(name, said, self.host.operators[name].timeout, cadence)
        return Feeder(name, said, timeout, cadence)

    def _plan(self) -> None:
        wait = self.host.random.expovariate(1 / self.profile.trouble_every)
        self.host.after(int(wait * SECOND) + 1, self._trouble)

    def _trouble(self) -> None:
        chance = self.host.random
        worker = chance.choice(self.workers)
        if worker.feeders:
            chance.choice(TROUBLES)(self, worker, chance.choice(worker.feeders))
        self._plan()

    # Troubles. Each is given a worker and one of its feeders.

    def _stall(self, worker: Worker, feeder: Feeder) -> None:
        self.host.stall(int(SECOND * 0.05 * 1200 ** self.host.random.random()))

    def _starve(self, worker: Worker, feeder: Feeder) -> None:
        self.host.starve(self.host.random.randint(SECOND // 10, 5 * SECOND))

    def _starve_io(self, worker: Worker, feeder: Feeder) -> None:
        self.host.starve_io(self.host.random.randint(1_000, 900_000))

    def _kill(self, worker: Worker, feeder: Feeder) -> None:
        if self.host.random.random() < 0.3:
            self.host.kill(self.host.random.randint(SECOND // 10, 5 * SECOND))

    def _drop(self, worker: Worker, feeder: Feeder) -> None:
        worker.dropping_until = self.host.at + int(feeder.timeout * self.host.random.uniform(0.1, 2))

    def _delay(self, worker: Worker, feeder: Feeder) -> None:
        worker.delaying_until = self.host.at + int(feeder.timeout * self.host.random.uniform(0.1, 3))

    def _double(self, worker: Worker, feeder: Feeder) -> None:
        worker.doubling_until = self.host.at + 3 * feeder.timeout

    def _wall(self, worker: Worker, feeder: Feeder) -> None:
        self.host.wall_offset += self.host.random.choice((-3600.0, -60.0, -1.0, 1.0, 60.0, 3600.0))

    def _hang(self, worker: Worker, feeder: Feeder) -> None:
        for each in worker.feeders:
            each.muted_until = self.host.at + int(each.timeout * self.host.random.uniform(0.5, 4))

    def _hang_one(self, worker: Worker, feeder: Feeder) -> None:
        feeder.muted_until = self.host.at + int(feeder.timeout * self.host.random.uniform(0.5, 6))

    def _die(self, worker: Worker, feeder: Feeder) -> None:
        worker.die()
        self.host.after(int(feeder.timeout * self.host.random.uniform(0.01, 5)), self._replace, worker)

    def _twin(self, worker: Worker, feeder: Feeder) -> None:
        self._replace(worker)
        self.host.after(int(feeder.timeout * self.host.random.uniform(0.1, 4)), worker.die)

    def _replace(self, worker: Worker) -> None:
        """A new process takes over the names of ``worker``."""
        if worker not in self.workers:
            return
        feeders = []
        for old in worker.feeders:
            fixed = old.name == "pool" or old.name in self.host.operators
            if not fixed and self.host.random.random() < 0.2:
                new = self._feeder(old.name, operators=False)
            else:
                new = Feeder(old.name, old.declaration, old.timeout / SECOND, old.cadence)
                new.step = old.step if self.host.random.random() < 0.3 else 0
            feeders.append(new)
        self.workers.remove(worker)
        self.workers.append(Worker(self, feeders))
        self.workers[-1].live()

    def _release(self, worker: Worker, feeder: Feeder) -> None:
        feeder.muted_until = self.host.at + int(feeder.timeout * self.host.random.uniform(0, 4))
        worker.say(feeder, Kind.RELEASE)

    def _pause(self, worker: Worker, feeder: Feeder) -> None:
        length = self.host.random.choice((0.0, 0.3, 1.0, 2.5)) * feeder.timeout / SECOND
        worker.say(feeder, Kind.PAUSE, round(length, 3))
        feeder.muted_until = self.host.at + int(feeder.timeout * self.host.random.uniform(0, 4))
        if self.host.random.random() < 0.7:
            self.host.after(int(feeder.timeout * self.host.random.uniform(0.1, 4)), self._resume, worker, feeder)

    def _resume(self, worker: Worker, feeder: Feeder) -> None:
        worker.say(feeder, Kind.RESUME)

    def _extend(self, worker: Worker, feeder: Feeder) -> None:
        worker.say(feeder, Kind.EXTEND, round(feeder.timeout / SECOND * self.host.random.uniform(0.2, 3), 3))
        if self.host.random.random() < 0.5:  # one more feed, which ends the extension, and then silence
            feeder.window_until = 0
            self.host.after(feeder.timeout // 20, worker.feed, feeder)
        feeder.muted_until = self.host.at + int(feeder.timeout * self.host.random.uniform(0, 3.5))

    def _leave(self, worker: Worker, feeder: Feeder) -> None:
        """Extended, or paused, for longer than a restart allows by itself, and silent; the supervisor is killed."""
        chance, host = self.host.random, self.host
        if chance.random() < 0.5:
            return
        length = 4 * SECOND + int(feeder.timeout * chance.uniform(2.0, 4.0))
        worker.say(feeder, chance.choice((Kind.PAUSE, Kind.EXTEND)), round(length / SECOND, 3))
        feeder.muted_until = host.at + int(length * chance.uniform(0.8, 1.5))
        host.after(chance.randint(SECOND // 100, SECOND), host.kill, chance.randint(SECOND // 10, SECOND))

    def _fail(self, worker: Worker, feeder: Feeder) -> None:
        worker.say(feeder, Kind.FAIL, "it broke")
        feeder.muted_until = self.host.at + int(feeder.timeout * self.host.random.uniform(0, 3))

    def _stick(self, worker: Worker, feeder: Feeder) -> None:
        for each in worker.feeders:
            each.stuck_until = self.host.at + int(each.timeout * self.host.random.uniform(1, 10))

    def _command(self, worker: Worker, feeder: Feeder) -> None:
        """An operator's command line speaks, as nobody in particular."""
        kind = self.host.random.choice((Kind.PAUSE, Kind.RESUME, Kind.RELEASE, Kind.FEED))
        args = (round(feeder.timeout / SECOND, 3),) if kind == Kind.PAUSE else ()
        message = Message(kind, feeder.name, None, 0.01, None, args)
        worker.send(Mail(message, encode(message)))

    def _redeclare(self, worker: Worker, feeder: Feeder) -> None:
        if feeder.name in self.host.operators:
            before = self.host.operators[feeder.name]
            timeout, interval, grace = self._durations()
            said = before._replace(timeout=timeout, interval=interval, grace=grace)
            feeder.timeout = round(timeout * SECOND)
            self.host.declare(feeder.name, said)

    def _flood(self, worker: Worker, feeder: Feeder) -> None:
        if self.host.random.random() < 0.02:
            for each in self.workers:
                each.flood(each.feeders[0], self.host.random.randint(1, 20))


TROUBLES = tuple(
    getattr(Night, name)
    for name in (
        *("_stall", "_starve", "_starve_io", "_kill", "_drop", "_delay", "_double", "_wall"),
        *("_hang", "_hang_one", "_die", "_twin", "_release", "_pause", "_extend", "_fail"),
        *("_stick", "_command", "_redeclare", "_flood", "_hang", "_hang_one", "_pause", "_die", "_leave"),
    )
)
