"""Messages that need work, when there are many: taken in turn, bounded, and nobody is judged by what waits."""

from __future__ import annotations

from itertools import count, product

import pytest

from banken.protocol.codec import encode
from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration, Kind, Message, ProcessIdentity
from banken_supervisor.engine.driver import AT_ONCE, Driver
from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.engine.engine import Engine
from banken_supervisor.engine.fair_queue import FairQueue
from banken_supervisor.engine.policy import Quotas
from banken_supervisor.engine.principal import OtherUser, Principal
from banken_supervisor.engine.rules import Rules
from banken_supervisor.engine.states import State
from banken_supervisor.engine.waiting import (
    OVERHEAD,
    REPORT_EVERY_S,
    Source,
    Waiting,
    packed,
    source_of,
)

HOG = ProcessIdentity(b"bootboot", 7, 70, b"hhhh")
ALICE = ProcessIdentity(b"bootboot", 300, 3000, b"aaaa")
LOCAL = Principal.LOCAL
TIMEOUT = 10.0


def frame(kind: Kind, name: str, *args: object, who: ProcessIdentity | None = HOG) -> bytes:
    return encode(Message(kind, name, who, 0.0, None, args))


class Turns:
    """An engine that may take only a few of the waiting messages in a turn."""

    def __init__(self, few: int = 5) -> None:
        self.driver = Driver(Engine(Rules(Declaration(TIMEOUT, 3.0, TIMEOUT)), "run", b"token"), 0.0)
        self.engine = self.driver.engine
        self.few = few
        self.real = 0.0

    def turn(self, frames: list[bytes], seconds: float = 0.01) -> list[Event]:
        """Read these; the events of this turn. A probe comes back within it."""
        driver = self.driver
        self.real += seconds
        driver.wake(self.real, seconds)
        driver.read(iter(frames))
        taken = count()
        driver.drained(len(frames), True, more=lambda: next(taken) < self.few)
        while (probe := driver.decide()) is not None:
            driver.read(iter([encode(Message(Kind.PROBE, "banken", None, 0.0, None, (b"token", probe)))]))
            driver.drained(1, True, more=lambda: False)
        events = [effect for effect in driver.out if isinstance(effect, Event)]
        driver.out.clear()
        return events

    def pass_time(self, seconds: float) -> list[Event]:
        """Many turns in which nothing comes."""
        return [event for _ in range(round(seconds / 0.05)) for event in self.turn([], 0.05)]


def extends(number: int) -> list[bytes]:
    return [frame(Kind.EXTEND, "hog", float(1 + each)) for each in range(number)]


# -- the queue -------------------------------------------------------------------------------------------


def test_a_crowd_of_one_source_delays_another_by_one() -> None:
    queue = FairQueue[str, int]()
    for number in range(1000):
        queue.put("hog", number)
    queue.put("alice", -1)
    queue.put("alice", -2)
    taken = [queue.take() for _ in range(5)]
    assert taken == [0, -1, 1, -2, 2]
    assert len(queue) == 997


def test_who_sent_a_message_is_seen_without_decoding_it() -> None:
    """The same for all of its messages, whatever its random part is, and what its record's owner gives."""
    pids, starts = (1, 127, 128, 255, 256, 50180, 65536, 2**32 - 1), (0, 5, 200, 0xC404, 2**40)
    for pid, start, length in product(pids, starts, (1, 31, 32, 128)):
        who = ProcessIdentity(b"bootboot", pid, start, b"nnnn")
        found = {
            source_of(encode(Message(kind, "w" * length, each, 0.5, None, args)), LOCAL, 0)
            for each in (who, who._replace(nonce=b"mmmm"))
            for kind, args in ((Kind.FEED, ()), (Kind.NOTE, (1, "x" * 500)))
        }
        assert len(found) == 1
        if start != 0xC404 and pid != 50180:  # these look like the random part's beginning
            assert found == {Source(LOCAL, packed(who))}
            assert found.pop().pid == pid


@pytest.mark.parametrize("bad", [b"", b"x", bytes(3), b"\x96\x01\x01\xd9", bytes(range(256)), b"\xc4" * 60])
def test_what_names_no_process_has_one_source(bad: bytes) -> None:
    nobody = Source(LOCAL, b"")
    assert source_of(bad, LOCAL, 0) == nobody
    assert source_of(frame(Kind.FEED, "w", who=None), LOCAL, 0) == nobody == Source(LOCAL, packed(None))
    assert nobody.pid is None


