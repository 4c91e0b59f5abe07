"""Where a hung worker hangs is told: with py-spy, by its own thread, by signal; and in time, whatever fails."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from banken_supervisor.evidence import render, stacks
from process.hung_kit import (
    WAYS,
    Hung,
    collect_,
    frames_of,
    hung_identity,
    line_of,
    signals_pending,
    workers_at,
)
from process.kit import Home, process_state, until

pytestmark = pytest.mark.process


@pytest.fixture
def start(address: str) -> Iterator[Any]:
    """Starts workers of hang.py, and ends them."""
    with workers_at(address) as make:
        yield make


@pytest.mark.parametrize(("by", "dumps", "py_spy"), WAYS)
def test_a_deadlock_on_two_locks(start: Any, by: str, dumps: str, py_spy: bool) -> None:
    """Both threads are told with function and line, and the headline names the main thread's."""
    hung = start("two_locks", dumps)
    evidence = hung.look(hung.hear(), "take", py_spy, f"'line': {line_of('two_locks', '# here too')}}}")
    assert evidence["stacks_by"] == by
    assert evidence["headline"].startswith(f"MainThread in `take` (hang.py:{line_of('take')})")
    assert "futex" in evidence["headline"]
    other = [each for each in evidence["threads"] if not each["main"]]
    spots = [(frame["function"].rpartition(".")[2], frame["line"]) for each in other for frame in each["frames"]]
    assert ("other_way", line_of("two_locks", "# here too")) in spots
    if by != "faulthandler":
        assert "other\x1b[31m" in [each["name"] for each in other]
        assert any("other\\x1b[31m" in line for line in render(evidence))
    assert evidence["problems"] == []
    assert evidence["process"]["state"] == "S"
    assert evidence["process"]["threads"] >= 2
    assert evidence["process"]["fds"] > 2
    assert evidence["process"]["rss_bytes"] > 1_000_000
    assert "two_locks" in evidence["process"]["cmdline"]
    assert hung.child.running()


@pytest.mark.parametrize(("by", "dumps", "py_spy"), [WAYS[0], WAYS[2]])
@pytest.mark.parametrize(("hang", "function"), [("c_call", "hold_interpreter"), ("regex", "match_for_ever")])
def test_the_interpreter_lock_is_held(
    start: Any, hang: str, function: str, by: str, dumps: str, py_spy: bool
) -> None:
    """A C call and a runaway regular expression, neither of which lets any Python code run."""
    hung = start(hang, dumps)
    evidence = hung.look(hung.hear(), function, py_spy)
    assert evidence["stacks_by"] == by
    assert evidence["headline"].startswith(f"MainThread in `{function}` (hang.py:{line_of(function)})")
    if by == "py-spy":
        assert "holding the interpreter lock" in evidence["headline"]
    assert ("in re.match" in evidence["headline"]) == (hang == "regex")
    assert hung.child.running()


def test_a_thread_that_cannot_answer_is_not_waited_for_long(start: Any) -> None:
    """With the lock held, asking takes its bound and no more, and the signal brings the stacks all the same."""
    hung = start("c_call", "dumps")
    evidence = hung.look(hung.hear(), "hold_interpreter", False)
    assert evidence["stacks_by"] == "faulthandler"
    assert [each for each in evidence["problems"] if "did not answer" in each]


@pytest.mark.parametrize(("by", "dumps", "py_spy"), [WAYS[1], pytest.param("py-spy", "dumps", True)])
def test_an_asyncio_task(start: Any, by: str, dumps: str, py_spy: bool) -> None:
    """The stack shows only the selector; the task is found behind a group, a gather and an async generator."""
    hung = start("task", dumps)
    evidence = hung.look(hung.hear(), "fetch", py_spy)
    assert evidence["stacks_by"] == by
    assert f"in `fetch` (hang.py:{line_of('fetch')}), awaiting a Future" in evidence["headline"]
    names = [each["name"] for each in evidence["tasks"]]
    assert {"Task-1", "middle"} <= set(names)
    first = evidence["tasks"][0]
    assert [names[each] for each in first["awaits_tasks"]] == ["middle"]
    stuck = next(each for each in evidence["tasks"] if each["frames"][0]["function"] == "fetch")
    assert [frame["function"] for frame in stuck["frames"]] == ["fetch", "items", "inner_task"]
    assert not stuck["running"]


