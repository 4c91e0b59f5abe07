"""What a process says about its watchdogs: frames, windows and counts, with nothing to carry them."""

from __future__ import annotations

import time

import pytest

from banken import Watchdog, client
from banken.client import base_client
from banken.errors import CallbackRefused, NameRefused, Refused
from banken.protocol import limits
from banken.protocol.messages import Declaration, Kind
from banken.testing import Recorder, recording


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(base_client, "monotonic", made)
    monkeypatch.setattr("banken.watchdog.handle.monotonic", made)
    return made


def test_feeds_within_the_resolution_travel_once(clock: Clock) -> None:
    """2 % of the declared timeout: one message, the rest coalesced, and the next one after the window."""
    sent = Recorder()
    dog = sent.watchdog("w", timeout=10)
    for _ in range(5):
        dog.feed()
    sent.feed("w")
    assert sent.kinds("w") == [Kind.DECLARE, Kind.FEED]
    clock.now += 0.19
    sent.feed("w")
    assert len(sent.messages) == 2
    clock.now += 0.02
    dog.feed()
    assert len(sent.messages) == 3
    assert sent.messages[-1].resolution == 0.2
    assert sent.messages[-1].declaration == Declaration(10, 20, 10)
    assert sent.fed("w") == 8


def test_an_undeclared_name_has_ten_milliseconds(clock: Clock) -> None:
    """It cannot know the timeout, so its window is small, and it says so."""
    sent = Recorder()
    sent.feed("w")
    sent.feed("w")
    clock.now += 0.011
    sent.feed("w")
    assert [m.resolution for m in sent.messages] == [0.01, 0.01]
    assert sent.messages[0].declaration is None


def test_resolution_zero_sends_every_feed(clock: Clock) -> None:
    """No window at all."""
    sent = Recorder()
    dog = sent.watchdog("w", timeout=10, resolution=0)
    for _ in range(5):
        dog.feed()
    assert sent.kinds("w").count(Kind.FEED) == 5


def test_a_feed_that_could_not_be_sent_opens_no_window(clock: Clock) -> None:
    """The first feed after the supervisor is back travels."""
    sent = Recorder(reachable=False)
    sent.feed("w")
    sent.reachable = True
    sent.feed("w")
    assert sent.kinds("w") == [Kind.FEED]
    line = sent.line("w")
    assert line is not None
    assert (line.sent, line.dropped) == (1, 1)


def test_a_new_status_travels_at_once_and_the_same_one_does_not(clock: Clock) -> None:
    """People read the status, so a change is not swallowed; progress may wait for the window's end."""
    sent = Recorder()
    sent.feed("w", status="loading")
    sent.feed("w", status="loading")
    sent.feed("w", status="training")
    sent.feed("w", progress=1)
    clock.now += 0.02
    sent.feed("w", progress=2)
    assert [m.args for m in sent.messages] == [(None, "loading"), (None, "training"), (2, None)]


def test_what_else_is_said_opens_the_window_again(clock: Clock) -> None:
    """After fail, pause or resume the next feed must travel: the keeper's state has changed."""
    sent = Recorder()
    for word in (
        lambda: sent.fail("w", "broken"),
        lambda: sent.pause("w", 5),
        lambda: sent.resume("w"),
        lambda: sent.extend("w", 5),
    ):
        sent.feed("w")
        before = len(sent.messages)
        word()
        sent.feed("w")
        assert len(sent.messages) == before + 2


def test_a_release_that_could_not_be_sent_is_sent_before_the_next_feed(clock: Clock) -> None:
    """Forgotten releases would cry wolf; one that is out of date would silence a watchdog."""
    sent = Recorder()
    for name in ("a", "b", "c"):
        sent.feed(name)
    sent.reachable = False
    for name in ("a", "b"):
        assert sent.release(name) is False
    sent.reachable = True
    clock.now += 1
    sent.feed("b")
    sent.feed("c")
    assert sent.kinds("a") == [Kind.FEED, Kind.RELEASE]
    assert sent.kinds("b") == [Kind.FEED, Kind.FEED]


