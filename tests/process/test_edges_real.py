"""Edge values of every field of every message and every parameter of every request, against a real supervisor.

The messages are walked as the codec makes them, the requests as their handlers read them: a kind, an argument or a
request that is new is tried as well, or its sample is missing here and that fails.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from banken.address import resolve
from banken.errors import Refused
from banken.process_identity import boot_id
from banken.protocol import answers
from banken.protocol.codec import VERSION, encode
from banken.protocol.limits import FRAME_MAX, NAME_MAX, PROGRESS_MAX, REASON_MAX, REQUEST_MAX, STATUS_MAX
from banken.protocol.messages import ARGUMENTS, Declaration, Feeders, Kind, Message, ProcessIdentity, Scope
from banken_supervisor import Supervisor
from banken_supervisor.control import control_api
from process.kit import until

pytestmark = pytest.mark.process

_POWERS = [2**bits + more for bits in (7, 8, 15, 16, 31, 32, 53, 62, 63) for more in (-1, 0, 1)]
INTEGERS = [
    *_POWERS,
    *(-each for each in _POWERS if each <= 2**63),
    0,
    1,
    2**63 - 20_000,
    2**64 - 1,
    315_360_000_000,
]
FLOATS = [0.0, -0.0, 0.5, 1e308, -1e308, 5e-324, float("inf"), float("-inf"), float("nan")]
TEXTS = [
    "", "x", " ", "\0", "\x1b[31m", "\u202e", "\U0010ffff", "\ufffe", "*", "[", "[!", "?" * 20,
    *("é" * size for size in (NAME_MAX, NAME_MAX + 1, PROGRESS_MAX + 1, STATUS_MAX, STATUS_MAX + 1, REASON_MAX)),
    "n" * NAME_MAX, "n" * (NAME_MAX + 1), "[" * 15_000, "*a" * 5_000, "[a" * 3_000,
]  # fmt: skip
BYTES = [b"", b"\0", b"\xff" * 8, b"x" * 4, b"x" * 5000]
DEEP: list[Any] = []
for _ in range(200):
    DEEP = [DEEP]
WIDE = {str(number): number for number in range(256)}
NESTED: list[Any] = [None, True, False, [], {}, DEEP, [None] * 1024, {"a": {"b": []}}, WIDE]
EDGES: list[Any] = [*INTEGERS, *FLOATS, *TEXTS, *BYTES, *NESTED]

WHO = ProcessIdentity(boot_id(), os.getpid(), 1, b"abcd")
DECLARED = Declaration(3600.0, 1200.0, 3600.0, Feeders.ANY, "bound", 3600.0)
SAMPLES: dict[Kind, tuple[Any, ...]] = {
    Kind.FEED: (), Kind.DECLARE: (), Kind.RELEASE: (), Kind.RESUME: (),
    Kind.FAIL: ("why",), Kind.PAUSE: (60.0,), Kind.EXTEND: (60.0,), Kind.NOTE: (7, "status"),
    Kind.PROBE: (b"token", 1), Kind.WORK: (60.0, Scope("GET /x", 1.0, 60.0, 1, "worker", "task")),
    Kind.LEAVING: ("why",), Kind.RESULT: (True, "why", 1.0, 1.0, False, (1, 1), False),
}  # fmt: skip

ARGS: dict[str, dict[str, Any]] = {
    "check_run": {"name": "w/check"},
    "check_work": {"version": "run-1", "offset": 0},
    "checks": {"name": "w*", "offset": 0, "limit": 10},
    "did": {"incident": "i-1", "step": 0, "run": 1, "end": None},
    "do": {
        "name": "w",
        "do": "kill",
        "incident": "i-1",
        "step": 0,
        "run": 1,
        "fence": 1,
        "cause": "timeout",
        "silence": 1.0,
        "timeout": 1.0,
        "reason": "why",
    },
    "incidents": {"names": ["w*"], "open": True, "since": 1.0, "limit": 10, "others": True},
    "incidents_found": {"number": 1},
    "keys": {},
    "look": {"names": ["w"], "feeds": True, "timers": True},
    "metrics": {"name": "w*", "limit": 10},
    "ping": {},
    "program": {"what": "start", "name": "p"},
    "programs": {},
    "reload": {"allow_empty": True},
    "reloaded": {},
    "registry": {"part": "watched", "offset": 0},
    "status": {"name": "w*", "offset": 0, "limit": 10},
    "stop": {},
    "suggest": {"name": "w*", "offset": 0, "limit": 10},
    "summary": {},
    "word": {"number": 1},
    "tell": {"frame": encode(Message(Kind.FEED, "told", None, 0.0, DECLARED)), "here": False},
}


def variants(whole: Any) -> Iterator[Any]:
    """``whole`` with an edge value in each place of it in turn, containers included."""
    yield from EDGES
    if isinstance(whole, (list, tuple)):
        for place, part in enumerate(whole):
            for other in variants(part):
                yield [*whole[:place], other, *whole[place + 1 :]]
        yield [*whole, 0]
        yield list(whole[:-1])
    elif isinstance(whole, dict):
        for key, part in whole.items():
            for other in variants(part):
                yield {**whole, key: other}
        yield {**whole, "further": 1}


def frames(kind: Kind) -> Iterator[bytes]:
    """Every edge of one kind of message, as one of nobody's and of this process's; and pids at the edges."""
    args = SAMPLES[kind]
    assert len(args) in ARGUMENTS[kind]
    for who in (WHO, None):
        good = msgpack.unpackb(encode(Message(kind, "w", who, 0.0, DECLARED, args)))
        yield from map(msgpack.packb, variants(good))


@pytest.fixture
def supervisor(address: str, tmp_path: Path) -> Iterator[Supervisor]:
    """One with a journal: what cannot be written is a fault too."""
    one = Supervisor(address, journal=tmp_path / "journal")
    one.callback("bound", lambda: None)
    with one:
        yield one
    one._mailbox.close()


@pytest.fixture
def control(supervisor: Supervisor) -> Iterator[zmq.Socket[bytes]]:
    """Asks whatever it likes."""
    context: zmq.Context[Any] = zmq.Context()
    with context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(resolve(supervisor.address.text).control)
        yield socket
    context.term()


def ask(socket: zmq.Socket[bytes], body: Any) -> list[Any]:
    """One request and its reply."""
    socket.send(msgpack.packb(body))
    assert socket.poll(10_000), f"no reply to {str(body)[:100]}"
    reply = msgpack.unpackb(socket.recv())
    assert reply[0] == VERSION
    assert type(reply[2]) is bool
    return reply  # type: ignore[no-any-return]


def unharmed(socket: zmq.Socket[bytes]) -> dict[str, Any]:
    """The summary of a supervisor without a fault of its own."""
    summary: dict[str, Any] = ask(socket, [VERSION, 1, "summary", {}])[3]
    assert summary["internal_errors"] == {}
    return summary


@pytest.mark.parametrize("kind", Kind)
def test_no_edge_of_a_message_is_a_fault(supervisor: Supervisor, control: zmq.Socket[bytes], kind: Kind) -> None:
    """Each is taken or refused and counted; what can be asked about afterwards is answered."""
    context: zmq.Context[Any] = zmq.Context()
    count = 0
    with context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.SNDHWM, 0)
        push.connect(resolve(supervisor.address.text).feed)
        for frame in frames(kind):
            if len(frame) <= FRAME_MAX:
                push.send(frame)
                count += 1
        until(lambda: unharmed(control)["messages"] >= count, "all are read", 30.0)
    context.term()
    for op in ("status", "suggest", "metrics"):
        assert ask(control, [VERSION, 1, op, {"name": "*"}])[2] is True
    unharmed(control)


def test_what_was_taken_at_an_edge_can_be_kept_and_told(supervisor: Supervisor, control: zmq.Socket[bytes]) -> None:
    """Progress, status and reason of an incident: the journal writes them, a row shows them."""
    declared = Declaration(3600.0, 3600.0, 3600.0)
    taken = 0
    for edge in EDGES:
        for note in ((edge, None), (None, edge)):
            message = msgpack.unpackb(encode(Message(Kind.NOTE, "w", WHO, 0.0, declared, (None, None))))
            taken += ask(control, [VERSION, 1, "tell", {"frame": msgpack.packb([*message[:6], *note])}])[2]
            fail = msgpack.packb([VERSION, int(Kind.FAIL), "w", WHO, 0, None, edge if type(edge) is str else "why"])
            ask(control, [VERSION, 1, "tell", {"frame": fail}])
            ask(control, [VERSION, 1, "status", {"name": "w"}])
            ask(control, [VERSION, 1, "tell", {"frame": encode(Message(Kind.FEED, "w", WHO, 0.0, declared))}])
    assert taken > 50
    journal = until(lambda: (j := unharmed(control)["journal"])["queued"] == 0 and j, "all is written")
    assert journal["state"] == "ok"
    assert journal["refused"] == 0, journal["refusal"]


def test_a_process_whose_number_no_process_has_is_not_watched(
    supervisor: Supervisor, control: zmq.Socket[bytes]
) -> None:
    """The wire's pids go to 2³²−1, the kernel's to 2³¹−1: the message is taken all the same."""
    for number, pid in enumerate((1, 2**22, 2**31 - 1, 2**31, 2**32 - 1)):
        who = ProcessIdentity(boot_id(), pid, 5, b"abcd")
        frame = encode(Message(Kind.FEED, f"w-{number}", who, 0.0, Declaration(3600.0, 3600.0, 3600.0)))
        assert ask(control, [VERSION, 1, "tell", {"frame": frame}])[2] is True
    rows = ask(control, [VERSION, 1, "status", {"name": "w-*"}])[3]["rows"]
    assert {row["state"] for row in rows} == {"alive"}
    assert unharmed(control)["processes_watched"] == 0


def _sound(body: Any) -> bool:
    """Whether this is a request in good order."""
    match body:
        case [int(version), int(), str(), dict()]:
            return version == VERSION
    return False


@pytest.mark.parametrize("op", control_api.OPS)
def test_no_edge_of_a_request_is_a_fault(supervisor: Supervisor, control: zmq.Socket[bytes], op: str) -> None:
    """Each has its reply, which its client understands; a refusal says why. The parameters are those that the
    handler looks at."""
    bodies = (*([VERSION, 5, op, each] for each in variants(ARGS[op])), *variants([VERSION, 5, op, "no map"]))
    refused = 0
    for body in bodies:
        if op == "stop" and _sound(body):
            continue  # it would be obeyed
        if len(msgpack.packb(body)) > REQUEST_MAX:
            continue
        reply = ask(control, body)
        if reply[2] is False:
            assert reply[3]
            assert "internal" not in reply[3]
            assert len(reply[3]) < 2000
            refused += 1
        else:
            answers.checked(body[2], reply[3])
    assert refused
    unharmed(control)


def test_the_samples_name_every_parameter(supervisor: Supervisor) -> None:
    """What a handler asks its arguments for is in ``ARGS``: else no edge of it would be tried."""
    assert set(ARGS) == set(control_api.OPS)
    assert set(SAMPLES) == set(Kind)
    assert supervisor._loop is not None
    view = replace(supervisor._loop.view, stop=dict)
    asked: dict[str, set[str]] = {}

    class Asked(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            asked[op].add(key)
            return super().get(key, default)

    for op, handler in control_api.OPS.items():
        asked[op] = set()
        try:
            handler(view, Asked(ARGS[op]))
        except (control_api.RequestRefused, Refused):
            pass
    assert asked == {op: set(args) for op, args in ARGS.items()}


@pytest.mark.parametrize("pattern", ["[" * 16_000, "*a" * 8_000 + "b", "[a" * 8_000, "?" * 60_000, "*" * 300])
@pytest.mark.parametrize("op", ["status", "suggest", "metrics"])
def test_a_monstrous_pattern_is_refused_at_once(control: zmq.Socket[bytes], op: str, pattern: str) -> None:
    """The refusal names what was given and what is allowed; matching it would have taken seconds."""
    began = time.process_time()  # the supervisor is in this process, and others may take the machine
    reply = ask(control, [VERSION, 1, op, {"name": pattern}])
    assert reply[2] is False
    assert "at most" in reply[3]
    assert time.process_time() - began < 1.0


def test_the_worst_pattern_that_is_allowed_holds_nobody_up(
    supervisor: Supervisor, control: zmq.Socket[bytes]
) -> None:
    """Ten thousand of the worst names: the answer comes in pieces, and no turn is long."""
    name = "a" * 120
    frames = [
        encode(Message(Kind.FEED, f"{name}{number}", None, 0.0, Declaration(3600.0, 3600.0, 3600.0)))
        for number in range(10_000)
    ]
    context: zmq.Context[Any] = zmq.Context()
    with context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.SNDHWM, 0)
        push.connect(resolve(supervisor.address.text).feed)
        for frame in frames:
            push.send(frame)
        until(lambda: unharmed(control)["watchdogs"] == 10_000, "all are watched", 30.0)
    context.term()
    pattern = ("*" + "a" * 14) * 16 + "b"
    offset: int | None = 0
    slowest = 0.0  # seconds of CPU: the supervisor is in this process, and others may take the machine
    while offset is not None:
        began = time.process_time()
        reply = ask(control, [VERSION, 1, "status", {"name": pattern, "offset": offset}])
        slowest = max(slowest, time.process_time() - began)
        assert reply[2] is True
        assert reply[3]["rows"] == []
        assert offset == 0 or reply[3]["next"] is None or reply[3]["next"] > offset
        offset = reply[3]["next"]
    assert slowest < 0.5


def test_a_client_of_another_version_is_refused_with_both_named(
    supervisor: Supervisor, control: zmq.Socket[bytes]
) -> None:
    """On either socket; a thousand of its messages are told in one event, and others' go on."""
    assert supervisor._loop is not None
    good = msgpack.unpackb(encode(Message(Kind.FEED, "other", None, 0.0, DECLARED)))
    for version in (0, 2, 2**64 - 1, -1):
        reply = ask(control, [version, 1, "status", {}])
        assert reply[2] is False
        assert f"version {VERSION}" in reply[3]
        assert f"not {version}" in reply[3]
    for version in ("1", 1.0, True, None, [1]):
        assert ask(control, [version, 1, "status", {}])[2] is False
    context: zmq.Context[Any] = zmq.Context()
    with context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.SNDHWM, 0)
        push.connect(resolve(supervisor.address.text).feed)
        for _ in range(1000):
            push.send(msgpack.packb([2, *good[1:]]))
        push.send(msgpack.packb(good))
        until(lambda: ask(control, [VERSION, 1, "status", {"name": "other"}])[3]["rows"], "the good one is taken")
    context.term()
    until(lambda: unharmed(control)["refused"].get("version") == 1009, "all are counted")
    summary = unharmed(control)
    assert summary["events"]["refused"] <= 10
