"""The listener: what raw sockets send is read in turn, and no connection takes more than its share."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from banken_supervisor.engine.principal import OtherUser
from banken_supervisor.sources import connections, listener
from banken_supervisor.sources.connections import Door, connections_max
from banken_supervisor.sources.listener import Listener
from banken_supervisor.sources.poller import OtherPoller
from banken_supervisor.sources.sockets import FEEDS_TERMS
from banken_supervisor.sources.zmtp import GREETING, frame

READY = frame(b"\x05READY\x0bSocket-Type\0\0\0\x04PUSH", 4)
SOMEBODY = OtherUser(12345, {}.get, lambda process: False)


class Bench:
    """A listener with one door, or two, and peers."""

    def __init__(self, directory: Path) -> None:
        self.met: list[int] = []
        self.listener = Listener(self.met.append)
        self.connections = self.listener.connections
        self.door = Door(str(directory / "feed"), FEEDS_TERMS)
        self.connections.open(self.door)
        self.other = Door(str(directory / "other"), FEEDS_TERMS, SOMEBODY)
        self.connections.open(self.other)
        self.peers: list[socket.socket] = []
        self.faults: list[Exception] = []

    def connect(self, *said: bytes, door: Door | None = None, opened: bool = True) -> socket.socket:
        """A peer that says this, behind the handshake if it is ``opened``."""
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(5.0)
        peer.connect((door or self.door).path)
        self.peers.append(peer)
        if opened:
            peer.sendall(GREETING + READY)
        for message in said:
            peer.sendall(frame(message))
        return peer

    def read(self, limit: int = 10_000, seconds: float = 1.0) -> list[bytes]:
        """What comes of one call; connections that wait are accepted before."""
        self.listener._look()
        found: list[bytes] = []
        self.listener.drain(lambda frames, who: found.extend(frames), limit, seconds, self.faults.append)
        return found

    def reasons(self) -> list[str]:
        """Why connections were refused since the last call."""
        found = [refusal.reason for refusal in self.connections.refusals]
        self.connections.refusals.clear()
        return found

    def close(self) -> None:
        for peer in self.peers:
            peer.close()
        self.listener.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()
    assert made.faults == []


def is_closed(peer: socket.socket) -> bool:
    """Whether the other side has closed it; what it said before is read."""
    try:
        while peer.recv(4096):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        pass
    return True


def test_messages_of_many_connections_are_read_and_their_process_is_known(bench: Bench) -> None:
    """More than one look finds; each connection's process is met, and it is known while its messages are given."""
    sent = [b"%d" % number for number in range(60)]
    for message in sent:
        bench.connect(message, message)
    speakers: list[int | None] = []

    def read(frames: Iterator[bytes], who: object) -> None:
        for message in frames:
            speaker = bench.listener.speaker
            speakers.append(speaker and speaker.pid)
            found.append(message)

    found: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listener, "EVENTS_MAX", 10)
        while not bench.listener.drain(read, 10_000, 5.0, bench.faults.append)[0]:
            pass
        bench.listener.drain(read, 10_000, 5.0, bench.faults.append)
    assert sorted(found) == sorted(2 * sent)
    assert set(speakers) == {os.getpid()}
    assert bench.met == [os.getpid()] * 60
    assert bench.listener.speaker is None


def test_a_connection_that_rests_is_not_read_and_holds_up_no_barrier(bench: Bench) -> None:
    """What it has sent lies in the kernel meanwhile; then it is read, and a barrier waits for it."""
    resting = bench.connect(b"one")
    other = bench.connect()
    assert bench.read() == [b"one"]
    held = next(each for each in bench.connections.by_descriptor.values())
    bench.listener.rests = lambda connection: connection is held
    resting.sendall(frame(b"two"))
    other.sendall(frame(b"three"))
    bench.listener.send_barrier(b"barrier")
    assert sorted(bench.read() + bench.read()) == [b"barrier", b"three"]
    assert bench.read() == []
    assert bench.listener.patience(0.0) > 0.0
    bench.listener.rests = lambda connection: False
    assert bench.listener.patience(0.0) == 0.0, "nobody else has to say something before it is read again"
    bench.listener.send_barrier(b"again")
    assert bench.read() + bench.read() == [b"two", b"again"]


