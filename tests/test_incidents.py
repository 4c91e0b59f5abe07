"""The climb, pure: which step when, budgets, backoff, giving up once, and whose end is an incident. No waiting."""

from __future__ import annotations

from typing import Any

import pytest

from banken.protocol.codec import encode
from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity
from banken_supervisor.engine.effects import Effect, EndIncident, Event, RunCallback, RunStep
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.ladder import STEPS_MAX, Backoff, Budget, Ladder, Step, step_key
from banken_supervisor.engine.policy import Policy
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.states import State
from engine_kit import events_of

ALICE = ProcessIdentity(b"bootboot", 100, 1000, b"aaaa")
BOB = ProcessIdentity(b"bootboot", 200, 2000, b"bbbb")

TEN = Declaration(10.0, 1000.0, 20.0)
"""The callback's repeats, every 1000 s, are out of the way."""

TICK = 0.25
"""Seconds of one step of ``run``; a fraction without rounding."""


class Bench:
    """A engine under an operator's ladder, with a clock that is set."""

    def __init__(self, *steps: Step, jitter: float = 0.5, **more: Any) -> None:
        self.engine = Engine(Rules(TEN), "run", b"token", lambda: jitter)
        self.now = 1000.0
        self.out: list[Effect] = []
        self.declare("w", *steps, **more)

    def declare(self, name: str, *steps: Step, depends_on: tuple[str, ...] = (), **more: Any) -> None:
        policy = Policy(TEN, Ladder(steps, **more), depends_on=depends_on)
        self.engine.declare(name, policy, self.now, self.out)

    def say(self, kind: Kind, name: str = "w", *args: Any, who: ProcessIdentity | None = ALICE) -> None:
        self.engine.take(encode(Message(kind, name, who, 0.0, None, args)), self.now, self.out)

    def feed(self, name: str = "w", who: ProcessIdentity = ALICE) -> None:
        self.engine.intake(iter([encode(Message(Kind.FEED, name, who, 0.0, None))]), self.now, self.out)

    def judge(self) -> None:
        if self.engine.verdicts.sweep(self.now, self.out):
            self.engine.verdicts.judge(self.now, self.now, self.out)

    def run(self, seconds: float) -> list[tuple[float, int, int]]:
        """Let time pass in small steps: (seconds since the begin, step, run) of all that was done."""
        done = []
        began = self.now
        while self.now < began + seconds:
            self.now += TICK
            before = len(self.out)
            self.judge()
            ran = [effect for effect in self.out[before:] if isinstance(effect, RunStep)]
            done += [(self.now - began, each.number, each.run) for each in ran]
        return done

    def hang(self) -> None:
        """Feed, and let the timeout pass to the tick before it."""
        self.feed()
        self.run(10.0 - TICK)
        self.out.clear()

    def types(self) -> list[str]:
        said = [event.type.value for event in events_of(self.out)]
        self.out.clear()
        return said

    def events(self, kind: str) -> list[Event]:
        return [event for event in events_of(self.out) if event.type.value == kind]

    def state(self, name: str = "w") -> State | None:
        record = self.engine.get(name)
        return None if record is None else record.state


def test_steps_run_in_order_each_once_at_its_time_after_the_verdict() -> None:
    """dump at the verdict, signal 2 s and kill 5 s after it; then nothing more."""
    bench = Bench(Step("dump"), Step("signal", 2.0), Step("kill", 5.0))
    bench.hang()
    assert bench.run(60.0) == [(TICK, 0, 1), (2.0 + TICK, 1, 1), (5.0 + TICK, 2, 1)]
    assert bench.state() is State.EXPIRED


def test_steps_that_are_due_together_run_in_their_order_in_one_turn() -> None:
    """Two steps at the verdict, and a stall over the third: each runs once, in order."""
    bench = Bench(Step("dump"), Step("log"), Step("kill", 5.0))
    bench.feed()
    bench.now += 10.0
    bench.judge()
    bench.now += 100.0
    bench.judge()
    assert [each.step.do for each in bench.out if isinstance(each, RunStep)] == ["dump", "log", "kill"]


