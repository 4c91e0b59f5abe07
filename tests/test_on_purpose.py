"""The engine's part of what is taken down on purpose: watchdogs of a program's processes, of its groups, and of
what depends on it."""

from __future__ import annotations

import pytest

from banken.protocol.messages import Declaration, Feeders, Kind, ProcessIdentity
from banken_supervisor.control.control_api import row
from banken_supervisor.engine.effects import Event
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.on_purpose import LEFT_MIN
from banken_supervisor.engine.policy import EXIT_ONLY, Group, Policy
from banken_supervisor.engine.states import State
from banken_supervisor.text.reasons import unjudged
from engine_kit import ALICE, BOB, ELSEWHERE, TEN, Bench, events_of, opened, told

START_GRACE_S = TEN.grace
"""That of a program without one of its own: the defaults'."""


class Host(Bench):
    """``trainer`` is a program, of which Alice is a process that feeds ``rank``."""

    def __init__(self) -> None:
        super().__init__()
        self.stopping: set[str] = set()
        self.engine.on_purpose.is_stopping = self.stopping.__contains__
        self.start()
        self.run_of(ALICE, "rank")

    def run_of(self, who: ProcessIdentity, *names: str) -> None:
        for name in names:
            self.feed(name, who=who)
        self.engine.on_purpose.belongs(who, "trainer")

    def start(self) -> None:
        self.engine.declare("trainer", EXIT_ONLY, self.now, self.out)
        self.engine.on_purpose.program_up("trainer", self.now)

    def end(self, who: ProcessIdentity = ALICE) -> None:
        self.engine.processes.exited(who, self.now, self.out)
        self.jump(0.0)

    def down(self, *, again: bool = False, removed: bool = False) -> None:
        self.stopping.discard("trainer")
        if not again:
            self.engine.forget("trainer", self.now, self.out)
        self.engine.on_purpose.program_down("trainer", self.now, self.out, again=again, removed=removed)

    def stop(self, *, again: bool = False) -> None:
        """With all that it takes."""
        self.stopping.add("trainer")
        self.end()
        self.down(again=again)

    def depends(self, name: str, on: str, timeout: float = 5.0) -> None:
        policy = Policy(Declaration(timeout, 3.0, timeout), depends_on=(on,))
        self.engine.declare(name, policy, self.now, self.out)

    def why(self, name: str) -> str | None:
        record = self.engine.get(name)
        assert record is not None
        return unjudged(row(record, self.now))

    def whats(self) -> list[str]:
        beside = ("declared", "first-fed", "released", "program", "taken-down")
        return [each for each in self.said() if each not in beside]


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.mark.parametrize("again", [True, False])
def test_it_is_known_not_judged_and_judged_again(host: Host, again: bool) -> None:
    """For as long as the program is down; from its start on, with the grace of that."""
    host.said()
    host.stop(again=again)
    for _ in range(10):
        host.jump(1000.0)
    assert host.said() == ["taken-down", *([] if again else ["released"])]
    assert host.why("rank") == "stopped with trainer"
    host.start()
    assert host.why("rank") is None
    host.jump(START_GRACE_S - 0.1)
    assert host.whats() == []
    host.jump(0.2)
    assert host.whats() == ["expired"]


def test_its_own_longer_grace_counts(host: Host) -> None:
    """Of what declared more than the program has."""
    host.feed("slow", declaration=Declaration(5.0, 3.0, 100.0))
    host.engine.on_purpose.belongs(ALICE, "trainer")
    host.stop(again=True)
    host.start()
    host.run_of(BOB, "rank")
    host.jump(8.0)
    host.run_of(BOB, "rank")
    host.jump(9.0)
    assert host.whats() == []
    host.run_of(BOB, "rank")
    host.jump(100.0)
    host.jump(0.1)
    assert "expired" in host.whats()


def test_a_new_process_that_declares_it_has_its_own_grace(host: Host) -> None:
    """From its word on, as for every start."""
    host.stop(again=True)
    host.start()
    host.jump(15.0)
    host.say(Kind.DECLARE, "rank", who=BOB)
    host.jump(15.0)
    assert host.whats() == []
    host.jump(5.1)
    assert host.whats() == ["expired"]


def test_an_end_that_is_heard_of_late_is_none_of_the_new_run(host: Host) -> None:
    """The program is up again before the end of its former process is read."""
    host.down(again=True)
    host.start()
    host.end()
    host.jump(1.0)
    assert host.whats() == []
    host.feed("rank", who=BOB)
    assert host.state("rank") is State.ALIVE


