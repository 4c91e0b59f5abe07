"""The sockets of sd_notify: each is read at once by a thread, in order, and nothing that comes leaves a trace."""

from __future__ import annotations

import array
import os
import resource
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from banken_supervisor.sources.notify_datagram import Datagram
from banken_supervisor.sources.notify_door import DESCRIPTORS_MAX, DESCRIPTORS_SHARE
from banken_supervisor.sources.notify_fields import PLAIN_FEED, Said, parse
from banken_supervisor.sources.notify_sockets import SUPPORTED, NotifySockets

pytestmark = pytest.mark.skipif(not SUPPORTED, reason="this system does not tell who sends a datagram")

WAIT_S = 10.0


class Bench:
    def __init__(self, directory: Path) -> None:
        self.directory = directory / "notify"
        self.again: dict[str, Callable[[], None]] = {}
        """by path: how it is bound again"""
        self.notify = NotifySockets(self.again.__setitem__, self.again.pop)  # type: ignore[arg-type]
        self.taken: list[Datagram] = []
        self.faults: list[Exception] = []
        self.notify.handle = self._take
        self.notify.fault = self.faults.append

    def _take(self, datagram: Datagram) -> bool:
        self.taken.append(datagram)
        return True

    def open(self, name: str) -> str:
        return self.notify.open(name, str(self.directory / name))

    def until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, f"{what} within {WAIT_S} s; {len(self.taken)} taken"
            self.notify.drain(0.01)
            time.sleep(0.001)

    def said(self, name: str) -> list[Said | str]:
        return [datagram.said for datagram in self.taken if datagram.name == name]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.notify.close()
    assert made.faults == []


def send(path: str, data: bytes, fds: list[int] | None = None, flags: int = 0) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sender.sendmsg([data], rights, flags, path)


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


def test_the_socket_is_the_name(bench: Bench) -> None:
    """What comes in by a socket is its name's, in order, with the sender's pid and user by the kernel's word."""
    paths = {name: bench.open(name) for name in ("db", "web/1".replace("/", ","))}
    before = time.monotonic()
    for data in (b"STATUS=one", b"READY=1", b"WATCHDOG=1", b"STATUS=two"):
        send(paths["db"], data)
    send(paths["web,1"], b"READY=1")
    bench.until(lambda: len(bench.taken) == 5, "all are taken")
    assert bench.said("db") == [Said(status="one"), Said(ready=True), PLAIN_FEED, Said(status="two")]
    assert bench.said("web,1") == [Said(ready=True)]
    assert {(each.pid, each.uid) for each in bench.taken} == {(os.getpid(), os.geteuid())}
    assert all(before <= each.at <= time.monotonic() for each in bench.taken)


def test_read_whatever_the_loop_does(bench: Bench) -> None:
    """While the loop takes nothing, a daemon that feeds is not held up, and all its feeds wait as one."""
    path = bench.open("db")
    send(path, b"STATUS=begins")
    for _ in range(500):  # far more than the kernel queues
        send(path, b"WATCHDOG=1")
    send(path, b"STATUS=ends")
    bench.until(lambda: Said(status="ends") in bench.said("db"), "the last one is taken")
    said = bench.said("db")
    assert (said[0], said[-1]) == (Said(status="begins"), Said(status="ends"))
    assert set(said[1:-1]) == {PLAIN_FEED}
    assert len(said) < 50  # but for what the kernel still had when the loop began to take them


def test_descriptors_are_closed(bench: Bench) -> None:
    """However many descriptors come with whatever datagram: none of them is left open."""
    path = bench.open("db")
    send(path, b"STATUS=first")
    bench.until(lambda: bench.taken, "the thread runs")
    before = descriptors()
    null = os.open("/dev/null", os.O_RDONLY)
    try:
        for data, count in (
            (b"FDSTORE=1", 253), (b"BARRIER=1", 2), (b"BARRIER=1\nREADY=1", 1), (b"x" * 65536, 5), (b"\0\0", 3),
            (b"WATCHDOG=1", 9), (b"MAINPID=4711", 253), (b"BARRIER=1", 1), (b"", 1),
        ):  # fmt: skip
            send(path, data, [null] * count)
    finally:
        os.close(null)
    send(path, b"STATUS=last")
    bench.until(lambda: Said(status="last") in bench.said("db"), "all are taken")
    assert descriptors() == before
    bench.notify.close_one("db")
    assert not os.path.exists(path)


