"""What evidence says, and how it keeps to its bounds: the parts that need no hung process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgpack
import pytest

from banken import client, dumps, looking
from banken.errors import Refused
from banken.identity import incarnation, process_start
from banken_supervisor.evidence import (
    bounded,
    bounds,
    collect,
    faulttext,
    proc,
    render,
    stacks,
    summary_lines,
    sweep,
)
from banken_supervisor.evidence.headline import headline, plumbing, short, stuck_task, waiting, where
from banken_supervisor.evidence.text import clean, neutral
from banken_supervisor.evidence.waits import connection, describe

LIB = "/usr/lib/python3.11"
SITE = "/srv/venv/lib/python3.11/site-packages"


def frame(function: str, file: str = "/srv/app/job.py", line: int = 42) -> dict[str, Any]:
    """One frame."""
    return {"function": function, "file": file, "line": line}


def thread(*frames: dict[str, Any], **other: Any) -> dict[str, Any]:
    """One thread; the main thread unless said otherwise."""
    blank = {"thread": 1, "tid": 10, "name": "MainThread", "main": True, "active": False, "gil": False}
    return {**blank, "frames": list(frames), "frames_left_out": 0, **other}


def task(name: str, *frames: dict[str, Any], **other: Any) -> dict[str, Any]:
    """One asyncio task."""
    blank = {"name": name, "running": False, "cancelling": 0, "awaits": None, "awaits_tasks": []}
    return {**blank, "frames": list(frames), "frames_left_out": 0, **other}


def evidence(*threads: dict[str, Any], **other: Any) -> dict[str, Any]:
    """Evidence of a sleeping process."""
    process = {
        "state": "S",
        "state_words": "sleeping",
        "ended": False,
        "parent": 1,
        "threads": len(threads),
        "cpu_user_s": 1.5,
        "cpu_system_s": 0.25,
        "cpu_now": 0.0,
        "rss_bytes": 24_000_000,
        "vms_bytes": 1,
        "fds": 7,
        "fds_max": 1024,
        "children": [],
        "cmdline": ["python", "job.py"],
        "exit_status": None,
        **other.pop("process", {}),
    }
    blank = {
        "version": 1,
        "pid": 10,
        "start": 5,
        "taken": 1.0,
        "seconds": 0.1,
        "identity": "verified",
        "headline": "",
        "main_wait": None,
        "stacks_by": "py-spy",
        "threads_left_out": 0,
        "tasks_left_out": 0,
    }
    made = {**blank, "process": process, "threads": list(threads), "tasks": [], "problems": [], **other}
    made["headline"] = made["headline"] or headline(made)
    return made


FUTEX = {"state": "S", "wchan": "futex_wait_queue", "syscall": "futex", "fd": None, "target": None}
LOOP = [
    frame("EpollSelector.select", f"{LIB}/selectors.py", 468),
    frame("BaseEventLoop._run_once", f"{LIB}/asyncio/base_events.py", 1884),
    frame("Runner.run", f"{LIB}/asyncio/runners.py", 118),
    frame("main", "/srv/app/job.py", 80),
]

PLACES = [
    ([frame("fetch")], "`fetch` (job.py:42)"),
    ([frame("Queue.get", f"{LIB}/queue.py", 171), frame("fetch")], "`fetch` (job.py:42), in queue.Queue.get"),
    (
        [frame("wait", f"{LIB}/threading.py"), frame("get", f"{LIB}/queue.py"), frame("fetch")],
        "`fetch` (job.py:42), in queue.get",
    ),
    ([frame("match", f"{LIB}/re/__init__.py"), frame("fetch")], "`fetch` (job.py:42), in re.match"),
    ([frame("run.<locals>.fetch")], "`fetch` (job.py:42)"),
    (
        [frame("readinto", f"{LIB}/socket.py"), frame("urlopen", f"{SITE}/urllib3/pool.py", 7), frame("fetch")],
        "`urlopen` (urllib3/pool.py:7) from `fetch` (job.py:42), in socket.readinto",
    ),
    ([frame("wait", f"{LIB}/threading.py", 3)], "`wait` (threading.py:3)"),
    ([], "a place without a Python frame"),
]


@pytest.mark.parametrize(("frames", "expected"), PLACES)
def test_the_place_is_the_innermost_frame_that_is_no_plumbing(frames: list[dict[str, Any]], expected: str) -> None:
    """And the outermost plumbing below it says what was called."""
    assert where(frames) == expected


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (f"{LIB}/threading.py", True),
        ("/opt/python-3.13.0/lib/python3.13/asyncio/tasks.py", True),
        ("/opt/py/lib/python3.13t/queue.py", True),
        ("<frozen importlib._bootstrap>", True),
        ("C:\\Python\\python311.zip\\queue.py", True),
        (f"{SITE}/requests/api.py", False),
        ("/usr/lib/python3/dist-packages/yaml/__init__.py", False),
        ("/home/me/lib/python/mine.py", False),
        ("<string>", False),
    ],
)
def test_plumbing_is_the_standard_library(file: str, expected: bool) -> None:
    """Wherever it is installed; what pip installed is not it."""
    assert plumbing(frame("f", file)) is expected


def test_files_are_told_as_far_as_they_say_something() -> None:
    """A package's file with its package, others by name."""
    assert short(f"{SITE}/urllib3/pool.py") == "urllib3/pool.py"
    assert short(f"{LIB}/asyncio/tasks.py") == "asyncio/tasks.py"
    assert short("/srv/app/job.py") == "job.py"


