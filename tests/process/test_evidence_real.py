"""Where a hung worker hangs is told: with py-spy, by its own thread, by signal; and nothing else is touched."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from banken.model import Incarnation
from banken_supervisor.evidence import collect, render, stacks, summary_lines, sweep
from banken_supervisor.evidence.bounds import size
from process.kit import SCRIPTS, Child, Home, process_state, until

pytestmark = pytest.mark.process

SOURCE = (SCRIPTS / "hang.py").read_text().splitlines()

SECONDS_MAX = 20.0
"""Generous, for a busy machine; what keeps to a limit has a test of its own."""

py_spy_needed = pytest.mark.skipif(stacks.find() is None, reason="py-spy is not installed (extra 'stacks')")

WAYS = [
    pytest.param("py-spy", "no", True, id="py-spy", marks=py_spy_needed),
    pytest.param("the worker", "dumps", False, id="asked"),
    pytest.param("faulthandler", "signal", False, id="signal"),
]
"""(who gives the stacks, what the worker enabled, whether py-spy may be used)"""


def line_of(function: str, mark: str = "# here") -> int:
    """The line that a function of hang.py hangs in."""
    start = next(n for n, text in enumerate(SOURCE) if re.match(rf"(?:async )?def {function}\(", text))
    return next(n for n, text in enumerate(SOURCE[start:], start + 1) if text.endswith(f"  {mark}"))


def identity(told: dict[str, Any]) -> Incarnation:
    """Who said so."""
    return Incarnation(bytes.fromhex(told["boot"]), told["pid"], told["start"], bytes.fromhex(told["nonce"]))


class Hung:
    """A worker that hangs, and looks at it."""

    def __init__(self, address: str, hang: str, dumps: str, *args: object) -> None:
        self.address = address
        self.child = Child("hang", hang, address, dumps, *args)

    def hear(self) -> Incarnation:
        """Who it says it is."""
        self.told = self.child.hear()
        return identity(self.told)

    def look(self, who: Incarnation, place: str, py_spy: str | bool, **limits: Any) -> dict[str, Any]:
        """Evidence that tells ``place``: it says who it is just before it hangs there."""
        evidence: dict[str, Any] = {}

        def there() -> bool:
            evidence.update(collect_(who, self.address, py_spy=py_spy, **limits))
            return place in str(evidence["threads"]) + str(evidence["tasks"]) + evidence["headline"]

        until(there, f"{place} is told", 30)
        evidence.clear()  # its parts are taken one after the other: now it hangs in all of them
        assert there(), evidence["headline"]
        return evidence


def collect_(who: Incarnation, address: str, **limits: Any) -> dict[str, Any]:
    """Evidence, which is plain data within its bounds, whatever was found."""
    evidence = collect(who, address_directory=address, **{"seconds_max": SECONDS_MAX, **limits})
    assert json.loads(json.dumps(evidence)) == evidence
    assert size(evidence) <= limits.get("bytes_max", 256 * 1024)
    for line in [evidence["headline"], *render(evidence), *summary_lines(evidence, 12)]:
        assert line.isprintable(), line
    return evidence


@pytest.fixture
def start(address: str) -> Iterator[Any]:
    """Starts workers of hang.py, and ends them."""
    started: list[Hung] = []

    def make(hang: str, dumps: str, *args: object) -> Hung:
        started.append(Hung(address, hang, dumps, *args))
        return started[-1]

    yield make
    for each in started:
        each.child.close()


def frames_of(evidence: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The stack of one thread."""
    return next(each["frames"] for each in evidence["threads"] if each["name"] == name)


@pytest.mark.parametrize(("by", "dumps", "py_spy"), WAYS)
def test_a_deadlock_on_two_locks(start: Any, by: str, dumps: str, py_spy: bool) -> None:
    """Both threads are told with function and line, and the headline names the main thread's."""
    hung = start("two_locks", dumps)
    evidence = hung.look(hung.hear(), "take", py_spy)
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


@pytest.mark.parametrize(
    ("by", "dumps", "py_spy"), [WAYS[1], pytest.param("py-spy", "dumps", True, marks=py_spy_needed)]
)
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
    if stacks.find() is None:
        pytest.skip("py-spy is not installed")
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


