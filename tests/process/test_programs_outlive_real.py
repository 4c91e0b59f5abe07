"""Programs outlive their supervisor: after kill -9 the next one finds them, none lost, none doubled."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from banken.process_identity import process_start
from banken_supervisor.processes.handle import STATUS_KNOWN
from banken_supervisor.programs.run_records import RunRecords
from process.kit import START_S, until
from process.program_kit import FORKS, SLEEP, Yard, gone, program, state, yard_at

pytestmark = pytest.mark.process

ROUNDS = 20 if os.environ.get("BANKEN_LONG") else 5
TEN = [f"p{number}" for number in range(10)]

ADOPTED_S = 2.0
"""The promise is one second; the rest is for a busy machine."""


@pytest.fixture
def yard(address: str) -> Iterator[Yard]:
    """Starts keepers at a fresh address, and ends them and all their programs."""
    with yard_at(address) as one:
        yield one


def test_kill_9_with_ten_programs_loses_none_and_doubles_none(yard: Yard) -> None:
    """Every process lives on, is adopted within a second of the restart, and there is one of each: many times."""
    specs = [program(name) for name in TEN]
    keeper = yard.keeper(specs)
    pids = {name: keeper.until("program-started", name)["pid"] for name in TEN}
    for _ in range(ROUNDS):
        keeper.child.kill()
        keeper = yard.keeper(specs)
        adopted = {name: keeper.until("program-adopted", name) for name in TEN}
        assert {name: each["pid"] for name, each in adopted.items()} == pids
        assert max(each["at"] for each in adopted.values()) < ADOPTED_S
        assert yard.leaders() == {name: [pid] for name, pid in pids.items()}
        assert {row["state"] for row in keeper.rows().values()} == {"running"}
    assert keeper.all("program-started") == []
    # They are still watched, and their ends are acted upon.
    before = keeper.tell("rows")
    os.kill(pids["p3"], signal.SIGKILL)
    assert keeper.until("program-exited", "p3", after=before)["status"] in ({-9} if STATUS_KNOWN else {-9, None})
    assert keeper.until("program-started", "p3", after=before)["pid"] != pids["p3"]
    keeper.tell("stop-all")
    for name in TEN:
        keeper.until("program-stopped", name, after=before)
    assert yard.processes() == {}


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_kill_9_in_the_midst_of_spawning_doubles_none(yard: Yard, seed: int) -> None:
    """Killed at a random moment of starting ten programs: the next one completes the ten, one process of each."""
    specs = [program(name, restart="always", budget=(1000, 1.0)) for name in TEN]
    chance = random.Random(seed)
    for _ in range(4):
        keeper = yard.keeper(specs)
        for _ in range(chance.randrange(3)):
            keeper.tell("with-group " + chance.choice(TEN))
        time.sleep(chance.uniform(0.0, 0.02))
        keeper.child.kill()
    keeper = yard.keeper(specs)

    def one_of_each() -> bool:
        rows = keeper.rows()
        run = {row["state"] for row in rows.values()} == {"running"}
        return run and yard.leaders() == {name: [rows[name]["pid"]] for name in TEN}

    until(one_of_each, "all ten run, and nothing else", START_S)


def test_programs_that_kill_their_supervisor_at_once_are_not_doubled(yard: Yard) -> None:
    """In the first millisecond of its life, around the writing of its record, each kills its parent."""
    names = TEN[:4]
    killer = ("/bin/sh", "-c", "kill -9 $PPID; exec sleep 1000")
    for _ in range(len(names) + 1):
        child = yard.start([program(name, killer) for name in names])
        try:
            child.ended(1.5)
        except AssertionError:  # it lives: nobody is left to kill it
            break
    wanted = dict.fromkeys(names, 1)

    # On a busy machine the last supervisor may be slow to start: it is killed once more, or finds all of them.
    def each_once() -> bool:
        return {name: len(pids) for name, pids in yard.leaders().items()} == wanted

    for _ in range(len(names)):
        until(lambda child=child: each_once() or not child.running(), "each runs once", START_S)  # type: ignore[misc]
        if each_once():
            break
        child = yard.start([program(name, killer) for name in names])
    until(each_once, "each runs once", START_S)


@pytest.mark.parametrize("damage", ["not JSON", "no such signal"])
def test_a_child_whose_record_was_not_completed_is_found_by_its_mark(yard: Yard, damage: str) -> None:
    """The crash came between the spawn and the second write of the record: made so by hand, and adopted."""
    keeper = yard.keeper([program("a"), program("b"), program("c")])
    pids = {name: keeper.until("program-started", name)["pid"] for name in "abc"}
    keeper.child.kill()
    records = {name: Path(yard.address, "programs", f"{name}.json") for name in "abc"}
    until(lambda: json.loads(records["a"].read_text())["pid"], "the record is complete")
    intent = {**json.loads(records["a"].read_text()), "pid": 0, "start": 0}
    records["a"].write_text(json.dumps(intent))
    other = {**json.loads(records["b"].read_text()), "stop_signal": "SIGNONE"}
    records["b"].write_text(json.dumps(other) if damage == "no such signal" else "{damaged")
    os.kill(pids["c"], signal.SIGKILL)
    gone(pids["c"])
    keeper = yard.keeper([program("a"), program("b"), program("c")])
    assert keeper.until("program-adopted", "a")["pid"] == pids["a"]
    assert keeper.until("program-adopted", "b")["pid"] == pids["b"]
    damaged, adopted = keeper.opened["faults"]
    assert "b.json is put aside" in damaged
    assert f"no record of b was left: pid {pids['b']}" in adopted
    assert keeper.until("program-exited", "c")["status"] is None
    keeper.until("program-started", "c")
    assert json.loads(records["a"].read_text())["pid"] == pids["a"]
    assert json.loads(records["b"].read_text())["pid"] == pids["b"]


def test_a_number_that_is_another_process_by_now_is_not_adopted(yard: Yard) -> None:
    """The record's pid lives, but started at another time, or carries another mark: a new process is started."""
    keeper = yard.keeper([program("a"), program("b")])
    pids = {name: keeper.until("program-started", name)["pid"] for name in "ab"}
    keeper.child.kill()
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
        gone(pid)
    unmarked = subprocess.Popen(SLEEP, env={})
    marked = subprocess.Popen(SLEEP, env={"BANKEN_RUN": "another"})
    try:
        starts = {
            "a": (unmarked.pid, process_start(unmarked.pid) - 1),
            "b": (marked.pid, process_start(marked.pid)),
        }
        for name, (pid, start) in starts.items():
            record = Path(yard.address, "programs", f"{name}.json")
            record.write_text(json.dumps({**json.loads(record.read_text()), "pid": pid, "start": start}))
        keeper = yard.keeper([program("a"), program("b")])
        for name in "ab":
            assert keeper.until("program-started", name)["pid"] not in (unmarked.pid, marked.pid)
        keeper.tell("stop-all")
        keeper.until("program-stopped", "a")
        keeper.until("program-stopped", "b")
        assert unmarked.poll() is None
        assert marked.poll() is None
    finally:
        for each in (unmarked, marked):
            each.kill()
            each.wait()