def test_barrier(bench: Bench) -> None:
    """The descriptor of BARRIER=1 is closed when all that was said before has been handled; a thousand leave
    nothing behind."""
    path = bench.open("db")
    send(path, b"STATUS=first")
    bench.until(lambda: bench.taken, "the thread runs")
    before = descriptors()
    ours, its = os.pipe()
    send(path, b"READY=1")
    send(path, b"BARRIER=1", [its])
    os.close(its)
    os.set_blocking(ours, False)

    def closed() -> bool:
        try:
            return os.read(ours, 1) == b""
        except BlockingIOError:
            assert Said(barrier=True) not in bench.said("db")
            return False

    bench.until(closed, "the barrier's descriptor is closed")
    assert bench.said("db")[-2:] == [Said(ready=True), Said(barrier=True)]
    os.close(ours)
    ends = threading.Event()

    def flood() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, open("/dev/null") as null:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null.fileno()]))]
            for _ in range(1_000):
                sender.sendmsg([b"BARRIER=1"], rights, 0, path)
        ends.set()

    threading.Thread(target=flood).start()
    bench.until(lambda: ends.is_set() and len(bench.taken) >= 1_003, "all barriers are handled")
    assert descriptors() == before


def barriers(path: str, count: int) -> int:
    """Send so many, as far as they are taken; how many that were."""
    with open("/dev/null") as null:
        for number in range(count):
            if not send_within(0.2, path, b"BARRIER=1", [null.fileno()]):
                return number
    return count


def send_within(seconds: float, path: str, data: bytes, fds: list[int] | None = None) -> bool:
    """Whether the kernel had room for it in time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            send(path, data, fds, socket.MSG_DONTWAIT)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.001)
        else:
            return True


def test_descriptors_that_wait_are_bounded(bench: Bench) -> None:
    """Of one socket, and of all a share of the limit: while the loop takes nothing, a hundred barriers of each of
    eight programs take no more. One that has none waiting is heard with its own, and all are answered then."""
    path = bench.open("first")
    send(path, b"STATUS=begins")
    bench.until(lambda: bench.taken, "the thread runs")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, limits[1]))
    try:
        before = len(descriptors())
        sent = barriers(path, 100)
        assert 0 < len(descriptors()) - before <= DESCRIPTORS_MAX
        for number in range(7):
            sent += barriers(bench.open(f"other {number}"), 100)
        last = bench.open("honest")
        send(last, b"READY=1")
        sent += barriers(last, 1)
        time.sleep(0.2)
        opened = 8  # sockets
        assert len(descriptors()) - before - opened <= 512 // DESCRIPTORS_SHARE + 9
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    bench.notify.drain(1.0)
    assert bench.said("honest") == [Said(ready=True), Said(barrier=True)]
    bench.until(lambda: len(bench.taken) == sent + 2, "all are handled")
    assert len(descriptors()) == before + opened


def test_a_feed_behind_barriers_counts(bench: Bench) -> None:
    """More barriers than may wait, and a feed behind them: before a verdict it is read."""
    path = bench.open("db")
    assert barriers(path, DESCRIPTORS_MAX + 6) == DESCRIPTORS_MAX + 6
    assert send_within(WAIT_S, path, b"WATCHDOG=1")
    bench.notify.catch_up()
    assert bench.notify.waits("db") == 0
    assert bench.said("db") == [Said(barrier=True)] * (DESCRIPTORS_MAX + 6) + [PLAIN_FEED]


def test_a_datagram_opens_few_descriptors(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 253 that it brings hardly any are open here, not even until it was taken apart."""
    opened: list[int] = []

    def taken_apart(data: bytes, count: int) -> Said | str:
        opened.append(len(descriptors()) - before)
        return parse(data, count)

    path = bench.open("db")
    send(path, b"STATUS=first")
    bench.until(lambda: bench.taken, "the thread runs")
    before = len(descriptors())
    monkeypatch.setattr("banken_supervisor.sources.notify_datagram.parse", taken_apart)
    null = os.open("/dev/null", os.O_RDONLY)
    try:
        send(path, b"FDSTORE=1", [null] * 253)
        send(path, b"BARRIER=1", [null] * 253)
        bench.until(lambda: len(bench.taken) == 3, "all are taken")
    finally:
        os.close(null)
    assert max(opened) < 20
    assert isinstance(bench.said("db")[-1], str), "a barrier with more than one is none"