def signals_pending(pid: int) -> int:
    """The set of signals that wait for a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(int(each, 16) for each in re.findall(r"^(?:SigPnd|ShdPnd):\s*(\w+)", status, re.M))


def test_what_is_read_from_is_named(start: Any) -> None:
    """A worker that waits for a peer: the connection's two ends are told, without any stack."""
    hung = start("reads", "no")
    who = hung.hear()
    evidence = hung.look(who, "recvfrom", False)
    assert f"to {hung.told['peer']}" in evidence["headline"]


def test_a_spinning_process_is_told_from_a_waiting_one(start: Any) -> None:
    """Its use of the CPU is measured while it is looked at."""
    spins, idles = start("spins", "dumps"), start("waits", "dumps")
    evidence = spins.look(spins.hear(), "spins", False)
    assert evidence["process"]["cpu_now"] > 0.02  # others may leave it little
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


def hung_identity(hung: Hung) -> Incarnation:
    """Who it said it is."""
    return identity(hung.told)


@pytest.mark.parametrize(("by", "dumps", "py_spy"), WAYS)
def test_a_deep_stack(start: Any, by: str, dumps: str, py_spy: bool) -> None:
    """Nine hundred frames of 200 letters, not all ASCII: the innermost are kept, the rest counted or mentioned."""
    hung = start("deep", dumps)
    evidence = hung.look(hung.hear(), "wait_there", py_spy)
    frames = frames_of(evidence, "MainThread")
    assert frames[0]["function"] == "wait_there"
    assert len(frames) <= 64
    assert frames[1]["function"].startswith("tief_")


def test_a_worker_that_announced_nothing_is_not_signalled(start: Any) -> None:
    """No py-spy and no enable_dumps(): SIGUSR2 would kill it. It lives, and what is missing is said."""
    hung = start("waits", "no")
    who = hung.hear()
    evidence = collect_(who, hung.address, py_spy=False)
    assert evidence["threads"] == []
    assert any("enable_dumps" in each for each in evidence["problems"])
    assert "the main thread's stack is not known" in evidence["headline"]
    assert evidence["process"]["state"] in "RS"
    assert hung.child.running()
    assert signals_pending(who.pid) == 0


def test_a_forged_announcement_does_not_get_a_signal_sent(start: Any) -> None:
    """A file alone is not enough: nobody holds its lock, and the process would die of the signal."""
    hung = start("waits", "no")
    who = hung.hear()
    directory = Path(hung.address, "dumps")
    directory.mkdir(0o700, parents=True)
    (directory / f"{who.pid}-{who.start}").write_text(f"banken-dumps 1 {int(signal.SIGUSR2)}\n")
    evidence = collect_(who, hung.address, py_spy=False)
    assert any("no longer holds its announcement" in each for each in evidence["problems"])
    assert hung.child.running()


def test_an_open_directory_is_not_trusted(start: Any) -> None:
    """An announcement in a directory that others may write to is not followed."""
    hung = start("waits", "dumps")
    who = hung.hear()
    Path(hung.address, "dumps").chmod(0o777)
    evidence = collect_(who, hung.address, py_spy=False)
    assert any("not trusted" in each for each in evidence["problems"])


def test_a_program_that_was_executed_since_is_not_signalled(start: Any) -> None:
    """exec keeps pid and start time; the new program catches SIGUSR2 for itself, and would end."""
    hung = start("execs", "dumps")
    who = hung.hear()
    hung.child.hear()  # the new program catches the signal now
    evidence = collect_(who, hung.address, py_spy=False)
    assert evidence["identity"] == "verified"
    assert any("runs another program" in each for each in evidence["problems"])
    assert hung.child.running()
    hung.child.tell()
    assert hung.child.ended(10)[0] == 0


def test_a_signal_that_the_program_uses_is_left_to_it(start: Any) -> None:
    """enable_dumps() takes no handler away; stacks then come from the thread."""
    hung = start("own_handler", "no")
    who = hung.hear()
    assert hung.told["enabled"] is True
    evidence = hung.look(who, "own_handler", False)
    assert evidence["stacks_by"] == "the worker"
    assert hung.child.running()
    hung.child.signal(signal.SIGUSR2)
    assert hung.child.ended(10)[0] == 7


