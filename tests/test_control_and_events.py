"""The sockets for requests and events: what one asker or subscriber has waiting is bounded, whatever it does."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from banken.control import topic
from banken_supervisor.sources import control_socket, event_socket
from banken_supervisor.sources.control_socket import REQUESTS_PER_TURN, ControlSocket
from banken_supervisor.sources.event_socket import SUBSCRIPTIONS_PER_TURN, EventSocket
from banken_supervisor.sources.listener import Listener
from banken_supervisor.sources.zmtp import GREETING, frame

OPENING = 100

CONNECTS = """
import socket, sys
made = socket.socket(socket.AF_UNIX)
made.connect(sys.argv[1])
socket.send_fds(socket.socket(fileno=int(sys.argv[2])), [b"."], [made.fileno()])
"""


def connected(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.connect(path)
    return made


def connected_by_another_process(path: str) -> socket.socket:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        arguments = [sys.executable, "-c", CONNECTS, path, str(theirs.fileno())]
        subprocess.run(arguments, pass_fds=[theirs.fileno()], check=True, timeout=30.0)
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    return socket.socket(fileno=descriptors[0])


class Bench:
    """Both sockets, and raw peers."""

    def __init__(self, directory: Path) -> None:
        self.listener = Listener()
        self.connections = self.listener.connections
        self.control = ControlSocket(self.connections, str(directory / "control"))
        self.events = EventSocket(self.connections, str(directory / "events"))
        self.peers: list[socket.socket] = []

    def connect(self, where: str, *said: bytes, by: Callable[[str], socket.socket] = connected) -> socket.socket:
        """A peer that says this."""
        kind, door = {"control": (b"DEALER", self.control.door), "events": (b"SUB", self.events.door)}[where]
        peer = by(door.path)
        peer.settimeout(5.0)
        self.peers.append(peer)
        ready = b"\x05READY\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind
        peer.sendall(GREETING + frame(ready, 4))
        self.turn()
        self.turn()
        while len(heard := peer.recv(OPENING, socket.MSG_PEEK)) < 64:
            pass
        peer.recv(len(heard))
        self.say(peer, *said)
        return peer

    def say(self, peer: socket.socket, *said: bytes) -> None:
        for each in said:
            peer.sendall(each)
            self.turn()

    def turn(self) -> None:
        self.listener._look()
        self.listener.drain(lambda frames, who: None, 1_000, 1.0, lambda fault: None)

    def answer(self, size: int = 10) -> list[bytes]:
        """Answer what is asked in one turn, each with so many bytes; what was asked."""
        asked = []
        for asker, request in self.control.requests():
            asked.append(request)
            self.control.reply(asker, request + bytes(size))
        return asked

    def reasons(self) -> set[str]:
        found = {refusal.reason for refusal in self.connections.refusals}
        self.connections.refusals.clear()
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for peer in made.peers:
        peer.close()
    made.listener.close()


def heard(peer: socket.socket) -> bytes:
    """All that has been sent to a peer by now."""
    peer.setblocking(False)
    found = b""
    try:
        while some := peer.recv(65_536):
            found += some
    except BlockingIOError:
        pass
    peer.settimeout(5.0)
    return found


def test_each_request_is_answered_and_askers_have_their_turns(bench: Bench) -> None:
    """One sends a hundred at once, the other one: that is answered second."""
    many = bench.connect("control")
    one = bench.connect("control")
    bench.say(many, b"".join(frame(b"m%d" % number) for number in range(100)))
    bench.say(one, frame(b"one"))
    assert bench.control.has_requests
    first = bench.answer()
    assert first[:3] == [b"m0", b"one", b"m1"]
    assert len(first) == REQUESTS_PER_TURN
    assert len(first + bench.answer() + bench.answer()) == 101
    assert heard(many).count(b"m") == 100
    assert heard(one) == frame(b"one" + bytes(10))
    bench.say(many, frame(b"again"))
    assert bench.answer() == [b"again"]


def test_a_request_of_endless_parts_is_one_that_is_empty(bench: Bench) -> None:
    peer = bench.connect("control", *(frame(bytes(10), 1) * 100 for _ in range(50)))
    assert not bench.control.has_requests
    bench.say(peer, frame(b"end"), frame(b"next"))
    while bench.control.has_requests or not heard(peer).count(b"next"):
        assert set(bench.answer()) <= {b"", b"next"}
        bench.turn()


def test_of_who_does_not_read_its_replies_one_is_kept_and_nothing_is_read(bench: Bench) -> None:
    """It asks on and on: one reply waits for it, its requests wait in the kernel; and all come when it reads."""
    peer = bench.connect("control")
    peer.setblocking(False)
    asked = 0
    try:
        for _ in range(5_000):
            peer.send(frame(b"q" * 50))
            asked += 1
            bench.turn()
            bench.answer(1_000_000)
    except BlockingIOError:
        pass
    assert 10 < asked < 5_000
    assert bench.connections.unsent <= 1_000_100
    got = 0
    while got < asked * 1_000_050:
        got += len(heard(peer))
        bench.turn()
        bench.answer(1_000_000)
    assert bench.connections.unsent == 0
    assert bench.reasons() == set()


def test_all_unread_replies_have_a_bound_and_the_largest_goes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "REPLIES_MAX", 5_000_000)
    for size in (3_000_000, 1_000_000, 2_000_000, 500_000):
        bench.connect("control", frame(b"ask"))
        bench.answer(size)
    assert bench.connections.unsent < 5_000_000
    assert bench.reasons() == {"replies"}
    assert len(bench.connections) == 3
    assert len(heard(bench.peers[0])) < 3_000_000
    for _ in range(50):
        bench.turn()
        for peer in bench.peers[1:]:
            heard(peer)
    assert bench.connections.unsent == 0


def test_events_go_to_who_subscribed_and_to_nobody_else(bench: Bench) -> None:
    """To a name, to a beginning, to all; by a message or a command; twice is once; until they cancel or end."""
    name = bench.connect("events", frame(b"\1" + topic("a")), frame(b"\1" + topic("a")))
    some = bench.connect("events", frame(b"\x09SUBSCRIBEa", 4))
    every = bench.connect("events", frame(b"\1"), frame(b"\1" + topic("a")))
    assert bench.events.subscriptions() == [topic("a"), b"a", b""]
    assert bench.events.subscriptions() == []
    for each in ("a", "ab", None):
        bench.events.publish(topic(each), (each or "none").encode())
    a, ab, none = (frame(topic(each), 1) + frame((each or "none").encode()) for each in ("a", "ab", None))
    assert [heard(peer) for peer in (name, some, every)] == [a, a + ab, a + ab + none]
    bench.say(some, frame(b"\x06CANCELa", 4))
    bench.say(every, frame(b"\0"))
    name.close()
    bench.turn()
    bench.events.publish(topic("a"), b"a")
    assert (heard(some), heard(every)) == (b"", frame(topic("a"), 1) + frame(b"a"))
    bench.say(
        every, frame(b"\0" + topic("a")), frame(b"\0never"), frame(b"hello"), frame(b""), frame(b"\1" + bytes(300))
    )
    assert not bench.events.has_subscribers
    assert not bench.events._topics
    assert not bench.events._lengths


def test_subscriptions_are_told_a_bounded_number_at_a_time(bench: Bench) -> None:
    bench.connect("events", b"".join(frame(b"\1w-%d\0" % number) for number in range(300)))
    while len(bench.events._by_topic) < 300:
        bench.turn()
    assert [len(bench.events.subscriptions()) for _ in range(3)] == [SUBSCRIPTIONS_PER_TURN, 100, 0]


def test_of_who_breaks_the_protocol_nothing_is_kept(bench: Bench) -> None:
    """What it subscribed to and asked for stood before the fault in the same write: it is closed, and both are gone
    with it. Else a process could fill the memory by such connections."""
    subscriber = bench.connect("events")
    bench.say(subscriber, frame(b"\1" + topic("a")) + frame(b"\1" + topic("b")) + b"\xff\xff")
    assert not bench.events.has_subscribers
    assert not bench.events.has_subscriptions
    asker = bench.connect("control")
    bench.say(asker, frame(b"question") + b"\xff\xff")
    assert not bench.control.has_requests
    assert bench.answer() == []
    assert len(bench.connections) == 0
    assert bench.reasons() == {"protocol"}


def test_who_subscribes_to_too_much_hears_all(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its topics are forgotten, which is told; what others subscribed to stays."""
    monkeypatch.setattr(event_socket, "TOPICS_MAX", 50)
    other = bench.connect("events", frame(b"\1" + topic("x")))
    greedy = bench.connect("events", *(frame(b"\1w-%d\0" % number) for number in range(200)))
    assert bench.reasons() == {"subscriptions"}
    assert len(bench.events._by_topic) <= 51
    bench.events.publish(topic("w-199"), b"event")
    bench.events.publish(topic("x"), b"event")
    assert heard(greedy).count(b"event") == 2
    assert heard(other).count(b"event") == 1


