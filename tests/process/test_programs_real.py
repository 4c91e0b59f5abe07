"""Programs as real processes: started, watched, ended, given up, found again after kill -9 of their supervisor."""

from __future__ import annotations

import json
import os
import pwd
import random
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from banken.identity import process_start
from banken_supervisor.programs.records import Records
from process.kit import until
from process.program_kit import SLEEP, Yard, gone, program, state, yard_at

pytestmark = pytest.mark.process

ROUNDS = 20 if os.environ.get("BANKEN_LONG") else 5
TEN = [f"p{number}" for number in range(10)]


@pytest.fixture
def yard(address: str) -> Iterator[Yard]:
    """Starts keepers at a fresh address, and ends them and all their programs."""
    with yard_at(address) as one:
        yield one


# -- starting ----------------------------------------------------------------------------------------


def test_a_child_gets_its_place_and_nothing_of_its_supervisors(yard: Yard, tmp_path: Path) -> None:
    """Environment, directory, session, input and descriptors are what they were promised to be."""
    log = tmp_path / "log"
    code = (
        "import os, sys, json; print(json.dumps([{k: v for k, v in os.environ.items() if k.startswith('BANKEN')"
        " or k == 'MINE'}, os.getcwd(), os.getsid(0) == os.getpid() == os.getpgid(0), sys.stdin.read(),"
        " sorted(map(int, os.listdir('/proc/self/fd')))]), flush=True); print('err', file=sys.stderr); sys.exit(0)"
    )
    spec = program("web/1", code, directory=str(tmp_path), environment=[("MINE", "x y")], log=str(log))
    keeper = yard.keeper([spec])
    exited = keeper.until("program-exited", "web/1")
    assert exited["status"] == 0
    assert keeper.until("program-stopped", "web/1")["why"] == "its restart policy is 'on-failure'"
    first, second = log.read_text().splitlines()
    environment, directory, leads, told, descriptors = json.loads(first)
    mark = environment.pop("BANKEN_RUN")
    assert len(mark) == 32
    assert environment == {
        "BANKEN_ADDRESS": yard.address,
        "BANKEN_NAME": "web/1",
        "BANKEN_TIMEOUT": "7.5",
        "MINE": "x y",
    }
    assert (directory, leads, told, second) == (str(tmp_path), True, "", "err")
    assert descriptors[:3] == [0, 1, 2]
    assert len(descriptors) <= 4  # one more is the directory that it reads
    until(lambda: not os.listdir(Path(yard.address, "programs")), "its record goes when it is gone")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"command": ("/no/such/command",)}, "its command '/no/such/command' cannot be run: No such file"),
        ({"command": ("no-such-command-anywhere",)}, "cannot be run: No such file"),
        ({"command": ("/etc/passwd",)}, "cannot be run: Permission denied"),
        ({"directory": "/no/such/place"}, "its directory /no/such/place cannot be used: No such file"),
        ({"directory": "/etc/passwd"}, "its directory /etc/passwd is not a directory"),
        ({"log": "/no/such/place/log"}, "its log /no/such/place/log cannot be opened: No such file"),
        ({"log": "/proc/log"}, "its log /proc/log cannot be opened"),
        ({"user": "nobody-of-that-name"}, "there is no user 'nobody-of-that-name'"),
        ({"command": ("a\0b",)}, "embedded null byte"),
    ],
)
def test_what_cannot_start_is_reported_with_its_reason_and_given_up(yard: Yard, fields: dict, says: str) -> None:
    """A missing command, an unusable directory, log or user: reports, one giving up, and a keeper that goes on."""
    bad = {**program("bad", **{"command": SLEEP, **fields}), "budget": (2, 60.0), "backoff": (0.01, 0.02)}
    keeper = yard.keeper([bad, program("good")])
    keeper.until("program-gave-up", "bad", count=2)
    assert [says in each["reason"] for each in keeper.all("program-failed", "bad")] == [True] * 3
    assert keeper.rows()["bad"]["state"] == "given-up"
    assert keeper.rows()["good"]["state"] == "running"
    until(lambda: os.listdir(Path(yard.address, "programs")) == ["good.json"], "nothing is left on record")


