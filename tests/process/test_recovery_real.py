"""Killing and signalling, with real processes of every bad kind; and evidence before it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest

from banken.process_identity import boot_id, process_start
from banken.protocol.messages import ProcessIdentity
from banken_supervisor.actions import ActionReport, Executor, build
from banken_supervisor.actions.kill import Kill
from banken_supervisor.actions.target import CUT
from banken_supervisor.engine.effects import EventType
from banken_supervisor.processes.incident_end import StopReason
from banken_supervisor.processes.process_handles import ProcessHandles
from recovery_kit import FORKS, OBEDIENT, STUBBORN, Desk, gone, python, run, subject, until, worker

pytestmark = pytest.mark.process


def test_one_that_obeys_ends_by_sigterm() -> None:
    """SIGTERM is enough for an ordinary process, and it is not given more."""
    with worker("signal.signal(signal.SIGTERM, lambda *_: os._exit(7))\n" + OBEDIENT) as one:
        done = run(build("kill", {"wait": 20}), subject(who=one.who))
        assert (done.ok, done.data["step"]) == (True, "SIGTERM")
        assert one.process.wait(5) == 7


def test_one_that_ignores_sigterm_ends_by_sigkill() -> None:
    """After ``wait`` seconds comes SIGKILL."""
    with worker(STUBBORN) as one:
        done = run(build("kill", {"wait": 0.2}), subject(who=one.who))
        assert (done.ok, done.data["step"]) == (True, "SIGKILL")
        assert done.data["seconds"] >= 0.2
        assert one.process.wait(5) == -signal.SIGKILL


def test_a_stopped_one_hears_sigterm() -> None:
    """A SIGSTOPped process is continued first, so that it can end in order."""
    with worker("signal.signal(signal.SIGTERM, lambda *_: os._exit(7))\n" + OBEDIENT) as one:
        one.stop()
        done = run(build("kill", {"wait": 20}), subject(who=one.who))
        assert (done.ok, done.data["step"]) == (True, "SIGTERM")
        assert one.process.wait(5) == 7


def test_one_that_is_gone_already_needs_nothing() -> None:
    """A process that has ended, reaped or still a zombie, is a success without a signal."""
    with worker("print('ready', flush=True)\nsys.stdin.read()") as one:
        os.kill(one.pid, signal.SIGKILL)
        until(lambda: gone(one.pid), "it has ended")
        assert one.state() == "Z"
        zombie = run(build("kill", {}), subject(who=one.who))
        one.process.wait(5)
        reaped = run(build("kill", {}), subject(who=one.who))
        sent = run(build("signal", {"signal": "SIGTERM"}), subject(who=one.who))
    assert [each.data["step"] for each in (zombie, reaped)] == ["before", "before"]
    assert zombie.ok
    assert reaped.ok
    assert (sent.ok, sent.text) == (True, f"SIGTERM not needed: pid {one.pid} has ended")


def test_one_that_exits_during_the_climb() -> None:
    """A process that ignores SIGTERM and ends by itself while it is waited for is a success, without SIGKILL."""
    code = "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), os._exit(3)))\n" + OBEDIENT
    with worker(code) as one:
        done = run(build("kill", {"wait": 20}), subject(who=one.who))
        assert (done.ok, done.data["step"]) == (True, "SIGTERM")
        assert one.process.wait(5) == 3


@contextmanager
def kill_in_its_wait() -> Iterator[tuple[Any, Executor, list[ActionReport]]]:
    """A worker that has heard SIGTERM and lives on, what runs the kill, and what that reports."""
    reports: list[ActionReport] = []
    executor = Executor(Desk(), reports.append)
    code = "signal.signal(signal.SIGTERM, lambda *_: os.write(1, b'heard\\n'))\n" + OBEDIENT
    with worker(code) as one:
        executor.submit([build("kill", {"wait": 600})], subject(who=one.who))
        assert one.line() == "heard"
        yield one, executor, reports


def test_one_that_recovers_is_not_killed() -> None:
    """When the incident ends while SIGTERM is given time, the wait ends at once and the process lives."""
    with kill_in_its_wait() as (one, executor, reports):
        executor.cancel("worker-3", "i-worker-3")
        until(lambda: reports, "the wait ends")
        assert reports[0].data["step"] == "ended"
        assert not gone(one.pid)
    assert executor.close(5) == 0


@pytest.mark.parametrize("group", [False, True])
def test_where_the_supervisor_stops_it_is_killed_at_once(group: bool) -> None:
    """The incident is open, and the next supervisor does not begin the step again."""
    reports: list[ActionReport] = []
    executor = Executor(Desk(), reports.append)
    code = "signal.signal(signal.SIGTERM, lambda *_: os.write(1, b'heard\\n'))\n" + FORKS + OBEDIENT
    with worker(code) as one:
        executor.submit([build("kill", {"wait": 600, "group": group})], subject(who=one.who))
        assert one.line() == "heard"
        assert executor.close(20) == 0
        [report] = reports
        assert (report.type, report.data["step"]) == (EventType.ACTION_DONE, "SIGKILL")
        assert report.text.endswith(", for the supervisor stops")
        assert gone(one.pid)


def test_what_it_leaves_behind_is_killed_at_once_where_the_supervisor_stops() -> None:
    """The process has ended by SIGTERM; what it forked would have had the rest of the time."""
    reports: list[ActionReport] = []
    executor = Executor(Desk(), reports.append)
    with worker(FORKS + "print(child, flush=True)\ntime.sleep(600)") as one:
        executor.submit([build("kill", {"wait": 600, "group": True})], subject(who=one.who))
        until(lambda: gone(one.pid), "SIGTERM ends it")
        assert executor.close(20) == 0
        assert gone(int(one.said))
        assert reports[0].data["step"] == "SIGTERM"


def test_one_whose_incident_another_supervisor_has_is_not_killed() -> None:
    """Nobody tells this one when it ends. It is not done, and the text does not say that it has ended."""
    with kill_in_its_wait() as (one, executor, reports):
        executor.cancel("worker-3", "i-worker-3", StopReason.HANDED_OVER)
        until(lambda: reports, "the wait ends")
        assert (reports[0].type, reports[0].data["step"]) == (EventType.ACTION_FAILED, "handed-over")
        assert reports[0].data[CUT]
        assert reports[0].text == f"pid {one.pid} lives on after SIGTERM: this supervisor leads no longer"
        assert not gone(one.pid)
    assert executor.close(5) == 0


def test_what_it_forked_dies_with_it() -> None:
    """With ``group`` a child that keeps the pipe and ignores SIGTERM ends too; without, it lives on."""
    code = FORKS + "print(child, flush=True)\ntime.sleep(600)"
    for group, lives in ((False, True), (True, False)):
        with worker(code) as one:
            child = int(one.said)
            done = run(build("kill", {"wait": 1, "group": group}), subject(who=one.who))
            assert (done.ok, done.data["step"]) == (True, "SIGTERM")
            assert gone(child) is not lives
            if not lives:
                assert one.line() == ""  # nobody holds the pipe any more


def test_what_it_forks_while_it_ends_dies_too() -> None:
    """A child that the worker forks in its handler of SIGTERM, just before it exits, is found and killed."""
    handler = (
        "def handler(*_):\n"
        "    child = os.fork()\n"
        "    if child:\n        os.write(1, b'%d\\n' % child)\n        os._exit(0)\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    time.sleep(600)\n"
        "signal.signal(signal.SIGTERM, handler)\n"
    )
    with worker(handler + OBEDIENT) as one:
        done = run(build("kill", {"wait": 3, "group": True}), subject(who=one.who))
        assert (done.ok, done.data["step"]) == (True, "SIGTERM")
        child = int(one.line())
        assert gone(child)


def test_a_group_that_it_does_not_lead_is_left_alone() -> None:
    """With ``group``, a worker in somebody else's group is killed alone."""
    code = "child = os.fork()\nif child:\n    print(child, flush=True)\ntime.sleep(600)"
    with worker(code) as leader:
        child = int(leader.said)
        who = ProcessIdentity(boot_id(), child, process_start(child), b"test")
        done = run(build("kill", {"wait": 20, "group": True}), subject(who=who))
        assert (done.ok, done.data["step"], done.data["group"]) == (True, "SIGTERM", False)
        assert gone(child)
        assert not gone(leader.pid)