def test_an_actions_effect_says_what_it_is_about() -> None:
    """The incident, the level, the process; and the event says the same to whoever listens."""
    bench = Bench(Step("log", level="warning"))
    bench.hang()
    bench.run(TICK)
    (step,) = [each for each in bench.out if isinstance(each, RunStep)]
    (event,) = bench.events("action")
    assert (step.process, step.about.cause, step.observe) == (ALICE, Cause.TIMEOUT, False)
    assert step.about.incident == event.data["incident"] == bench.events("expired")[0].data["incident"]
    assert (event.data["do"], event.data["level"], event.data["step"], event.data["run"]) == (
        "log",
        "warning",
        0,
        1,
    )


def test_a_feed_between_two_steps_stops_the_climb() -> None:
    """Fed after the first step: recovered, told which steps ran, and the later ones do not run."""
    bench = Bench(Step("dump"), Step("signal", 2.0), Step("kill", 5.0))
    bench.hang()
    bench.run(3.0)
    bench.feed()
    (end,) = [each for each in bench.out if isinstance(each, EndIncident)]
    assert (end.how, end.steps) == ("fed", (0, 1))
    assert bench.run(9.0) == []
    assert bench.state() is State.ALIVE


@pytest.mark.parametrize("kind", [Kind.RELEASE, Kind.PAUSE])
def test_a_release_or_a_pause_stops_the_climb(kind: Kind) -> None:
    """Whatever closes the incident ends the climb."""
    bench = Bench(Step("dump"), Step("kill", 5.0))
    bench.hang()
    bench.run(1.0)
    bench.say(kind, "w", *([0.0] if kind is Kind.PAUSE else []))
    assert bench.run(100.0) == []


def test_a_step_repeats_until_the_next_is_due_and_the_last_until_the_end() -> None:
    """Every 2 s from 0 until 5, then every 3 s; what a stall made miss is not made up for."""
    bench = Bench(Step("log", repeat=2.0), Step("notify", 5.0, repeat=3.0))
    bench.hang()
    done = [(at - TICK, step, run) for at, step, run in bench.run(12.0)]
    assert done == [(0, 0, 1), (2, 0, 2), (4, 0, 3), (5, 1, 1), (8, 1, 2), (11, 1, 3)]
    bench.now += 300.0
    assert len(bench.run(TICK)) == 1


def test_observe_tells_what_would_be_done_and_asks_for_nothing() -> None:
    """Each step is told as would-act; its effect is marked, and no action is told."""
    bench = Bench(Step("dump"), Step("kill", 1.0), observe=True)
    bench.hang()
    bench.run(5.0)
    assert [event.data["do"] for event in bench.events("would-act")] == ["dump", "kill"]
    assert bench.events("action") == []
    assert all(each.observe for each in bench.out if isinstance(each, RunStep))


@pytest.mark.parametrize(
    ("jitter", "gaps"), [(0.0, [1.0, 1.0, 1.0, 1.0]), (0.999999, [1.0, 2.0, 4.0, 4.0]), (0.5, [1.0, 1.5, 2.5, 2.5])]
)
def test_backoff_makes_each_run_wait_longer_across_incidents(jitter: float, gaps: list[float]) -> None:
    """backoff 1s..4s: the n-th run waits between 1 s and 2**n s, at most 4 s, also when a feed came between."""
    bench = Bench(Step("restart", backoff=Backoff(1.0, 4.0)), jitter=jitter)
    waited = []
    for _ in gaps:
        bench.hang()
        ((at, _, _),) = bench.run(6.0)
        waited.append(at - TICK)
    assert waited == [pytest.approx(gap, abs=TICK) for gap in gaps]


def test_a_feed_during_the_backoff_takes_the_run_back() -> None:
    """What has not begun is not begun any more, and does not count."""
    bench = Bench(Step("restart", backoff=Backoff(3.0, 3.0), budget=Budget(1, 1000.0)))
    bench.hang()
    assert bench.run(2.0) == []
    bench.feed()
    bench.run(9.0)
    bench.hang()
    assert len(bench.run(5.0)) == 1
    assert bench.state() is State.EXPIRED


