"""Checks in the engine: what their results do to their own watchdogs, and never to their owner's."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration, Exit, Kind
from banken_supervisor.engine.checks import RUNNER, START_S
from banken_supervisor.engine.effects import EndIncident, Event, EventType, RunStep
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import NEVER, CheckRule, Policy
from banken_supervisor.engine.states import State
from engine_kit import ALICE, BOB, TEN, Bench

CHECK = "db/check"
EVERY, FAILS, GRACE = 10.0, 3, 30.0
TIMEOUT = EVERY * (FAILS + 1)
ASK_S = 0.5
"""Seconds between two questions of the process that runs the checks; the real one asks more often."""
RULE = CheckRule("db", "tcp 127.0.0.1:5432", EVERY, FAILS)
DECLARED = Declaration(TIMEOUT, 20.0, GRACE, exit=Exit.NEVER)
LADDER = Ladder((Step("restart"),))


class Checked(Bench):
    """A watchdog ``db`` with one check, and the process that runs it, which is heard each second."""

    def __init__(self, *, awaited: bool = True, depends_on: tuple[str, ...] = ()) -> None:
        super().__init__(TEN)
        engine = self.engine
        engine.checks.runner = lambda: ALICE._replace(nonce=b"....")
        engine.processes.is_program = lambda name: name == "db"
        engine.declare("db", Policy(TEN, LADDER), self.now, self.out)
        self.feed("db", who=BOB)
        self.feed(RUNNER, declaration=Declaration(3.0, 3.0, 5.0))
        policy = Policy(DECLARED, LADDER, depends_on=("db", *depends_on), check=RULE)
        engine.rules.declare(CHECK, policy)
        engine.watch(CHECK, self.now, self.out, awaited=awaited)
        engine.checks.set([CHECK])
        self.out.clear()

    def result(self, passed: bool, text: str = "refused", took: float = 0.01, *, provisional: bool = False) -> Any:
        return self.say(Kind.RESULT, CHECK, passed, text, took, EVERY, False, None, provisional)

    def live(self, seconds: float) -> None:
        """Let time pass; the owner and the process that runs checks are heard, and that one asks for its work."""
        for _ in range(round(seconds / ASK_S)):
            self.feed("db", who=BOB)
            self.ask()
            self.jump(ASK_S)

    def ask(self, *owners: str) -> None:
        """The process that runs the checks asks, and is told of these owners; without one, of ``db``."""
        self.feed(RUNNER)
        self.engine.checks.asked(owners or ("db",), self.now)

    def incidents(self) -> list[dict[str, Any]]:
        return [e.data for e in self.out if isinstance(e, Event) and e.type is EventType.EXPIRED]


@pytest.fixture
def bench() -> Checked:
    made = Checked()
    made.result(True, "connected")
    made.out.clear()
    assert made.state(CHECK) is State.ALIVE
    return made


def test_failures_in_a_row_are_a_verdict_and_a_pass_ends_it(bench: Checked) -> None:
    """The reason says what came; the incident has the last five results; a pass in between begins anew."""
    for passed in (False, False, True, False, False):
        bench.result(passed)
    assert bench.state(CHECK) is State.ALIVE
    bench.result(False, "expected +PONG, got -ERR")
    (data,) = bench.incidents()
    assert (data["cause"], bench.state(CHECK), bench.state("db")) == (Cause.CHECK, State.EXPIRED, State.ALIVE)
    assert data["reason"] == "tcp 127.0.0.1:5432 failed 3 times in a row: expected +PONG, got -ERR"
    assert [each["passed"] for each in data["results"]] == [False, True, False, False, False]
    bench.result(True)
    assert bench.state(CHECK) is State.ALIVE
    assert "passed" in [each.how for each in bench.out if isinstance(each, EndIncident)]
    assert bench.said()[-1] == "recovered"


def test_its_results_say_nothing_of_the_owner(bench: Checked) -> None:
    """Passes are no feeds of the owner, and do not end the owner's incident; the owner's feeds do not pass it."""
    owner = bench.engine.get("db")
    assert owner is not None
    for _ in range(11):
        bench.jump(1.0)
        bench.result(True)
        bench.feed(RUNNER)
    assert (bench.state("db"), bench.state(CHECK)) == (State.EXPIRED, State.ALIVE)
    bench.result(True)
    assert (bench.state("db"), owner.owner) == (State.EXPIRED, BOB)
    bench.feed("db", who=BOB)
    for _ in range(FAILS):
        bench.result(False)
    bench.feed("db", who=BOB)
    assert (bench.state("db"), bench.state(CHECK)) == (State.ALIVE, State.EXPIRED)


def test_no_result_is_a_verdict_while_its_process_is_heard(bench: Checked) -> None:
    bench.live(TIMEOUT / 2)
    bench.result(False)
    bench.live(TIMEOUT - 1)
    assert bench.state(CHECK) is State.ALIVE, "a failure is a result"
    bench.live(2)
    assert [data["reason"] for data in bench.incidents()] == ["tcp 127.0.0.1:5432 gave no result in 40 s"]


def test_the_silence_of_the_process_that_runs_them_convicts_nobody(bench: Checked) -> None:
    """It hangs for an hour: one incident, its own. When it is heard again, the check has a timeout."""
    for _ in range(3600):
        bench.feed("db", who=BOB)
        bench.jump(1.0)
    assert [
        (e.name, e.data["cause"]) for e in bench.out if isinstance(e, Event) and e.type is EventType.EXPIRED
    ] == [(RUNNER, Cause.TIMEOUT)]
    bench.engine.checks.runner_started()
    bench.live(TIMEOUT)
    assert bench.state(CHECK) is State.ALIVE
    bench.live(5)
    assert bench.state(CHECK) is State.EXPIRED


@pytest.mark.parametrize("rule", [RULE._replace(every=1.0), RULE._replace(fails=1)], ids=["every", "fails"])
def test_a_check_that_a_reload_makes_stricter_has_a_timeout_from_then(bench: Checked, rule: CheckRule) -> None:
    """Its last result is older than the new timeout, and was in time. A missing result is an incident as before."""
    bench.live(TIMEOUT - 5)
    policy = bench.engine.rules.policy_of(CHECK)
    assert policy is not None
    declared, timeout = DECLARED._replace(timeout=TIMEOUT / 10), TIMEOUT / 10
    bench.engine.rules.declare(CHECK, policy._replace(declaration=declared, check=rule))
    bench.engine.reconsider()
    bench.engine.checks.set([CHECK])
    bench.live(timeout)
    assert bench.state(CHECK) is State.ALIVE
    bench.live(START_S + 2)
    assert bench.state(CHECK) is State.EXPIRED


def test_a_check_that_is_due_sooner_than_its_process_is_not_convicted_either() -> None:
    """The process has fallen silent, and is not due yet: what it would have said is waited for."""
    bench = Checked()
    bench.feed(RUNNER, declaration=Declaration(2 * TIMEOUT, 3.0, 5.0))
    bench.result(True)
    bench.jump(TIMEOUT + 1)
    bench.jump(1.0)
    assert (bench.state(RUNNER), bench.state(CHECK)) == (State.ALIVE, State.ALIVE)
    bench.live(TIMEOUT + 1)
    assert bench.state(CHECK) is State.ALIVE, "it stood still: the check has a timeout from when that is over"
    bench.live(START_S + 1)
    assert bench.state(CHECK) is State.EXPIRED, "it is heard"


def test_what_is_new_to_the_process_that_runs_them_is_judged_from_when_it_has_it() -> None:
    """A new process of its program is one among many: it is told late. Then the check has a timeout."""
    bench = Checked()
    bench.live(1)
    bench.engine.checks.owner_started("db", bench.now, bench.out)
    for _ in range(round((GRACE + TIMEOUT + 100) / ASK_S)):
        bench.feed("db", who=BOB)
        bench.ask("another")
        bench.jump(ASK_S)
    assert bench.state(CHECK) is State.WAITING
    bench.ask()
    bench.jump(ASK_S)
    bench.ask("another")
    bench.live(START_S + TIMEOUT - 1)
    assert bench.state(CHECK) is State.WAITING
    bench.live(2)
    assert [data["reason"] for data in bench.incidents()] == [f"{RULE.label} gave no result in 40 s"]


@pytest.mark.parametrize("has_passed", [True, False], ids=["it stands still", "it starts"])
def test_a_late_process_convicts_none_of_its_checks_when_it_is_heard(has_passed: bool) -> None:
    """A slow machine: results are due before it runs. Its first word comes before its first result."""
    bench = Checked()
    if has_passed:
        bench.result(True)
    else:
        bench.engine.checks.runner_started()
    bench.feed("db", who=BOB)
    bench.feed(RUNNER, declaration=Declaration(1000.0, 3.0, 5.0))
    for _ in range(round(GRACE + TIMEOUT + 1)):
        bench.jump(1.0)
    bench.feed(RUNNER, declaration=Declaration(1000.0, 3.0, 5.0))
    bench.jump(1.0)
    bench.live(TIMEOUT)
    assert bench.state(CHECK) is (State.ALIVE if has_passed else State.WAITING)
    bench.live(5)
    assert bench.state(CHECK) is State.EXPIRED


def test_a_program_is_not_late_to_be_ready_before_its_check_could_be_run() -> None:
    """It was to be ready in 1 s; what runs its check starts in 20 s."""
    bench = Checked()
    engine = bench.engine
    declared = Declaration(NEVER, NEVER, NEVER, exit=Exit.NEVER)
    policy = Policy(declared, LADDER, depends_on=("db",), check=RULE._replace(is_readiness=True))
    engine.rules.declare(CHECK, policy)
    engine.reconsider()
    engine.checks.runner_started()
    engine.notified.begun("db", 1.0, bench.now)
    bench.feed(RUNNER, declaration=Declaration(1000.0, 3.0, 5.0))
    for _ in range(20):
        bench.feed("db", who=BOB)
        bench.jump(1.0)
    assert bench.state("db") is State.ALIVE
    bench.live(TIMEOUT - 1)
    assert bench.state("db") is State.ALIVE
    bench.live(3)
    assert (bench.state("db"), bench.incidents()[0]["reason"]) == (
        State.EXPIRED, "it did not become ready within 1 s",
    )  # fmt: skip


def test_one_check_of_an_owner_is_not_blamed_on_another(bench: Checked) -> None:
    """Each acts by itself: what one sees is no reason to hold the other back."""
    other = f"{CHECK}-2"
    bench.engine.rules.declare(other, Policy(DECLARED, LADDER, depends_on=("db",), check=RULE))
    bench.engine.watch(other, bench.now, bench.out, awaited=True)
    bench.engine.checks.set([CHECK, other])
    bench.say(Kind.RESULT, other, True, "", 0.0, EVERY, False, None, False)
    for name in (CHECK, other):
        for _ in range(FAILS):
            bench.say(Kind.RESULT, name, False, "refused", 0.0, EVERY, False, None, False)
    assert [data.get("blamed") for data in bench.incidents()] == [None, None]


def test_until_it_has_passed_failures_count_only_when_the_grace_is_over() -> None:
    bench = Checked()
    for _ in range(29):
        bench.live(1)
        bench.result(False)
    assert bench.state(CHECK) is State.WAITING
    bench.live(1)
    for _ in range(FAILS):
        bench.result(False, "connection refused")
    assert bench.state(CHECK) is State.EXPIRED
    other = Checked()
    other.live(GRACE + TIMEOUT - 1)
    assert other.state(CHECK) is State.WAITING, "no result yet"
    other.live(2)
    assert other.state(CHECK) is State.EXPIRED


def test_its_steps_act_on_the_process_of_the_owner(bench: Checked) -> None:
    for _ in range(FAILS):
        bench.result(False)
    (step,) = [effect for effect in bench.out if isinstance(effect, RunStep)]
    assert (step.about.name, step.acts_on, step.process) == (CHECK, "db", BOB)


def test_it_waits_while_its_owner_is_down_and_who_depends_on_the_owner_waits_for_it(bench: Checked) -> None:
    """One cause, one ladder: a hung owner's check marks its own incident; a failing one excuses dependents."""
    engine = bench.engine
    engine.declare("web", Policy(TEN, LADDER, depends_on=("db",)), bench.now, bench.out)
    bench.say(Kind.FAIL, "db", "disk on fire", who=BOB)
    for _ in range(FAILS):
        bench.result(False)
    assert [data.get("blamed") for data in bench.incidents()] == [None, "db"]
    bench.feed("db", who=BOB)
    bench.out.clear()
    bench.say(Kind.FAIL, "web", "no database", who=BOB)
    assert [data.get("blamed") for data in bench.incidents()] == [CHECK]