@pytest.mark.parametrize("what", [b"\xc1", b"\x01", b"\xc0\xc0", b"\x91\x01\x02", b"\xa1x\x05", bytes(3)])
def test_what_a_process_says_of_itself_may_be_anything(what: bytes) -> None:
    """It is told without a number, and is no error of the supervisor's."""
    source = source_of(b"\x96\x01\x04\xa1w\x94\xc4\x08bootboot" + what + b"\xc4\x04nnnn\x00\xc0", LOCAL, 0)
    assert source.pid is None or type(source.pid) is int


def test_one_source_leaves_room_for_others_however_much_it_sends() -> None:
    waiting = Waiting(Quotas())
    big, others = (frame(Kind.FAIL, "w", "x" * 4096, who=who) for who in (HOG, ALICE))
    taken = sum(waiting.put(big, LOCAL) is None for _ in range(2 * waiting.most // len(big)))
    assert taken * (len(big) + OVERHEAD) == pytest.approx(waiting.most / 2, rel=0.01)
    assert waiting.put(big, LOCAL) == "flood"
    assert waiting.put(others, LOCAL) is None
    assert waiting.size <= waiting.most
    while waiting.take() is not None:
        pass
    assert waiting.size == 0
    assert waiting.is_calm


def test_who_causes_too_many_events_waits_and_others_do_not() -> None:
    waiting, hog = Waiting(Quotas(events_per_second=100, events_burst=1000)), Source(LOCAL, packed(HOG))
    first, second = (frame(Kind.PAUSE, "w", seconds) for seconds in (1.0, 2.0))
    other = frame(Kind.PAUSE, "w", 3.0, who=ALICE)
    waiting.put(first, LOCAL)
    waiting.charge(hog, 999, 0.0)
    assert waiting.patience(0.0) == 0.0
    waiting.charge(hog, 1, 0.0)
    waiting.put(second, LOCAL)
    waiting.put(other, LOCAL)
    assert waiting.take() == (other, LOCAL, 0)
    assert waiting.take() is None
    left = waiting.patience(0.0)
    assert left is not None
    assert 0.0 < left <= 0.2
    waiting.wake(left)
    assert [waiting.take(), waiting.take()] == [(first, LOCAL, 0), (second, LOCAL, 0)]
    # For long, it causes what leaks.
    caused = 0
    for tick in range(1000):
        now = 1.0 + tick / 100
        waiting.wake(now)
        waiting.put(first, LOCAL)
        while waiting.take() is not None:
            waiting.charge(hog, 5, now)
            caused += 5
    assert caused <= 1.2 * (100 * 10 + 100)


def test_the_kernels_word_counts_before_what_a_message_claims() -> None:
    """Whatever processes one connection names, it has one turn; and whom it names is not judged by what it says."""
    waiting = Waiting(Quotas())
    waiting.speaker = lambda: 77
    for number in range(100):
        waiting.put(frame(Kind.PAUSE, "w", 1.0, who=HOG._replace(pid=1000 + number)), LOCAL)
    waiting.speaker = lambda: 88
    waiting.put(frame(Kind.PAUSE, "w", 2.0, who=ALICE), LOCAL)
    taken = [waiting.take() for _ in range(2)]
    assert [each and each[2] for each in taken] == [77, 88]
    assert waiting.holds("w", HOG._replace(pid=1099))
    assert not waiting.holds("w", ALICE)
    while waiting.take() is not None:
        pass
    assert not waiting.holds("w", HOG._replace(pid=1099))
    assert waiting.size == 0


# -- the engine ------------------------------------------------------------------------------------------


def test_a_flood_delays_an_honest_process_by_one_round() -> None:
    turns = Turns()
    turns.turn([frame(Kind.FEED, "hog")])
    turns.turn([*extends(AT_ONCE + 5000), frame(Kind.FEED, "alice", who=ALICE)])
    assert turns.engine.get("alice") is not None
    assert turns.engine.waiting.size > 0
    events = turns.turn([frame(Kind.FAIL, "alice", "out of paper", who=ALICE)])
    assert [event.type for event in events if event.name == "alice"][:1] == [EventType.EXPIRED]


def test_in_calm_nothing_waits() -> None:
    turns = Turns(few=0)
    turns.turn(extends(AT_ONCE))
    assert turns.engine.waiting.is_calm


def test_the_messages_of_one_process_keep_their_order() -> None:
    turns = Turns(few=50)
    turns.turn([frame(Kind.FEED, "hog"), *[frame(Kind.NOTE, "hog", number, None) for number in range(3000)]])
    seen = []
    while not turns.engine.waiting.is_calm:
        turns.turn([])
        details = turns.engine.get("hog").details  # type: ignore[union-attr]
        assert details is not None
        seen.append(details.progress)
    assert seen == sorted(seen)
    assert seen[-1] == 2999


@pytest.mark.parametrize("who", [HOG, None])
@pytest.mark.parametrize(
    ("word", "args"), [(Kind.FAIL, ("x",)), (Kind.EXTEND, (600.0,)), (Kind.WORK, (600.0, None))]
)
def test_a_plain_feed_does_not_overtake_what_its_worker_said_before(
    word: Kind, args: tuple[object, ...], who: ProcessIdentity | None
) -> None:
    """Failed, then fed: it has recovered. What was promised ends with the feed: its silence is judged in time."""
    turns = Turns(few=1)
    feed = frame(Kind.FEED, "w", who=who)
    turns.turn([feed])
    turns.turn([feed])
    crowd = [frame(Kind.EXTEND, "other", 5.0, who=ALICE)] * AT_ONCE
    told = turns.turn([*crowd, frame(word, "w", *args, who=who), feed])
    told += turns.pass_time(1.0)
    record = turns.engine.get("w")
    assert record is not None
    assert record.state is State.ALIVE
    assert [event.type for event in told if event.name == "w" and event.type is EventType.RECOVERED] == (
        [EventType.RECOVERED] if word is Kind.FAIL else []
    )
    expired = [event.name for event in turns.pass_time(TIMEOUT) if event.type is EventType.EXPIRED]
    assert "w" in expired
    turns.turn([feed])
    turns.turn([feed])
    assert record.frame == feed  # in calm it is plain again


def test_silence_is_judged_for_those_who_do_not_flood_and_not_before_ten_times_for_the_others() -> None:
    """What proves that the flooding process lives may be among what waits. If that lasts, it is judged."""
    turns = Turns(few=0)
    turns.turn([frame(Kind.FEED, "hog"), frame(Kind.FEED, "hog-2"), frame(Kind.FEED, "alice", who=ALICE)])
    turns.turn(extends(AT_ONCE + 100)[AT_ONCE // 2 :])
    turns.engine.waiting.at_once = 0
    turns.engine.intake(iter(extends(10)), turns.driver.now, turns.driver.out)
    expired = [event.name for event in turns.pass_time(TIMEOUT + 1) if event.type is EventType.EXPIRED]
    assert expired == ["alice"]
    # Its known feeds are taken at once, even now.
    turns.turn([frame(Kind.FEED, "hog-2")])
    expired = [event.name for event in turns.pass_time(9 * TIMEOUT + 3) if event.type is EventType.EXPIRED]
    assert expired == ["hog-2"]  # the last EXTEND made that of hog later still


@pytest.mark.parametrize("silent", [["w"], ["w", "w-2", "w-3"]])
def test_a_busy_process_is_judged_as_soon_as_what_it_sent_is_taken(silent: list[str]) -> None:
    """When its silent names are due, one of its messages about another waits, and a hog floods before and after."""
    turns = Turns(few=5)
    turns.turn([frame(Kind.FEED, name, who=ALICE) for name in (*silent, "busy")])

    def flooded(seconds: float, *more: bytes) -> list[str | None]:
        told = turns.turn([*extends(AT_ONCE + 10), *more], 0.05)
        for _ in range(round(seconds / 0.05)):
            told += turns.turn(extends(AT_ONCE + 10), 0.05)
        return [event.name for event in told if event.type is EventType.EXPIRED]

    assert flooded(TIMEOUT - 0.5) == []
    turns.few = 0
    assert flooded(1.0, frame(Kind.EXTEND, "busy", 60.0, who=ALICE)) == []
    turns.few = 5
    assert flooded(1.0) == silent


def test_the_end_of_a_process_is_judged_after_all_that_it_sent() -> None:
    turns = Turns(few=0)
    turns.turn([frame(Kind.FEED, "hog")])
    turns.engine.waiting.at_once = 0
    last = [*extends(10), frame(Kind.FAIL, "hog", "the disk is on fire")]
    turns.engine.intake(iter(last), turns.driver.now, turns.driver.out)
    turns.engine.processes.exited(HOG, turns.driver.now, turns.driver.out, 1)
    assert not any(event.type is EventType.EXPIRED for event in turns.pass_time(1.0))
    turns.few = 3
    expired = [event for event in turns.pass_time(1.0) if event.type is EventType.EXPIRED]
    assert [(event.data["cause"], event.data["reason"]) for event in expired] == [
        (Cause.FAILED, "the disk is on fire")
    ]


def test_a_flood_is_told_and_what_does_not_fit_is_counted() -> None:
    turns = Turns(few=0)
    big = [frame(Kind.NOTE, "hog", number, "x" * 1000) for number in range(1000)]
    told = []
    for _ in range(20):
        told += [event for event in turns.turn(big) if event.type is EventType.FLOOD]
    assert [event.data["pid"] for event in told] == [HOG.pid]
    assert turns.engine.admission.refused["flood"] >= told[0].data["dropped"] > 0
    assert turns.engine.waiting.size <= turns.engine.waiting.most / 2 + 2000
    assert [event.data["pid"] for event in turns.pass_time(REPORT_EVERY_S) if event.type is EventType.FLOOD] == [7]
    turns.few = 10**6
    turns.pass_time(0.2)
    assert turns.engine.waiting.is_calm


def test_the_supervisors_own_probe_never_waits() -> None:
    turns = Turns(few=0)
    turns.turn([*extends(AT_ONCE + 50), encode(Message(Kind.PROBE, "banken", None, 0.0, None, (b"token", 77)))])
    turns.engine.waiting.at_once = 0
    turns.engine.intake(
        iter([encode(Message(Kind.PROBE, "banken", None, 0.0, None, (b"token", 78)))]), turns.driver.now, []
    )
    assert turns.engine.probes_seen == [78]  # 77 was read by the driver


def test_another_user_who_names_a_process_delays_only_its_own_names() -> None:
    """Its messages claim another's process: those of that process go on, and its silence is judged in time."""
    turns = Turns(few=0)
    user = OtherUser(33, {"web": 33}.get, lambda process: False)
    turns.turn([frame(Kind.FEED, "alice", who=ALICE)])
    turns.engine.waiting.at_once = 0
    forged = [frame(Kind.EXTEND, "alice", 5.0, who=ALICE) for _ in range(100)]
    turns.engine.intake(iter(forged), turns.driver.now, turns.driver.out, user)
    expired = [event.name for event in turns.pass_time(TIMEOUT + 1) if event.type is EventType.EXPIRED]
    assert expired == ["alice"]
    assert turns.engine.waiting.holds("web", ALICE)


@pytest.mark.parametrize("garbage", [b"", b"x" * 60, bytes(60), b"\x9f" + b"\xdc\x03\xe8" * 20, bytes(100_000)])
def test_garbage_does_not_wait_in_a_flood(garbage: bytes) -> None:
    """It costs next to nothing, and delays no name that is fed without a process."""
    turns = Turns(few=0)
    turns.turn([*extends(AT_ONCE + 10), *[garbage] * 500])
    assert turns.engine.admission.refused["garbage"] == 500
    assert not turns.engine.waiting.holds("w", None)


def test_known_feeds_are_taken_in_a_flood() -> None:
    turns = Turns(few=0)
    turns.turn([frame(Kind.FEED, "alice", who=ALICE)])
    for _ in range(int(3 * TIMEOUT / 0.5)):
        events = turns.turn([*extends(300), frame(Kind.FEED, "alice", who=ALICE)], 0.5)
        assert not [event for event in events if event.type is EventType.EXPIRED]
    assert turns.engine.get("alice").state is State.ALIVE  # type: ignore[union-attr]