def test_a_log_that_is_a_pipe_is_refused_at_once(yard: Yard, tmp_path: Path) -> None:
    """Whoever opens a named pipe waits for a reader, and who writes to it for the reader to read."""
    for name in ("read", "unread"):
        os.mkfifo(tmp_path / name)
    reader = os.open(tmp_path / "read", os.O_RDONLY | os.O_NONBLOCK)
    keeper = yard.keeper([program(name, log=str(tmp_path / name), budget=(0, 60.0)) for name in ("read", "unread")])
    assert "neither a file nor a device" in keeper.until("program-failed", "read")["reason"]
    assert "cannot be opened" in keeper.until("program-failed", "unread", timeout=5)["reason"]
    os.close(reader)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run a program as another user")
def test_a_program_runs_as_its_user(yard: Yard, tmp_path: Path) -> None:
    """Its user, group and groups are those of the user, and so are HOME and USER."""
    log = tmp_path / "log"
    command = ("/bin/sh", "-c", "id -u; id -g; id -G; echo $HOME $USER; pwd")
    keeper = yard.keeper([program("a", command, user="nobody", log=str(log), directory="/")])
    keeper.until("program-exited", "a", status=0)
    entry = pwd.getpwnam("nobody")
    groups = " ".join(map(str, os.getgrouplist("nobody", entry.pw_gid)))
    assert log.read_text().splitlines() == [
        str(entry.pw_uid),
        str(entry.pw_gid),
        groups,
        f"{entry.pw_dir} nobody",
        "/",
    ]


# -- ends --------------------------------------------------------------------------------------------


def test_an_end_is_noticed_with_its_status(yard: Yard) -> None:
    """An exit status as it is, a signal as its negative number."""
    keeper = yard.keeper(
        [program("exits", "raise SystemExit(7)", restart="never"), program("dies", SLEEP, restart="never")]
    )
    assert keeper.until("program-exited", "exits")["status"] == 7
    os.kill(keeper.until("program-started", "dies")["pid"], signal.SIGSEGV)
    assert keeper.until("program-exited", "dies")["status"] == -signal.SIGSEGV


def test_one_that_dies_at_once_a_thousand_times_stays_within_its_budget(yard: Yard) -> None:
    """A thousand restarts and not one more; one giving up; the loop is never held up; nothing is left over."""
    keeper = yard.keeper(
        [program("a", ("/bin/false",), budget=(1000, 3600.0)) | {"backoff": (0.001, 0.001)}, program("b")]
    )
    keeper.until("program-gave-up", "a", timeout=45)
    assert len(keeper.all("program-started", "a")) == 1001
    assert len(keeper.all("program-gave-up", "a")) == 1
    before = keeper.tell("rows")
    rows = keeper.until("rows", after=before)
    assert {row["name"]: row["state"] for row in rows["rows"]} == {"a": "given-up", "b": "running"}
    until(lambda: os.listdir(Path(yard.address, "programs")) == ["b.json"], "nothing is left on record")
    assert len(os.listdir(f"/proc/{keeper.child.pid}/fd")) < 30
    keeper.tell("start a")
    assert keeper.until("program-started", "a", after=before)


def test_one_that_ignores_the_signal_is_killed(yard: Yard, tmp_path: Path) -> None:
    """SIGTERM, the timeout, SIGKILL; also for one that is stopped."""
    ready = tmp_path / "ready"
    stubborn = (
        f"import signal, time; signal.signal(15, signal.SIG_IGN); open({str(ready)!r}, 'w'); time.sleep(1000)"
    )
    keeper = yard.keeper([program("stubborn", stubborn, stop_timeout=0.3), program("stopped", stop_timeout=30.0)])
    until(ready.exists, "it ignores the signal")
    frozen = keeper.until("program-started", "stopped")["pid"]
    os.kill(frozen, signal.SIGSTOP)
    until(lambda: state(frozen) == "T", "it is stopped")
    keeper.tell("stop stopped")
    assert keeper.until("program-stopped", "stopped")["status"] == -signal.SIGTERM
    keeper.tell("stop stubborn")
    assert keeper.until("program-stopped", "stubborn")["status"] == -signal.SIGKILL
    assert len(keeper.all("program-killed", "stubborn")) == 1
    assert keeper.all("program-killed", "stopped") == []
    assert yard.processes() == {}