def test_a_program_that_is_not_running_has_no_checks_to_judge() -> None:
    """Its start gives a grace, its end takes the check out; a new process ends the incident."""
    bench = Checked(awaited=False)
    engine = bench.engine
    bench.result(False)
    bench.live(200)
    assert bench.incidents() == []
    engine.checks.owner_started("db", bench.now, bench.out)
    bench.jump(1.0)
    bench.result(True)
    for _ in range(FAILS):
        bench.result(False)
    assert bench.state(CHECK) is State.EXPIRED
    engine.checks.owner_ended("db", bench.now, bench.out, stays_down=False)
    assert bench.state(CHECK) is State.EXPIRED, "the ladder has ended it, and goes on"
    engine.checks.owner_started("db", bench.now, bench.out)
    assert (bench.state(CHECK), bench.said()[-1]) == (State.WAITING, "closed")
    bench.result(True)
    engine.checks.owner_ended("db", bench.now, bench.out, stays_down=True)
    bench.result(False)
    bench.live(200)
    assert (bench.state(CHECK), bench.incidents()) == (State.WAITING, [])
    engine.checks.settle(lambda name: True, bench.now, bench.out)
    bench.live(GRACE + TIMEOUT + 1)
    assert bench.state(CHECK) is State.EXPIRED