def test_a_task_without_an_announcement_is_said(start: Any) -> None:
    """Where only the selector can be seen, the headline tells what would help."""
    hung = start("task", "no")
    evidence = hung.look(hung.hear(), "_run_once", True)
    assert "enable_dumps" in evidence["headline"]


@pytest.mark.parametrize(("by", "dumps", "py_spy"), [WAYS[0], pytest.param(None, "dumps", False, id="without")])
def test_a_stopped_process_stays_stopped(start: Any, by: str | None, dumps: str, py_spy: bool) -> None:
    """Its state is told, py-spy reads its stack, nothing is sent to it, and it goes on unharmed when continued."""
    hung = start("waits", dumps)
    who = hung.hear()
    until(lambda: "futex" in Path(f"/proc/{who.pid}/wchan").read_text(), "it waits")
    hung.child.signal(signal.SIGSTOP)
    evidence = collect_(who, hung.address, py_spy=py_spy)
    assert evidence["headline"].startswith("stopped by a signal (state T)")
    assert evidence["process"]["state"] == "T"
    assert evidence["stacks_by"] == by
    if by:
        assert f"`wait_for_work` (hang.py:{line_of('wait_for_work')})" in evidence["headline"]
        assert evidence["problems"] == []
    else:
        assert any("stopped" in each for each in evidence["problems"])
    assert process_state(who.pid) == "T"
    assert signals_pending(who.pid) == 0
    hung.child.signal(signal.SIGCONT)
    hung.look(who, "wait_for_work", py_spy)


def test_what_is_read_from_is_named(start: Any) -> None:
    """A worker that waits for a peer: the connection's two ends are told, without any stack."""
    hung = start("reads", "no")
    who = hung.hear()
    evidence = hung.look(who, "recvfrom", False)
    assert f"to {hung.told['peer']}" in evidence["headline"]


def test_a_spinning_process_is_told_from_a_waiting_one(start: Any) -> None:
    """Its use of the CPU is measured while it is looked at."""
    spins, idles = start("spins", "dumps"), start("waits", "dumps")
    who = spins.hear()

    def measured() -> Any:
        """Where others leave it something while it is looked at."""
        found = spins.look(who, "spins", False)
        return found if found["process"]["cpu_now"] > 0.02 else None

    evidence = until(measured, "its use is measured", 40.0)
    lines = f"{line_of('spins') - 1}|{line_of('spins')}"  # the loop has two
    assert re.search(rf"`spins` \(hang.py:({lines})\), running \(CPU ", evidence["headline"])
    assert idles.look(idles.hear(), "wait_for_work", False)["process"]["cpu_now"] < 0.1


@pytest.mark.parametrize(("by", "dumps", "py_spy"), WAYS)
def test_three_hundred_threads(start: Any, by: str, dumps: str, py_spy: bool) -> None:
    """They are bounded, and the one that stands elsewhere is among the first."""
    hung = start("crowd", dumps, 300)
    evidence = hung.look(hung.hear(), "odd_one_out", py_spy)
    assert evidence["process"]["threads"] >= 300
    assert evidence["stacks_by"] == by
    places = [str(each["frames"]) for each in evidence["threads"]]
    assert "odd_one_out" in " ".join(places[:3])
    if by == "faulthandler":
        assert any("100 threads" in each for each in evidence["problems"])
    else:
        assert f"`crowd` (hang.py:{line_of('crowd')})" in evidence["headline"]
        assert len(evidence["threads"]) + evidence["threads_left_out"] >= 300
    small = collect_(hung_identity(hung), hung.address, py_spy=py_spy, bytes_max=16_384)
    assert small["threads_left_out"] > 50
    if by != "faulthandler":
        assert "`crowd`" in small["headline"]


@pytest.mark.parametrize(("by", "dumps", "py_spy"), WAYS)
def test_a_deep_stack(start: Any, by: str, dumps: str, py_spy: bool) -> None:
    """Nine hundred frames of 200 letters, not all ASCII: the innermost are kept, the rest counted or mentioned."""
    hung = start("deep", dumps)
    evidence = hung.look(hung.hear(), "wait_there", py_spy)
    frames = frames_of(evidence, "MainThread")
    assert frames[0]["function"] == "wait_there"
    assert len(frames) <= 64
    assert frames[1]["function"].startswith("tief_")


def program(path: Path, text: str) -> str:
    """An executable script, in place of py-spy."""
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o700)
    return str(path)


