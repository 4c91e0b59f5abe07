"""One turn of the loop without the world: patience, credit, and the order of reading and judging."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from banken.clock import START
from banken.protocol.codec import encode
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity
from banken_supervisor.engine.barrier import PATIENCE, PROBES_LOST_MAX, UNREAD_MAX
from banken_supervisor.engine.driver import OVERLOADED_SHARE, VERDICTS_PER_TURN, WAIT_MAX, Driver
from banken_supervisor.engine.effects import Event, EventType, RunCallback
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.rules import Rules

WHO = ProcessIdentity(b"bootboot", 100, 1000, b"aaaa")
TOKEN = b"token"


class Turns:
    """A watch whose probes come back in the next turn."""

    def __init__(self, timeout: float = 10.0) -> None:
        self.driver = Driver(Engine(Rules(Declaration(timeout, 3.0, timeout)), "run", TOKEN), 0.0)
        self.real = 0.0
        self.probe: int | None = None
        self.probes = 0

    def turn(self, frames: Iterable[bytes] = (), took: float | None = None, complete: bool = True) -> list[str]:
        """One turn that took ``took`` seconds (default: exactly what it was patient for)."""
        driver = self.driver
        asked = driver.patience()
        assert 0.0 <= asked <= WAIT_MAX
        if took is None:
            took = asked if self.probe is None else 0.0003  # a probe comes back that fast
        self.real += took
        driver.wake(self.real, asked)
        batch = list(frames)
        if self.probe is not None:
            batch.append(encode(Message(Kind.PROBE, "banken", None, 0.0, None, (TOKEN, self.probe))))
            self.probe = None
        driver.read(iter(batch))
        driver.drained(len(batch), complete)
        self.probe = driver.decide()
        self.probes += self.probe is not None
        told = [e.type.value for e in driver.out if isinstance(e, Event)]
        driver.out.clear()
        return told


def feed(name: str = "w") -> bytes:
    return encode(Message(Kind.FEED, name, WHO, 0.0, None))


def until(turns: Turns, wanted: str, limit: int = 100) -> float:
    """Turns until an event comes; deadline time then."""
    for _ in range(limit):
        if wanted in turns.turn():
            return turns.driver.now
    raise AssertionError(f"no {wanted} in {limit} turns")


def test_a_verdict_comes_at_the_deadline_after_one_probe() -> None:
    """Awake all the time: at most a tick late, and one probe was sent for it."""
    turns = Turns()
    turns.turn([feed()])
    fed = turns.driver.now
    late = until(turns, "expired") - fed - 10.0
    assert 0.0 <= late < 0.002
    assert turns.probes == 1


def test_a_feed_that_arrives_with_the_probe_acquits() -> None:
    """What was in the kernel when the suspicion arose is read before anyone is judged."""
    turns = Turns()
    turns.turn([feed()])
    while turns.probe is None:
        turns.turn()
    assert turns.turn([feed()]) == []
    assert turns.turn() == []
    assert turns.driver.engine.get("w") is not None
    until(turns, "expired")


def test_a_stopped_supervisor_convicts_nobody() -> None:
    """Stopped for an hour: the hour is not counted, and the stall is told."""
    turns = Turns()
    turns.turn([feed()])
    before = turns.driver.now
    assert turns.turn(took=3600.0) == ["stalled"]
    assert turns.driver.now - before <= WAIT_MAX + 0.1
    assert turns.turn([feed()]) == []
    assert turns.driver.clock.lost > 3590


def test_a_few_lost_milliseconds_are_told_when_they_add_up() -> None:
    """They are counted at once."""
    turns = Turns()
    turns.turn([feed()])
    told = [turns.turn(took=turns.driver.patience() + turns.driver.clock.allowance + 0.02) for _ in range(4)]
    assert told == [[], [], ["stalled"], []]
    assert turns.driver.clock.lost == pytest.approx(0.08)


def test_the_time_of_the_start_is_no_stall() -> None:
    """Until the first turn the supervisor opens its files and sockets. What it loses later is told."""
    turns = Turns()
    assert turns.turn(took=5.0) == []
    assert (turns.driver.clock.lost, turns.driver.clock.stalls) == (0.0, 0)
    assert turns.driver.now - START < 5.0, "it counts against nobody all the same"
    assert "stalled" in turns.turn(took=5.0)
    assert turns.driver.clock.stalls == 1


def test_while_not_everything_can_be_read_time_runs_slowly() -> None:
    """Overloaded: a tenth of the time is credited, and it is told."""
    turns = Turns()
    turns.turn([feed()], complete=False)
    before = turns.driver.now
    assert turns.driver.patience() == 0.0
    assert "overloaded" in turns.turn([feed("v")], took=0.05, complete=False)
    assert abs(turns.driver.now - before - 0.05 * OVERLOADED_SHARE) < 1e-9


def test_nobody_escapes_for_ever_under_overload() -> None:
    """Never drained: a silent one is found all the same, at a tenth of the speed."""
    turns = Turns(timeout=1.0)
    turns.turn([feed()], complete=False)
    count = 1
    while "expired" not in turns.turn([feed("v")], took=0.02, complete=False):
        count += 1
        assert count < 2000
    assert 1.0 / (0.02 * OVERLOADED_SHARE) <= count <= 1.2 / (0.02 * OVERLOADED_SHARE) + UNREAD_MAX


def test_many_deadlines_at_once_are_spread_over_turns_that_do_not_wait() -> None:
    """2,000 verdicts: bounded per turn, no turn waits until they are done, one probe for all."""
    turns = Turns()
    turns.turn([feed(f"w{n}") for n in range(2000)])
    verdicts: list[int] = []
    while sum(verdicts) < 2000:
        count = turns.turn().count("expired")
        if verdicts and sum(verdicts) < 2000 - VERDICTS_PER_TURN:
            assert turns.driver.patience() == 0.0
        if count:
            verdicts.append(count)
    assert max(verdicts) == VERDICTS_PER_TURN
    assert turns.probes <= 3


def test_deadlines_that_come_up_while_many_are_judged_are_judged_too() -> None:
    """Thousands fall due one after the other, more in a turn than a turn judges: what came up after the horizon was
    given gets the next one, and nobody waits for ever."""
    turns = Turns()
    count = 6 * VERDICTS_PER_TURN
    declared = [Declaration(10.0 + 0.5 * number / count, 3000.0, 20.0) for number in range(count)]
    turns.turn(encode(Message(Kind.FEED, f"w{number}", WHO, 0.0, each)) for number, each in enumerate(declared))
    began = turns.driver.now
    late = []
    for _ in range(400):
        told = turns.turn(took=0.05)
        late += [turns.driver.now] * told.count("expired")
        if len(late) == count:
            break
    assert len(late) == count
    assert max(late) - began < 12.0


def test_a_lost_probe_delays_a_verdict_and_does_not_prevent_it() -> None:
    """Probes that never come back: the verdict falls after a bounded time."""
    turns = Turns()
    turns.turn([feed()])
    start = turns.driver.now
    for _ in range(200):
        turns.probe = None
        told = turns.turn()
        if "expired" in told:
            break
    assert "expired" in told
    assert turns.driver.now - start < 10.0 + PATIENCE * (PROBES_LOST_MAX + 1) + 0.01
    assert turns.driver.barrier.lost > 0


def test_the_allowance_follows_the_shortest_timeout() -> None:
    """A timeout of 0.2 s leaves an allowance of 0.02 s: a stall must not eat a large part of it."""
    turns = Turns(timeout=0.2)
    turns.turn([feed()])
    before = turns.driver.now
    asked = turns.driver.patience()
    turns.turn(took=asked + 5.0)
    assert turns.driver.now - before <= asked + 0.02 + 1e-9


def test_every_verdict_brings_a_run_of_the_callback() -> None:
    """The effects of a verdict are an event and a run, in that order."""
    turns = Turns()
    turns.turn([feed()])
    while turns.probe is None:
        turns.turn()
    driver = turns.driver
    driver.wake(turns.real, 0.0)
    driver.read(iter([encode(Message(Kind.PROBE, "banken", None, 0.0, None, (TOKEN, turns.probe)))]))
    driver.drained(1, True)
    driver.decide()
    event, run = driver.out
    assert isinstance(event, Event)
    assert event.type is EventType.EXPIRED
    assert isinstance(run, RunCallback)
    assert event.data["incident"] == run.incident


def test_a_feed_that_arrived_while_much_was_read_has_its_whole_timeout() -> None:
    """Reading took 80 ms and all was stamped with its beginning: nobody is judged by that stamp alone."""
    turns = Turns(timeout=10.0)
    driver = turns.driver
    driver.wake(0.0, 0.0)
    driver.read(iter([feed()]))
    driver.drained(1, True, 0.08)
    driver.decide()
    stamped = driver.now
    at = until(turns, "expired")
    assert stamped + 10.0 + 0.08 <= at <= stamped + 10.0 + 0.08 + 0.01