def test_paused_it_is_not_judged_and_begins_anew(bench: Checked) -> None:
    bench.result(False)
    bench.say(Kind.PAUSE, CHECK, 0.0, who=None)
    for _ in range(FAILS):
        bench.result(False)
    bench.say(Kind.RESUME, CHECK, who=None)
    for _ in range(FAILS - 1):
        bench.result(False)
    assert bench.incidents() == []
    bench.result(False)
    assert len(bench.incidents()) == 1


@pytest.mark.parametrize("kind", [Kind.FEED, Kind.RELEASE, Kind.DECLARE, Kind.LEAVING, Kind.FAIL, Kind.NOTE])
def test_nothing_but_results_counts_and_those_from_one_process_alone(bench: Checked, kind: Kind) -> None:
    """A worker that feeds a check, or says that it passed, is refused; so is a result in another one's name."""
    args = {Kind.FAIL: ("no",), Kind.LEAVING: (None,), Kind.NOTE: (1, None)}.get(kind, ())
    assert bench.say(kind, CHECK, *args) is not None
    assert bench.say(Kind.RESULT, CHECK, False, "no", 0.0, 0.0, False, None, False, who=BOB) is not None
    assert bench.say(Kind.RESULT, CHECK, False, "no", 0.0, 0.0, False, None, False, who=None) is not None
    refused = bench.say(Kind.RESULT, "db", False, "no", 0.0, 0.0, False, None, False)
    assert refused is not None
    assert refused.reason == "unknown"
    record = bench.engine.get(CHECK)
    assert record is not None
    assert record.details is not None
    assert record.details.check is not None
    assert (record.details.check.number, record.owner, bench.state(CHECK)) == (1, None, State.ALIVE)