def test_one_that_outlives_its_program_and_feeds_is_judged(host: Host) -> None:
    """A process that could not be ended."""
    host.down()
    host.feed("rank")
    assert host.state("rank") is State.ALIVE
    host.jump(10.1)
    assert "expired" in host.whats()


def test_silence_and_failure_while_it_is_stopped_are_no_incident(host: Host) -> None:
    """It saves its state for long; what it says is told."""
    host.feed("other")
    host.engine.on_purpose.belongs(ALICE, "trainer")
    host.stopping.add("trainer")
    host.jump(10.1)
    assert host.state("rank") is State.WAITING
    host.say(Kind.FAIL, "other", "the disk is full")
    assert host.whats() == ["failed"]


@pytest.mark.parametrize("again", [True, False])
def test_an_open_incident_goes_on_until_its_worker_is_back_or_the_program_is_stopped(
    host: Host, again: bool
) -> None:
    """A restart alone is no proof that the rank is well."""
    host.jump(10.1)
    assert host.whats() == ["expired"]
    host.stop(again=again)
    assert host.whats() == ["exited", *([] if again else ["closed"])]
    if again:
        host.start()
        host.jump(1.0)
        assert host.state("rank") is State.EXPIRED
        host.feed("rank", who=BOB)
        assert host.whats() == ["recovered"]


def test_what_fell_with_a_crash_is_closed_when_the_program_is_stopped(host: Host) -> None:
    """Its processes ended by themselves, each an incident; then an operator stops it."""
    host.end()
    assert host.whats() == ["expired"]
    host.down()
    assert host.whats() == ["closed"]
    assert host.why("rank") == "stopped with trainer"


def test_another_programs_worker_of_the_same_pattern_is_judged(host: Host) -> None:
    """A process counts, not a name."""
    host.feed("rank2", who=BOB)
    host.engine.on_purpose.belongs(BOB, "other")
    host.stop()
    host.end(BOB)
    assert [each.name for each in host.out if isinstance(each, Event) and each.type == "expired"] == ["rank2"]


def test_a_name_that_another_process_has_taken_is_that_ones(host: Host) -> None:
    """The program's own process is no longer concerned by it."""
    host.feed("rank", who=BOB)
    host.stop()
    assert host.state("rank") is State.ALIVE


@pytest.mark.parametrize(("name", "known"), [("job-4711", False), ("load@4711.3", False), ("job-47110", True)])
def test_a_name_with_the_number_of_its_process_ends_with_it(host: Host, name: str, known: bool) -> None:
    """It cannot come back: a new process has another number. In a container, numbers are too small to tell."""
    host.run_of(ALICE._replace(pid=4711), name)
    host.run_of(ALICE._replace(pid=7), "rank-7")
    host.stopping.add("trainer")
    host.end(ALICE._replace(pid=4711))
    host.end(ALICE._replace(pid=7))
    assert (host.engine.get(name) is not None) is known
    assert host.state("rank-7") is State.WAITING


def test_a_paused_one_waits_for_its_program_when_it_is_resumed(host: Host) -> None:
    """Whether it is resumed before or after the program's start, which is then judged with a whole grace."""
    host.say(Kind.PAUSE, "rank", 0.0, who=None)
    host.stop(again=True)
    host.start()
    host.jump(1000.0)
    host.say(Kind.RESUME, "rank", who=None)
    assert host.state("rank") is State.WAITING
    host.jump(TEN.grace - 0.1)
    assert host.whats() == ["paused", "resumed"]
    host.jump(0.2)
    assert host.whats() == ["expired"]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("is_last", [True, False])
def test_a_removed_program_takes_what_it_fed_along(host: Host, named: bool, is_last: bool) -> None:
    """But for what the operator names himself: that waits, as it did before its first feed. In one turn of the loop
    the end of a process may be heard of before that of its program, or after it."""
    if named:
        host.engine.rules.replace_patterns([("rank", TEN)])
    host.stopping.add("trainer")
    if not is_last:
        host.end()
    host.down(removed=True)
    if is_last:
        host.end()
    host.jump(1000.0)
    assert host.whats() == []
    record = host.engine.get("rank")
    assert (record is not None) is named
    if record is not None:
        assert not record.awaited