def test_who_subscribes_to_too_much_is_told_the_open_incidents_of_all(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each topic is told once, before and after it became too many; no more wait than the bound and one read."""
    monkeypatch.setattr(event_socket, "TOPICS_MAX", 50)
    monkeypatch.setattr(event_socket, "NEW_MAX", 500)
    topics = [b"w-%04d\0" % number for number in range(5_000)]
    peer = bench.connect("events")
    peer.setblocking(False)
    left = memoryview(b"".join(frame(b"\1" + each) for each in topics))
    told: list[bytes] = []
    most = 0
    while len(told) < len(topics):
        with contextlib.suppress(BlockingIOError):
            left = left[peer.send(left) :] if left else left
        for _ in range(4):
            bench.turn()
        most = max(most, len(bench.events._new))
        new = [each for each in bench.events.subscriptions() if each]
        assert new or left
        told += new
    assert told == topics
    assert 500 < most < 1_000
    bench.say(peer, frame(b"\1" + topic("later")))
    assert bench.events.subscriptions() == [topic("later")]


def test_a_subscriber_that_does_not_read_loses_events_and_holds_nobody_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for all of them is bounded; what is lost is counted; what it gets is whole."""
    monkeypatch.setattr(event_socket, "UNREAD_ALL_MAX", 250_000)
    slow = [bench.connect("events", frame(b"\1")) for _ in range(5)]
    reader = bench.connect("events", frame(b"\1"))
    one = frame(topic("w"), 1) + frame(bytes(1_000))
    for _ in range(1_000):
        bench.events.publish(topic("w"), bytes(1_000))
        assert heard(reader) == one
    assert bench.connections.unsent <= 250_000
    assert bench.reasons() == {"unread"}
    for peer in slow:
        got = heard(peer)
        for _ in range(20):
            bench.turn()
            got += heard(peer)
        assert got == one * (len(got) // len(one))
        assert got
    assert bench.connections.unsent == 0


def test_what_one_process_does_not_read_is_bounded_however_many_subscribers_it_has(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it costs the others nothing."""
    monkeypatch.setattr(event_socket, "UNREAD_MAX", 1_000_000)
    one = frame(topic("w"), 1) + frame(bytes(1_000))
    slow = [bench.connect("events", frame(b"\1")) for _ in range(3)]
    while not bench.connections.refusals:
        bench.events.publish(topic("w"), bytes(1_000))
    assert 1_000_000 - len(one) < bench.connections.unsent <= 1_000_000
    other = bench.connect("events", frame(b"\1"), by=connected_by_another_process)
    for _ in range(600):
        bench.events.publish(topic("w"), bytes(1_000))
    assert bench.connections.unsent > 1_000_000, "of the other one nothing waited"
    got = b""
    while len(got) < 600 * len(one) and (some := heard(other)):
        got += some
        bench.turn()
    assert got == 600 * one
    for peer in slow:
        peer.close()
        bench.peers.remove(peer)
    while bench.connections.unsent:
        bench.turn()
    assert not bench.connections._unsent_of


def test_who_has_lost_an_event_is_told_again_when_it_has_read_the_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if it had subscribed anew, to what it still subscribes to; once."""
    monkeypatch.setattr(event_socket, "UNREAD_MAX", 50_000)
    slow = bench.connect("events", *(frame(b"\1" + topic(name)) for name in ("lost", "heard", "left")))
    assert len(bench.events.subscriptions()) == 3
    while not bench.connections.refusals:
        bench.events.publish(topic("heard"), bytes(1_000))
    while bench.events.subscriptions():
        pass
    bench.reasons()
    bench.events.publish(topic("lost"), bytes(60_000))
    bench.events.publish(topic("left"), bytes(60_000))
    assert not bench.events.has_subscriptions
    bench.say(slow, frame(b"\0" + topic("left")))
    while bench.connections.unsent:
        heard(slow)
        bench.turn()
    assert sorted(bench.events.subscriptions()) == [topic("heard"), topic("lost")]
    while heard(slow):
        bench.turn()
    assert not bench.events.has_subscriptions