def test_a_name_that_a_worker_had_is_the_checks_own_from_then_on() -> None:
    """Its feeds, also those known by their bytes, count no longer; nor does its end."""
    bench = Bench(TEN)
    engine = bench.engine
    engine.checks.runner = lambda: BOB
    bench.feed(CHECK)
    bench.feed(CHECK)
    policy = Policy(DECLARED, LADDER, depends_on=("db",), check=RULE)
    engine.rules.declare(CHECK, policy)
    engine.reconsider()
    engine.checks.set([CHECK])
    record = engine.get(CHECK)
    assert record is not None
    fed_at = record.fed_at
    bench.jump(1.0)
    bench.feed(CHECK)
    assert (record.fed_at, record.owner, engine.admission.refused["check"]) == (fed_at, None, 1)
    engine.processes.exited(ALICE, bench.now, bench.out, 1)
    bench.jump(0.0)
    assert bench.state(CHECK) is State.ALIVE


def test_a_check_whose_owner_depends_on_a_stopped_program_begins_anew_with_that() -> None:
    """While it is stopped on purpose nothing counts; when it runs again, there is a grace."""
    bench = Checked(depends_on=("store",))
    engine = bench.engine
    engine.processes.is_program = lambda name: name == "store"
    engine.declare("store", Policy(TEN), bench.now, bench.out)
    bench.result(True)
    engine.forget("store", bench.now, bench.out, "stopped")
    engine.on_purpose.program_down("store", bench.now, bench.out, again=False, removed=False)
    for _ in range(5):
        bench.result(False)
    bench.live(100)
    assert bench.incidents() == []
    engine.declare("store", Policy(TEN), bench.now, bench.out)
    engine.on_purpose.program_up("store", bench.now)
    for _ in range(5):
        bench.result(False)
    assert bench.incidents() == []
    bench.feed("store", who=BOB)
    bench.result(True)
    assert bench.state(CHECK) is State.ALIVE
    for _ in range(FAILS):
        bench.result(False)
    assert len(bench.incidents()) == 1