def test_a_signal_that_the_program_took_over_later_is_not_needed(start: Any) -> None:
    """While its thread answers, no signal is sent."""
    hung = start("takes_over", "dumps")
    evidence = hung.look(hung.hear(), "takes_over", False)
    assert evidence["stacks_by"] == "the worker"
    assert hung.child.running()


@pytest.mark.parametrize("dumps", ["dumps", "signal"])
def test_a_forked_child_has_dumps_of_its_own(start: Any, dumps: str) -> None:
    """Parent and child are told apart, each with its own place, and the parent's announcement survives the fork."""
    hung = start("forks", dumps)
    child = hung.hear()
    parent = child._replace(pid=hung.child.pid, start=starts(hung.child.pid))
    for who, function, mark in ((child, "child_waits", "# here too"), (parent, "forks", "# here")):
        evidence = hung.look(who, f"'line': {line_of(function, mark)}}}", False)
        assert evidence["problems"] == []
        assert f"`{function}` (hang.py:{line_of(function, mark)})" in evidence["headline"]
    os.kill(child.pid, signal.SIGKILL)


def starts(pid: int) -> int:
    """When a process started, as /proc has it."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def test_an_announcement_is_private_and_goes_with_its_process(start: Any) -> None:
    """Files 0600 in a directory 0700; gone after a normal end; after a kill they are swept, and only they."""
    ends, dies, lives = start("leaves", "dumps"), start("leaves", "dumps"), start("leaves", "dumps")
    who = [each.hear() for each in (ends, dies, lives)]
    directory = Path(ends.address, "dumps")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) & 0o077 for each in directory.iterdir() if each.is_file()} == {0}
    assert len(list(directory.iterdir())) == 6
    ends.child.tell()
    assert ends.child.ended(10)[0] == 0
    assert len(list(directory.iterdir())) == 4
    (directory / "notes.txt").write_text("not ours")
    dies.child.kill()
    assert sweep(ends.address) == 2
    left = {each.name for each in directory.iterdir()}
    assert left == {"notes.txt", f"{who[2].pid}-{who[2].start}", f"{who[2].pid}-{who[2].start}.ask"}
    assert collect_(who[2], lives.address, py_spy=False)["stacks_by"] == "the worker"


def test_an_announcement_that_is_taken_away_is_made_again(start: Any) -> None:
    """A directory may be swept, or the supervisor's unit restarted: the worker notices."""
    hung = start("comes_back", "no")
    who = hung.hear()
    path = Path(hung.address, "dumps", f"{who.pid}-{who.start}")
    path.unlink()
    until(path.exists, "it is announced again")
    assert hung.look(who, "comes_back", False)["stacks_by"] == "the worker"


def test_a_dead_process(start: Any) -> None:
    """It is gone, and that is all that is said."""
    hung = start("waits", "dumps")
    who = hung.hear()
    hung.child.kill()
    evidence = collect_(who, hung.address)
    assert evidence["identity"] == "gone"
    assert "has ended" in evidence["headline"]
    assert evidence["process"] is None


def test_a_zombie(start: Any) -> None:
    """Its state is told, and how it ended; nothing is asked of it."""
    hung = start("zombie", "no")
    who = hung.hear()
    until(lambda: process_state(who.pid) == "Z", "it is a zombie")
    evidence = collect_(who, hung.address)
    assert evidence["headline"].startswith("has ended (killed by signal 9), a zombie")
    assert str(hung.child.pid) in evidence["headline"]
    assert evidence["threads"] == []


def test_another_process_under_its_pid_is_left_alone(start: Any) -> None:
    """A start time that is not the one it told, another boot, none at all: nothing is read or sent."""
    hung = start("waits", "dumps")
    who = hung.hear()
    for other, kind in (
        (who._replace(start=who.start - 1), "reused"),
        (who._replace(start=0), "unknown"),
        (who._replace(boot=bytes(8)), "remote"),
        (who._replace(pid=0), "unknown"),
        (who._replace(pid=2**22 + 1), "gone"),
    ):
        evidence = collect_(other, hung.address)
        assert evidence["identity"] == kind
        assert evidence["process"] is None
        assert evidence["threads"] == []
        assert evidence["problems"] == [evidence["headline"]]
    assert hung.child.running()


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


@py_spy_needed
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
        assert evidence["process"]["state"] in "RS"
        assert evidence["problems"]
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