def test_a_budget_holds_across_incidents_and_giving_up_is_told_once() -> None:
    """2 per 100 s: the third incident within them is given up, on_give_up runs once, and nothing follows."""
    bench = Bench(Step("restart", budget=Budget(2, 100.0)), on_give_up=(Step("notify"), Step("log")))
    ran = []
    for _ in range(2):
        bench.hang()
        ran += bench.run(1.0)
    assert [step for _, step, _ in ran] == [0, 0]
    bench.hang()
    assert [step for _, step, _ in bench.run(500.0)] == [1, 2]
    (event,) = bench.events("given-up")
    assert event.data["incident"] == bench.events("expired")[0].data["incident"]
    assert bench.state() is State.GIVEN_UP
    assert not [each for each in bench.out if isinstance(each, RunCallback) and each.run > 1]


def test_a_budget_holds_for_the_repeats_of_one_incident() -> None:
    """Repeated every second, 3 per hour: three runs, then given up."""
    bench = Bench(Step("restart", repeat=1.0, budget=Budget(3, 3600.0)), on_give_up=(Step("log"),))
    bench.hang()
    assert [(step, run) for _, step, run in bench.run(60.0)] == [(0, 1), (0, 2), (0, 3), (1, 1)]
    assert len(bench.events("given-up")) == 1


def test_a_budget_is_whole_again_after_its_period() -> None:
    """1 per 20 s: incidents 30 s apart each get their run."""
    bench = Bench(Step("restart", budget=Budget(1, 20.0)))
    for _ in range(3):
        bench.hang()
        assert len(bench.run(1.0)) == 1
        bench.feed()
        bench.run(9.0)
        bench.feed()
        bench.run(9.0)
        bench.feed()
        bench.run(9.0)
    assert bench.state() is State.ALIVE


def test_a_budget_counts_what_was_done_before_a_reload_that_puts_a_step_in_front() -> None:
    """Spent before, spent after; and a wider budget counts what the narrower one counted."""
    restart = Step("restart", budget=Budget(1, 3600.0))
    bench = Bench(restart)
    bench.hang()
    assert len(bench.run(1.0)) == 1
    bench.feed()
    bench.declare("w", Step("dump"), restart)
    bench.hang()
    bench.run(1.0)
    assert bench.state() is State.GIVEN_UP
    bench.declare("w", Step("dump"), Step("log"), restart._replace(budget=Budget(2, 3600.0)))
    bench.hang()
    assert [step for _, step, _ in bench.run(1.0)] == [0, 1, 2]
    bench.hang()
    bench.run(1.0)
    assert bench.state() is State.GIVEN_UP


def test_budgets_of_steps_that_are_no_more_are_forgotten() -> None:
    """A reload with new options every time does not fill the memory."""
    bench = Bench()
    for number in range(2 * STEPS_MAX):
        bench.declare("w", Step("exec", budget=Budget(9, 3600.0), options=(("command", ("x", str(number))),)))
        bench.hang()
        assert len(bench.run(1.0)) == 1
    record = bench.engine.get("w")
    assert record is not None
    assert record.details is not None
    assert 1 <= len(record.details.step_runs) <= STEPS_MAX


def test_a_steps_key_is_what_it_does_and_its_place_among_equals() -> None:
    """Not its index, its times or its budget; options of any kind can be looked up by, those of giving up too."""
    own = Step("own", options=(("table", {"b": [1, {"c": 2}], "a": None}), ("words", ("x",))))
    one, other = Step("restart", budget=Budget(1, 9.0)), Step("restart", after=9.0)
    key = step_key(Ladder((own,)), 0)
    assert {step_key(Ladder((one, own), on_give_up=(own,)), 1): 1} == {key: 1}
    assert step_key(Ladder((one, own), on_give_up=(own,)), 2) == key._replace(nth=1)
    assert step_key(Ladder((one, other)), 0) == step_key(Ladder((other, one)), 0)
    assert step_key(Ladder((one, other)), 1) == step_key(Ladder((other, one)), 1)._replace(nth=1)
    assert step_key(Ladder((Step("signal", options=(("signal", "SIGTERM"),)),)), 0) != step_key(
        Ladder((Step("signal", options=(("signal", "SIGKILL"),)),)), 0
    )
    with pytest.raises(IndexError):
        step_key(Ladder((one,)), 1)