def test_a_section_is_a_watchdog_while_its_block_runs() -> None:
    """Declared on entry, released on exit, also when the block raises; two never share a name."""
    sent = Recorder()
    with sent.section("load", timeout=30) as outer, sent.section("load", timeout=5) as inner:
        assert outer.name != inner.name
        inner.extend(60)
    with pytest.raises(ZeroDivisionError), sent.section("load", timeout=5) as failing:
        raise ZeroDivisionError
    assert sent.kinds(outer.name) == [Kind.DECLARE, Kind.RELEASE]
    assert sent.kinds(inner.name) == [Kind.DECLARE, Kind.EXTEND, Kind.RELEASE]
    assert sent.kinds(failing.name) == [Kind.DECLARE, Kind.RELEASE]
    assert sent.messages[0].declaration == Declaration(30, 30, 30)


def test_after_stop_a_feed_through_the_handle_declares_nothing() -> None:
    """A thread that still feeds must not bring a released watchdog back; start_in_thread does."""
    sent = Recorder()
    dog = sent.watchdog("w", timeout=10, resolution=0)
    dog.feed()
    dog.stop()
    dog.feed()
    assert sent.kinds("w") == [Kind.DECLARE, Kind.FEED, Kind.RELEASE]
    dog.start_in_thread()
    dog.start_in_thread()
    dog.feed()
    assert sent.kinds("w")[3:] == [Kind.DECLARE, Kind.FEED]


def test_a_changed_timeout_is_declared_anew() -> None:
    """The attributes of the original can be set while it runs."""
    sent = Recorder()
    dog = sent.watchdog("w", timeout=10)
    dog.timeout = 50
    dog.interval = 7
    declared = [m.declaration for m in sent.messages]
    assert declared == [Declaration(10, 20, 10), Declaration(50, 20, 50), Declaration(50, 7, 50)]


def test_callbacks_are_bound_or_named() -> None:
    """A function stays in this process; a name travels; anything else is refused."""
    sent = Recorder()
    barks: list[str] = []
    dog = sent.watchdog("w", callback=lambda: barks.append("w"))
    sent.callbacks["w"]()
    assert barks == ["w"]
    dog.stop()
    assert sent.callbacks == {}
    sent.watchdog("v", callback="page-oncall")
    assert sent.messages[-1].declaration is not None
    assert sent.messages[-1].declaration.callback == "page-oncall"
    for bad in (lambda a, b: None, 7):
        with pytest.raises(CallbackRefused):
            sent.watchdog("u", callback=bad)  # type: ignore[arg-type]


def test_bad_input_is_refused_and_nothing_is_sent() -> None:
    """Every refusal is a ValueError, before anything travels."""
    sent = Recorder()
    for call in (
        lambda: sent.feed("no name"),
        lambda: sent.feed(""),
        lambda: sent.feed(7),  # type: ignore[arg-type]
        lambda: sent.feed("w", progress=[1]),  # type: ignore[arg-type]
        lambda: sent.feed("w", status=b"x"),  # type: ignore[arg-type]
        lambda: sent.fail("w", None),  # type: ignore[arg-type]
        lambda: sent.pause("w", 0),
        lambda: sent.extend("w", -1),
        lambda: sent.watchdog("w", timeout=0),
        lambda: sent.watchdog("w", interval=float("nan")),
        lambda: sent.watchdog("w", grace=-1),
        lambda: sent.watchdog("w", feeders="both"),
        lambda: sent.watchdog("w", resolution=-0.1),
        lambda: sent.section("a b", 3),
        lambda: sent.section("a", 0),
    ):
        with pytest.raises(Refused):
            call()
    assert sent.messages == []


def test_feeding_without_a_name_feeds_the_one_that_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """$BANKEN_NAME names the watchdog of a program."""
    monkeypatch.setenv("BANKEN_NAME", "program-7")
    sent = Recorder()
    sent.feed()
    sent.feed()
    assert sent.fed("program-7") == 2
    assert [m.name for m in sent.messages] == ["program-7"]


