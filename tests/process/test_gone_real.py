"""What a program, an exec step or a guard has started is gone when it is said to be gone, however it left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from banken_supervisor.processes import control_groups
from banken_supervisor.programs import orphan_killer
from process.kit import START_S, until
from process.run_kit import running, table

pytestmark = pytest.mark.process

GUARD = (sys.executable, "-m", "banken_supervisor", "guard")

FOREVER = "while :; do sleep 0.02; done"


@pytest.fixture
def mark() -> Iterator[str]:
    """An argument that only this test's processes have; all that still carry it are ended."""
    text = f"bk{os.urandom(6).hex()}"
    yield text
    for pid in carrying(text):
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def carrying(mark: str) -> list[int]:
    """The live processes with this argument."""
    found = []
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            if mark in Path(f"/proc/{entry}/cmdline").read_bytes().decode(errors="replace").split("\0"):
                found.append(int(entry))
    return found


def settled(mark: str) -> list[int]:
    """Those that lead a session and have executed their shell: no fork of one, and no wrapper before it."""
    found = []
    for pid in carrying(mark):
        with suppress(OSError):
            if os.getsid(pid) == pid and Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sh\0"):
                found.append(pid)
    return found


def tree(mark: str, *how: str) -> list[str]:
    """A program that starts one process each way, and runs itself. ``how``: what stands before its command."""
    each = [f"{way} sh -c '{FOREVER}' {mark} &" for way in how]
    return ["sh", "-c", " ".join(each) + f" {FOREVER}", mark]


WAYS = ("", "setsid", "env -i PATH=$PATH", "env -i PATH=$PATH setsid")
"""In its group; in a session of its own; without the mark; with neither."""


def told(events: Any, what: str) -> list[dict[str, Any]]:
    return [each for each in events.all("program") if each["what"] == what]


@pytest.mark.parametrize("adopted", [False, True])
def test_stop_and_restart_leave_nothing_behind(mark: str, adopted: bool) -> None:
    """Whatever of session, group and environment it has changed while its parent lives; after an adoption, too."""
    with running(table("p", tree(mark, *WAYS))) as one:
        until(lambda: len(carrying(mark)) == 5, "all are there", START_S)
        if adopted:
            one._started[0].kill()
            one._started[0].wait(10)
            one.run()
        before = set(carrying(mark))
        pid = one.up("p")
        one.home.ask("program", what="restart", name="p")
        until(lambda: one.program("p")["pid"] not in (pid, None), "another process runs", START_S)
        assert not before & set(carrying(mark))
        until(lambda: len(carrying(mark)) == 5, "all are there again", START_S)
        one.ask("stop", "p")
        assert carrying(mark) == []


def test_each_gets_the_stop_signal_and_the_stop_timeout(mark: str) -> None:
    """One in another session that needs a moment after SIGTERM has it; one that ignores SIGTERM is killed."""
    ready = "echo >> @PLACE@/ready"
    slow = f'trap "sleep 0.3; echo in order >> @PLACE@/told; exit" TERM; {ready}; {FOREVER}'
    slow, deaf = (f"setsid sh -c '{each}' {mark} &" for each in (slow, f'trap "" TERM; {ready}; {FOREVER}'))
    for extra, least in (("", 0.25), (deaf, 1.4)):
        script = f"{slow} {extra} {FOREVER}"
        with running(table("p", ["sh", "-c", script, mark], stop_timeout="1500ms")) as one:
            until(lambda: len(carrying(mark)) == (3 if extra else 2), "all are there", START_S)  # noqa: B023
            traps = one.place / "ready"
            until(lambda: traps.exists() and len(traps.read_text()) == (2 if extra else 1), "traps", START_S)  # noqa: B023
            began = time.monotonic()
            one.ask("stop", "p")
            assert carrying(mark) == []
            assert one.lines() == ["in order"]
            assert least <= time.monotonic() - began < 6


def test_what_a_crash_leaves_is_ended_before_the_next_start(mark: str) -> None:
    """Also what has changed session and environment both: no other program, callback or action has run."""
    script = f"echo $$ >> @PLACE@/told; setsid sh -c '{FOREVER}' {mark} & "
    script += f"env -i PATH=$PATH setsid sh -c '{FOREVER}' {mark} & {FOREVER}"
    with running(table("p", ["sh", "-c", script, mark])) as one:
        for number in (1, 2):
            until(lambda: len(one.lines()) == number, "it has started", START_S)  # noqa: B023
            until(lambda: len(carrying(mark)) == 3, "all are there", START_S)
            before = set(carrying(mark))
            os.kill(int(one.lines()[-1]), signal.SIGKILL)
            until(lambda: len(one.lines()) == number + 1, "it has started again", START_S)  # noqa: B023
            assert not before & set(carrying(mark))
        one.ask("stop", "p")
        assert carrying(mark) == []