def test_one_floods(bench: Bench) -> None:
    """One that sends as fast as it can holds up no other, and is itself held up in the kernel."""
    noisy, quiet = bench.open("noisy"), bench.open("quiet")
    ends = threading.Event()

    def flood() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            for number in range(100_000):
                try:
                    sender.sendto(b"STATUS=%d" % number, socket.MSG_DONTWAIT, noisy)
                except BlockingIOError:
                    if ends.wait(0.0002):
                        return

    flooder = threading.Thread(target=flood)
    flooder.start()
    try:
        for number in range(25):
            began = time.monotonic()
            send(quiet, b"STATUS=quiet %d" % number)
            wanted = Said(status=f"quiet {number}")
            bench.until(lambda wanted=wanted: bench.said("quiet")[-1:] == [wanted], "the quiet one is heard")  # type: ignore[misc]
            assert time.monotonic() - began < 1.0
    finally:
        ends.set()
        flooder.join()


def test_passed(bench: Bench) -> None:
    """Before a verdict all that has reached the kernel is handled, whatever the thread has done."""
    for name in ("a", "b", "c"):
        bench.open(name)
    for number in range(200):
        for name in ("a", "b", "c"):
            send(str(bench.directory / name), b"STATUS=%d" % number, flags=socket.MSG_DONTWAIT if number > 5 else 0)
        if number == 5:
            break
    bench.notify.catch_up()
    assert all(bench.said(name)[-1] == Said(status="5") for name in ("a", "b", "c"))


def test_deferred(bench: Bench) -> None:
    """What is not to be taken now waits, in order, until it is asked for again; others are taken meanwhile."""
    ready = {"b"}

    def handle(datagram: Datagram) -> bool:
        if datagram.name not in ready:
            return False
        bench.taken.append(datagram)
        return True

    bench.notify.handle = handle
    paths = {name: bench.open(name) for name in ("a", "b")}
    send(paths["a"], b"STATUS=1")
    send(paths["a"], b"STATUS=2")
    send(paths["b"], b"STATUS=3")
    bench.until(lambda: bench.said("b"), "the other one is taken")
    assert bench.said("a") == []
    ready.add("a")
    bench.notify.look_again()
    bench.until(lambda: len(bench.said("a")) == 2, "it is taken")
    assert bench.said("a") == [Said(status="1"), Said(status="2")]


def test_bound_again(bench: Bench) -> None:
    """A socket that was removed is bound again, as often as that is tried until it can be; what was sent before
    counts."""
    path = bench.open("db")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connected:
        connected.connect(path)
        shutil.rmtree(bench.directory)
        bench.directory.touch()
        before = len(descriptors())
        for _ in range(2):
            with pytest.raises(OSError, match="is no directory of user"):
                bench.again[path]()
        connected.send(b"STATUS=1")
        bench.until(lambda: bench.said("db") == [Said(status="1")], "the former one is read still")
        bench.directory.unlink()
        with bench.notify._lock:  # the thread does not get to it
            connected.send(b"STATUS=2")
            bench.again[path]()
        send(path, b"STATUS=3")
        bench.until(lambda: len(bench.taken) == 3, "the new one is read")
        assert len(descriptors()) == before
    assert bench.said("db") == [Said(status=number) for number in "123"]
    bench.again[path]()
    send(path, b"STATUS=4")
    bench.until(lambda: bench.said("db")[-1] == Said(status="4"), "it may be done once more")
    again = bench.again[path]
    bench.notify.close_one("db")
    again()
    assert (bench.again, os.listdir(bench.directory)) == ({}, []), "one that was closed meanwhile is left"