WAITS = [
    (FUTEX, "waiting in futex_wait_queue (a lock or a condition)"),
    ({**FUTEX, "wchan": None}, "waiting in futex (a lock or a condition)"),
    ({**FUTEX, "wchan": "do_syscall_64"}, "waiting in futex (a lock or a condition)"),
    ({**FUTEX, "wchan": "strange_place", "syscall": None}, "waiting in strange_place"),
    ({**FUTEX, "syscall": "read", "fd": 5, "target": "pipe:[7]"}, "waiting in read of pipe:[7]"),
    ({**FUTEX, "syscall": "flock", "fd": 5}, "waiting in flock of descriptor 5"),
    ({**FUTEX, "wchan": "ep_poll", "syscall": None}, "waiting in ep_poll (input or output, or a timer)"),
    ({**FUTEX, "wchan": None, "syscall": None}, ""),
    ({**FUTEX, "state": "R"}, ""),
    (None, ""),
]


@pytest.mark.parametrize(("wait", "expected"), WAITS)
def test_what_is_waited_for_is_said_in_words(wait: dict[str, Any] | None, expected: str) -> None:
    """The kernel's place, else the system call; the file or connection where there is one."""
    assert waiting(wait) == expected


HEADLINES = [
    (
        evidence(thread(frame("fetch")), main_wait=FUTEX),
        "MainThread in `fetch` (job.py:42), waiting in futex_wait_queue (a lock or a condition)",
    ),
    (
        evidence(thread(frame("spin"), gil=True), process={"cpu_now": 0.987}, main_wait={**FUTEX, "state": "R"}),
        "MainThread in `spin` (job.py:42), running (CPU 99%), holding the interpreter lock",
    ),
    (
        evidence(thread(frame("fetch")), process={"state": "T"}, main_wait={**FUTEX, "state": "T"}),
        "stopped by a signal (state T); MainThread in `fetch` (job.py:42)",
    ),
    (
        evidence(process={"state": "D"}, main_wait={**FUTEX, "state": "D", "wchan": "nfs_wait", "syscall": None}),
        "in an uninterruptible wait in the kernel (state D); the main thread's stack is not known, "
        "waiting in nfs_wait (a network file system)",
    ),
    (
        evidence(process={"state": "Z", "ended": True, "exit_status": "exit code 3", "parent": 7}),
        "has ended (exit code 3), a zombie: its parent, pid 7, has not collected it (state Z)",
    ),
    (
        evidence(thread(frame("serve"), main=False, name="w"), process={"state": "Z"}),
        "its main thread has ended, other threads run on (state Z); the main thread's stack is not known, "
        "one of its other threads in `serve` (job.py:42)",
    ),
    (
        evidence(thread(*LOOP), main_wait={**FUTEX, "wchan": "ep_poll"}),
        "MainThread in `main` (job.py:80), in asyncio.runners.Runner.run, waiting in ep_poll (input or output, "
        "or a timer); which task hangs is known only after client.enable_dumps()",
    ),
    (
        evidence(thread(*LOOP), tasks=[task("Task-1", frame("fetch"), awaits="Future")]),
        "MainThread runs an event loop; task Task-1 in `fetch` (job.py:42), awaiting a Future",
    ),
    (
        evidence(thread(frame("blocks"), *LOOP), tasks=[task("Task-1", frame("fetch"))]),
        "MainThread in `blocks` (job.py:42)",
    ),
    (evidence(thread(frame("f\x1b[2J"), name="\x07\u202e")), "\\x07\\u202e in `f\\x1b[2J` (job.py:42)"),
]