def test_a_program_that_hides_its_mark_is_known_by_its_identity(yard: Yard) -> None:
    """One that overwrote its environment is adopted, and dies with its supervisor where it is to."""
    bare = ("/bin/sh", "-c", "exec env -i /bin/sleep 1000")
    keeper = yard.keeper([program("lives", bare), program("mortal", bare, dies_with_supervisor=True)])
    pids = {name: keeper.until("program-started", name)["pid"] for name in ("lives", "mortal")}
    for pid in pids.values():
        until(lambda pid=pid: Path(f"/proc/{pid}/environ").read_bytes() == b"", "it has no environment")  # type: ignore[misc]
    keeper.child.kill()
    gone(pids["mortal"])
    again = yard.keeper([program("lives", bare)])
    assert again.until("program-adopted", "lives")["pid"] == pids["lives"]
    again.tell("stop lives")
    again.until("program-stopped", "lives")
    assert state(pids["lives"]) in "ZX"


def test_the_record_of_a_later_run_is_not_forgotten_with_an_earlier_one(tmp_path: Path) -> None:
    """And a name with a slash has a file of its own."""
    records = RunRecords(str(tmp_path))
    records.prepare()
    for name in ("a/b", "a"):
        records.intend(name, "first", "SIGTERM", 1.0)
    second = records.intend("a/b", "second", "SIGINT", 2.5)
    records.confirm(second, 17, 4711)
    records.forget("a/b", "first")
    records.forget("a", "first")
    assert RunRecords(str(tmp_path)).read() == ([second._replace(pid=17, start=4711)], {})


def test_a_program_that_the_configuration_no_longer_names_is_stopped(yard: Yard) -> None:
    """By the next supervisor as by a reload; a changed command is restarted, an unchanged one left alone."""
    keeper = yard.keeper([program("a"), program("b")])
    pids = {name: keeper.until("program-started", name)["pid"] for name in "ab"}
    keeper.child.kill()
    keeper = yard.keeper([program("b")])
    gone(pids["a"])
    assert keeper.until("program-adopted", "b")["pid"] == pids["b"]
    until(lambda: set(keeper.rows()) == {"b"}, "it is forgotten")
    changed = program("b", ("/bin/sleep", "2000"))
    before = keeper.tell("apply " + json.dumps({"programs": [changed, program("c")]}))
    started = keeper.until("program-started", "c", after=before)["pid"]
    assert keeper.until("program-started", "b", after=before)["pid"] != pids["b"]
    gone(pids["b"])
    before = keeper.tell("apply " + json.dumps({"programs": [program("c")]}))
    keeper.until("program-stopped", "b", after=before)
    assert keeper.rows()["c"]["pid"] == started