def test_what_cannot_be_assigned_is_named_and_runs_on(mark: str) -> None:
    """Two programs run: an orphan without session and mark may be of either."""
    lost = ["sh", "-c", f"env -i PATH=$PATH setsid sh -c '{FOREVER}' {mark} & {FOREVER}"]
    with running(table("p", lost) + table("other", ["sleep", "1000"])) as one:
        events = one.home.events()
        (pid,) = until(lambda: settled(mark), "it is there", START_S)
        os.kill(one.up("p"), signal.SIGKILL)
        got_away = until(lambda: told(events, "got-away"), "it is named", START_S)[0]
        assert (got_away["name"], f"pid {pid} (sh)" in got_away["text"]) == ("p", True)
        until(lambda: f"pid {pid} (sh)" in one.log.read_text(), "the log names it")
        assert pid in carrying(mark)


def test_what_wants_to_live_on_may(mark: str) -> None:
    """An empty BANKEN_RUN, or another supervisor's, says so; an own mark does not."""
    ways = ("BANKEN_RUN= setsid", "BANKEN_RUN=another setsid", "setsid")
    with running(table("p", tree(mark, *ways))) as one:
        until(lambda: len(settled(mark)) == 4, "all are there", START_S)
        one.ask("stop", "p")
        # A shell's fork carries the mark, too, until it executes its command.
        until(lambda: len(carrying(mark)) == 2, "two live on")


def test_one_that_goes_into_the_background_is_told_and_not_multiplied(mark: str) -> None:
    """By a double fork, as daemons do; each run is ended before the next."""
    daemon = (
        "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\ntime.sleep(1000)\n"
    )
    command = [sys.executable, "-S", "-c", daemon, mark]
    with running(table("d", command, restart="always", budget="3 per 1m")) as one:
        until(lambda: one.program("d")["state"] == "given-up", "it is given up", START_S)
        until(lambda: carrying(mark) == [], "none is left", START_S)
        for text in ("d left-behind: its process ended with exit status 0 and left pid", "stays in the foreground"):
            until(lambda: text in one.log.read_text(), f"the log says {text!r}")  # noqa: B023


@pytest.mark.parametrize("way", WAYS)
def test_an_exec_step_that_takes_too_long_ends_with_all_it_started(mark: str, way: str) -> None:
    """Each way of leaving it, a second after its start: by then it has left, on a busy machine too."""
    command = ["sh", "-c", f"{way} sh -c '{FOREVER}' {mark} & {FOREVER}", mark]
    step = "ladder = [{ do = 'exec', timeout = '1s', command = [" + ", ".join(map(toml, command)) + "] }]\n"
    with running("[[watchdog]]\nname = 'w'\ntimeout = '100ms'\n" + step) as one:
        events = one.home.events()
        one.home.client().feed("w")
        failed = events.until(START_S, "action-failed", "w")
        assert "took longer than 1 s and was killed" in failed["text"]
        assert carrying(mark) == []


def test_what_an_exec_step_leaves_in_time_runs_on(mark: str) -> None:
    """It may have restarted a service. The end of a program does not end it either."""
    command = ["sh", "-c", f"env -i PATH=$PATH setsid sh -c '{FOREVER}' {mark} > /dev/null 2>&1 &"]
    step = "ladder = [{ do = 'exec', command = [" + ", ".join(map(toml, command)) + "] }]\n"
    with running(table("p", ["sleep", "1000"]) + "[[watchdog]]\nname = 'w'\ntimeout = '100ms'\n" + step) as one:
        events = one.home.events()
        one.home.client().feed("w")
        events.until(START_S, "action-done", "w")
        until(lambda: settled(mark), "it has left", START_S)
        one.ask("stop", "p")
        assert carrying(mark)