PY_SPIES = {
    "refused": "import sys; sys.exit('Error: Permission Denied: Try running again with elevated permissions')",
    "nonsense": "print('[1, 2')",
    "wrong shape": "print('[{}]')",
    "endless": "while True: print('x' * 65536)",
    "hangs": "import time; time.sleep(600)",
}


@pytest.mark.parametrize("kind", PY_SPIES)
def test_a_py_spy_that_fails_is_said_and_replaced(start: Any, tmp_path: Path, kind: str) -> None:
    """Whatever it does, the worker's own stacks are had, in time, and its failure is on record."""
    hung = start("waits", "dumps")
    fake = program(tmp_path / "py-spy", PY_SPIES[kind])
    evidence = hung.look(hung.hear(), "wait_for_work", fake, seconds_max=6.0)
    assert evidence["stacks_by"] == "the worker"
    assert any(each.startswith("stacks by py-spy: ") for each in evidence["problems"])
    assert evidence["seconds"] < 12
    if kind == "refused":
        assert any("Permission Denied" in each for each in evidence["problems"])
    assert collect_(hung_identity(hung), hung.address, py_spy="/nowhere/py-spy")["stacks_by"] == "the worker"


def test_pausing_refused_is_not_reading_refused(start: Any, tmp_path: Path) -> None:
    """Where ptrace is refused, the stacks are read without pausing, and that is said."""
    hung = start("waits", "no")
    wrapper = program(
        tmp_path / "py-spy",
        "import os, sys\n"
        "if '--nonblocking' not in sys.argv: sys.exit('Error: ptrace: EPERM')\n"
        f"os.execv({stacks.find()!r}, ['py-spy', *sys.argv[1:]])\n",
    )
    evidence = hung.look(hung.hear(), "wait_for_work", wrapper)
    assert evidence["stacks_by"] == "py-spy"
    assert any("without pausing" in each and "EPERM" in each for each in evidence["problems"])


def test_a_killed_py_spy_leaves_no_stopped_worker(start: Any, tmp_path: Path) -> None:
    """A tracer that dies half-way can leave its stop behind: that is undone, and said."""
    hung = start("waits", "no")
    who = hung.hear()
    fake = program(
        tmp_path / "py-spy",
        "import os, signal, sys, time\n"
        "if '--nonblocking' in sys.argv: sys.exit(1)\n"
        "os.kill(int(sys.argv[-1]), signal.SIGSTOP)\n"
        "time.sleep(600)\n",
    )
    evidence = collect_(who, hung.address, py_spy=fake, seconds_max=5.0)
    assert any("left stopped, and was continued" in each for each in evidence["problems"])
    assert process_state(who.pid) != "T"


def test_the_deadline_holds(start: Any, tmp_path: Path) -> None:
    """With everything slow, it comes back in about ``seconds_max``, with what there is and what there is not."""
    hung = start("c_call", "dumps")
    fake = program(tmp_path / "py-spy", PY_SPIES["hangs"])
    who = hung.hear()
    for seconds_max in (0.05, 1.0):
        began = time.monotonic()
        evidence = collect_(who, hung.address, py_spy=fake, seconds_max=seconds_max)
        assert time.monotonic() - began < seconds_max + 3
        assert evidence["problems"]
    assert evidence["process"]["state"] in "RS"
    assert hung.child.running()


def test_dumps_of_one_process_do_not_mix(start: Any) -> None:
    """Two who ask at once each get a whole dump: they share its file and take turns."""
    from concurrent.futures import ThreadPoolExecutor

    hung = start("two_locks", "signal")
    who = hung.hear()
    hung.look(who, "take", False)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: collect_(who, hung.address, py_spy=False), range(8)))
    for evidence in found:
        assert evidence["stacks_by"] == "faulthandler"
        assert len(evidence["threads"]) == 2
        assert evidence["headline"].startswith("MainThread in `take`")


def test_a_path_too_long_for_a_socket(home: Home, tmp_path: Path) -> None:
    """The socket's name is longer than the supervisor's own; it is bound and reached through its directory."""
    address = str(tmp_path / "d" / ("x" * 200))[:99]
    hung = Hung(address, "waits", "dumps")
    try:
        who = hung.hear()
        evidence = hung.look(who, "wait_for_work", False)
        assert evidence["stacks_by"] == "the worker"
        assert len(f"{address}/dumps/{who.pid}-{who.start}.ask") > 107
    finally:
        hung.child.close()