@pytest.mark.parametrize("how", ["kill", "close", "end"])
def test_those_that_are_to_die_with_their_supervisor_do(yard: Yard, tmp_path: Path, how: str) -> None:
    """kill -9, an orderly end and a sudden one: they and all that they started are gone, the others live on."""
    ready = tmp_path / "ready"
    forks = FORKS.replace("signal.signal", "os.setsid(); signal.signal")  # it even leaves their group
    mortal = program("mortal", forks, dies_with_supervisor=True)
    mortal["command"] = (*mortal["command"], str(ready))
    keeper = yard.keeper([mortal, program("other")])
    other = keeper.until("program-started", "other")["pid"]
    keeper.until("program-started", "mortal")
    until(ready.exists, "the grandchild is there")
    assert len(yard.processes("mortal")) == 2
    if how == "kill":
        os.kill(keeper.child.pid, signal.SIGKILL)
    elif how == "close":
        keeper.tell("close")
        keeper.until("closed")
    else:
        assert keeper.child.process.stdin is not None
        keeper.child.process.stdin.close()
    until(lambda: yard.processes("mortal") == {}, "they are gone")
    assert yard.leaders() == {"other": [other]}
    again = yard.keeper([mortal, program("other")])
    again.until("program-started", "mortal")
    assert again.all("program-exited") == []  # that it died with its supervisor is no failure
    assert again.until("program-adopted", "other")["pid"] == other


@pytest.mark.parametrize("removal", ["by a reload", "while none runs"])
def test_one_that_was_stopped_and_comes_back_into_the_config_is_a_new_one(yard: Yard, removal: str) -> None:
    """That it was asked to stop is forgotten: a later supervisor does not end it."""
    specs = [program("a")]
    keeper = yard.keeper(specs)
    keeper.until("program-started", "a")
    held = Path(yard.address, "programs", "a.stopped")
    keeper.tell("hold a")
    keeper.tell("stop a")
    keeper.until("program-stopped", "a")
    until(held.exists, "it is on record")
    text = held.read_bytes()
    if removal == "by a reload":
        keeper.tell(f"apply {json.dumps({'programs': []})}")
    else:
        keeper.tell("close")
        keeper.until("closed")
        keeper = yard.keeper([])
    until(lambda: not held.exists(), "it is no longer on record")
    held.write_bytes(text)  # as an older supervisor left it
    before = keeper.tell(f"apply {json.dumps({'programs': specs})}")
    pid = keeper.until("program-started", "a", after=before)["pid"]
    keeper.tell("close")
    keeper.until("closed")
    again = yard.keeper(specs)
    assert again.until("program-adopted", "a")["pid"] == pid
    assert again.rows()["a"]["state"] == "running"


def test_a_guard_that_was_killed_is_replaced(yard: Yard) -> None:
    """And the new one knows the programs that the old one knew."""
    keeper = yard.keeper(
        [program("old", dies_with_supervisor=True), program("new", dies_with_supervisor=True, autostart=False)]
    )
    keeper.until("program-started", "old")
    guards = _guards(keeper.child.pid)
    assert len(guards) == 1
    os.kill(guards[0], signal.SIGKILL)
    gone(guards[0])
    keeper.tell("start new")
    keeper.until("program-started", "new")
    until(lambda: len(_guards(keeper.child.pid)) == 1, "there is a new guard")
    os.kill(keeper.child.pid, signal.SIGKILL)
    until(lambda: yard.processes() == {}, "both are gone")


def _guards(parent: int) -> list[int]:
    tasks = os.listdir(f"/proc/{parent}/task")  # of which some may end at any moment
    children = [int(pid) for task in tasks for pid in _read(parent, f"task/{task}/children").split()]
    return [pid for pid in children if state(pid) not in "ZX" and b"orphan_killer.py" in _read(pid, "cmdline")]


def _read(pid: int, what: str) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{what}").read_bytes()
    return b""


def test_a_child_goes_on_writing_when_its_supervisor_is_stopped_or_dead(yard: Yard, tmp_path: Path) -> None:
    """Neither a stopped supervisor nor a dead one blocks or ends a program that writes without end."""
    log = tmp_path / "log"
    code = "import time\nn = 0\nwhile True:\n    n += 1; print(n, 'x' * 10000, flush=True); time.sleep(0.001)\n"
    keeper = yard.keeper([program("a", code, log=str(log), log_bytes_max=10**9)])
    pid = keeper.until("program-started", "a")["pid"]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        os.kill(keeper.child.pid, number)
        size = log.stat().st_size if log.exists() else 0
        until(lambda size=size: log.stat().st_size > size + 500_000, "it goes on writing")  # type: ignore[misc]
    assert state(pid) in "SRD"
