"""Every example does what it says, with its timer in its own process and with its timer in a supervisor's.

Both homes of an example run at the same time and are held to the same assertions: that is the claim.
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
HOMES = ("local", "supervised")
NAMES = sorted(path.name for path in (EXAMPLES / "local").glob("*.py"))

RUN_LIMIT_S = 40
"""An example that has not ended by then hangs; the slowest takes 13 seconds.

How fast each runs leaves half a second between what must come first and what must come after it."""

SUPERVISOR = """
import sys
from banken_supervisor import Supervisor
supervisor = Supervisor(sys.argv[1])
supervisor.start_in_thread()
print("ready", flush=True)
supervisor.run()
"""

process = pytest.mark.process


def environment(**more: str) -> dict[str, str]:
    """This process's, with the source roots first, whether or not banken is installed.

    Output stays buffered: unbuffered, a line and its end are two writes, and two threads' lines can mix.
    """
    roots = [str(ROOT / "client"), str(ROOT / "supervisor"), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(root for root in roots if root)
    return {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "error", **more}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a supervisor answers that runs in a process of its own."""
    directory = str(tmp_path_factory.mktemp("banken"))
    command = [sys.executable, "-c", SUPERVISOR, directory]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as supervisor:
        try:
            assert supervisor.stdout is not None
            assert supervisor.stdout.readline() == "ready\n"
            yield directory
        finally:
            supervisor.terminate()
            try:
                assert supervisor.wait(10) == 0
            finally:
                supervisor.kill()


def start(home: str, name: str, speed: float, address: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / home / f"{name}.py")],
        env=environment(BANKEN_ADDRESS=address, BANKEN_EXAMPLE_SPEED=str(speed)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(run: subprocess.Popen[str]) -> tuple[str, str]:
    """What it wrote to stdout and stderr; it must have ended by itself, and well."""
    try:
        out, err = run.communicate(timeout=RUN_LIMIT_S)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 0, f"exit status {run.returncode}\n{out}\n{err}"
    return out, err


def in_both_homes(name: str, speed: float, address: str) -> list[tuple[str, str]]:
    """Run the example in both homes at once; (stdout, stderr) of each, shown if the test fails."""
    runs = [start(home, name, speed, address) for home in HOMES]
    try:
        results = [finish(run) for run in runs]
    finally:
        for run in runs:
            run.kill()
            run.communicate()
    for home, (out, err) in zip(HOMES, results, strict=True):
        print(f"---- {home}/{name}.py\n{out}---- stderr\n{err}")
    return results


def undisturbed(err: str) -> str:
    """``err`` without the runs that are left out on a busy machine: there one may last until the next is due."""
    return re.sub(r"the callback of \S+ still runs; run \d+ is left out\n", "", err)


def before_and_after(out: str, *marks: str) -> list[str]:
    """``out`` cut at each of ``marks``, which must all be in it, once, in this order."""
    pieces = []
    for mark in marks:
        assert out.count(mark) == 1, f"{mark!r} is in it {out.count(mark)} times"
        piece, out = out.split(mark)
        pieces.append(piece)
    return [*pieces, out]


def test_each_example_exists_in_both_homes() -> None:
    """The two directories hold the same files, and the README speaks of each."""
    assert len(NAMES) == 8
    assert sorted(path.name for path in (EXAMPLES / "supervised").glob("*.py")) == NAMES
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"`{name}`" not in readme] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_homes_differ_in_the_one_line_that_says_who_keeps_the_timer(name: str) -> None:
    """Moving a program from the local keeper to a supervisor changes one line and adds none."""
    local, supervised = ((EXAMPLES / home / name).read_text(encoding="utf-8").splitlines() for home in HOMES)
    changes = [line for line in difflib.ndiff(local, supervised) if line[:2] in ("- ", "+ ")]
    assert len(local) == len(supervised)
    assert len(changes) == 2, changes
    before, after = changes
    assert before.startswith("- ")
    assert " banken.Watchdog(" in before
    assert after.startswith("+ ")
    assert " banken.client.watchdog(" in after


@process
def test_basic(address: str) -> None:
    """The step that takes too long is noticed while it lasts, and no other step is."""
    for out, err in in_both_homes("basic", 10, address):
        before, during, after = before_and_after(out, "step 6 takes far too long\n", "step 7\n")
        assert "ALARM" not in before
        assert 1 <= during.count("ALARM: no sign of life") <= 2, "at 30 s, again at 40 s"
        assert "ALARM" not in after
        assert after.endswith("stopped\n")
        assert undisturbed(err) == ""