def test_a_pause_of_the_owner_is_one_of_its_checks(bench: Checked) -> None:
    """Who stops a database for an hour's work pauses it by its name; its resumption is theirs, too."""
    bench.say(Kind.PAUSE, "db", 600.0)
    assert (bench.state("db"), bench.state(CHECK)) == (State.PAUSED, State.PAUSED)
    for _ in range(FAILS + 1):
        bench.result(False)
        bench.live(EVERY)
    assert bench.incidents() == []
    bench.say(Kind.RESUME, "db")
    assert (bench.state("db"), bench.state(CHECK)) == (State.ALIVE, State.ALIVE)
    for _ in range(FAILS):
        bench.result(False)
    assert [data["cause"] for data in bench.incidents()] == [Cause.CHECK]


def test_a_pause_of_the_owner_ends_in_its_checks_by_itself(bench: Checked) -> None:
    """They are judged again at the same time; one that was paused for longer by its own name stays so."""
    bench.say(Kind.PAUSE, "db", 60.0)
    bench.live(61)
    assert (bench.state("db"), bench.state(CHECK)) == (State.ALIVE, State.ALIVE)
    bench.say(Kind.PAUSE, CHECK, 600.0)
    assert bench.state("db") is State.ALIVE, "a check's pause is its own"
    bench.say(Kind.PAUSE, "db", 60.0)
    bench.live(61)
    assert (bench.state("db"), bench.state(CHECK)) == (State.ALIVE, State.PAUSED)


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("is_readiness", [False, True])
def test_a_check_that_has_passed_in_a_pause_is_judged_when_that_is_over(is_readiness: bool, is_new: bool) -> None:
    """Whether it was new in the pause, or its owner was: what fails then is no part of the start."""
    bench = Checked()
    declared = Declaration(NEVER, NEVER, NEVER, exit=Exit.NEVER) if is_readiness else DECLARED
    rule = RULE._replace(is_readiness=is_readiness)
    policy = Policy(declared._replace(grace=300.0), LADDER, depends_on=("db",), check=rule)
    bench.engine.rules.declare(CHECK, policy)
    bench.engine.reconsider()
    if not is_new:
        bench.result(True)
    bench.say(Kind.PAUSE, "db", 0.0, who=None)
    if not is_new:
        bench.engine.processes.restarted("db", bench.now, bench.out)
        bench.engine.checks.owner_started("db", bench.now, bench.out)
    bench.live(1)
    bench.result(True)
    bench.say(Kind.RESUME, "db", who=None)
    assert bench.state(CHECK) is State.ALIVE
    for _ in range(FAILS):
        assert bench.incidents() == []
        bench.result(False)
    assert [data["cause"] for data in bench.incidents()] == ([] if is_readiness else [Cause.CHECK])


