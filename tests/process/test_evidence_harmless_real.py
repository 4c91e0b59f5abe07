"""Looking at a worker harms nothing: who did not prepare for a signal gets none, another process is left alone."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from banken.diagnostics.dumps import default_signal
from banken_supervisor.evidence import announced_dumps, start_sweeping, sweep
from banken_supervisor.processes.handle import ProcessHandle
from process.hung_kit import collect_, line_of, signals_pending, workers_at
from process.kit import SCRIPTS, Home, process_state, until

pytestmark = pytest.mark.process


@pytest.fixture
def start(address: str) -> Iterator[Any]:
    """Starts workers of hang.py, and ends them."""
    with workers_at(address) as make:
        yield make


def test_a_worker_that_announced_nothing_is_not_signalled(start: Any) -> None:
    """No py-spy and no enable_dumps(): a signal would kill it. It lives, and what is missing is said."""
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
    (directory / f"{who.pid}-{who.start}").write_text(f"banken-dumps 1 {default_signal()}\n")
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
    """exec keeps pid and start time; the new program catches the signal for itself, and would end."""
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
    hung.child.signal(default_signal())
    assert hung.child.ended(10)[0] == 7


def test_a_signal_that_the_program_took_over_later_is_not_needed(start: Any) -> None:
    """While its thread answers, no signal is sent; and it has taken the signal back before it answers."""
    hung = start("takes_over", "dumps")
    who = hung.hear()
    with ProcessHandle.open(who) as process:
        found = announced_dumps.find(hung.address, process)
        assert found.number == default_signal()
        announced_dumps.ask(found, process, 10.0)
        assert announced_dumps.find(hung.address, process).number == 0
        with pytest.raises(announced_dumps.NotAnnounced, match="another handler by now"):
            announced_dumps.dump(process, found, 10.0)
    evidence = hung.look(who, "takes_over", False)
    assert evidence["stacks_by"] == "the worker"
    assert hung.child.running()
    hung.child.signal(default_signal())
    assert hung.child.ended(10)[0] == 7, "its own handler is still there"


def test_a_signal_that_was_reset_is_registered_again(start: Any) -> None:
    """A forked worker whose server resets its signals dies of none, and can be dumped after it has looked."""
    hung = start("resets", "dumps")
    who = hung.hear()
    with ProcessHandle.open(who) as process:
        found = announced_dumps.find(hung.address, process)
        with pytest.raises(announced_dumps.NotAnnounced, match="does not catch signal"):
            announced_dumps.dump(process, found, 10.0)
        announced_dumps.ask(found, process, 10.0)
        found = announced_dumps.find(hung.address, process)
        place = f"'function': 'resets', 'file': '{SCRIPTS}/hang.py', 'line': {line_of('resets')}"
        # It speaks before it hangs.
        until(lambda: place in str(announced_dumps.dump(process, found, 10.0)), "it is dumped where it hangs")
        assert announced_dumps.dump(process, found, 10.0)[1], "whole"


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


def test_a_supervisor_sweeps_when_it_starts_and_again_and_again(start: Any, home: Home) -> None:
    """What a killed worker left is gone soon after a supervisor begins, and what one leaves later with the next
    sweep; a living worker that something else keeps signalling does not fill the disk."""
    dies, later, lives = start("leaves", "dumps"), start("leaves", "dumps"), start("leaves", "dumps")
    for each in (dies, later, lives):
        each.hear()
    directory = Path(home.address, "dumps")
    assert len(list(directory.iterdir())) == 6
    dies.child.kill()
    home.supervisor()
    until(lambda: len(list(directory.iterdir())) == 4, "it sweeps at its start")
    end_sweeping = start_sweeping(home.address, every=0.05)
    later.child.kill()
    until(lambda: len(list(directory.iterdir())) == 2, "it sweeps again")
    (file,) = (each for each in directory.iterdir() if each.is_file())
    header = file.read_bytes()
    with file.open("ab") as dump:
        dump.write(b"x" * (announced_dumps.DUMP_MAX + 1))
    until(lambda: file.stat().st_size == len(header), "it is cut")
    assert file.read_bytes() == header
    end_sweeping()
    assert lives.child.running()
