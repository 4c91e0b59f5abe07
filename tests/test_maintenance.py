"""MaintenanceClock that comes back: who is in an open window is paused, and judged again after it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import pytest

from banken.protocol.messages import Kind
from banken.threads import start_daemon
from banken_supervisor.engine.effects import Event
from banken_supervisor.engine.policy import Policy, Window
from banken_supervisor.engine.states import State
from banken_supervisor.runtime.maintenance_clock import MaintenanceClock, changed, open_windows
from engine_kit import TEN, Bench

NIGHT = Window("0 3 * * *", 3600.0)
NOON = Window("0 12 * * *", 60.0)
THREE = datetime(2026, 5, 5, 3, 0)


def maintained(*windows: Window) -> Bench:
    bench = Bench()
    bench.engine.rules.replace_patterns([("w*", Policy(TEN, maintenance=windows or (NIGHT,)))])
    bench.feed("w")
    bench.feed("other")
    bench.out.clear()
    return bench


def letter(bench: Bench, left: Mapping[Window, float]) -> None:
    bench.engine.maintenance.open_windows(left, bench.now)
    while bench.engine.maintenance.go_on(bench.now, bench.out, 2):
        pass


def told(bench: Bench, name: str = "w") -> list[str]:
    found = [e.type.value for e in bench.out if isinstance(e, Event) and e.name == name]
    bench.out.clear()
    return found


def test_a_window_pauses_whom_it_concerns_and_ends_by_itself() -> None:
    """An hour without a verdict, then a whole timeout; others are judged as ever."""
    bench = maintained()
    letter(bench, {NIGHT: 3600.0})
    bench.jump(3599.0)
    assert (bench.state("w"), bench.state("other")) == (State.PAUSED, State.EXPIRED)
    bench.jump(1.1)
    assert bench.state("w") is State.ALIVE
    bench.jump(10.1)
    assert told(bench) == ["paused", "resumed", "expired"]


def test_an_open_incident_is_closed_by_the_window() -> None:
    """As by any pause."""
    bench = maintained()
    bench.jump(10.0)
    letter(bench, {NIGHT: 3600.0})
    assert told(bench) == ["expired", "closed", "paused"]


def test_who_is_declared_in_the_window_is_paused_from_the_beginning() -> None:
    """And until the window's end."""
    bench = maintained()
    letter(bench, {NIGHT: 3600.0})
    bench.jump(1000.0)
    bench.feed("w2")
    assert bench.state("w2") is State.PAUSED
    bench.jump(2600.1)
    assert bench.state("w2") is State.ALIVE


def test_what_the_operator_says_in_a_window_stands() -> None:
    """Resumed: not paused again by the same window. Paused for longer: stays so. Paused for less: until its end."""
    bench = maintained()
    for name in ("w1", "w2"):
        bench.feed(name)
    bench.say(Kind.PAUSE, "w1", 7200.0, who=None)
    bench.say(Kind.PAUSE, "w2", 60.0, who=None)
    letter(bench, {NIGHT: 3600.0})
    bench.say(Kind.RESUME, "w", who=None)
    letter(bench, {NIGHT: 3500.0, NOON: 60.0})
    assert bench.state("w") is State.ALIVE
    bench.jump(3400.0)
    assert bench.state("w2") is State.PAUSED
    bench.jump(300.0)
    assert (bench.state("w1"), bench.state("w2")) == (State.PAUSED, State.ALIVE)


def test_the_next_opening_pauses_again() -> None:
    """Closed and opened anew, after it was resumed in the first one."""
    bench = maintained()
    letter(bench, {NIGHT: 3600.0})
    bench.say(Kind.RESUME, "w", who=None)
    letter(bench, {})
    letter(bench, {NIGHT: 3600.0})
    assert bench.state("w") is State.PAUSED


def test_an_end_that_moves_and_a_window_that_is_gone() -> None:
    """The clock on the wall was set: the new end counts. The window is no more: judged at once."""
    bench = maintained()
    letter(bench, {NIGHT: 3600.0})
    letter(bench, {NIGHT: 60.0})
    bench.jump(60.1)
    assert bench.state("w") is State.ALIVE
    letter(bench, {NIGHT: 0.5})
    assert bench.state("w") is State.ALIVE, "the same window, which is over"
    letter(bench, {})
    letter(bench, {NIGHT: 60.0})
    letter(bench, {})
    assert bench.state("w") is State.ALIVE
    assert told(bench)[-2:] == ["paused", "resumed"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((NIGHT,), (NIGHT,), State.PAUSED),
        ((NIGHT,), (NIGHT, NOON), State.PAUSED),
        ((NIGHT,), (NOON,), State.ALIVE),
        ((NIGHT,), (), State.ALIVE),
        ((NOON,), (NIGHT,), State.PAUSED),
        ((), (NIGHT,), State.PAUSED),
    ],
)
def test_a_reload_in_a_window(before: tuple[Window, ...], after: tuple[Window, ...], expected: State) -> None:
    """The night is open, and the config changes: what it says now holds."""
    bench = Bench()
    bench.engine.rules.replace_patterns([("w*", Policy(TEN, maintenance=before))])
    bench.feed("w")
    letter(bench, {NIGHT: 3600.0})
    bench.engine.rules.replace_patterns([("w*", Policy(TEN, maintenance=after))])
    bench.engine.reconsider()
    letter(bench, {NIGHT: 3600.0})
    assert bench.state("w") is expected