@pytest.mark.parametrize("how", ["ends", "hangs", "killed"])
def test_a_guard_leaves_nothing_behind(mark: str, how: str) -> None:
    """Its command ends, hangs and is killed, or the guard itself is: nothing stays."""
    ways = WAYS[:3] if how == "killed" else (*WAYS, "env -i PATH=$PATH setsid setsid -f")
    each = [f"{way} sh -c '{FOREVER}' {mark} > /dev/null 2>&1 &" for way in ways]
    options = ["--timeout", "1s", "--grace", "2s"] if how == "hangs" else []
    with tempfile.TemporaryDirectory(prefix="bkg-") as place, tempfile.TemporaryDirectory(prefix="bkg-") as said:
        ends = f" until [ -e {said}/end ]; do sleep 0.02; done; exit 3"
        script = " ".join(each) + (ends if how == "ends" else f" {FOREVER}")
        process = subprocess.Popen(
            [*GUARD, "--stop-timeout", "1s", *options, "--", "sh", "-c", script, mark],
            env={**os.environ, "TMPDIR": place},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            # Besides these it is in the words of the guard, and of the shell that starts them.
            until(lambda: len(carrying(mark)) >= len(ways) + 2, "all are there", START_S)
            if how == "killed":
                process.kill()
                until(lambda: carrying(mark) == [process.pid] or not carrying(mark), "all are gone", START_S)
            else:
                Path(said, "end").touch()
                process.wait(START_S)
                assert carrying(mark) == []
        finally:
            process.kill()
            process.wait(10)


def toml(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@contextmanager
def delegated_group() -> Iterator[Path]:
    """A control group that is said to be delegated; skips where none can be made."""
    with open("/proc/self/mounts") as mounts:
        root = next((line.split()[1] for line in mounts if line.split()[2] == "cgroup2"), None)
    path = Path(root or "/nowhere") / f"bk-test-{os.urandom(4).hex()}"
    try:
        path.mkdir()
        os.setxattr(path, "trusted.delegate", b"1")
    except OSError as fault:
        pytest.skip(f"no control group can be made here: {fault}")
    try:
        yield path
    finally:
        deadline = time.monotonic() + 5
        while path.exists() and time.monotonic() < deadline:
            for inner in sorted(path.glob("**/"), reverse=True):
                with suppress(OSError):
                    inner.rmdir()
            time.sleep(0.02)


@pytest.mark.root
def test_in_a_delegated_control_group_nothing_gets_away(mark: str) -> None:
    """Not even what has changed session and environment, has lost its parent, and was adopted."""
    lost = f"env -i PATH=$PATH setsid sh -c '{FOREVER}' {mark} & exec sh -c '{FOREVER}' {mark}"
    first = ["sh", "-c", f'sleep 0.2; sh -c "{lost}" {mark}', mark]
    with delegated_group() as group:
        into = ("sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh")
        with running(table("p", first) + table("other", ["sleep", "1000"]), under=into) as one:
            until(lambda: len(carrying(mark)) == 3, "all are there", START_S)
            runs = list(group.glob(f"{control_groups.PREFIX}*"))
            assert len(runs) == 2
            # All users see the runs, and may have such groups and marks of their own: that makes no member.
            strangers = [_stranger(run.name.removeprefix(control_groups.PREFIX)) for run in runs]
            like = group / "others" / runs[0].name
            like.mkdir(parents=True)
            like.joinpath("cgroup.procs").write_text(str(strangers[0].pid))
            one._started[0].kill()
            one._started[0].wait(10)
            one.run(under=into)
            before = set(carrying(mark))
            os.kill(one.up("p"), signal.SIGKILL)
            until(lambda: not before & set(carrying(mark)), "none of them is left", START_S)
            until(lambda: len(carrying(mark)) == 3, "all are there again", START_S)
            one.ask("stop", "p")
            assert carrying(mark) == []
            until(lambda: len(list(group.glob(f"{control_groups.PREFIX}*"))) == 1, "its group is removed", 5)
            one.ask("stop", "other")
            for each in strangers:
                assert each.poll() is None
                each.kill()
                each.wait(10)


def _stranger(run: str) -> subprocess.Popen[bytes]:
    """A process of another user that is marked as of this run."""
    marks = {"PATH": os.environ["PATH"], "BANKEN_RUN": run}
    return subprocess.Popen(["sleep", "60"], env=marks, user=65534, group=65534, extra_groups=[])


def test_what_is_not_named_yet_dies_with_its_session(mark: str) -> None:
    """Its supervisor is killed between the start and the word which process that is: the mark of the run is all
    that is known, and one of its processes has cleared that."""
    run = f"run-{mark}"
    killer = subprocess.Popen([sys.executable, orphan_killer.__file__, str(os.getpid())], stdin=subprocess.PIPE)
    assert killer.stdin is not None
    killer.stdin.write(f"+{run}\n".encode())
    killer.stdin.flush()
    script = f"env -i PATH=$PATH sh -c '{FOREVER}' {mark} & {FOREVER}"
    first = subprocess.Popen(
        ["sh", "-c", script, mark], env={**os.environ, "BANKEN_RUN": run}, start_new_session=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: len(carrying(mark)) == 2 and not _is_marked(mark, run, first.pid), "both are there", START_S)
        killer.stdin.close()
        assert killer.wait(START_S) == 0
        first.wait(START_S)
        until(lambda: not carrying(mark), "both are gone", START_S)
    finally:
        killer.kill()
        killer.wait()
        with suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGKILL)
        first.wait()


def _is_marked(mark: str, run: str, but: int) -> bool:
    """Whether another one than ``but`` carries the mark of the run."""
    for pid in carrying(mark):
        with suppress(OSError):
            if pid != but and f"BANKEN_RUN={run}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(
                b"\0"
            ):
                return True
    return False
