"""What comes over tcp with a key: its own names, its own frames, and processes that are nobody else's. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from banken.process_identity import own_identity
from banken.protocol.codec import encode
from banken.protocol.messages import Kind, Message, ProcessIdentity
from banken_supervisor.engine.policy import Quotas
from banken_supervisor.engine.principal import KEY_PART, KeyHolder
from banken_supervisor.engine.states import State
from banken_supervisor.processes.handle import is_local
from engine_kit import ALICE, BOB, Bench, told

ARGS = dict.fromkeys(Kind, ()) | {
    Kind.FAIL: ("why",), Kind.PAUSE: (0,), Kind.EXTEND: (5,), Kind.NOTE: (1, None), Kind.WORK: (5, None),
    Kind.LEAVING: (None,), Kind.RESULT: (True, "", 1.0, 1.0, False, None, False),
}  # fmt: skip
del ARGS[Kind.PROBE]


def seal(what: bytes) -> bytes:
    return hashlib.blake2b(what, digest_size=KEY_PART, key=b"of the supervisor").digest()


def holder(name: str, may_use: Callable[[str], bool] | None = None) -> KeyHolder:
    made = KeyHolder(name, name.encode() * 40, seal)
    made.allow(may_use or (lambda watchdog: watchdog.startswith(name)))
    return made


@pytest.fixture
def bench() -> Bench:
    return Bench()


def frame(name: str, kind: Kind = Kind.FEED, who: ProcessIdentity | None = ALICE) -> bytes:
    return encode(Message(kind, name, who, 0.0, None, ARGS[kind]))


def say(
    bench: Bench, by: KeyHolder, name: str, kind: Kind = Kind.FEED, **more: ProcessIdentity | None
) -> str | None:
    """Why it was refused."""
    refused = bench.engine.take(frame(name, kind, **more), bench.now, bench.out, by)
    return None if refused is None else refused.reason


@pytest.mark.parametrize("kind", ARGS)
def test_each_kind_of_message_is_for_names_that_the_key_may_feed(bench: Bench, kind: Kind) -> None:
    """Counted and told, whether the name is watched or not."""
    a = holder("a")
    bench.feed("other", who=BOB)
    for name in ("other", "unknown"):
        assert say(bench, a, name, kind) == "key"
    say(bench, a, "a1")
    assert say(bench, a, "a1", kind) == ("unknown" if kind is Kind.RESULT else None)
    assert bench.engine.admission.refused["key"] == 2
    assert "`banken keys allow a --feed PATTERN` allows it" in told(bench, "refused")[0]["text"]
    assert (bench.state("other"), bench.state("unknown")) == (State.ALIVE, None)


def test_probes_are_the_supervisors_own(bench: Bench) -> None:
    probe = encode(Message(Kind.PROBE, "a1", None, 0.0, None, (b"guessed", 1)))
    refused = bench.engine.take(probe, bench.now, bench.out, holder("a"))
    assert refused is not None
    assert refused.reason == "probe"


def test_no_process_of_this_host_can_be_claimed(bench: Bench) -> None:
    """Nor one of another key. The same worker is the same, over a restart of the supervisor, too."""
    mine = own_identity()
    assert say(bench, holder("a"), "a1", who=mine) is None
    owner = bench.engine.get("a1").owner  # type: ignore[union-attr]
    assert owner is not None
    assert owner[1:] == mine[1:]
    assert owner.boot != mine.boot
    assert not is_local(owner)
    assert owner == holder("a").checked(mine)
    others = {holder(name).checked(mine) for name in "bcdef"} | {holder("a").checked(mine._replace(boot=bytes(8)))}
    assert owner not in others
    assert len(others) == 6


def test_a_feed_is_known_with_its_key(bench: Bench) -> None:
    """The very bytes: with another key they are looked at, and refused; from a process of this host they are its
    own."""
    a, b, feed = holder("a"), holder("b"), frame("a1")
    bench.engine.intake(iter([feed]), bench.now, bench.out, a)
    decoded = bench.engine.decoded_bytes
    for since in (1.0, 2.0):
        bench.engine.intake(iter([feed, feed]), bench.now + since, bench.out, a)
    record = bench.engine.get("a1")
    assert record is not None
    assert (record.fed_at, bench.engine.decoded_bytes) == (bench.now + 2.0, decoded)
    bench.engine.intake(iter([feed]), bench.now + 3.0, bench.out, b)
    assert (record.fed_at, bench.engine.admission.refused["key"]) == (bench.now + 2.0, 1)
    bench.engine.intake(iter([feed]), bench.now + 4.0, bench.out)
    assert record.owner == ALICE, "what is said on this host is taken as it stands"


def test_a_feed_of_this_host_is_not_known_from_another(bench: Bench) -> None:
    bench.feed("local")
    bench.engine.intake(iter([frame("local")]), bench.now + 5.0, bench.out, holder("a"))
    record = bench.engine.get("local")
    assert record is not None
    assert record.fed_at == bench.now
    assert bench.engine.admission.refused["key"] == 1


@pytest.mark.parametrize("narrowed", [None, lambda name: name == "a2"], ids=["revoked", "narrowed"])
def test_fewer_rights_count_from_the_next_message_on(bench: Bench, narrowed: Callable[[str], bool] | None) -> None:
    """For feeds that were known by their bytes, too."""
    a, feed = holder("a"), frame("a1")
    for since in (0.0, 1.0):
        bench.engine.intake(iter([feed]), bench.now + since, bench.out, a)
    a.allow(narrowed)
    bench.engine.intake(iter([feed]), bench.now + 2.0, bench.out, a)
    record = bench.engine.get("a1")
    assert record is not None
    assert record.fed_at == bench.now + 1.0
    assert bench.engine.admission.refused == {"key" if narrowed else "revoked": 1}
    a.allow(lambda name: True)
    bench.engine.intake(iter([feed]), bench.now + 3.0, bench.out, a)
    assert record.fed_at == bench.now + 3.0


def test_what_waits_is_refused_if_its_key_was_revoked_meanwhile(bench: Bench) -> None:
    a = holder("a")
    say(bench, a, "a1")
    bench.engine.waiting.at_once = 0
    bench.engine.intake(iter([frame("a1", Kind.PAUSE)]), bench.now, bench.out, a)
    a.allow(None)
    bench.engine.take_waiting(bench.now, bench.out)
    assert bench.state("a1") is State.ALIVE
    assert bench.engine.admission.refused["revoked"] == 1


def test_names_are_counted_by_key_and_not_by_process(bench: Bench) -> None:
    """A process is what the key says that it is; another key, and a process of this host, have their own number."""
    bench.engine.set_quotas(Quotas(names_per_process=3))
    a = holder("a")
    for number, who in enumerate((ALICE, BOB, ALICE._replace(boot=b"another-"))):
        assert say(bench, a, f"a{number}", who=who) is None
    assert say(bench, a, "a9", who=BOB._replace(pid=7)) == "names"
    assert say(bench, holder("b"), "b1") is None
    assert bench.say(Kind.FEED, "local") is None
    assert say(bench, a, "a0", Kind.RELEASE) is None
    assert say(bench, a, "a9", who=BOB._replace(pid=7)) is None
    assert say(bench, a, "a0") == "names"


def test_who_floods_with_one_key_delays_only_that_key(bench: Bench) -> None:
    """However many processes it invents. Others are taken in turn, and what waits is found by its process: its
    silence is judged patiently."""
    a, b = holder("a"), holder("b")
    say(bench, a, "a1")
    bench.engine.waiting.at_once = 0
    flood = [frame("a1", Kind.EXTEND, ALICE._replace(pid=pid)) for pid in range(1000, 1200)]
    bench.engine.intake(iter(flood), bench.now, bench.out, a)
    bench.engine.intake(iter([frame("a1", Kind.NOTE)]), bench.now, bench.out, a)
    bench.engine.intake(iter([frame("b1")]), bench.now, bench.out, b)
    waiting = bench.engine.waiting
    assert waiting.holds("a1", a.checked(ALICE)) == 1
    assert not waiting.holds("a1", ALICE)
    assert not waiting.holds("b1", b.checked(BOB))
    some = iter([True] * 3)
    bench.engine.take_waiting(bench.now, bench.out, lambda: next(some, False))
    assert bench.state("b1") is State.ALIVE
    bench.engine.take_waiting(bench.now, bench.out)
    assert not waiting.size
    assert not waiting.holds("a1", a.checked(ALICE))


def test_a_flood_is_told_with_its_key(bench: Bench) -> None:
    bench.engine.set_quotas(Quotas(events_per_second=1, events_burst=2))
    a = holder("a")
    for number in range(9):
        bench.engine.intake(iter([frame(f"a{number}")]), bench.now, bench.out, a)
    bench.engine.take_waiting(bench.now, bench.out)
    assert [each["key"] for each in told(bench, "flood")] == ["a"]


def test_the_host_of_a_process_is_the_one_that_spoke_last() -> None:
    a = holder("a")
    for host in ("192.0.2.1", "192.0.2.2"):
        a.speaks_from = lambda host=host: host  # type: ignore[misc]
        boot = a.boot(b"bootboot")
        a.speaks_from = None
        assert a.host_of(boot) == host
        assert a.boot(b"bootboot") == boot, "nobody speaks: the host stays"
    assert a.host_of(b"unknown-") is None