def test_a_program_that_is_run_by_hand_feeds_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody gave it a name: its feeds do nothing, and say so once; given one later, it feeds that."""
    monkeypatch.setattr(limits, "_warned", set())
    monkeypatch.delenv("BANKEN_NAME", raising=False)
    sent = Recorder()
    sent.feed()
    sent.feed(progress=3)
    sent.feed(None, status="step 3")
    assert sent.messages == []
    assert [each.message for each in caplog.records if "$BANKEN_NAME" in each.message] == [
        caplog.records[0].message
    ]
    for empty in ("", "no name"):
        with pytest.raises(NameRefused):
            sent.feed(empty)
    monkeypatch.setenv("BANKEN_NAME", "program-7")
    sent.feed()
    assert sent.fed("program-7") == 1


def test_a_progress_that_is_no_number_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is fed all the same, from every handle."""
    monkeypatch.setattr(limits, "_warned", set())
    sent = Recorder()
    dog = sent.watchdog("w", timeout=10, resolution=0)
    dog.feed(progress=float("nan"))
    sent.feed("w", progress=float("nan"))
    Watchdog().feed(progress=float("nan"))
    assert [m.args for m in sent.messages[1:]] == [(None, None), (None, None)]
    assert [each.message for each in caplog.records] == [
        "progress=nan is no progress: a feed with it proves life and nothing more"
    ]


WORDS = {
    "feed": lambda sent: sent.feed("x"),
    "section": lambda sent: sent.section("other", 5).__enter__(),
    "declare": lambda sent: sent.watchdog("x"),
    "note": lambda sent: sent.feed("x", status="busy"),
    "work": lambda sent: sent.idle("x"),
    "extend": lambda sent: sent.extend("x", 5),
    "release": lambda sent: sent.release("x"),
}


@pytest.mark.parametrize("word", WORDS)
def test_a_lost_release_is_said_again_with_the_next_word(word: str) -> None:
    """Of any kind: a process that only has sections never feeds."""
    sent = Recorder()
    with sent.section("load", timeout=30) as section:
        sent.reachable = False
    sent.reachable = True
    WORDS[word](sent)
    assert sent.kinds(section.name) == [Kind.DECLARE, Kind.RELEASE]
    WORDS[word](sent)
    assert sent.kinds(section.name) == [Kind.DECLARE, Kind.RELEASE]


def test_sections_that_no_supervisor_heard_of_are_not_released() -> None:
    """Nor remembered: there would be thousands of them in an outage. They count as dropped."""
    sent = Recorder(reachable=False)
    for _ in range(3):
        with sent.section("load", timeout=30):
            pass
    sent.reachable = True
    with sent.section("load", timeout=30):
        sent.reachable = False
    assert [m.kind for m in sent.messages] == [Kind.DECLARE]
    assert sent._past.dropped == 3 + 1


def test_what_was_declared_again_while_nothing_listened_is_released_all_the_same() -> None:
    """A supervisor knows it from before."""
    sent = Recorder()
    dog = sent.watchdog("w", timeout=10)
    sent.reachable = False
    dog.timeout = 5
    sent.reachable = True
    dog.stop()
    assert sent.kinds("w") == [Kind.DECLARE, Kind.RELEASE]


def test_leave_releases_what_this_process_fed_or_declared() -> None:
    """Once, and nothing that it only spoke of; fed later it is watched anew."""
    sent = Recorder()
    dog = sent.watchdog("declared", timeout=10)
    sent.feed("fed")
    sent.pause("spoken-of", 5)
    assert sent.leave() is True
    assert sent.leave() is True
    released = [m.name for m in sent.messages if m.kind is Kind.RELEASE]
    assert sorted(released) == ["declared", "fed"]
    dog.feed()
    assert sent.kinds("declared") == [Kind.DECLARE, Kind.RELEASE, Kind.FEED]


def test_recording_catches_the_default_client() -> None:
    """For users' own tests: what the module's functions say goes to the recorder, and back afterwards."""
    before = client.feed
    with recording() as sent:
        client.feed("w")
        client.watchdog("v", timeout=5).feed()
    assert sent.fed("w") == 1
    assert sent.kinds("v") == [Kind.DECLARE, Kind.FEED]
    assert client.feed == before


def test_last_feed_time_is_what_a_clock_on_the_wall_said() -> None:
    """The handle tells when it was fed, in time.time()'s terms."""
    dog = Recorder().watchdog("w")
    dog.feed()
    assert abs(dog.last_feed_time - time.time()) < 1