# -- the clock on the wall ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "ends", "wait"),
    [
        (THREE - timedelta(seconds=10), {}, 10.0),
        (THREE, {NIGHT: THREE + timedelta(hours=1)}, 3600.0),
        (THREE + timedelta(minutes=59), {NIGHT: THREE + timedelta(hours=1)}, 60.0),
        (THREE + timedelta(hours=1), {}, 8 * 3600.0),
        (THREE + timedelta(hours=9), {NOON: THREE + timedelta(hours=9, minutes=1)}, 60.0),
    ],
)
def test_a_table_of_looks_at_the_clock(at: datetime, ends: dict[Window, datetime], wait: float) -> None:
    """What is open, until when, and how long nothing changes."""
    found, seconds = open_windows([NIGHT, NOON], at, 1e9)
    assert found == ends
    assert wait < seconds < wait + 0.1
    assert open_windows([NIGHT, NOON], at, 5.0)[1] <= 5.005


def test_what_was_told_is_told_again_only_when_it_has_moved() -> None:
    """A second is nothing, an hour is."""
    assert not changed({NIGHT: 3600.0}, {NIGHT: 3600.5})
    assert changed({NIGHT: 3600.0}, {NIGHT: 7200.0})
    assert changed({NIGHT: 3600.0}, {})


def test_the_thread_tells_openings_ends_and_changes_and_stops() -> None:
    """A real thread with a clock that is set: told at once what is open, then the end, then nothing more."""
    letters: queue.Queue[dict[Window, float]] = queue.Queue()
    wall = [THREE + timedelta(minutes=30)]
    threads: list[threading.Thread | None] = []
    faults: list[Exception] = []

    def starter(work: Callable[[], None]) -> None:
        threads.append(start_daemon(work, "windows"))

    tell = lambda left: letters.put(dict(left))  # noqa: E731
    shell = MaintenanceClock(tell, faults.append, lambda: wall[0], check_every_s=0.01, start=starter)
    shell.set([])
    assert threads == [], "no thread without windows"
    shell.set([NIGHT, NOON])
    assert letters.get(timeout=10.0) == {NIGHT: 1800.0}
    wall[0] = THREE + timedelta(hours=2)
    assert letters.get(timeout=10.0) == {}
    wall[0] = THREE + timedelta(hours=9)
    assert letters.get(timeout=10.0) == {NOON: 60.0}
    shell.set([NIGHT])
    assert letters.get(timeout=10.0) == {}
    shell.close()
    (thread,) = threads
    assert thread is not None
    thread.join(10.0)
    assert not thread.is_alive()
    assert letters.empty()
    assert faults == []


class Wall:
    """A maintenance clock on a thread of its own, and the two clocks that it looks at, which are set."""

    def __init__(self, at: datetime) -> None:
        self.at, self.passed = at, 500.0
        self.letters: queue.Queue[dict[Window, float]] = queue.Queue()
        self.asks, self.answers = threading.Semaphore(0), threading.Semaphore(0)
        self.clock = MaintenanceClock(
            lambda left: self.letters.put(dict(left)), print, self._look, 0.01,
            start=lambda work: start_daemon(work, "windows") and None, passed=lambda: self.passed,
        )  # fmt: skip

    def _look(self) -> datetime:
        self.asks.release()
        assert self.answers.acquire(timeout=30.0)
        return self.at

    def told(self) -> list[dict[Window, float]]:
        """What it says when it has looked at the clocks as they are now."""
        self.answers.release()
        for _ in range(2):  # this time, and the next
            assert self.asks.acquire(timeout=10.0)
        self.asks.release()
        found = []
        while not self.letters.empty():
            found.append(self.letters.get())
        return found

    def close(self) -> None:
        self.clock.close()
        self.answers.release()

    def go(self, seconds: float, set_by: float = 0.0) -> None:
        """Time passes, and then the clock on the wall is set."""
        self.at, self.passed = self.at + timedelta(seconds=seconds + set_by), self.passed + seconds


@pytest.mark.parametrize("minutes", [-20.0, 20.0])
def test_a_clock_that_is_set_in_a_window_moves_the_end_of_the_pause(minutes: float) -> None:
    """The window is open by what the clock shows: until four, whatever has passed."""
    wall = Wall(THREE + timedelta(minutes=30))
    bench = maintained()
    try:
        wall.clock.set([NIGHT])
        for left in wall.told():
            letter(bench, left)
        for set_by in (0.0, 0.4, 60.0 * minutes, 0.0):
            bench.jump(60.0)
            wall.go(60.0, set_by)
            heard = wall.told()
            assert heard == ([] if abs(set_by) < 1.0 else [{NIGHT: 1620.0 - 60.0 * minutes - 0.4}])
            for left in heard:
                letter(bench, left)
        rest = 1560.0 - 60.0 * minutes - 0.4
        bench.jump(rest - 1.0)
        assert bench.state("w") is State.PAUSED
        bench.jump(1.1)
        assert bench.state("w") is State.ALIVE
    finally:
        wall.close()


def test_a_window_that_opens_again_when_it_ends_pauses_again() -> None:
    """Its pause is over a moment before that is told: a window of an hour at three and at four."""
    bench = maintained()
    letter(bench, {NIGHT: 3600.0})
    bench.jump(3600.0)
    bench.say(Kind.FEED, "w")
    assert bench.state("w") is State.ALIVE
    bench.jump(0.005)
    letter(bench, {NIGHT: 3599.995})
    assert bench.state("w") is State.PAUSED
    bench.say(Kind.RESUME, "w", who=None)
    letter(bench, {NIGHT: 3590.0})
    assert bench.state("w") is State.ALIVE, "the operator's word stands until the next opening"