@pytest.mark.parametrize("shown", [ALICE, BOB])
@pytest.mark.parametrize("feeds_on", [True, False])
@pytest.mark.parametrize("feeders", [Feeders.ANY, Feeders.EACH])
def test_a_pool_lives_on_without_the_process_of_a_removed_program(
    host: Host, feeders: Feeders, feeds_on: bool, shown: ProcessIdentity
) -> None:
    """Its end is heard of after the program's. Another process that feeds the pool is heard, and judged."""
    declaration = TEN._replace(feeders=feeders)
    host.engine.declare("pool", declaration, host.now, host.out)
    order = [ALICE, BOB] if (shown == BOB) is (feeders is Feeders.ANY) else [BOB, ALICE]
    for who in order * 2:
        host.jump(0.1)
        host.say(Kind.NOTE, "pool", 1, None, who=who, declaration=declaration)
    record = host.engine.get("pool")
    assert record is not None
    host.engine.on_purpose.belongs(ALICE, "trainer")
    assert record.owner == shown, "who fed last, or is due first"
    host.down(removed=True)
    for _ in range(20 if feeds_on else 0):
        host.feed("pool", who=BOB, declaration=declaration)
        host.engine.processes.exited(ALICE, host.now, host.out, -9)
        host.jump(1.0)
    assert (host.state("pool"), opened(host)) == (State.ALIVE, [])
    host.jump(10.1)
    assert opened(host) == [("pool", "timeout", BOB.pid)]


def test_an_incident_of_a_removed_programs_process_is_over(host: Host) -> None:
    """Nothing is done to the other one that feeds the name, which has its grace."""
    policy = Policy(TEN._replace(feeders=Feeders.EACH), Ladder((Step("kill", after=5.0),)))
    host.engine.declare("pool", policy, host.now, host.out)
    for who in (ALICE, BOB, ALICE, BOB):
        host.feed("pool", who=who)
    host.engine.on_purpose.belongs(ALICE, "trainer")
    host.say(Kind.FAIL, "pool", "broken")
    host.out.clear()
    host.down(removed=True)
    host.jump(TEN.grace - 0.1)
    assert [each.type for each in events_of(host.out) if each.name == "pool"] == ["closed"]
    host.jump(0.2)
    assert [name for name, _, _ in opened(host)] == ["pool"]


def test_what_a_removed_program_fed_is_expected_where_the_config_says_so(host: Host) -> None:
    """As after a start of the supervisor."""
    host.engine.rules.declare("rank", Policy(TEN, expect=True))
    host.engine.reconsider()
    host.stopping.add("trainer")
    host.end()
    host.down(removed=True)
    host.jump(TEN.grace - 1.0)
    assert host.whats() == []
    host.jump(2.0)
    assert host.whats() == ["expired"]


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("why", [None, "KeyboardInterrupt"])
def test_a_word_that_it_ends_releases_nothing(host: Host, told: bool, why: str | None) -> None:
    """It ends in order on the stop signal, whether its status will be known or not: it is awaited all the same."""
    host.engine.processes.tells_end = lambda process: told
    host.stopping.add("trainer")
    host.say(Kind.LEAVING, "rank", why)
    host.engine.processes.exited(ALICE, host.now, host.out, 0)
    host.jump(0.1)
    host.down()
    assert host.whats() == ([] if why is None else ["failed"])
    assert host.why("rank") == "stopped with trainer"


@pytest.mark.parametrize("feeders", [Feeders.ANY, Feeders.EACH])
def test_a_pool_loses_those_of_the_program_and_is_taken_down_with_the_last(host: Host, feeders: Feeders) -> None:
    """Another program's process goes on, and is judged."""
    other = BOB._replace(pid=7)
    for _ in range(2):
        for who in (ALICE, BOB, other):
            host.feed("pool", who=who, declaration=Declaration(10.0, 3.0, 20.0, feeders))
    host.engine.on_purpose.belongs(ALICE, "trainer")
    host.engine.on_purpose.belongs(BOB, "trainer")
    host.stopping.add("trainer")
    for who in (ALICE, BOB):
        host.engine.processes.exited(who, host.now, host.out, -15)
    host.jump(0.1)
    assert host.state("pool") is State.ALIVE
    host.feed("pool", who=other)
    host.engine.on_purpose.belongs(other, "trainer")
    host.engine.processes.exited(other, host.now, host.out, -9)
    host.jump(0.1)
    host.down()
    assert host.whats() == []
    assert host.why("pool") == "stopped with trainer"