FORKS = (
    "import os, signal, sys, time\n"
    "if os.fork() == 0:\n"
    "    signal.signal(15, signal.SIG_IGN)\n"
    "    open(sys.argv[1], 'w').close()\n"
    "time.sleep(1000)\n"
)


@pytest.mark.parametrize("how", ["stop", "crash", "adopted"])
def test_what_is_left_of_its_group_dies_with_a_program(yard: Yard, tmp_path: Path, how: str) -> None:
    """A grandchild that ignores SIGTERM ends when the program does: by a stop, a crash, or after an adoption."""
    ready = tmp_path / "ready"
    spec = program("a", FORKS, restart="never")
    spec["command"] = (*spec["command"], str(ready))
    keeper = yard.keeper([spec])
    leader = keeper.until("program-started", "a")["pid"]
    until(ready.exists, "the grandchild is there")
    grandchild = next(pid for pid in yard.processes() if pid != leader)
    if how == "adopted":
        keeper.child.kill()
        keeper = yard.keeper([spec])
        assert keeper.until("program-adopted", "a")["pid"] == leader
    if how == "crash":
        os.kill(leader, signal.SIGKILL)
        keeper.until("program-exited", "a")
    else:
        keeper.tell("stop a")
    keeper.until("program-stopped", "a")
    gone(grandchild)


def test_it_stops_in_reverse_order_and_starts_in_order(yard: Yard) -> None:
    """Order 0, 1, 2 up; 2, 1, 0 down, each when the former is gone."""
    keeper = yard.keeper([program("c", order=2), program("a", order=0), program("b", order=1)])
    keeper.until("program-started", "c")
    assert [each["name"] for each in keeper.all("program-started")] == ["a", "b", "c"]
    keeper.tell("stop-all")
    keeper.until("program-stopped", "a")
    assert [each["name"] for each in keeper.all("program-stopped")] == ["c", "b", "a"]


def test_a_group_restarts_as_its_strategy_says(yard: Yard) -> None:
    """rest-for-one: the one that died and those after it get new processes, the one before keeps its own."""
    group = {"name": "g", "members": ["a", "b", "c"], "strategy": "rest-for-one"}
    keeper = yard.keeper([program(name) for name in "abc"], [group])
    pids = {name: keeper.until("program-started", name)["pid"] for name in "abc"}
    before = keeper.tell("rows")
    os.kill(pids["b"], signal.SIGKILL)
    assert keeper.until("program-stopped", "c", after=before)["why"] == "b ended, and its group restarts with it"
    keeper.until("program-started", "c", after=before)
    now = {name: row["pid"] for name, row in keeper.rows().items()}
    assert now["a"] == pids["a"]
    assert {now["b"], now["c"]}.isdisjoint(pids.values())


# -- output ------------------------------------------------------------------------------------------


def test_endless_output_is_rotated_and_bounded(yard: Yard, tmp_path: Path) -> None:
    """A program that writes 30 MB fills its files and no more, and is not disturbed by it."""
    log, done = tmp_path / "log", tmp_path / "done"
    code = (
        "import os, sys, time\n"
        "line = b'x' * 1023 + b'\\n'\n"
        "for n in range(7500):\n"  # about 8 MB a second
        "    os.write(1, line * 4); time.sleep(0.0004)\n"
        "open(sys.argv[1], 'w').close(); time.sleep(1000)\n"
    )
    spec = program("a", code, log=str(log), log_bytes_max=200_000, log_files_max=3)
    spec["command"] = (*spec["command"], str(done))
    keeper = yard.keeper([spec])
    worst = 0

    def written() -> bool:
        nonlocal worst
        with suppress(FileNotFoundError):
            worst = max(worst, sum(each.stat().st_size for each in tmp_path.iterdir()))
        return done.exists()

    until(written, "it has written all", 30)
    # Three copies and one under way, each of twice the bound; and what is written in a second.
    assert 600_000 < worst < 8 * 200_000 + 10_000_000
    until(lambda: log.stat().st_size <= 200_000, "the last rotation")
    files = [each for each in tmp_path.iterdir() if each != done]
    assert {each.name for each in files} == {"log", "log.1", "log.2", "log.3"}
    assert sum(each.stat().st_size for each in files) < 7 * 200_000
    assert keeper.rows()["a"]["state"] == "running"
    assert b"\0" not in log.read_bytes()  # a cut under a writer without O_APPEND leaves a hole
    assert stat.S_IMODE(log.stat().st_mode) == 0o640


