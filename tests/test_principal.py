"""What another user's programs may say: of their own names, and about their own processes."""

from __future__ import annotations

import pytest

from banken.protocol.codec import encode
from banken.protocol.messages import Feeders, Kind, Message
from banken_supervisor.engine.effects import WatchProcess
from banken_supervisor.engine.policy import Group
from banken_supervisor.engine.principal import OtherUser
from banken_supervisor.engine.states import State
from engine_kit import ALICE, BOB, TEN, Bench

PROGRAMS = {"web": 33, "web/admin": 0, "new": -1, "db": 34}
WEB = OtherUser(33, PROGRAMS.get, lambda process: process == ALICE)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def say(bench: Bench, kind: Kind, name: str, *args: object, **more: object) -> str | None:
    """Why it was refused."""
    message = Message(kind, name, more.get("who", ALICE), 0.0, None, args)
    refused = bench.engine.take(encode(message), bench.now, bench.out, WEB)
    return None if refused is None else refused.reason


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("web", True),
        ("web/1", True),
        ("web@2.1", True),
        ("web/load@3.1", True),
        ("web/admin", False),
        ("web/admin/x", False),
        ("web/administrator", True),
        ("website", False),
        ("web.x", False),
        ("new", False),
        ("new/web", False),
        ("db", False),
        ("other", False),
        ("other/web", False),
        ("/web", False),
        ("@", False),
    ],
)
def test_only_names_of_its_own_programs_are_its_own(name: str, may: bool) -> None:
    assert WEB.may_use(name) is may


def test_every_kind_of_message_is_refused_for_another_name(bench: Bench) -> None:
    """Counted and told, whether the name is watched or not; for its own name each is taken."""
    bench.feed("other", who=BOB)
    kinds = dict.fromkeys(Kind, ()) | {
        Kind.FAIL: ("why",), Kind.PAUSE: (0,), Kind.EXTEND: (5,), Kind.NOTE: (1, None), Kind.WORK: (5, None),
        Kind.LEAVING: (None,), Kind.RESULT: (True, "", 1.0, 1.0, False, None, False),
    }  # fmt: skip
    del kinds[Kind.PROBE]
    for kind, args in kinds.items():
        for name in ("other", "unknown"):
            assert say(bench, kind, name, *args) == "user", kind
        say(bench, Kind.FEED, "web")
        assert say(bench, kind, "web", *args) == ("unknown" if kind is Kind.RESULT else None), kind
    assert bench.engine.admission.refused["user"] == 2 * len(kinds)
    told = [each.data for each in bench.out if getattr(each, "type", None) == "refused"]
    assert told[0]["reason"] == "user"
    assert "user 33 may not speak of 'other'" in told[0]["text"]
    assert bench.state("other") is State.ALIVE
    assert bench.state("unknown") is None


def test_a_feed_that_is_known_by_its_bytes_is_refused_too(bench: Bench) -> None:
    """The very bytes that another process sends: they prove nothing here, with and without a feed history."""
    frames = [encode(Message(Kind.FEED, name, BOB, 0.0, None)) for name in ("other", "web")]
    for frame in frames:
        bench.engine.intake(iter([frame]), bench.now, bench.out)
    fed = bench.now
    for recording in (True, False):
        bench.engine.history.recording = recording
        bench.now += 1.0
        bench.engine.intake(iter(2 * frames), bench.now, bench.out, WEB)
    other, web = bench.engine.get("other"), bench.engine.get("web")
    assert other is not None
    assert web is not None
    assert (other.fed_at, web.fed_at) == (fed, bench.now)
    assert bench.engine.admission.refused["user"] == 4


def test_a_group_is_not_spoken_for(bench: Bench) -> None:
    bench.engine.quorums.set([Group("web/all", ("web",), 1)], TEN, bench.now, bench.out)
    assert say(bench, Kind.PAUSE, "web/all", 0) == "user"


def test_it_proves_life_but_claims_no_process_of_another_user(bench: Bench) -> None:
    """What says that it is another's process is fed, and owned by none: nothing is watched or signalled for it."""
    assert say(bench, Kind.FEED, "web", who=BOB) is None
    record = bench.engine.get("web")
    assert record is not None
    assert (record.state, record.owner) == (State.ALIVE, None)
    assert not [each for each in bench.out if isinstance(each, WatchProcess)]
    assert say(bench, Kind.FEED, "web", who=ALICE) is None
    assert record.owner == ALICE
    assert say(bench, Kind.FEED, "web", who=BOB) is None
    assert record.owner == ALICE
    assert record.declaration.feeders is Feeders.LATEST