def test_who_sends_garbage_is_not_read_for_a_while_and_others_are(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It pays for each message, up to a bound; no barrier waits for it, and then all that it sent is read."""
    monkeypatch.setattr(listener, "GARBAGE_EACH_S", 0.02)
    faulty, other = bench.connect(b"open"), bench.connect(b"open")
    assert bench.read() == [b"open", b"open"]
    garbage: list[bytes] = []
    bench.listener.garbage = lambda: len(garbage)

    def drain() -> list[bytes]:
        taken: list[bytes] = []

        def read(frames: Iterator[bytes], who: object) -> None:
            for message in frames:
                (garbage if message == b"nonsense" else taken).append(message)

        bench.listener.drain(read, 10_000, 1.0, bench.faults.append)
        return taken

    faulty.sendall(frame(b"nonsense") * 2)
    assert drain() == []
    faulty.sendall(frame(b"feed"))
    other.sendall(frame(b"mine"))
    bench.listener.send_barrier(b"barrier")
    assert drain() + drain() == [b"mine", b"barrier"]
    left = bench.listener.patience(time.monotonic())
    assert 0.0 < left <= 0.04
    time.sleep(left)
    assert drain() == [b"feed"]
    assert drain() == []
    faulty.sendall(frame(b"nonsense") * 100)
    assert drain() == []
    assert 0.04 < bench.listener.patience(time.monotonic()) <= listener.GARBAGE_MAX_S


@pytest.mark.parametrize("command", [frame(b"\1X", 4), frame(b"\x04PING\0\x0ahere", 4)])
def test_commands_of_which_no_message_comes_take_small_portions(bench: Bench, command: bytes) -> None:
    """65,536 bytes of them take a turn's whole time, and others would not be read in it."""
    flooding = bench.connect()
    flooding.setblocking(False)
    bench.read()
    (held,) = bench.connections.by_descriptor.values()
    portions = []
    for number in range(30):
        with contextlib.suppress(BlockingIOError):
            while True:
                flooding.send(command * 2_000)
        bench.read(seconds=0.001)
        portions.append(held.portion)
        if number == 20:  # by now it has found its size
            portions.clear()
    assert max(portions) <= listener.PORTION_MAX // 2
    bench.connect(b"heard")
    assert bench.read() == [b"heard"]


def test_what_is_closed_while_it_rests_is_not_read_again(bench: Bench) -> None:
    bench.connect(b"one")
    assert bench.read() == [b"one"]
    bench.listener.rests = lambda connection: True
    bench.peers[0].sendall(frame(b"two"))
    assert bench.read() == []
    bench.connections.close(next(iter(bench.connections.by_descriptor.values())))
    bench.listener.rests = lambda connection: False
    assert bench.read() == []
    assert len(bench.connections) == 0


def test_one_that_is_closed_before_its_turn_takes_no_turn_of_who_has_its_descriptor(bench: Bench) -> None:
    """It had something at the look, and would have rested; whoever connects next is read."""
    former = bench.connect(b"one")
    assert bench.read() == [b"one"]
    (held,) = bench.connections.by_descriptor.values()
    former.sendall(frame(b"two"))
    bench.listener._look()
    newcomer = bench.connect()
    bench.connections.close(held)
    bench.connections.accept(bench.door)
    assert list(bench.connections.by_descriptor) == [held.descriptor], "it was the lowest that is free"
    bench.listener.rests = lambda connection: connection is held
    assert bench.read() == []
    newcomer.sendall(frame(b"three"))
    assert bench.read() == [b"three"]


def test_it_works_with_the_poller_of_other_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "make_poller", OtherPoller)
    bench = Bench(tmp_path)
    peer = bench.connect(b"one")
    bench.listener.send_barrier(b"barrier")
    assert sorted(bench.read() + bench.read()) == [b"barrier", b"one"]
    peer.close()
    assert bench.read() == []
    assert len(bench.connections) == 0
    bench.close()


def test_who_speaks_no_zeromq_is_closed_and_told(bench: Bench) -> None:
    """Noise, another kind of socket; what was right before it is given."""
    for said in (
        b"GET / HTTP/1.1\r\n\r\n",
        GREETING + READY.replace(b"PUSH", b"PULL"),
        os.urandom(64).replace(b"\xff", b""),
    ):
        peer = bench.connect(opened=False)
        peer.sendall(said)
        assert bench.read() == []
        assert bench.reasons() == ["protocol"]
        assert is_closed(peer)
    peer = bench.connect(b"good")
    peer.sendall(b"\xff\xff")
    assert bench.read() == [b"good"]
    assert bench.reasons() == ["protocol"]
    assert len(bench.connections) == 0


def test_feeds_that_stand_before_a_protocol_fault_count(bench: Bench) -> None:
    """They were made, and all of them came in one read."""
    peer = bench.connect(opened=False)
    peer.sendall(GREETING + READY + frame(b"one") + frame(b"two") + b"\xff\xff")
    assert bench.read() == [b"one", b"two"]
    assert bench.reasons() == ["protocol"]
    assert is_closed(peer)


