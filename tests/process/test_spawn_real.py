"""What a command gets of its starter: environment, ignored signals; and the words where it cannot be started."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from banken_supervisor.actions import build
from banken_supervisor.config import numbering
from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.engine.policy import ProgramSpec, Readiness
from banken_supervisor.processes.command_words import interpreter_fault
from banken_supervisor.processes.handle import ProcessHandle
from banken_supervisor.programs.engine.effects import ProgramEventType
from banken_supervisor.programs.run_records import RunRecords
from banken_supervisor.programs.spawn import SpawnRefused, spawn
from banken_supervisor.text.event_text import level
from process.kit import until
from recovery_kit import run, subject

pytestmark = pytest.mark.process

GIVEN = {
    "NOTIFY_SOCKET": "/nowhere",
    "WATCHDOG_PID": "1",
    "WATCHDOG_USEC": "5",
    "LISTEN_FDS": "1",
    "LISTEN_FDNAMES": "a",
    "MAINPID": "1",
    "INVOCATION_ID": "x",
    "JOURNAL_STREAM": "8:1",
    "BANKEN_TOKEN": "t",
}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A manager's variables, and one of the user's."""
    for key, value in {**GIVEN, "MINE": "kept"}.items():
        monkeypatch.setenv(key, value)


def output_of(log: Path, command: tuple[str, ...]) -> str:
    """What the command wrote, run as a program."""
    child = spawn(ProgramSpec("p", command, log=str(log)), "mark", {})
    os.waitpid(child.handle.pid, 0)
    child.handle.close()
    return log.read_text()


@pytest.mark.parametrize(
    "wrong", [{"directory": "/no/such"}, {"user": "nobody-at-all"}, {"command": ("/no/such",)}]
)
def test_a_refused_start_closes_the_descriptor_that_tells_of_being_ready(wrong: dict[str, Any]) -> None:
    reader, writer = os.pipe()
    with pytest.raises(SpawnRefused):
        spawn(
            ProgramSpec(**{"name": "p", "command": ("true",), "ready": Readiness(fd=3), **wrong}),
            "mark",
            {},
            writer,
        )
    assert select.select([reader], [], [], 0.0)[0], "its other end is open"
    os.close(reader)


@pytest.mark.usefixtures("given")
def test_a_program_gets_no_variable_of_the_supervisors_unit(tmp_path: Path) -> None:
    """The user's own goes on; so does one that the operator sets under a manager's name."""
    got = dict(line.partition("=")[::2] for line in output_of(tmp_path / "log", ("env",)).splitlines())
    assert not GIVEN.keys() & got.keys()
    assert (got["MINE"], got["BANKEN_RUN"]) == ("kept", "mark")


@pytest.mark.usefixtures("given")
def test_the_command_of_exec_gets_none_either() -> None:
    """As programs."""
    lines = run(build("exec", {"command": ["env"]}), subject()).data["output"].splitlines()
    assert not GIVEN.keys() & {line.partition("=")[0] for line in lines}
    assert "MINE=kept" in lines


@pytest.fixture
def ignoring(tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that are ended afterwards."""
    made: list[subprocess.Popen[bytes]] = []
    yield made
    for each in made:
        each.kill()
        each.wait(10)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_guard_leaves_an_ignored_signal_ignored(
    tmp_path: Path, ignoring: list[subprocess.Popen[bytes]], number: int
) -> None:
    """As `nohup`, and a shell's `&`, ask for; SIGTERM still ends it."""
    mark = tmp_path / "runs"
    script = f'trap "" {number}; exec "$@"'
    command = ["sh", "-c", f"touch {mark}; exec sleep 1000"]
    argv = ["sh", "-c", script, "sh", sys.executable, "-m", "banken_supervisor", "guard", "--", *command]
    guard = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    ignoring.append(guard)
    until(mark.exists, "the command runs", 30)
    guard.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        guard.wait(0.5)
    guard.terminate()
    assert guard.wait(20) == 128 + signal.SIGTERM


SCRIPTS = [
    (b"#!/no/such/interpreter\n", "'/no/such/interpreter' that its first line names does not exist"),
    (b"#! /no/such/one -x\n", "'/no/such/one' that its first line names does not exist"),
    (b"#!/bin/sh\r\necho\r\n", "DOS line ends"),
    (b"#!\n", "names no interpreter"),
    (b"#!/tmp\n", "'/tmp' that its first line names cannot be executed"),
]


@pytest.mark.parametrize(("text", "says"), SCRIPTS)
def test_a_script_that_cannot_run_is_told_why(tmp_path: Path, text: bytes, says: str) -> None:
    """By a program's start and by exec alike."""
    script = tmp_path / "s"
    script.write_bytes(text)
    script.chmod(0o755)
    assert says in str(interpreter_fault(str(script)))
    if text != b"#!\n":  # which the kernel refuses in one version and runs in another
        with pytest.raises(SpawnRefused, match=says):
            spawn(ProgramSpec("p", (str(script),)), "mark", {})
        assert says in run(build("exec", {"command": [str(script)]}), subject()).text


def test_what_can_run_has_no_fault(tmp_path: Path) -> None:
    """A good script, and a program that is none."""
    script = tmp_path / "s"
    script.write_bytes(b"#! /bin/sh -e\ntrue\n")
    assert interpreter_fault(str(script)) is None
    assert interpreter_fault(sys.executable) is None


@pytest.mark.parametrize(
    ("text", "result"), [("{i}", "7"), ("{{i}}", "{i}"), ("{{i}}-{i}", "{i}-7"), ("{j} {{}}", "{j} {{}}")]
)
def test_doubled_braces_are_the_text_itself(text: str, result: str) -> None:
    """Everything else stays as it is."""
    assert numbering.filled(text, 7) == result


def test_a_record_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A disk that is full while it is written, which the kernel's own error does not name."""

    records = RunRecords(str(tmp_path))
    records.prepare()
    code = (
        "import resource, signal, sys\n"
        "from banken_supervisor.programs.run_records import RunRecords\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "try:\n    RunRecords(sys.argv[1]).intend('p', 'mark')\n"
        "except OSError as fault:\n    print(fault.filename)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == str(tmp_path / "programs" / "p.json"), done.stderr


def test_a_program_that_outlives_sigkill_is_an_error() -> None:
    """So that a log of errors only shows it."""
    import logging

    event = Event(EventType.PROGRAM, "p", {"what": ProgramEventType.UNKILLABLE.value, "after": 10.0})
    assert level(event) == logging.ERROR
    assert level(Event(EventType.PROGRAM, "p", {"what": ProgramEventType.STARTED.value})) == logging.INFO


def test_one_that_ends_at_once_and_is_collected_elsewhere_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a program that ignores SIGCHLD nothing is left of it that could be watched."""
    held = ProcessHandle.open_pid

    def late(pid: int) -> ProcessHandle:
        until(lambda: not os.path.exists(f"/proc/{pid}"), "it has ended")
        return held(pid)

    monkeypatch.setattr(ProcessHandle, "open_pid", late)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(SpawnRefused, match="has ended and left nothing to look at"):
            spawn(ProgramSpec("p", ("true",), attributes=None), "mark", {})
    finally:
        signal.signal(signal.SIGCHLD, before)
