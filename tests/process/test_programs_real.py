"""Programs as real processes: started, watched, ended, given up, and what they write."""

from __future__ import annotations

import json
import os
import pwd
import signal
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from process.kit import until
from process.program_kit import FORKS, SLEEP, Yard, gone, program, state, yard_at

pytestmark = pytest.mark.process


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
        (
            {"command": ("/no/such/command",)},
            "command '/no/such/command' cannot be run: there is no such command",
        ),
        ({"command": ("no-such-command-anywhere",)}, "cannot be run: there is no such command"),
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
    until(lambda: keeper.rows()["good"]["state"] == "running", "the good one runs")
    until(lambda: os.listdir(Path(yard.address, "programs")) == ["good.json"], "nothing is left on record")


def test_a_log_that_is_a_pipe_is_refused_at_once(yard: Yard, tmp_path: Path) -> None:
    """Whoever opens a named pipe waits for a reader, and who writes to it for the reader to read."""
    for name in ("read", "unread"):
        os.mkfifo(tmp_path / name)
    reader = os.open(tmp_path / "read", os.O_RDONLY | os.O_NONBLOCK)
    keeper = yard.keeper([program(name, log=str(tmp_path / name), budget=(0, 60.0)) for name in ("read", "unread")])
    assert "neither a file nor a device" in keeper.until("program-failed", "read")["reason"]
    assert "cannot be opened" in keeper.until("program-failed", "unread")["reason"]
    os.close(reader)


@pytest.mark.root
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


def test_one_that_dies_at_once_again_and_again_stays_within_its_budget(yard: Yard) -> None:
    """Fifty restarts, ten a second, and not one more; one giving up; nothing is left over."""
    keeper = yard.keeper(
        [
            program("a", ("/bin/false",), budget=(50, 3600.0)) | {"backoff": (0.001, 0.001)},
            program("b"),
        ]
    )
    keeper.until("program-gave-up", "a", timeout=45)
    assert len(keeper.all("program-started", "a")) == 51
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


@pytest.mark.parametrize("how", ["stop", "crash", "adopted"])
def test_what_is_left_of_its_group_dies_with_a_program(yard: Yard, tmp_path: Path, how: str) -> None:
    """A grandchild that ignores SIGTERM ends when the program does: by a stop, a crash, or after an adoption."""
    ready = tmp_path / "ready"
    spec = program("a", FORKS, restart="never", stop_timeout=0.3)
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

    until(written, "it has written all", 45)
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

    def has_all() -> bool:
        with suppress(FileNotFoundError):  # a copy gets another name between two looks
            return "0000199" in _all(log)
        return False

    until(has_all, "it has written all", 30)
    until(lambda: log.stat().st_size <= 20_000 and not log.with_suffix(".new").exists(), "the last rotation")
    assert len(list(tmp_path.glob("log.*"))) >= 3
    numbers = [int(line[:7]) for line in _all(log).splitlines()]
    assert numbers == sorted(set(numbers))
    assert len(numbers) >= 199  # a cut may meet the very moment of a write
    assert keeper.rows()["a"]["state"] == "running"


def _all(log: Path) -> str:
    copies = sorted(log.parent.glob("log.[0-9]"), reverse=True)
    return "".join(each.read_text() for each in [*copies, log])