def test_a_clean_end_of_what_depends_on_it_is_a_clean_end(host: Host) -> None:
    """It will not come back, and is not awaited; another end is no incident meanwhile."""
    for number, (name, status) in enumerate({"clean": 0, "dies": 1}.items(), 11):
        who = BOB._replace(pid=number)
        host.depends(name, "trainer")
        host.feed(name, who=who)
        host.stopping.add("trainer")
        host.engine.processes.exited(who, host.now, host.out, status)
        host.jump(0.1)
        host.jump(0.1)
    assert host.engine.get("clean") is None
    assert host.why("dies") == "stopped with trainer"
    assert "expired" not in host.said()


@pytest.mark.parametrize("clean", [True, False])
def test_names_of_processes_that_are_no_more_are_forgotten(host: Host, clean: bool) -> None:
    """A program whose processes come and go, each with a name of its own: released, or still watched."""
    count = 1000
    for number in range(count):
        who = ProcessIdentity(b"bootboot", 1000 + number, 1000 + number, b"aaaa")
        host.run_of(who, f"job-x{number}y")
        host.engine.processes.exited(who, host.now, host.out, 0 if clean else 1)
        host.jump(0.01)
    kept = host.engine.on_purpose._left["trainer"]
    if clean:
        assert len(kept) <= LEFT_MIN + 2
        return
    assert len(kept) == count
    host.out.clear()
    host.stop()
    assert len(told(host, "closed")) == count, "what fell in a crash is closed by the stop"


# -- groups and dependencies ---------------------------------------------------------------------------


def grouped(host: Host, at_least: int, *members: str) -> None:
    host.engine.quorums.set([Group("all", members, at_least)], TEN, host.now, host.out)
    host.jump(0.0)
    assert host.state("all") is State.ALIVE


def test_a_group_does_not_miss_what_is_stopped(host: Host) -> None:
    """Neither the program nor what its processes feed; a crash beside it is missed."""
    host.feed("rank2", who=BOB)
    grouped(host, 3, "trainer", "rank*")
    host.stop()
    host.jump(0.1)
    assert host.whats() == []
    assert host.why("all") == "stopped: trainer"
    host.end(BOB)
    for _ in range(2):
        host.jump(0.1)
    assert host.whats() == ["expired", "expired"]


def test_a_group_counts_what_was_started_again_and_hangs(host: Host) -> None:
    """After the grace of the start it is missed."""
    grouped(host, 1, "rank")
    host.stop(again=True)
    host.start()
    host.jump(START_GRACE_S + 0.1)
    host.jump(0.1)
    assert host.whats() == ["expired", "expired"]


def regrouped(host: Host, at_least: int, *members: str) -> list[str]:
    """A reload makes the group this one."""
    host.engine.quorums.set([Group("all", members, at_least)], TEN, host.now, host.out)
    host.jump(0.0)
    group = host.engine.get("all")
    assert group is not None
    assert group.quorum is not None
    return list(group.quorum.stopped)


def test_a_group_misses_what_hangs_when_one_that_is_stopped_is_a_member_no_longer(host: Host) -> None:
    """It has two members after the reload, of two that it wants: one is too few, and depended on by ``api``."""
    for name, who in (("a", BOB), ("b", ELSEWHERE)):
        host.feed(name, who=who)
    grouped(host, 2, "trainer", "a", "b")
    host.stop()
    host.jump(0.1)
    assert regrouped(host, 2, "a", "b") == []
    host.depends("api", "all", timeout=15.0)
    host.feed("api", who=BOB)
    for _ in range(4):
        host.jump(5.0)
        host.feed("a", who=BOB)
    expired = [each.name for each in events_of(host.out) if each.type == "expired"]
    assert expired == ["b", "all", "api"]


@pytest.mark.parametrize("members", [("trainer", "a"), ("tr*", "a")])
@pytest.mark.parametrize("is_new", [True, False])
def test_a_group_that_a_reload_makes_does_not_miss_what_is_stopped(
    host: Host, members: tuple[str, ...], is_new: bool
) -> None:
    """A group that is new, or that has it as a member only now; until it is up again, whatever was reloaded."""
    host.feed("a", who=BOB)
    if not is_new:
        grouped(host, 1, "a")
    host.stop()
    host.jump(0.1)
    host.out.clear()
    for _ in range(2):
        assert regrouped(host, 2, *members) == ["trainer"]
        for _ in range(5):
            host.jump(5.0)
            host.feed("a", who=BOB)
    assert (host.state("all"), host.whats()) == (State.ALIVE, [])
    host.start()
    assert regrouped(host, 2, *members) == []