@pytest.mark.parametrize(("given", "expected"), HEADLINES)
def test_one_line_tells_where_it_hangs(given: dict[str, Any], expected: str) -> None:
    """State first where it matters, then thread or task, function, file and line, and what is waited for."""
    assert headline(given) == expected


def test_the_stuck_task_is_at_the_end_of_what_the_first_waits_for() -> None:
    """Positions that lead in a circle, or out of the list, are not followed for ever."""
    tasks = [
        task("a", awaits_tasks=[2]),
        task("b"),
        task("c", awaits_tasks=[0, 99, 3]),
        task("d", awaits_tasks=[0]),
    ]
    assert stuck_task(tasks) is tasks[3]
    assert stuck_task([]) is None


FAULT_TEXT = """\
Thread 0x00007f02 (most recent call first):
  File "/srv/a \\xe4.py", line 20 in wait
  File "/srv/b.py", line ??? in <module>
  ...

Current thread 0x00007f01 [named one] (most recent call first):
  File "/srv/with "quotes", line 3 in x.py", line 7 in main

Current thread's C stack trace (most recent call first):
  Binary file "/usr/bin/python3", at _Py_DumpStack+0x4b [0x1]
"""


def test_faulthandlers_text_is_read() -> None:
    """Threads from the newest to the main thread, frames cut, names of files that hold anything."""
    threads, whole = faulttext.parse(FAULT_TEXT, 10)
    assert whole
    assert [each["thread"] for each in threads] == [0x7F02, 0x7F01]
    assert threads[0]["frames"][0] == {"function": "wait", "file": "/srv/a \\xe4.py", "line": 20}
    assert threads[0]["frames"][1]["line"] == 0
    assert threads[0]["frames_left_out"] == 1
    assert (threads[1]["main"], threads[1]["tid"], threads[1]["name"]) == (True, 10, "named one")
    assert threads[1]["frames"] == [{"function": "main", "file": '/srv/with "quotes", line 3 in x.py', "line": 7}]


@pytest.mark.parametrize("text", ["", "...\n", '  File "a", line 1 in b\n', "Fatal Python error\n", "\x00" * 100])
def test_what_is_no_dump_gives_no_thread(text: str) -> None:
    """Nor an error."""
    assert faulttext.parse(text, 10)[0] == []


def test_a_dump_of_too_many_threads_has_no_main_thread() -> None:
    """faulthandler stops before it gets there."""
    threads, whole = faulttext.parse("Thread 0x1 (most recent call first):\n  <no Python frame>\n...\n", 10)
    assert not whole
    assert [each["main"] for each in threads] == [False]


@pytest.mark.parametrize("bytes_max", [16_384, 20_000, 200_000, 5_000_000])
def test_evidence_keeps_to_its_size(bytes_max: int) -> None:
    """Whatever it holds; what went is counted, and the main thread goes last."""
    wide = "ä\x1b\ud800" * 80
    many = [
        thread(*(frame(wide, wide, n) for n in range(64)), thread=n, main=n == 0, name=f"t{n}") for n in range(300)
    ]
    given = evidence(*many, tasks=[task(f"k{n}", *many[0]["frames"]) for n in range(300)], headline="x")
    given = json.loads(json.dumps(given).replace("\\ud800", "\\ufffd"))
    given["problems"] = ["p" * 10_000] * 50
    given["headline"] = "🐕" * 400
    given["process"]["cmdline"] = ["🐕" * 256] * 32
    given["main_wait"] = {**FUTEX, "target": "🐕" * 200}
    made = bounds.fit(given, bytes_max)
    assert bounds.size(made) <= bytes_max
    assert len(msgpack.packb(made)) <= bounds.size(made)
    assert len(made["threads"]) + made["threads_left_out"] == 300
    assert len(made["tasks"]) + made["tasks_left_out"] == 300
    if made["threads"]:
        assert made["threads"][0]["main"]
        assert made["threads"][0]["frames_left_out"] + len(made["threads"][0]["frames"]) == 64
    assert render(made)