def test_a_reused_pid_is_never_signalled() -> None:
    """A process that has the pid but another start time, or another boot, is not touched by any action."""
    with worker(OBEDIENT) as one:
        for other in (
            one.who._replace(start=one.who.start + 1),
            one.who._replace(boot=bytes(8)),
            one.who._replace(boot=b"elsewher"),
            one.who._replace(start=0),
        ):
            for action in (
                build("kill", {"wait": 0, "group": True}),
                build("signal", {"signal": "SIGKILL"}),
            ):
                run(action, subject(who=other))
            assert not ProcessHandles().signal(other, signal.SIGKILL)
            assert ProcessHandles().group(other) is None
        remote = run(build("kill", {}), subject(who=one.who._replace(boot=b"elsewher")))
        assert (remote.ok, "another host" in remote.text) == (False, True)
        assert not run(build("kill", {}), subject()).ok
        time.sleep(0.05)
        assert not gone(one.pid)


def test_the_supervisor_is_never_signalled() -> None:
    """A supervisor that is to signal or kill itself says no. (In a process of its own, which would die of it.)"""
    code = (
        f"import sys; sys.path[:0] = {[*sys.path]!r}\n"
        "import os; from banken.process_identity import own_identity\n"
        "from banken_supervisor.actions import build; from recovery_kit import Desk, run, subject\n"
        "about = subject(who=own_identity())\n"
        "for do, options in ('signal', {'signal': 'SIGKILL'}), ('kill', {'wait': 0, 'group': True}):\n"
        "    print(run(build(do, options), about).text)\n"
        "print(Desk().group(own_identity()))"
    )
    done = run(build("exec", {"command": [sys.executable, "-c", code], "timeout": 60}), subject())
    lines = done.data["output"].splitlines()
    assert [("never signalled" in each) for each in lines] == [True, True, False], lines
    assert lines[2] == "None"


