"""What a process says at its end: heard at the feed socket, from real ends of real interpreters."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from banken.protocol.codec import decode
from banken.protocol.messages import Kind, Message
from process.kit import START_S

pytestmark = [pytest.mark.process, pytest.mark.every_python]

METHODS = ("fork", "spawn", "forkserver")


CONNECT = """
import sys, time
from banken import client

def connect():
    client.resume("connects")
    while not client.stats()["reachable"]:  # on a busy machine a first message may find no connection
        time.sleep(0.005)

"""


class Ear:
    """A feed socket, and all that was said to it."""

    def __init__(self, directory: Path) -> None:
        self.address = str(directory)
        self.heard: list[Message] = []
        self._socket: zmq.Socket[bytes] = zmq.Context().socket(zmq.PULL)
        self._socket.bind(f"ipc://{directory}/feed")
        self._script = directory / "worker.py"

    def run(self, text: str, *args: str, code: int = 0) -> None:
        """Run a worker to its end. ``code``: how it must end."""
        self._script.write_text(CONNECT + text)
        worker = subprocess.run(
            [sys.executable, "-W", "ignore", str(self._script), *args],
            env={"BANKEN_ADDRESS": self.address, "PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert worker.returncode == code, worker.stderr

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Listen until it is true."""
        deadline = time.monotonic() + START_S
        while not condition():
            left = deadline - time.monotonic()
            assert left > 0, f"not heard: {what}; heard: {[(m.kind.name, m.name) for m in self.heard[-20:]]}"
            if self._socket.poll(min(left, 0.1) * 1000):
                message = decode(self._socket.recv())
                self.heard += [message] if message.name != "connects" else []

    def last(self, name: str) -> Message:
        """The last word about a name, once its process has said that it leaves, or releases it."""
        ends = (Kind.LEAVING, Kind.RELEASE, Kind.FAIL)
        self.until(lambda: any(m.name == name and m.kind in ends for m in self.heard), f"the end of {name}")
        return [m for m in self.heard if m.name == name][-1]

    def close(self) -> None:
        self._socket.close(0)
        self._socket.context.term()


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    made = Ear(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("end", "code", "reason"),
    [
        ("pass", 0, None),
        ("sys.exit(3)", 3, None),
        ("sys.exit('no database')", 1, None),
        ("raise KeyboardInterrupt", -2, None),
        ("raise RuntimeError('on purpose')", 1, "RuntimeError: on purpose"),
        ("class Stop(BaseException): pass\nraise Stop('now')", 1, "Stop: now"),
    ],
)
def test_a_process_that_ends_is_leaving(ear: Ear, end: str, code: int, reason: str | None) -> None:
    """Each name that it fed or declared, once; with the traceback of what ended it."""
    ear.run(
        "connect()\n"
        "client.watchdog('declared', timeout=60); client.feed('fed'); client.feed('done'); client.release('done')\n"
        "client.pause('spoken-of', 5)\n" + end,
        code=code,
    )
    for name in ("declared", "fed"):
        word = ear.last(name)
        assert word.kind is Kind.LEAVING
        if reason is None:
            assert word.args == (None,)
        else:
            assert word.args[0].startswith("Traceback (most recent call last):")
            assert word.args[0].endswith(reason)
    ends = [(m.kind, m.name) for m in ear.heard if m.kind in (Kind.LEAVING, Kind.RELEASE)]
    assert sorted(ends) == [(Kind.RELEASE, "done"), (Kind.LEAVING, "declared"), (Kind.LEAVING, "fed")]


PRINTED = {
    "a console": """
        import code
        code.InteractiveConsole().runcode(compile("1 / 0", "<console>", "exec"))
        """,
    "a test runner": """
        try:
            raise ValueError("a test failed an hour ago")
        except ValueError as fault:
            sys.last_type, sys.last_value, sys.last_traceback = type(fault), fault, fault.__traceback__
            sys.last_exc = fault
        """,
    "a hook": """
        def run(): 1 / 0
        try:
            run()
        except ZeroDivisionError:
            sys.excepthook(*sys.exc_info())
        """,
}


@pytest.mark.parametrize("printed", PRINTED)
def test_an_exception_that_was_printed_and_lived_through_is_no_reason(ear: Ear, printed: str) -> None:
    """Only the one that ends the process is."""
    body = "\n".join("    " + line[8:] for line in PRINTED[printed].splitlines())
    ear.run(f"connect()\nclient.feed('w')\ndef main():\n{body}\nmain()\n")
    assert ear.last("w").args == (None,)


CHILDREN = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

def feeds(name):
    connect()
    client.feed(name)

def raises(name):
    feeds(name)
    raise RuntimeError("in the child")

def exits(name):
    feeds(name)
    sys.exit(3)

def inside_a_handler(context):
    try:
        raise ValueError("the parent's own")
    except ValueError:
        child = context.Process(target=feeds, args=("quiet",))
        child.start()
        child.join()

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    for target in (feeds, raises, exits):
        child = context.Process(target=target, args=(target.__name__,))
        child.start()
        child.join()
    inside_a_handler(context)
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        executor.submit(feeds, "executor").result()
        assert executor.submit(raises, "executor").exception() is not None
    pool = context.Pool(1)
    pool.map(feeds, ["pool"])
    pool.close()
    pool.join()
