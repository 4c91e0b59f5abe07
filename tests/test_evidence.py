"""How evidence is taken and keeps to its bounds: the parts that need no hung process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgpack
import pytest

from banken.diagnostics import dumps
from banken.process_identity import own_identity, process_start
from banken_supervisor.evidence import (
    announced_dumps,
    collect,
    process_facts,
    render,
    size_limits,
    stacks,
    sweep,
    time_limits,
)
from banken_supervisor.evidence.process_facts import connection, describe
from evidence_kit import FUTEX, evidence, frame, task, thread

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
    threads, whole = announced_dumps.parse(FAULT_TEXT, 10)
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
    assert announced_dumps.parse(text, 10)[0] == []


def test_a_dump_of_too_many_threads_has_no_main_thread() -> None:
    """faulthandler stops before it gets there."""
    threads, whole = announced_dumps.parse("Thread 0x1 (most recent call first):\n  <no Python frame>\n...\n", 10)
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
    made = size_limits.fit(given, bytes_max)
    assert size_limits.size(made) <= bytes_max
    assert len(msgpack.packb(made)) <= size_limits.size(made)
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
    names = [each["name"] for each in size_limits.ordered([own, *idle, odd, busy, holder, main])]
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
    made = {"threads": size_limits.answered_threads(answer, 10), "tasks": size_limits.answered_tasks(answer)}
    msgpack.packb(made)
    for each in made["tasks"]:
        assert all(position >= 0 for position in each["awaits_tasks"])


@pytest.mark.parametrize("data", [b"", b"{", b"[{}]", b"3", b'[{"frames": 3}]', b'{"a": 1}'])
def test_what_py_spy_never_wrote_is_refused(data: bytes) -> None:
    """With a sentence, not with whatever json makes of it."""
    with pytest.raises(stacks.StackFault, match="not understood"):
        stacks.threads_of(data)


def test_this_process_as_the_kernel_has_it() -> None:
    """State, memory, descriptors, threads, children and command line of a process that is known: this one."""
    pid = os.getpid()
    facts = process_facts.facts(pid)
    assert facts["state"] in "RS"
    assert facts["parent"] == os.getppid()
    assert facts["rss_bytes"] > 1_000_000
    found = process_facts.descriptors(pid)
    before = found["fds"]
    with open(os.devnull) as file:
        assert process_facts.descriptors(pid)["fds"] == before + 1
        assert describe(pid, file.fileno()) == os.devnull
    assert process_facts.command_line(pid)
    assert process_facts.tids(pid)[0] == pid
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in process_facts.children(pid)
        child.kill()


def test_the_use_of_the_cpu_is_measured() -> None:
    """A thread that computes is seen, and none is not; CPU time is this process's alone."""
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            sum(range(1000))

    worker = threading.Thread(target=compute, daemon=True)
    worker.start()
    try:
        busy = max(process_facts.cpu_share(os.getpid()) or 0 for _ in range(10))
    finally:
        stop.set()
        worker.join()
    idle = min(process_facts.cpu_share(os.getpid()) or 0 for _ in range(10))
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
    for _ in range(time_limits.RUNNING_MAX):
        with pytest.raises(time_limits.TooLate, match="not done within"):
            time_limits.attempt(lambda: release.wait(30), 0.001)
    with pytest.raises(time_limits.TooLate, match="not begun"):
        time_limits.attempt(lambda: 1, 5)
    assert time.monotonic() - began < 10
    release.set()

    def all_are_free() -> bool:
        return time_limits._slots._value == time_limits.RUNNING_MAX  # type: ignore[attr-defined]

    deadline = time.monotonic() + 10
    while not all_are_free():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert time_limits.attempt(lambda: 1, 5) == 1
    with pytest.raises(ZeroDivisionError):
        time_limits.attempt(lambda: 1 // 0, 5)


def test_a_program_is_bounded_in_time_and_output() -> None:
    """Its output in full, or none: what is cut is no JSON. It is killed when late, and its children not awaited."""
    run = [sys.executable, "-c"]
    assert time_limits.output([*run, "import sys; print('o'); sys.exit('e')"], 20, 100) == (1, b"o\n", "e\n")
    with pytest.raises(time_limits.TooLate):
        time_limits.output([*run, "print('x' * 1000)"], 20, 100)
    began = time.monotonic()
    with pytest.raises(time_limits.TooLate):
        time_limits.output([*run, "import time; time.sleep(60)"], 0.3, 100)
    # It ends, and leaves a child that holds its output open.
    script = "import os, time; os.fork() and print('all', flush=True) or time.sleep(5)"
    assert time_limits.output([*run, script], 20, 100)[1] == b"all\n"
    assert time.monotonic() - began < 20


def test_limits_that_are_none_are_refused() -> None:
    """The caller's fault, unlike everything that a process may do."""
    for limits in ({"seconds_max": 0.0}, {"seconds_max": float("nan")}, {"bytes_max": 100}):
        with pytest.raises(ValueError, match="seconds_max is more than 0"):
            collect(own_identity(), address_directory="/nowhere", **limits)


ASKER = """
import sys
from banken_supervisor.evidence import announced_dumps
from banken_supervisor.processes.handle import ProcessHandle
with ProcessHandle.open_pid(int(sys.argv[1])) as process:
    print(announced_dumps.find(sys.argv[2], process).owner)
"""


def test_a_supervisor_in_the_process_that_it_watches_has_its_stacks(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again and again. It asks nobody: its own process does not see the lock of its announcement, and would give
    that up, so that no other one could ask it."""
    monkeypatch.setattr(stacks, "find", lambda: None)
    assert dumps.enable_dumps(address=address)
    try:
        for _ in range(2):
            taken = collect(own_identity(), address_directory=address)
            functions = {frame["function"] for each in taken["threads"] for frame in each["frames"]}
            assert "test_a_supervisor_in_the_process_that_it_watches_has_its_stacks" in functions
        run = [sys.executable, "-c", ASKER, str(os.getpid()), address]
        asked = subprocess.run(
            run, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ":".join(sys.path)}
        )
        assert asked.stdout == f"{os.geteuid()}\n", asked.stderr
    finally:
        dumps.disable_dumps()


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