def test_rare_stacks_come_before_a_pools() -> None:
    """The main thread, the holder of the lock, who runs, who stands alone, the pool, and banken's own."""
    idle = [thread(frame("idle"), main=False, name=f"p{n}") for n in range(5)]
    odd = thread(frame("odd"), main=False, name="odd")
    busy = thread(frame("busy"), main=False, name="busy", active=True)
    holder = thread(frame("c"), main=False, name="holder", gil=True)
    own = thread(frame("serve"), main=False, name="banken-dumps")
    main = thread(frame("main"))
    names = [each["name"] for each in bounds.ordered([own, *idle, odd, busy, holder, main])]
    assert names == ["MainThread", "holder", "busy", "odd", "p0", "p1", "p2", "p3", "p4", "banken-dumps"]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"threads": 3, "tasks": "x"},
        {"threads": [None, 1, {}], "tasks": [{}, {"frames": [{}, 3], "awaits_tasks": ["x", -1, True, 2]}]},
        {"threads": [{"thread": 2**70, "tid": 2**70}], "tasks": [{"awaits_tasks": [2**70], "cancelling": 2**70}]},
        {"threads": [{"thread": -1, "tid": "1", "name": 5, "frames": [{"line": 2**80, "function": None}]}]},
    ],
)
def test_an_answer_is_taken_apart_with_care(answer: dict[str, Any]) -> None:
    """A worker may answer anything."""
    made = {"threads": bounds.told_threads(answer, 10), "tasks": bounds.told_tasks(answer)}
    msgpack.packb(made)
    for each in made["tasks"]:
        assert all(position >= 0 for position in each["awaits_tasks"])


@pytest.mark.parametrize("data", [b"", b"{", b"[{}]", b"3", b'[{"frames": 3}]', b'{"a": 1}'])
def test_what_py_spy_never_wrote_is_refused(data: bytes) -> None:
    """With a sentence, not with whatever json makes of it."""
    with pytest.raises(stacks.StackFault, match="not understood"):
        stacks.threads_of(data)


def test_text_is_cut_and_made_harmless() -> None:
    """Lone surrogates go; a terminal finds nothing to obey."""
    assert clean("abcdef", 4) == "abc…"
    assert clean("abcdef", 4, end=True) == "…def"
    assert clean("a\ud800", 9) == "a?"
    assert neutral("ok ä 番犬") == "ok ä 番犬"
    assert neutral("a\x1b[31m\n\u202e\x9b\u2028") == "a\\x1b[31m\\n\\u202e\\x9b\\u2028"


def test_a_summary_has_so_many_lines() -> None:
    """The headline first; room for problems is kept."""
    given = evidence(thread(*(frame(f"f{n}") for n in range(30))), problems=["one thing"], headline="where")
    assert summary_lines(given, 1) == ["where"]
    lines = summary_lines(given, 6)
    assert lines[0] == "where"
    assert lines[2].strip() == "f0  job.py:42"
    assert lines[-1] == "! one thing"
    assert len(lines) == 6


def test_evidence_of_nobody_can_be_shown() -> None:
    """Where no process was known there is a headline and little else; whatever else is missing is not shown."""
    for given in (
        {"headline": "no process is known", "problems": [], "said": {}},
        {"headline": "no process is known"},
    ):
        assert render(given) == ["no process is known"]
        assert summary_lines(given, 5) == ["no process is known"]
    assert render({"data": "of another version"})[0]


def test_threads_with_one_stack_are_shown_once() -> None:
    """A pool of a hundred is one paragraph."""
    given = evidence(*(thread(frame("idle"), main=False, name=f"p{n}") for n in range(100)))
    assert sum("idle" in line for line in render(given)[1:]) == 1
    assert any("and 92 more" in line for line in render(given))


def test_this_process_as_the_kernel_has_it() -> None:
    """State, memory, descriptors, threads, children and command line of a process that is known: this one."""
    pid = os.getpid()
    facts = proc.facts(pid)
    assert facts["state"] in "RS"
    assert facts["parent"] == os.getppid()
    assert facts["rss_bytes"] > 1_000_000
    found = proc.descriptors(pid)
    before = found["fds"]
    with open(os.devnull) as file:
        assert proc.descriptors(pid)["fds"] == before + 1
        assert describe(pid, file.fileno()) == os.devnull
    assert proc.command_line(pid)
    assert proc.tids(pid)[0] == pid
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in proc.children(pid, proc.tids(pid))
        child.kill()