def test_a_feed_leaves_given_up_and_ends_the_incident_with_all_that_ran() -> None:
    """It recovers, and whoever was told of the giving up is named by its step."""
    bench = Bench(Step("restart", repeat=1.0, budget=Budget(1, 3600.0)), on_give_up=(Step("notify"),))
    bench.hang()
    bench.run(5.0)
    bench.out.clear()
    bench.feed()
    (end,) = [each for each in bench.out if isinstance(each, EndIncident)]
    assert (end.how, end.steps) == ("fed", (0, 1))
    assert bench.types() == ["recovered"]
    assert bench.state() is State.ALIVE


def test_a_watchdog_whose_parent_is_down_is_marked_and_not_climbed() -> None:
    """Both fall silent: the parent's incident climbs, the child's says whose fault it is, calls nobody, and does
    nothing until the parent is back."""
    bench = Bench(Step("restart"))
    bench.declare("child", Step("restart"), depends_on=("w",))
    bench.feed()
    bench.feed("child", BOB)
    bench.run(30.0)
    blamed = {event.name: event.data.get("blamed") for event in bench.events("expired")}
    assert blamed == {"w": None, "child": "w"}
    assert {each.about.name for each in bench.out if isinstance(each, RunStep)} == {"w"}
    assert {each.name for each in bench.out if isinstance(each, RunCallback)} == {"w"}


def test_a_child_that_stays_down_when_its_parent_is_back_is_climbed() -> None:
    """The parent recovers and the child does not: at the next look it is the child's own fault."""
    bench = Bench(Step("restart"))
    bench.declare("child", Step("restart"), depends_on=("w",))
    bench.feed()
    bench.feed("child", BOB)
    bench.run(20.0)
    bench.out.clear()
    for _ in range(130):
        bench.feed()
        bench.run(8.0)
    assert [each.about.name for each in bench.out if isinstance(each, RunStep)] == ["child"]


def test_an_end_is_judged_only_after_all_that_was_sent_before_it_was_read() -> None:
    """The process is gone, its release is still in the queue: no incident."""
    bench = Bench(Step("restart"))
    bench.feed()
    bench.engine.processes.exited(ALICE, bench.now, bench.out)
    assert bench.engine.verdicts.sweep(bench.now, bench.out), "it is a suspect at once"
    bench.say(Kind.RELEASE)
    bench.engine.verdicts.judge(bench.now, bench.now, bench.out)
    bench.run(60.0)
    assert bench.types() == ["declared", "first-fed", "released"]


def test_an_end_without_a_release_is_an_incident_at_once() -> None:
    """``exited``, long before the timeout, and the ladder is climbed."""
    bench = Bench(Step("restart"))
    bench.feed()
    bench.engine.processes.exited(ALICE, bench.now, bench.out)
    bench.judge()
    (event,) = bench.events("expired")
    assert (event.data["cause"], event.data["silence"]) == ("exited", 0.0)
    assert len([each for each in bench.out if isinstance(each, RunStep)]) == 1


def test_a_feed_that_was_in_the_queue_does_not_hide_an_end() -> None:
    """Its last feed is read after the end was noticed: the process is gone all the same."""
    bench = Bench()
    bench.feed()
    bench.engine.processes.exited(ALICE, bench.now, bench.out)
    bench.feed()
    bench.judge()
    assert [event.data["cause"] for event in bench.events("expired")] == ["exited"]