def test_who_does_not_finish_the_handshake_is_closed_in_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing, half a greeting, a byte now and then. What came while nobody looked counts."""
    monkeypatch.setattr(connections, "HANDSHAKE_S", 1.0)
    silent = [bench.connect(opened=False) for _ in range(3)]
    silent[1].sendall(GREETING[:20])
    late = bench.connect(opened=False)
    bench.read()
    assert 0.0 < bench.listener.patience(time.monotonic()) <= 1.0
    assert bench.reasons() == []
    time.sleep(0.5)
    silent[1].sendall(GREETING[20:30])
    late.sendall(GREETING + READY + frame(b"late"))
    time.sleep(0.55)
    assert bench.listener.patience(time.monotonic()) <= 0.0
    assert bench.read() == [b"late"]
    assert bench.reasons() == ["handshake"] * 3
    assert all(is_closed(peer) for peer in silent)
    assert len(bench.connections) == 1
    assert bench.listener.patience(0.0) == float("inf")


def test_who_has_most_connections_gives_way_to_who_has_fewer(bench: Bench) -> None:
    """All are in use by this process: its own next one is refused, another user's is taken; the silent ones go
    first, and the newest; between equals nobody gives way."""
    bench.connections.limit = lambda: 6
    opened = [bench.connect(b"x") for _ in range(4)]
    assert len(bench.read() + bench.read()) == 4
    silent = [bench.connect(opened=False) for _ in range(2)]
    bench.read()
    refused = bench.connect(opened=False)
    bench.read()
    assert is_closed(refused)
    assert bench.reasons() == ["connections"]
    for gone in (silent[1], silent[0]):
        assert bench.connect(b"other", door=bench.other)
        assert b"other" in bench.read() + bench.read()
        assert is_closed(gone)
    third = bench.connect(b"third", door=bench.other)
    assert bench.read() + bench.read() == [b"third"]
    assert is_closed(opened[3])
    assert bench.reasons() == ["connections"] * 3
    fourth = bench.connect(door=bench.other)
    bench.read()
    assert is_closed(fourth)
    opened[0].sendall(frame(b"goes on"))
    third.sendall(frame(b"goes on"))
    assert bench.read() == [b"goes on"] * 2


def test_one_process_has_few_that_say_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A further one is not taken, whichever door; of another process it is, and so it is when one has said who it
    is, or has gone. Those that are gone leave nothing."""
    monkeypatch.setattr(connections, "SILENT_MAX", 2)
    opened = [bench.connect(b"x") for _ in range(2)]
    assert bench.read() + bench.read() == [b"x"] * 2
    silent = [bench.connect(opened=False) for _ in range(2)]
    bench.read()
    for door in (bench.door, bench.other):
        refused = bench.connect(b"refused", door=door)
        assert bench.read() == []
        assert is_closed(refused)
        assert bench.reasons() == ["handshake"]
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(connections, "who_connected", lambda accepted: (1, 0))
        assert bench.connect(b"another's")
        assert bench.read() + bench.read() == [b"another's"]
        elsewhere.setattr(connections, "who_connected", lambda accepted: (0, 0))  # the system does not say
        unknown = [bench.connect(opened=False) for _ in range(3)]
        bench.read()
    silent[0].sendall(GREETING + READY)
    bench.read()
    fifth = bench.connect(b"goes on")
    assert bench.read() + bench.read() == [b"goes on"]
    silent[1].close()
    bench.read()
    assert len(bench.connections) == 8
    assert bench.reasons() == []
    for peer in (*opened, silent[0], fifth, *unknown):
        peer.close()
    bench.read()
    assert not bench.connections._silent_of
    assert sys.getsizeof(bench.connections._silent) == sys.getsizeof({})


def test_without_descriptors_it_waits_and_goes_on(bench: Bench) -> None:
    """The system gives no descriptor: it is told, those that are connected are read, and later others are taken."""
    first = bench.connect(b"first")
    assert bench.read() + bench.read() == [b"first"]
    waiting = [bench.connect(b"waits") for _ in range(3)]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)  # the lowest: none below it is free
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        found = bench.read()
        assert "connections" in bench.reasons()
        first.sendall(frame(b"goes on"))
        found += bench.read()
        assert b"goes on" in found
        assert found.count(b"waits") < len(waiting)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    until = time.monotonic() + 5
    while found.count(b"waits") < len(waiting) and time.monotonic() < until:
        time.sleep(max(0.0, min(0.1, bench.listener.patience(time.monotonic()))))
        found += bench.read()
    assert found.count(b"waits") == len(waiting)