def test_a_group_misses_a_program_that_was_removed_and_is_named_again(host: Host) -> None:
    """It is not stopped on purpose: there is none."""
    grouped(host, 1, "trainer", "a")
    host.stop()
    host.down(removed=True)
    assert regrouped(host, 1, "trainer", "a") == []


@pytest.mark.parametrize("on", ["trainer", "rank", "between", "all"])
def test_what_depends_on_it_is_not_judged_meanwhile(host: Host, on: str) -> None:
    """On the program, on what it feeds, on something between, which is due later, or on a group of it."""
    grouped(host, 2, "trainer", "rank")
    host.depends("between", "rank", timeout=8.0)
    host.feed("between", who=BOB)
    host.depends("api", on)
    host.feed("api", who=BOB)
    host.stop()
    host.jump(5.1)
    assert host.whats() == []
    assert host.why("api") == "depends on trainer, which is stopped"
    host.jump(1000.0)
    host.start()
    host.jump(START_GRACE_S - 0.1)
    assert host.whats() == []
    host.jump(0.2)
    expired = [each.name for each in host.out if isinstance(each, Event) and each.type == "expired"]
    assert sorted(expired) == ["api", "between", "rank"]


LADDER = Ladder((Step("kill"),))


def blamed(host: Host, *, presumed: bool) -> None:
    """``api`` has an incident that is blamed on ``db``, which is down, or is only due to be found so."""
    policy = Policy(Declaration(5.0, 1000.0, 5.0), LADDER, depends_on=("db",))
    host.engine.declare("api", policy, host.now, host.out)
    host.engine.declare("db", Policy(Declaration(5.0, 1000.0, START_GRACE_S)), host.now, host.out)
    host.engine.on_purpose.program_up("db", host.now)
    for name in ("api", "db"):
        host.feed(name, who=BOB)
    host.now += 5.0
    assert host.engine.verdicts.sweep(host.now, host.out)
    host.engine.verdicts.judge(host.now, host.now, host.out, 1)
    incident = host.engine.get("api").incident  # type: ignore[union-attr]
    assert incident is not None
    assert (incident.blamed, incident.presumed) == ("db", True)
    if not presumed:
        host.jump(0.6)
        assert (incident.blamed, incident.presumed) == ("db", False)


def of_api(host: Host) -> list[str]:
    """What was told of it since it was fed."""
    return [each.type.value for each in events_of(host.out) if each.name == "api"][2:]


@pytest.mark.parametrize("presumed", [False, True])
def test_what_was_blamed_on_a_program_is_taken_down_when_that_is_stopped(host: Host, presumed: bool) -> None:
    """It has no time of its own to come back, without the program: its ladder does not begin."""
    blamed(host, presumed=presumed)
    host.stopping.add("db")
    host.jump(0.5)
    host.stopping.discard("db")
    host.engine.forget("db", host.now, host.out, "stopped")
    host.engine.on_purpose.program_down("db", host.now, host.out, again=False, removed=False)
    for _ in range(100):
        host.jump(1.0)
    assert of_api(host) == ["expired", "taken-down", "closed"]
    assert host.why("api") == "depends on db, which is stopped"
    host.engine.declare("db", EXIT_ONLY, host.now, host.out)
    host.engine.on_purpose.program_up("db", host.now)
    host.jump(START_GRACE_S + 0.1)
    assert of_api(host) == ["expired", "taken-down", "closed", "expired", "action"], "it is judged again"


def test_what_was_blamed_on_a_program_that_is_restarted_keeps_its_incident(host: Host) -> None:
    """It goes on, with a timeout from then on to follow: nobody has said that it is over."""
    blamed(host, presumed=False)
    host.engine.processes.restarted("db", host.now, host.out)
    host.engine.on_purpose.program_down("db", host.now, host.out, again=True, removed=False)
    host.engine.on_purpose.program_up("db", host.now)
    host.jump(4.9)
    assert of_api(host) == ["expired"]
    host.jump(0.2)
    assert of_api(host) == ["expired", "callback-repeated", "action"]