def test_a_fail_that_was_in_the_queue_is_the_better_word_for_an_end() -> None:
    """A traceback that was sent before the end is the reason; no second incident is opened."""
    bench = Bench()
    bench.feed()
    bench.engine.processes.exited(ALICE, bench.now, bench.out)
    bench.say(Kind.FAIL, "w", "ValueError: on purpose")
    bench.run(60.0)
    (event,) = bench.events("expired")
    assert (event.data["cause"], event.data["reason"]) == ("failed", "ValueError: on purpose")


def test_the_end_of_a_process_that_lost_its_name_is_nobodys_incident() -> None:
    """A newer process feeds the name; the older one ends."""
    bench = Bench()
    bench.feed()
    bench.feed(who=BOB)
    bench.engine.processes.exited(ALICE, bench.now, bench.out)
    bench.run(5.0)
    assert bench.events("expired") == []


def test_a_new_process_has_the_grace_of_a_start_and_ends_the_climb() -> None:
    """The supervisor started the program anew: the incident is closed, and 20 s of grace begin."""
    bench = Bench(Step("restart"), Step("kill", 5.0))
    bench.hang()
    bench.run(1.0)
    bench.engine.processes.restarted("w", bench.now, bench.out)
    assert [event.data["how"] for event in bench.events("closed")] == ["reborn"]
    assert bench.run(20.0 - TICK) == []
    assert bench.state() is State.WAITING
    bench.run(2 * TICK)
    assert bench.events("expired")[-1].data["cause"] == "grace"
    assert next(each for each in reversed(bench.out) if isinstance(each, RunStep)).process is None


def test_a_program_that_is_taken_down_on_purpose_is_not_judged_until_it_is_up_again() -> None:
    """Its process ends without a word, and its group waits a long time before it starts: no incident."""
    bench = Bench(Step("restart"))
    bench.feed()
    bench.engine.processes.exited(ALICE, bench.now, bench.out)
    bench.engine.on_purpose.program_down("w", bench.now, bench.out, again=True, removed=False)
    bench.run(500.0)
    bench.engine.processes.restarted("w", bench.now, bench.out)
    bench.run(10.0)
    bench.feed(who=BOB)
    bench.run(5.0)
    assert bench.events("expired") == []
    assert bench.state() is State.ALIVE


def test_the_end_is_judged_where_the_name_is_not_a_program_that_is_taken_down() -> None:
    """The same without anybody's wish: an incident."""
    bench = Bench()
    bench.feed()
    bench.engine.processes.exited(ALICE, bench.now, bench.out)
    bench.judge()
    assert bench.state() is State.EXPIRED


@pytest.mark.parametrize("kind", [Kind.FEED, Kind.RELEASE])
def test_what_a_process_that_was_taken_down_says_late_changes_nothing(kind: Kind) -> None:
    """Its last feed or release is read after its successor was started: the successor keeps its grace."""
    bench = Bench()
    bench.feed()
    bench.engine.on_purpose.program_down("w", bench.now, bench.out, again=True, removed=False)
    bench.engine.processes.restarted("w", bench.now, bench.out)
    bench.out.clear()
    bench.say(kind)
    assert bench.state() is State.WAITING
    assert bench.types() == []
    bench.feed(who=BOB)
    assert bench.state() is State.ALIVE


@pytest.mark.parametrize("how", [None, "exit status 3"])
def test_a_program_that_is_given_up_is_an_incident_that_is_given_up(how: str | None) -> None:
    """Its restart budget is spent, whether it died or had released its watchdog: given up, told once."""
    bench = Bench(Step("dump"), on_give_up=(Step("notify"),))
    bench.feed()
    if how:
        bench.engine.processes.program_ended("w", how, bench.now)
    bench.engine.processes.abandon("w", "given up: 3 restarts", bench.now, bench.out)
    bench.engine.processes.abandon("w", "given up: 3 restarts", bench.now, bench.out)
    bench.run(60.0)
    (event,) = bench.events("expired")
    assert (event.data["cause"], event.data["reason"]) == (
        ("exited", how) if how else ("failed", "given up: 3 restarts")
    )
    assert [each.step.do for each in bench.out if isinstance(each, RunStep)] == ["dump", "notify"]
    assert len(bench.events("given-up")) == 1