@pytest.fixture
def pipe(bench: Bench) -> Iterator[int]:
    """The program's end of the pipe of ``job``, which has no socket: its path may be too long for one."""
    end = bench.notify.open_pipe("job")
    yield end
    os.close(end)


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_without_a_thread_no_descriptor_stays_open(
    bench: Bench, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next try, when there is one again, is as the first."""

    def no_thread(thread: threading.Thread) -> None:
        raise error

    before = os.listdir("/proc/self/fd")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        for _ in range(3):
            with pytest.raises(OSError, match="no thread"):
                bench.notify.open_pipe("job")
            with pytest.raises(OSError, match="no thread"):
                bench.open("db")
    assert os.listdir("/proc/self/fd") == before
    assert bench.notify.names() == []
    end = bench.notify.open_pipe("job")
    os.write(end, b"\n")
    bench.until(lambda: bench.taken, "it is taken")
    os.close(end)


def test_a_line_of_what_has_no_socket(bench: Bench, pipe: int) -> None:
    """It counts as READY, and once."""
    os.write(pipe, b"up")
    os.write(pipe, b"\nand more\n")
    bench.until(lambda: bench.taken, "it is taken")
    bench.notify.catch_up()
    assert [(each.name, each.said, each.is_line) for each in bench.taken] == [("job", Said(ready=True), True)]
    assert bench.notify.waits("job") == 0


@pytest.mark.parametrize("has_socket", [False, True])
def test_a_line_counts_before_the_end(bench: Bench, pipe: int, has_socket: bool) -> None:
    """A line that is in the kernel is handled before the end of the process is, whatever the thread has done."""
    if has_socket:
        bench.open("job")
    with bench.notify._lock:  # the thread does not get to it
        os.write(pipe, b"\n")
        bench.notify.catch_up()
    assert bench.said("job") == [Said(ready=True)]


def test_a_line_that_waits(bench: Bench, pipe: int) -> None:
    """One that is not to be taken now is taken when it is asked for again; not if the next process has a pipe by
    then."""
    takes = [False]

    def handle(datagram: Datagram) -> bool:
        if takes[0]:
            bench.taken.append(datagram)
        return takes[0]

    def waits(name: str) -> None:
        bench.until(lambda: bench.notify.waits(name) == 1, "it waits")
        bench.notify.drain(0.01)
        assert bench.notify.waits(name) == 1

    bench.notify.handle = handle
    os.write(pipe, b"\n")
    waits("job")
    takes[0] = True
    bench.notify.look_again()
    bench.until(lambda: bench.said("job") == [Said(ready=True)], "it is taken")

    takes[0] = False
    bench.taken.clear()
    former = bench.notify.open_pipe("job")
    os.write(former, b"\n")
    waits("job")
    new = bench.notify.open_pipe("job")
    takes[0] = True
    bench.notify.look_again()
    bench.notify.catch_up()
    assert (bench.said("job"), bench.notify.waits("job")) == ([], 0)
    os.write(new, b"\n")
    bench.until(lambda: bench.said("job") == [Said(ready=True)], "the new one's is taken")
    for each in (former, new):
        os.close(each)


def test_long_names(bench: Bench) -> None:
    """A path that is too long for a socket gets a shorter one, the same each time."""
    long = "x" * 120
    path = bench.open(long)
    assert len(path) <= 107
    assert bench.open(long) == path
    send(path, b"READY=1")
    bench.until(lambda: bench.said(long) == [Said(ready=True)], "it is heard")