def test_init_is_never_signalled() -> None:
    """Pid 1 gets nothing, though it is who it says. (Signal 0 and SIGCONT, which would do no harm.)"""
    init = ProcessIdentity(boot_id(), 1, process_start(1), b"test")
    assert ProcessHandles().alive(init)
    assert not ProcessHandles().signal(init, 0)
    assert ProcessHandles().group(init) is None
    done = run(build("signal", {"signal": "SIGCONT"}), subject(who=init))
    assert (done.ok, "never signalled" in done.text) == (False, True)


@pytest.mark.root
def test_a_process_of_another_user_is_said_to_be_one() -> None:
    """Where the system forbids the signal, the outcome says why. (Run as nobody, in a process of its own.)"""
    with worker(OBEDIENT) as one:
        code = (
            f"import sys; sys.path[:0] = {[*sys.path]!r}\n"
            "import os\n"
            "from banken.protocol.messages import ProcessIdentity\n"
            "from banken_supervisor.actions import build\n"
            "from recovery_kit import Desk, run, subject\n"
            f"who = ProcessIdentity({one.who.boot!r}, {one.who.pid}, {one.who.start}, b'test')\n"
            "wanted = ('kill', {'wait': 0, 'group': True}), ('kill', {'wait': 0}), ('signal', {'signal': 'TERM'})\n"
            "world, actions = Desk(), [build(*each) for each in wanted]\n"
            "os.setuid(65534)\n"
            "for action in actions: print(run(action, subject(who=who), world).text)\n"
        )
        done = run(build("exec", {"command": [sys.executable, "-c", code], "timeout": 60}), subject())
        lines = done.data["output"].splitlines()
        assert len(lines) == 3, lines
        assert all("belongs to another user" in each for each in lines), lines
        assert not gone(one.pid)


def test_one_that_outlives_sigkill_is_reported_with_its_state() -> None:
    """A process held in the kernel (by a debugger, at its exit) is reported as unkillable, with its state."""
    libc = ctypes.CDLL(None, use_errno=True)
    seize, detach, exit_stop = 0x4206, 17, 0x40

    class Quick(Kill):
        verify_s: ClassVar[float] = 0.5

    with worker(OBEDIENT) as one:

        def ptrace(request: int, data: int) -> int:
            return int(libc.ptrace(ctypes.c_long(request), ctypes.c_long(one.pid), None, ctypes.c_long(data)))

        if ptrace(seize, exit_stop) != 0:
            pytest.skip(f"no process can be traced here: {os.strerror(ctypes.get_errno())}")
        try:
            done = run(Quick(wait=0), subject(who=one.who))
        finally:
            ptrace(detach, 0)
        if done.ok:
            pytest.skip("this kernel does not hold a killed process for its debugger")
        assert done.data["step"] == "unkillable"
        assert f"unkillable: pid {one.pid}, state t (stopped by a debugger or tracer)" in done.text