def test_rotation_loses_no_line_of_a_slow_writer(yard: Yard, tmp_path: Path) -> None:
    """Every numbered line is in one of the files, once and in order, over several rotations."""
    log = tmp_path / "log"
    code = (
        "import time\n"
        "for n in range(200):\n"
        "    print(f'{n:07}' * 100, flush=True); time.sleep(0.01)\n"
        "time.sleep(1000)\n"
    )
    keeper = yard.keeper([program("a", code, log=str(log), log_bytes_max=20_000, log_files_max=9)])
    until(lambda: log.exists() and "0000199" in _all(log), "it has written all", 20)
    until(lambda: log.stat().st_size <= 20_000 and not log.with_suffix(".new").exists(), "the last rotation")
    assert len(list(tmp_path.glob("log.*"))) >= 3
    numbers = [int(line[:7]) for line in _all(log).splitlines()]
    assert numbers == sorted(set(numbers))
    assert len(numbers) >= 199  # a cut may meet the very moment of a write
    assert keeper.rows()["a"]["state"] == "running"


def _all(log: Path) -> str:
    copies = sorted(log.parent.glob("log.[0-9]"), reverse=True)
    return "".join(each.read_text() for each in [*copies, log])


# -- the supervisor dies -----------------------------------------------------------------------------


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
        assert max(each["at"] for each in adopted.values()) < 1.0
        assert yard.leaders() == {name: [pid] for name, pid in pids.items()}
        assert {row["state"] for row in keeper.rows().values()} == {"running"}
    assert keeper.all("program-started") == []
    # They are still watched, and their ends are acted upon.
    before = keeper.tell("rows")
    os.kill(pids["p3"], signal.SIGKILL)
    keeper.until("program-exited", "p3", after=before, status=None)
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
    until(lambda: {row["state"] for row in keeper.rows().values()} == {"running"}, "all ten run")
    rows = keeper.rows()
    assert yard.leaders() == {name: [rows[name]["pid"]] for name in TEN}


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
    assert child.running()
    leaders = yard.leaders()
    assert {name: len(pids) for name, pids in leaders.items()} == dict.fromkeys(names, 1)


def test_a_child_whose_record_was_not_completed_is_found_by_its_mark(yard: Yard) -> None:
    """The crash came between the spawn and the second write of the record: made so by hand, and adopted."""
    keeper = yard.keeper([program("a"), program("b"), program("c")])
    pids = {name: keeper.until("program-started", name)["pid"] for name in "abc"}
    keeper.child.kill()
    records = {name: Path(yard.address, "programs", f"{name}.json") for name in "abc"}
    until(lambda: json.loads(records["a"].read_text())["pid"], "the record is complete")
    intent = {**json.loads(records["a"].read_text()), "pid": 0, "start": 0}
    records["a"].write_text(json.dumps(intent))
    records["b"].write_text("{damaged")
    os.kill(pids["c"], signal.SIGKILL)
    gone(pids["c"])
    keeper = yard.keeper([program("a"), program("b"), program("c")])
    assert keeper.until("program-adopted", "a")["pid"] == pids["a"]
    assert keeper.until("program-adopted", "b")["pid"] == pids["b"]
    assert len(keeper.opened["faults"]) == 1
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
    records = Records(str(tmp_path))
    records.prepare()
    for name in ("a/b", "a"):
        records.intend(name, "first", "SIGTERM", 1.0)
    second = records.intend("a/b", "second", "SIGINT", 2.5)
    records.confirm(second, 17, 4711)
    records.forget("a/b", "first")
    records.forget("a", "first")
    assert Records(str(tmp_path)).read() == ([second._replace(pid=17, start=4711)], {})


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
    children = [
        int(pid)
        for task in Path(f"/proc/{parent}/task").iterdir()
        for pid in (task / "children").read_text().split()
    ]
    return [
        pid for pid in children if state(pid) != "Z" and b"guard.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


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
    assert state(pid) in "SR"