def test_the_use_of_the_cpu_is_measured() -> None:
    """A thread that computes is seen, and none is not; CPU time is this process's alone."""
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            sum(range(1000))

    worker = threading.Thread(target=compute)
    worker.start()
    try:
        busy = max(proc.cpu_share(os.getpid()) or 0 for _ in range(10))
    finally:
        stop.set()
        worker.join()
    idle = min(proc.cpu_share(os.getpid()) or 0 for _ in range(10))
    assert busy > 0.05  # other processes may leave it little
    assert idle < 0.05


def test_a_connection_is_told_by_its_ends(tmp_path: Path) -> None:
    """IPv4, IPv6 and Unix sockets."""
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as server:
            try:
                server.bind((host, 0))
            except OSError:
                continue
            server.listen()
            port = server.getsockname()[1]
            with socket.socket(family) as mine:
                mine.connect((host, port))
                told = describe(os.getpid(), mine.fileno()) or ""
                assert told.startswith("tcp")
                assert told.endswith(f"to 127.0.0.1:{port}" if host == "127.0.0.1" else f"to [::1]:{port}")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        assert describe(os.getpid(), server.fileno()) == f"unix {tmp_path / 's'}"
    assert connection(os.getpid(), "0000") is None


def test_what_hangs_is_left_behind_and_counted() -> None:
    """A part that does not end costs its time and no more; so many of them, and no other is begun."""
    release = threading.Event()
    began = time.monotonic()
    for _ in range(bounded.ABANDONED_MAX):
        with pytest.raises(bounded.TooLate, match="not done within"):
            bounded.attempt(lambda: release.wait(30), 0.001)
    with pytest.raises(bounded.TooLate, match="not begun"):
        bounded.attempt(lambda: 1, 5)
    assert time.monotonic() - began < 10
    release.set()
    deadline = time.monotonic() + 10
    while bounded._abandoned:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert bounded.attempt(lambda: 1, 5) == 1
    with pytest.raises(ZeroDivisionError):
        bounded.attempt(lambda: 1 // 0, 5)


def test_a_program_is_bounded_in_time_and_output() -> None:
    """Its output in full, or none: what is cut is no JSON. It is killed, and its pipes are not waited for."""
    run = [sys.executable, "-c"]
    assert bounded.output([*run, "import sys; print('o'); sys.exit('e')"], 20, 100) == (1, b"o\n", "e\n")
    with pytest.raises(bounded.TooLate):
        bounded.output([*run, "print('x' * 1000)"], 20, 100)
    began = time.monotonic()
    with pytest.raises(bounded.TooLate):
        bounded.output([*run, "import time; time.sleep(60)"], 0.3, 100)
    with pytest.raises(bounded.TooLate):  # it ends, and leaves a child that holds its pipes
        bounded.output([*run, "import os, time; os.fork() or time.sleep(5)"], 0.5, 100)
    assert time.monotonic() - began < 20


def test_limits_that_are_none_are_refused() -> None:
    """The caller's fault, unlike everything that a process may do."""
    for limits in ({"seconds_max": 0.0}, {"seconds_max": float("nan")}, {"bytes_max": 100}):
        with pytest.raises(ValueError, match="seconds_max is more than 0"):
            collect(incarnation(), address_directory="/nowhere", **limits)


def test_sweeping_takes_only_what_dead_processes_left(tmp_path: Path) -> None:
    """Names of living processes, and names of anything else, stay; a link is not followed."""
    directory = tmp_path / "dumps"
    assert sweep(str(tmp_path)) == 0
    directory.mkdir()
    mine = f"{os.getpid()}-{process_start()}"
    keep = {mine, f"{mine}.ask", f".new-{mine}", "notes", "0-1", f"{os.getpid()}-", "1-1.txt"}
    dead = {f"{os.getpid()}-{process_start() - 1}", "4194305-1", "4194305-1.ask", ".new-4194305-1"}
    for name in keep | dead:
        (directory / name).touch()
    assert sweep(str(tmp_path)) == len(dead)
    assert {each.name for each in directory.iterdir()} == keep
    (directory / "4194305-2").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "dumps").symlink_to(directory)
    assert sweep(str(tmp_path / "other")) == 0
    assert (directory / "4194305-2").exists()


