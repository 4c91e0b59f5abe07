"""Running commands, also those that fail, do not end, fork or write without end."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from banken_supervisor.actions import build, running_command
from banken_supervisor.actions import exec as exec_module
from banken_supervisor.processes.handle import STATUS_KNOWN
from recovery_kit import FORKS, gone, python, run, subject, until

pytestmark = pytest.mark.process


def test_a_command_gets_the_incident() -> None:
    """stdin holds it as JSON, the environment as BANKEN_ variables; output and exit status come back."""
    code = "import json; t = json.load(sys.stdin); print(t['name'], t['evidence'], os.environ['BANKEN_LEVEL'])"
    about = subject(level="critical", evidence={"headline": "f (job.py:42)"})
    done = run(build("exec", {"command": python(code)}), about)
    assert (done.ok, done.data["status"], done.data["timed_out"]) == (True, 0, False)
    assert done.data["output"] == "worker-3 {'headline': 'f (job.py:42)'} critical\n"
    env = run(build("exec", {"command": ["env"]}), about).data["output"].splitlines()
    wanted = {"BANKEN_NAME=worker-3", "BANKEN_CAUSE=timeout", "BANKEN_INCIDENT=i-worker-3", "BANKEN_SILENCE=12.34"}
    assert wanted <= set(env)


def test_no_shell_reads_the_command() -> None:
    """Arguments arrive as they are, whatever a shell would make of them."""
    odd = "$(echo no) `echo no` ; echo no | * \" ' \\"
    done = run(build("exec", {"command": ["printf", "%s", odd]}), subject())
    assert done.data["output"] == odd


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("print('broken \\x1b[2J'); sys.exit(3)", "exit status 3: broken \\x1b[2J"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "ended by SIGSEGV"),
    ],
)
def test_a_command_that_fails_is_a_failure(code: str, says: str) -> None:
    """Its exit status, or the signal that ended it, is told with its last line."""
    done = run(build("exec", {"command": python(code)}), subject())
    assert not done.ok
    assert says in done.text


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: collect_all()])
def test_a_command_that_is_collected_elsewhere_has_ended(handler: Any) -> None:
    """By a program that embeds a supervisor, and ignores SIGCHLD or waits for all children. How it ended is told
    where the kernel tells that, and never wrongly."""
    before = signal.signal(signal.SIGCHLD, handler)
    try:
        done = {code: run(build("exec", {"command": ["sh", "-c", f"echo out; sleep 0.2; exit {code}"]}), subject())
                for code in (0, 5)}  # fmt: skip
    finally:
        signal.signal(signal.SIGCHLD, before)
    for code, each in done.items():
        assert each.data["output"] == "out\n"
        assert each.data.get("status", code) == code
        assert "status" in each.data if STATUS_KNOWN else True
        assert each.ok is (each.data.get("status") == 0)


def collect_all() -> None:
    """As programs do that do not care whose children end."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


@pytest.mark.parametrize("missing", ["/no/such/command", "no-such-command", "/", "."])
def test_a_command_that_cannot_be_started_is_said(missing: str, tmp_path: Path) -> None:
    """No such file, and something that is no program, are outcomes and not errors."""
    done = run(build("exec", {"command": [missing]}), subject())
    assert not done.ok
    assert "cannot be started" in done.text


def test_a_script_without_its_interpreter_is_said(tmp_path: Path) -> None:
    """A first line that names an interpreter that is not there, and a file without the right to run."""
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    assert "Permission denied" in run(build("exec", {"command": [str(script)]}), subject()).text
    script.chmod(0o755)
    assert "interpreter" in run(build("exec", {"command": [str(script)]}), subject()).text


def test_endless_output_is_bounded() -> None:
    """``yes`` is ended at its time; beginning and end of its output are kept and no more; and it is read slowly, so
    that it does not eat a core of the supervisor's meanwhile."""
    began = time.monotonic()
    done = run(build("exec", {"command": ["yes", "x" * 99], "timeout": 1.0}), subject())
    seconds = time.monotonic() - began
    assert (done.ok, done.data["timed_out"]) == (False, True)
    assert done.data["output_bytes"] > 4 * exec_module.OUTPUT_MAX
    assert len(done.data["output"]) <= exec_module.OUTPUT_MAX + 100
    assert "bytes left out]" in done.data["output"]
    reads = seconds / running_command.NAP_S + 2
    assert done.data["output_bytes"] <= reads * running_command.READ + exec_module.OUTPUT_MAX


@pytest.mark.parametrize(("handler", "ends"), [("SIG_IGN", "SIGKILL"), ("SIG_DFL", "SIGTERM")])
def test_a_command_that_takes_too_long_dies_with_all_it_forked(handler: str, ends: str) -> None:
    """After ``timeout`` the whole group ends, also a child that ignores SIGTERM and outlives the command."""
    code = FORKS + f"print(child, flush=True)\nsignal.signal(signal.SIGTERM, signal.{handler})\ntime.sleep(600)"
    # It has to start in that time, on a busy machine, too.
    done = run(build("exec", {"command": python(code), "timeout": 3.0}), subject())
    assert (done.ok, done.data["timed_out"], done.data["signal"]) == (False, True, ends)
    child = int(done.data["output"])
    until(lambda: gone(child), "its child has ended")


def test_a_stopped_command_is_ended() -> None:
    """A command that stops itself is ended at its time."""
    done = run(
        build("exec", {"command": python("os.kill(os.getpid(), signal.SIGSTOP)"), "timeout": 0.5}), subject()
    )
    assert (done.ok, done.data["timed_out"]) == (False, True)


@pytest.mark.parametrize("writes", ["pass", "print('more' * 1000, flush=True)"], ids=["silent", "writing"])
def test_a_child_that_keeps_the_pipe_does_not_block(writes: str, tmp_path: Path) -> None:
    """A command that leaves a child behind with its stdout is done when it has ended; the child may live on."""
    noted = tmp_path / "pid"
    loop = f"    while True:\n        time.sleep(0.001)\n        {writes}\n"
    code = f"child = os.fork()\nif child == 0:\n{loop}open({str(noted)!r}, 'w').write(str(child))"
    began = time.monotonic()
    done = run(build("exec", {"command": python(code), "timeout": 60}), subject())
    seconds = time.monotonic() - began
    child = int(noted.read_text())
    try:
        assert (done.ok, done.data["status"]) == (True, 0)
        assert seconds < 20
        assert writes != "pass" or not gone(child)
    finally:
        if not gone(child):
            os.kill(child, signal.SIGKILL)


def test_a_command_need_not_read() -> None:
    """A command that closes its stdin, or never reads it though it is large, ends as it likes."""
    about = subject(evidence={"large": "x" * 400_000})
    closes = "os.close(0); time.sleep(0.05); print('done')"
    for code in (closes, "time.sleep(0.05); print('done')"):
        done = run(build("exec", {"command": python(code)}), about)
        assert (done.ok, done.data["output"]) == (True, "done\n")
    reads = run(build("exec", {"command": python("print(len(sys.stdin.read()) > 400_000)")}), about)
    assert reads.data["output"] == "True\n"


def test_binary_output_is_text() -> None:
    """Bytes that are no UTF-8 are written as escapes, so that JSON and msgpack take them."""
    done = run(build("exec", {"command": python("os.write(1, b'\\xff\\x00ok')")}), subject())
    assert "\\xff" in done.data["output"]
    json.dumps(done.data).encode()