@pytest.mark.parametrize(("seconds", "left"), [(600.0, 599.0), (0.0, None)])
def test_a_check_that_a_reload_brings_during_a_pause_of_its_owner_is_paused(
    bench: Checked, seconds: float, left: float | None
) -> None:
    """For as long as that. One that was there, and was resumed by itself, is left alone."""
    new = f"{CHECK}-2"
    bench.say(Kind.PAUSE, "db", seconds)
    bench.say(Kind.RESUME, CHECK)
    bench.jump(1.0)
    engine = bench.engine
    engine.rules.declare(new, Policy(DECLARED, LADDER, depends_on=("db",), check=RULE))
    engine.watch(new, bench.now, bench.out, awaited=True)
    engine.checks.join_pauses(engine.checks.set([CHECK, new]), bench.now, bench.out)
    assert (bench.state(CHECK), bench.state(new)) == (State.ALIVE, State.PAUSED)
    record = engine.get(new)
    assert record is not None
    until = record.detailed().paused_until
    assert until == (inf if left is None else bench.now + left)
    bench.live(GRACE + TIMEOUT)
    assert bench.state(new) is State.PAUSED
    bench.say(Kind.RESUME, "db")
    assert bench.state(new) is State.ALIVE


@pytest.mark.parametrize("declaration", [TEN, Declaration(NEVER, NEVER, NEVER)])
def test_a_check_that_has_passed_since_a_restart_is_judged(bench: Checked, declaration: Declaration) -> None:
    """Its owner feeds nothing: its check shows that it is back, and what fails then is no part of the restart."""
    engine, out = bench.engine, bench.out
    engine.declare("app", Policy(declaration, LADDER), bench.now, out)
    check = "app/check"
    engine.processes.is_program = lambda name: name in ("db", "app")
    rule = CheckRule("app", "http", EVERY, FAILS)
    engine.rules.declare(check, Policy(DECLARED, LADDER, depends_on=("app",), check=rule))
    engine.watch(check, bench.now, out, awaited=True)
    engine.checks.set([CHECK, check])
    engine.on_purpose.program_down("app", bench.now, out, again=True, removed=False)
    engine.checks.owner_ended("app", bench.now, out, stays_down=False)
    engine.on_purpose.program_up("app", bench.now)
    engine.checks.owner_started("app", bench.now, out)

    def result(passed: bool) -> None:
        bench.say(Kind.RESULT, check, passed, "", 0.01, EVERY, False, None, False)

    for _ in range(FAILS + 1):
        result(False)
    assert bench.state(check) is State.WAITING, "it has a grace"
    bench.live(1)
    result(True)
    for _ in range(FAILS):
        result(False)
    assert [data["cause"] for data in bench.incidents()] == [Cause.CHECK]


def test_a_pass_without_anything_to_compare_with_ends_no_incident(bench: Checked) -> None:
    """The process that runs the checks is another one, and looks for the first time."""
    for _ in range(FAILS):
        bench.result(False)
    bench.result(True, provisional=True)
    assert (bench.state(CHECK), len(bench.incidents())) == (State.EXPIRED, 1)
    bench.result(True)
    assert (bench.state(CHECK), bench.said()[-1]) == (State.ALIVE, "recovered")
    for passed in (*[False] * (FAILS - 1), True, *[False] * (FAILS - 1)):
        bench.result(passed, provisional=passed)
    assert bench.incidents() == [], "without one it is a pass like any other"