"""


@pytest.mark.parametrize("method", METHODS)
def test_children_of_multiprocessing_are_leaving(ear: Ear, method: str) -> None:
    """Ended in order, by an exception, by sys.exit, by their pool's end: only the exception is a reason."""
    ear.run(CHILDREN, method)
    reasons = {name: ear.last(name).args for name in ("feeds", "exits", "quiet", "executor", "pool", "raises")}
    assert reasons.pop("raises")[0].endswith("RuntimeError: in the child")
    assert set(reasons.values()) == {(None,)}
    assert {m.kind for m in ear.heard} == {Kind.FEED, Kind.LEAVING}


FORKS = """
import os

def in_child(work, how):
    pid = os.fork()
    if pid == 0:
        connect()
        work()
        if how == "unwinds":
            sys.exit()
        client.leave()
        os._exit(0)
    os.waitpid(pid, 0)

connect()
with client.watchdog("parent", timeout=60) as dog, client.section("load", timeout=30), dog.work("GET /", limit=30):
    dog.feed()
    in_child(lambda: None, sys.argv[1])
    in_child(lambda: client.feed("child"), sys.argv[1])
    in_child(lambda: dog.idle(), "leaves")
    dog.feed()
"""


@pytest.mark.parametrize("how", ["unwinds", "leaves"])
def test_a_forked_child_says_nothing_of_what_its_parent_has_open(ear: Ear, how: str) -> None:
    """It runs out of its parent's blocks, or leaves in the middle of them: sections, scopes and watchdogs stay the
    parent's. What the child fed itself is its own."""
    ear.run(FORKS, how)
    ear.last("child")
    ear.until(lambda: [m.kind for m in ear.heard if m.name == "parent"].count(Kind.RELEASE) == 2, "both releases")
    (home,) = {m.identity for m in ear.heard if m.name.startswith("load@")}
    of_children = [m for m in ear.heard if m.identity != home]
    end = Kind.LEAVING if how == "unwinds" else Kind.RELEASE
    assert [m.kind for m in of_children if m.name == "child"] == [Kind.FEED, end]
    assert [m.kind for m in of_children if m.name == "parent"] == [Kind.WORK, Kind.RELEASE]
    assert {m.name for m in of_children} == {"child", "parent"}


LEAVES = """
import os, signal

def child(name):
    connect()
    dog = client.watchdog(name, timeout=60, resolution=0)
    for _ in range(int(sys.argv[2])):
        dog.feed()
    if sys.argv[1] == "leave":
        assert client.leave()
        os._exit(0)
    if sys.argv[1] == "release":
        assert client.release(name)
    if sys.argv[1] == "stop":
        dog.stop()
    if sys.argv[1] == "fail":
        assert client.fail(name, "no disk")
    os.kill(os.getpid(), signal.SIGKILL)

for number in range(int(sys.argv[3])):
    if os.fork() == 0:
        child(f"w{number}")
    os.wait()
"""


@pytest.mark.parametrize("word", ["release", "stop", "fail", "leave"])
@pytest.mark.parametrize(("feeds", "children"), [(1, 12), (300, 1)])
def test_a_last_word_arrives_though_its_process_dies_at_once(
    ear: Ear, word: str, feeds: int, children: int
) -> None:
    """libzmq's thread would take it along, in one of a few tries."""
    ear.run(LEAVES, word, str(feeds), str(children))
    for number in range(children):
        assert ear.last(f"w{number}").kind is (Kind.FAIL if word == "fail" else Kind.RELEASE)


FIRST = """
import os, signal

os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
for number in range(5):
    if os.fork() == 0:
        connect()
        dog = client.watchdog(f"w{number}", timeout=60, resolution=0)
        for _ in range(600):
            dog.feed()
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
        client.fail(f"w{number}", "no disk")
        os.kill(os.getpid(), signal.SIGKILL)
    os.wait()
"""


@pytest.mark.root
def test_a_last_word_arrives_though_its_thread_is_always_before_libzmqs(ear: Ear) -> None:
    """On a busy machine it may be: what it asks of libzmq's thread is there before that looks for it."""
    ear.run(FIRST)
    for number in range(5):
        assert ear.last(f"w{number}").kind is Kind.FAIL


@pytest.mark.parametrize("word", ["leave", "release"])
def test_a_last_word_waits_for_nobody(tmp_path: Path, word: str) -> None:
    """Without a supervisor, and with one that reads nothing, it gives up soon."""
    text = (
        "import sys, time\nfrom banken import client\n"
        "client.feed('w')\n"
        "for _ in range(5000 if sys.argv[1] == 'full' else 0): client.feed('w', status=str(_) + 'x' * 1000)\n"
        "began = time.monotonic(); client.feed('x'); {}; print(time.monotonic() - began)\n"
    ).format("client.leave()" if word == "leave" else "client.release('w')")
    ear = Ear(tmp_path)
    try:
        for how in ("full", "absent"):
            address = tmp_path if how == "full" else tmp_path / "none"
            done = subprocess.run(
                [sys.executable, "-c", text, how],
                env={"BANKEN_ADDRESS": str(address), "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True, text=True, timeout=60, check=True,
            )  # fmt: skip
            assert float(done.stdout) < 2.5  # at most 1.2 s is promised; the rest is for a busy machine
    finally:
        ear.close()