def test_connections_stay_below_the_limit_of_descriptors() -> None:
    """Three of eight are for everything else, and at least what is open already and a reserve for commands."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        for soft, others, most in ((256, 20, 160), (1024, 20, 640), (64, 20, 12), (72, 20, 20), (64, 60, 8)):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, limits[1]))
            assert connections_max(others) == most
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_the_barrier_waits_for_what_came_before_it_and_not_for_what_comes_after(bench: Bench) -> None:
    """One connection always has more: the barrier passes when what lay in the kernel has been read."""
    peer = bench.connect()
    bench.read()
    bench.read()
    stop = threading.Event()
    written = [0]

    def flood() -> None:
        block = frame(bytes(98)) * 50
        while not stop.is_set():
            peer.sendall(block)
            written[0] += 50

    flooding = threading.Thread(target=flood, daemon=True)
    flooding.start()
    try:
        while written[0] < 50:
            time.sleep(0.01)
        before = written[0]
        bench.listener.send_barrier(b"barrier")
        found: list[bytes] = []
        until = time.monotonic() + 10
        while b"barrier" not in found and time.monotonic() < until:
            found += bench.read(limit=20)
    finally:
        stop.set()
        while flooding.is_alive():
            bench.read()
        flooding.join()
    assert found[-1] == b"barrier"
    assert before <= len(found) - 1 < 200_000 / 100 + before


def test_a_message_that_makes_the_reader_fail_takes_no_other_along(bench: Bench) -> None:
    """In the middle of a portion, and where nothing was read at all."""
    for _ in range(2):
        bench.connect(*(b"%d" % number for number in range(10)))
    found: list[bytes] = []

    def read(frames: Iterator[bytes], who: object) -> None:
        for message in frames:
            if message == b"3":
                raise KeyError(message)
            found.append(message)

    bench.listener._look()
    bench.listener.drain(read, 10_000, 1.0, bench.faults.append)
    assert sorted(found) == sorted(2 * [b"%d" % number for number in range(10) if number != 3])
    assert len(bench.faults) == 2
    bench.faults.clear()
    bench.peers[0].sendall(frame(b"lost"))

    def fails(frames: Iterator[bytes], who: object) -> None:
        raise MemoryError

    bench.listener.drain(fails, 10_000, 1.0, bench.faults.append)
    assert 1 <= len(bench.faults) <= 3
    bench.faults.clear()
    bench.peers[0].sendall(frame(b"next"))
    assert bench.read() == [b"next"]


def test_what_a_child_inherits_keeps_no_connection_open(bench: Bench) -> None:
    """A child may have the descriptors, too: a closed connection is closed for its peer, and waited for no more."""
    peer = bench.connect(b"x")
    assert bench.read() + bench.read() == [b"x"]
    child = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE,
        pass_fds=[*bench.connections.by_descriptor],
    )  # fmt: skip
    try:
        (connection,) = bench.connections.by_descriptor.values()
        bench.connections.close(connection)
        assert is_closed(peer)
        assert bench.listener._poll.poll(0, 10) == []
    finally:
        child.communicate(b"\n")


def test_a_door_is_bound_again_and_its_connections_go_on(bench: Bench) -> None:
    peer = bench.connect(b"before")
    assert bench.read() + bench.read() == [b"before"]
    os.unlink(bench.door.path)
    bench.connections.open_again(bench.door)
    bench.connect(b"new")
    peer.sendall(frame(b"after"))
    assert sorted(bench.read() + bench.read()) == [b"after", b"new"]


def test_a_ping_is_answered_also_to_who_does_not_read(bench: Bench) -> None:
    peer = bench.connect()
    bench.read()
    assert peer.recv(4096).startswith(GREETING)
    ping = frame(b"\x04PING\0\x0ahere", 4)
    peer.sendall(ping)
    bench.read()
    assert peer.recv(4096) == frame(b"\x04PONGhere", 4)
    for _ in range(3_000):
        peer.sendall(ping)
        bench.read()
    peer.sendall(frame(b"goes on"))
    assert bench.read() == [b"goes on"]


def test_an_oversized_message_is_cut_and_one_that_never_ends_costs_nothing(bench: Bench) -> None:
    """100 peers, each in a message of a MiB that has not come whole: no more is kept than a message may have."""
    size = (1024 * 1024).to_bytes(8, "big")
    for _ in range(20):
        peer = bench.connect()
        bench.read()
        peer.sendall(b"\x02" + size + bytes(16_000))
        bench.read()
        for _ in range(5):
            peer.sendall(bytes(100_000))
            while bench.read():
                pass
    kept = sum(len(each.incoming._rest) for each in bench.connections.by_descriptor.values())
    assert kept <= 20 * 16_400