def test_only_signals_that_nothing_else_sends_may_ask(address: str) -> None:
    """SIGTERM, SIGKILL and nonsense are refused before anything is touched."""
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, 0, -1, 1000, True):
        with pytest.raises(Refused, match="SIGUSR1, SIGUSR2 or a real-time signal"):
            dumps.enable_dumps(number, address=address)
    assert not os.path.exists(address)


@pytest.mark.parametrize("why", ["tcp", "file", "open"])
def test_where_dumps_cannot_work_the_worker_goes_on(
    address: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning, False, and nothing registered."""
    given = address
    if why == "tcp":
        given = "tcp://127.0.0.1:7767"
    elif why == "file":
        Path(address).touch()
    else:
        Path(address).mkdir()
        Path(address).chmod(0o777)
    assert dumps.enable_dumps(address=given) is False
    assert "stacks cannot be asked for here" in caplog.text
    assert dumps._current is None
    assert not [each for each in threading.enumerate() if each.name == "banken-dumps"]


def test_dumps_can_be_enabled_twice_and_taken_back(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same again changes nothing; another signal replaces it; afterwards nothing is left."""
    monkeypatch.setenv("BANKEN_ADDRESS", address)
    before = signal.getsignal(signal.SIGUSR2)
    directory = Path(address, "dumps")
    try:
        assert client.enable_dumps() is True
        inodes = {each.stat().st_ino for each in directory.iterdir()}
        assert client.enable_dumps() is True
        assert {each.stat().st_ino for each in directory.iterdir()} == inodes
        assert client.enable_dumps(signal.SIGRTMIN + 3, ask=False) is True
        (only,) = directory.iterdir()
        assert only.read_text() == f"banken-dumps 1 {int(signal.SIGRTMIN + 3)}\n"
    finally:
        dumps.disable_dumps()
        signal.signal(signal.SIGUSR2, before)
        signal.signal(signal.SIGRTMIN + 3, signal.SIG_DFL)
    assert list(directory.iterdir()) == []


def test_looking_sees_tasks_of_every_kind() -> None:
    """Tasks behind gather, wait, wait_for and a lock, in a loop of another thread, without running their code."""
    import asyncio

    loop = asyncio.new_event_loop()

    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    async def locked(lock: asyncio.Lock) -> None:
        await lock.acquire()

    async def waiter() -> None:
        lock = asyncio.Lock()
        await lock.acquire()
        tasks = [asyncio.create_task(never(), name="n"), asyncio.create_task(locked(lock), name="l")]
        await asyncio.wait(tasks)

    async def timed() -> None:
        await asyncio.wait_for(never(), 60)

    async def start() -> list[asyncio.Task[None]]:
        return [asyncio.create_task(waiter(), name="w"), asyncio.create_task(timed(), name="t")]

    runner = threading.Thread(target=loop.run_forever)
    runner.start()
    try:
        started = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        deadline = time.monotonic() + 10
        tasks: dict[str, Any] = {}
        while [tasks.get(name, {}).get("awaits") for name in "nlwt"].count(None):
            assert time.monotonic() < deadline
            told = looking.look()["tasks"]
            tasks = {each["name"]: each for each in told}
        assert {told[each]["name"] for each in tasks["w"]["awaits_tasks"]} == {"n", "l"}
        assert tasks["l"]["frames"][0]["function"].endswith("acquire")
        assert tasks["l"]["frames"][1]["function"].endswith("locked")
        assert any(each["function"].endswith("timed") for each in tasks["t"]["frames"])
        assert not any(each["running"] for each in told)
    finally:

        async def end() -> None:
            for each in asyncio.all_tasks() - {asyncio.current_task()}:
                each.cancel()
            await asyncio.gather(*started, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        runner.join(10)
        loop.close()


def test_looking_at_a_task_runs_none_of_the_programs_code() -> None:
    """A thread's name and an awaitable's repr may be anything, also something that raises."""

    class Named(str):
        def __str__(self) -> str:
            raise AssertionError("it was asked")

    done = threading.Event()
    worker = threading.Thread(target=done.wait, name="plain")
    worker.start()
    worker._name = Named("odd")
    try:
        told = looking.look()["threads"]
        assert told[0]["thread"] == threading.main_thread().ident
        assert "odd" in [each["name"] for each in told]
        assert json.dumps(told)
    finally:
        done.set()
        worker.join()