def test_a_run_that_began_before_the_process_says_nothing_of_it() -> None:
    """It has seen the last process answer: its pass does not end the grace of the new one."""
    bench = Checked()
    checks = bench.engine.checks
    bench.result(True)
    bench.engine.on_purpose.program_down("db", bench.now, bench.out, again=True, removed=False)
    checks.owner_ended("db", bench.now, bench.out, stays_down=False)
    bench.live(1)
    bench.engine.on_purpose.program_up("db", bench.now)
    checks.owner_started("db", bench.now, bench.out)
    bench.jump(0.4)
    bench.result(True, took=1.5)
    assert bench.state(CHECK) is State.WAITING
    for _ in range(FAILS + 1):
        bench.result(False, took=0.1)
    assert (bench.incidents(), bench.state(CHECK)) == ([], State.WAITING), "its grace is not over"
    bench.result(True, took=0.1)
    assert bench.state(CHECK) is State.ALIVE


def test_a_check_that_its_process_could_not_run_yet_is_not_judged(bench: Checked) -> None:
    """It has a whole timeout from each time that this is said; that is no pass, and no failure. One warning."""
    why = "is not run yet: all places (2) are taken"
    for _ in range(100):
        bench.live(EVERY)
        bench.say(Kind.RESULT, CHECK, None, why, 0.0, 0.0, False, None, False)
    record = bench.engine.get(CHECK)
    assert record is not None
    state = record.detailed().check
    assert state is not None
    assert (bench.state(CHECK), bench.incidents(), state.failed, state.number) == (State.ALIVE, [], 0, 1)
    told = [e.data["text"] for e in bench.out if isinstance(e, Event) and e.type is EventType.RESOURCES]
    assert told == [f"{CHECK} {why}; a check is not judged before it was run"] * 2, "one in ten minutes"
    for _ in range(FAILS - 1):
        bench.result(False)
        bench.say(Kind.RESULT, CHECK, None, why, 0.0, 0.0, False, None, False)
    assert bench.incidents() == []
    bench.result(False)
    assert (len(bench.incidents()), state.delayed) == (1, None)


def test_silence_after_a_delay_is_judged(bench: Checked) -> None:
    bench.live(TIMEOUT - 1)
    bench.say(Kind.RESULT, CHECK, None, "is not run yet", 0.0, 0.0, False, None, False)
    bench.live(TIMEOUT - 1)
    assert bench.state(CHECK) is State.ALIVE
    bench.live(2)
    assert bench.state(CHECK) is State.EXPIRED


def test_what_waits_to_be_ready_is_not_judged_while_the_check_of_that_is_not_run(bench: Checked) -> None:
    rule = RULE._replace(is_readiness=True)
    bench.engine.rules.declare(CHECK, Policy(Declaration(NEVER, NEVER, NEVER, exit=Exit.NEVER), check=rule))
    bench.engine.reconsider()
    bench.engine.notified.begun("db", 20.0, bench.now)
    for _ in range(10):
        bench.live(EVERY)
        bench.say(Kind.RESULT, CHECK, None, "is not run yet", 0.0, 0.0, False, None, False)
    assert bench.incidents() == []
    bench.live(TIMEOUT + 1)
    (data,) = bench.incidents()
    assert data["reason"] == "it did not become ready within 20 s: tcp 127.0.0.1:5432: is not run yet"


def test_the_last_result_of_a_check_that_is_removed_is_no_matter(bench: Checked) -> None:
    """A reload has removed it, and the process that runs checks still had it. Anybody else's is refused."""
    bench.engine.forget(CHECK, bench.now, bench.out)
    bench.out.clear()
    assert bench.result(True) is None
    assert not bench.out
    refused = bench.say(Kind.RESULT, CHECK, True, "", 0.01, EVERY, False, None, False, who=BOB)
    assert refused is not None
    assert refused.reason == "unknown"