@process
def test_manual_loop(address: str) -> None:
    """The loop's own checks find the failure after the timeout, count it, and end with the illness."""
    for out, err in in_both_homes("manual_loop", 5, address):
        marks = "round 4: ill\n", "round 13: healthy\n", "round 14: healthy\n"
        healthy, ill, healing, healed = before_and_after(out, *marks)
        assert "FAILURE" not in healthy
        counted = [int(number) for number in re.findall(r"FAILURE noticed, check (\d+) in a row", ill)]
        assert counted[:2] == [1, 2]
        assert counted == list(range(1, len(counted) + 1))
        assert "round 6: ill\n" in ill.partition("FAILURE")[0], "not before the timeout of 10 s"
        assert healing.count("FAILURE") <= 1, "a verdict that was on its way when the feed was"
        assert "FAILURE" not in healed
        assert out.endswith("stopped\n")
        assert undisturbed(err) == ""


@process
def test_process_monitor(address: str) -> None:
    """A child that hangs and a child that dies are each replaced by another real process."""
    for out, err in in_both_homes("process_monitor", 20, address):
        hung, dead, well = re.findall(r"started child (\d+)\n", out)
        assert len({hung, dead, well}) == 3
        assert re.fullmatch(
            rf"started child {hung}\n"
            rf"child {hung} is silent, yet alive \(\w+\): ending it\n"
            rf"started child {dead}\n"
            rf"child {dead} is dead, exit status 3\n"
            rf"started child {well}\n"
            rf"child {well} has done its work, exit status 0\n",
            out,
        )
        assert undisturbed(err) == ""
        for pid in (hung, dead, well):
            with pytest.raises(ProcessLookupError):
                os.kill(int(pid), 0)


@process
def test_network(address: str) -> None:
    """An outage of a real listener is noticed, told from a dead network, and repaired."""
    for out, err in in_both_homes("network", 10, address):
        assert re.fullmatch(
            r"probe 4: the service does not answer\n"
            r"ALARM: the neighbour answers, so the network works: restarting the service\n"
            r"probe \d+: the service is back\n"
            r"stopped\n",
            out,
        )
        assert undisturbed(err) == ""


@process
def test_resources(address: str) -> None:
    """A load of processor and memory that lasts is an alarm each; what the callbacks do ends it."""
    for out, err in in_both_homes("resources", 60, address):
        before, _ = before_and_after(out, "the trouble begins\n")
        assert "ALARM" not in before
        memory = out.index("ALARM: memory was short for too long")
        processor = out.index("ALARM: the processor was busy for too long")
        assert memory < processor, "180 s come before 300 s"
        assert "all is calm again\nstopped\n" in out[processor:]
        # The callback competes with the burner for the interpreter: on a crowded machine a repeat may come due
        # while it still runs, and the listener says so.
        assert re.fullmatch(r"(the callback of '(cpu|memory)' still runs; run \d+ is left out\n)*", err)


@process
def test_multilevel(address: str) -> None:
    """One silence climbs the levels in order, each at its time, and a feed brings all back to normal."""
    for out, err in in_both_homes("multilevel", 20, address):
        calm, alarm, after = before_and_after(out, "the work is stuck\n", "alive again, after: emergency\n")
        assert calm == "".join(f"step {step}: normal\n" for step in range(4))
        levels = re.findall(r"(\w+): silent for (\d+) s\n", alarm)
        assert [level for level, _ in levels] == ["WARNING", "CRITICAL", "EMERGENCY"]
        for (_, seconds), timeout in zip(levels, (30, 60, 120), strict=True):
            assert timeout <= int(seconds)
        assert after == "".join(f"step {step}: normal\n" for step in range(4, 8)) + "stopped\n"
        assert undisturbed(err) == ""


@process
def test_failing_callback(address: str) -> None:
    """A callback that raises is logged with its traceback each time, and the next silence is noticed too."""
    for out, err in in_both_homes("failing_callback", 10, address):
        first, second = out.partition("silence 2 begins")[::2]
        assert "callback called" in first.partition("silence 1 is over, and the work goes on")[0]
        assert "callback called" in second.partition("silence 2 is over, and the work goes on")[0]
        assert out.endswith("stopped\n")
        assert err.count("Traceback (most recent call last):") == out.count("callback called")
        assert err.count("\nRuntimeError: the callback itself is broken\n") == out.count("callback called")
        assert "in faulty\n" in err


@process
def test_restart_limit(address: str) -> None:
    """The second attempt mends the first breakdown; the next one gets three attempts and no fourth."""
    for out, err in in_both_homes("restart_limit", 12, address):
        assert out == (
            "breakdown\n"
            "attempt 1 of 3: in vain\n"
            "attempt 2 of 3: mended\n"
            "in service again\n"
            "breakdown\n"
            "attempt 1 of 3: in vain\n"
            "attempt 2 of 3: in vain\n"
            "attempt 3 of 3: in vain\n"
            "given up after 3 attempts: call the operator\n"
            "stopped\n"
        )
        assert undisturbed(err) == ""


@process
def test_a_supervised_example_without_a_supervisor_does_its_work_unwatched(tmp_path: Path) -> None:
    """The timer really is the supervisor's: without one nobody barks, and the worker is unharmed."""
    out, err = finish(start("supervised", "basic", 100, str(tmp_path / "nobody")))
    assert "ALARM" not in out
    assert out.endswith("step 9\nstopped\n")
    assert err == ""