def test_a_signal_reaches_exactly_its_process() -> None:
    """``signal`` delivers what was asked for, by name or number."""
    code = "signal.signal(signal.SIGHUP, lambda *_: os.write(1, b'hup\\n'))\n" + OBEDIENT
    with worker(code) as one:
        for each in ("SIGHUP", "hup", 1):
            assert run(build("signal", {"signal": each}), subject(who=one.who)).ok
            assert one.line() == "hup"


def test_many_kills_at_once() -> None:
    """40 stubborn processes are killed side by side, each exactly, in about the time of one."""
    reports: list[ActionReport] = []
    executor = Executor(Desk(), reports.append)
    action = build("kill", {"wait": 0.3})
    with worker(OBEDIENT) as bystander:
        started = [worker(STUBBORN) for _ in range(40)]
        ones = [each.__enter__() for each in started]
        try:
            for number, one in enumerate(ones):
                executor.submit([action], subject(f"w{number}", who=one.who))
            until(lambda: len(reports) == 40, "all are reported", 30)
            assert {report.data["step"] for report in reports} == {"SIGKILL"}
            assert all(gone(one.pid) for one in ones)
            assert not gone(bystander.pid)
        finally:
            for each in started:
                each.__exit__(None, None, None)
    assert executor.close(5) == 0


def test_no_descriptor_leaks() -> None:
    """Kills, groups, refusals and commands give every descriptor back."""

    def once() -> None:
        with worker(FORKS + "print(child, flush=True)\ntime.sleep(600)") as one:
            run(build("kill", {"wait": 5, "group": True}), subject(who=one.who))
            run(build("kill", {"wait": 5, "group": True}), subject(who=one.who._replace(start=1)))
        run(build("exec", {"command": ["true"]}), subject())
        run(build("exec", {"command": ["/no/such"]}), subject())
        run(build("exec", {"command": ["sleep", "60"], "timeout": 0.1}), subject())

    once()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        once()
    assert len(os.listdir("/proc/self/fd")) == before


# -- together ----------------------------------------------------------------------------------------


@pytest.fixture
def executor() -> Iterator[tuple[Executor, list[ActionReport]]]:
    reports: list[ActionReport] = []
    one = Executor(Desk(), reports.append)
    yield one, reports
    one.close(10)


def test_evidence_is_taken_before_the_kill(executor: tuple[Executor, list[ActionReport]]) -> None:
    """dump, kill, a command: in this order, and the command gets what dump found of the living process."""
    runs, reports = executor
    states: list[str] = []

    class Collecting(Desk):
        def collect(self, subject: object, seconds: float, *more: object) -> dict[str, str]:
            states.append(one.state())
            return {"headline": f"state {states[-1]}"}

    runs._context = Collecting()
    command = python("import json; print(json.load(sys.stdin)['evidence']['headline'])")
    with worker(STUBBORN) as one:
        one.stop()
        actions = [build("dump", {}), build("kill", {"wait": 0.1}), build("exec", {"command": command})]
        runs.submit(actions, subject(who=one.who))
        until(lambda: len(reports) == 3, "all are reported", 30)
    assert [report.action for report in reports] == ["dump", "kill", "exec"]
    assert states == ["T"]
    assert reports[1].data["step"] == "SIGKILL"
    assert reports[2].data["output"] == "state T\n"


def test_sigterm_comes_at_once(executor: tuple[Executor, list[ActionReport]]) -> None:
    """From submit to the process's end is a matter of milliseconds; printed, with a wide bound."""
    runs, reports = executor
    action = build("signal", {"signal": "SIGTERM"})
    delays = []
    for number in range(30):
        with worker("signal.signal(signal.SIGTERM, signal.SIG_DFL)\n" + OBEDIENT) as one:
            began = time.monotonic()
            runs.submit([action], subject(f"w{number}", who=one.who))
            assert ProcessHandles().wait_gone(one.who, 10)
            delays.append(time.monotonic() - began)
    delays.sort()
    print(f"submit to death: median {delays[15] * 1000:.2f} ms, worst {delays[-1] * 1000:.2f} ms")
    assert delays[15] < 0.5
    assert len(reports) == 30 or until(lambda: len(reports) == 30, "all are told")
