"""What a command's process has: a login's attributes, or those that were asked for, and not its starter's."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from banken.protocol.codec import encode
from banken.protocol.messages import Kind, Message
from banken_supervisor.engine.policy import ProcessAttributes, ProgramSpec
from banken_supervisor.processes import launch
from banken_supervisor.programs.spawn import SpawnRefused, spawn
from process.kit import START_S, until
from process.run_kit import running

pytestmark = pytest.mark.process

REPORT = """
import json, os, resource, sys
limit = lambda name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "nice": os.getpriority(os.PRIO_PROCESS, 0), "policy": os.sched_getscheduler(0), "umask": os.umask(0),
    "oom": int(open("/proc/self/oom_score_adj").read()), "nofile": limit("NOFILE"), "core": limit("CORE"),
    "user": [os.getresuid(), os.getresgid(), os.getgroups()], "session": os.getsid(0) == os.getpid(),
    "descriptors": sorted(os.listdir("/proc/self/fd"), key=int), "arguments": list(map(os.fsencode, sys.argv[1:])),
    "environment": dict(os.environ), "ignored": int(status["SigIgn"], 16), "blocked": int(status["SigBlk"], 16),
}, default=lambda each: each.hex()), flush=True)
"""
REPORTER = (sys.executable, "-I", "-S", "-B", "-c", REPORT)

PYTHONS = sum(1 << number - 1 for number in (signal.SIGPIPE, signal.SIGXFSZ))
"""Signals that the reporter itself ignores, as all Python does."""

LIBRARYS = sum(1 << number - 1 for number in (32, 33))
"""Signals that the C library keeps for itself. Its posix_spawn, by which Popen starts from Python 3.13 on, ignores
them."""

ASKED = ProcessAttributes(oom_score_adj=321)
"""Attributes for which the launcher is needed, and which anybody may have."""

STARTER = """
import os, resource, signal, subprocess, sys
from banken_supervisor.actions import build
from banken_supervisor.engine.policy import ProgramSpec
from banken_supervisor.processes import descriptor_limit
from banken_supervisor.programs.spawn import spawn
resource.setrlimit(resource.RLIMIT_NOFILE, (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
descriptor_limit.raise_limit()
os.umask(0o077)
open("/proc/self/oom_score_adj", "w").write("300")
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR2})
if os.geteuid() == 0:
    os.setpriority(os.PRIO_PROCESS, 0, -5)
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    import psutil
    psutil.Process().ionice(psutil.IOPRIO_CLASS_RT, 3)
"""

AS_PROGRAM = """
child = spawn(ProgramSpec("p", tuple(sys.argv[1:]), terminal=True), "mark", {})
os.waitpid(child.handle.pid, 0)
"""

AS_EXEC = """
from recovery_kit import run, subject
print(run(build("exec", {"command": sys.argv[1:]}), subject()).data["output"])
"""


def reported(text: str) -> dict[str, Any]:
    """What the reporter has said."""
    found: dict[str, Any] = json.loads(next(line for line in text.splitlines() if line.startswith("{")))
    found["ignored"] &= ~LIBRARYS
    return found


def report(log: Path, *arguments: str, **fields: Any) -> dict[str, Any]:
    """What the reporter says as a program of these fields."""
    child = spawn(ProgramSpec("p", (*REPORTER, *arguments), log=str(log), **fields), "mark", {})
    os.waitpid(child.handle.pid, 0)
    child.handle.close()
    return reported(log.read_text())


def started_by(code: str, *command: str) -> subprocess.CompletedProcess[str]:
    """A process that has what no command is to have, and runs the command as ``code`` says."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}
    argv = [sys.executable, "-c", STARTER + code, *command]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=30)
    if done.returncode and "PermissionError" in done.stderr and os.geteuid() == 0:
        pytest.skip("root may have no realtime scheduling here")
    return done


@pytest.mark.parametrize("code", [AS_PROGRAM, AS_EXEC])
def test_what_a_supervisor_has_for_itself_is_not_handed_on(code: str) -> None:
    """Realtime scheduling, nice value, umask, raised limit, what it is worth when memory is short, and signals that
    are ignored or blocked: it would never hear its stop signal."""
    done = started_by(code, *REPORTER)
    found = reported(done.stdout)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert (found["policy"], found["umask"], found["nofile"]) == (os.SCHED_OTHER, 0o022, [200, hard]), done.stderr
    assert found["oom"] == 0
    assert (found["ignored"], found["blocked"]) == (PYTHONS, 0)
    if os.geteuid() == 0:  # an ordinary user may not lower it
        assert found["nice"] == 0


@pytest.mark.root
def test_nor_is_its_priority_for_disks() -> None:
    """``ionice -c1 banken run``."""
    done = started_by(AS_PROGRAM, sys.executable, "-c", "import psutil; print(psutil.Process().ionice().ioclass)")
    assert done.stdout.split() in (["0"], ["2"]), done  # none, or what a nice value makes of none


def test_what_is_asked_for_is_set(tmp_path: Path) -> None:
    """In one program of a real supervisor; one beside it has a login's, and none has the supervisor's."""
    reporter = json.dumps(REPORTER)
    (tmp_path / "env").write_text("FROM_FILE='a b'\nBOTH=file\n")
    asked = (
        'umask = "027"\nnice = 19\noom_score_adj = 250\nrlimits = { nofile = "100:150", core = 0 }\n'
        f'env_clear = true\nenv_file = "{tmp_path}/env"\nenv = {{ BOTH = "env" }}\n'
    )
    once = f'restart = "never"\ncommand = {reporter}\n'
    config = f'[[program]]\nname = "a"\nlog = "a.log"\n{once}{asked}[[program]]\nname = "b"\nlog = "b.log"\n{once}'
    with running(config, under=("sh", "-c", 'umask 077; ulimit -S -n 190; export OWN=1; exec "$@"', "sh")) as one:
        logs = {name: one.place / f"{name}.log" for name in "ab"}
        a, b = (
            reported(
                until(
                    lambda log=log: log.exists() and "}" in (text := log.read_text()) and text, "it says", START_S
                )
            )
            for log in logs.values()
        )
    assert (a["umask"], a["nice"], a["oom"], a["nofile"], a["core"]) == (0o027, 19, 250, [100, 150], [0, 0])
    assert (b["umask"], b["oom"], b["nofile"][0]) == (0o022, 0, 190)
    assert (a["environment"]["FROM_FILE"], a["environment"]["BOTH"]) == ("a b", "env")
    assert {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "BANKEN_NAME", "BANKEN_RUN"} <= a["environment"].keys()
    assert "OWN" not in a["environment"]
    assert b["environment"]["OWN"] == "1"


@pytest.mark.root
def test_nor_has_the_web_process_the_supervisors_priority() -> None:
    """It must not take the processor from it; it keeps the raised limit, for its many readers."""
    with running("", "--web", "127.0.0.1:0", under=("nice", "-n", "-30")) as one:
        command = f"{sys.executable} -P -m banken_supervisor web --until-eof --address {one.address}"
        pid = until(lambda: one.live(command), "the web process runs", START_S)[0][0]
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        until(lambda: os.getpriority(os.PRIO_PROCESS, pid) == 0, "it has its own priority")  # set a moment later
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (hard, hard)


def test_a_secret_of_the_supervisors_is_no_programs() -> None:
    """Not the variables that [notify] and web hooks are read from; a program, or the command of a step, that needs
    one says so. What is no secret (HOME) stays, and a doubt about the file is logged, at the start and at a
    reload."""
    notify = '[notify.n]\nurls = ["json://${BK_MAIL}@${HOME}"]\n'
    hook = 'ladder = [{ do = "webhook", url = "http://localhost/${BK_HOOK}" }]\n'
    command = 'restart = "never"\ncommand = ["sh", "-c", "env; : {i}"]\n'
    config = (
        f'{notify}[[program]]\nname = "a"\nlog = "a.log"\n{command}{hook}'
        f'[[program]]\nname = "b"\nlog = "b.log"\n{command}env = {{ BK_MAIL = "${{BK_MAIL}}", X = "$${{X}}" }}\n'
        '[[watchdog]]\nname = "w"\ntimeout = "1h"\n'
        'ladder = [{ do = "exec", command = ["sh", "-c", "env > @PLACE@/c.log"], '
        'env = { MINE = "${BK_MAIL}", BANKEN_CAUSE = "mine" } }]\n'
    )
    start = ("env", "BK_MAIL=mail{i}", "BK_HOOK=hook", "BK_OTHER=other")
    with running(config, under=start) as one:
        logs = [one.place / f"{name}.log" for name in "ab"]
        a, b = (
            until(lambda log=log: log.exists() and "BANKEN_RUN" in (t := log.read_text()) and t, "") for log in logs
        )
        doubt = "warning: {i} becomes 0"
        until(lambda: one.log.read_text().count("{i} becomes 0") == 2, doubt)
        one.home.ask("reload")
        until(lambda: one.log.read_text().count("{i} becomes 0") == 4, doubt)
        events = one.home.events()
        one.home.ask("tell", frame=encode(Message(Kind.FAIL, "w", None, 0.0, None, ("",))))
        events.until(START_S, "action-done", "w")
        c = (one.place / "c.log").read_text()
    assert not {"BK_MAIL", "BK_HOOK"} & {line.partition("=")[0] for line in a.splitlines()}
    assert {"BK_OTHER=other", f"HOME={one.place}"} <= {*a.splitlines()}
    assert {"BK_MAIL=mail{i}", "X=${X}"} <= {*b.splitlines()}
    assert "BK_HOOK" not in b
    assert {"BK_OTHER=other", "MINE=mail{i}", "BANKEN_CAUSE=failed"} <= {*c.splitlines()}
    assert not {"BK_MAIL", "BK_HOOK"} & {line.partition("=")[0] for line in c.splitlines()}


def test_guards_command_has_what_the_shell_gave() -> None:
    """As under `nice`, `nohup` or `time`."""
    script = 'umask 026; ulimit -S -n 170; exec nice -n 3 "$@"'
    guard = (sys.executable, "-m", "banken_supervisor", "guard", "--", *REPORTER)
    done = subprocess.run(("sh", "-c", script, "sh", *guard), capture_output=True, text=True, timeout=30)
    found = reported(done.stdout)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert (found["umask"], found["nofile"][0], found["nice"]) == (0o026, 170, min(19, own + 3)), done.stderr


@pytest.mark.every_python
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_launched_command_is_as_one_started_directly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locale: str
) -> None:
    """Session, user, descriptors, ignored signals, arguments and environment, to the byte."""
    for key in [key for key in os.environ if key.startswith("LC_") or key == "LANG"]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("LC_ALL", locale)
    monkeypatch.setenv("ODD", "\udcff=\n")
    before = os.listdir("/proc/self/fd")
    asked = ASKED._replace(nice=os.getpriority(os.PRIO_PROCESS, 0))
    direct, launched = (
        report(tmp_path / each, "\udcfe", "", "ü", attributes=attributes)
        for each, attributes in (("direct", None), ("launched", asked._replace(umask=os.umask(os.umask(0o022)))))
    )
    assert launched.pop("oom") == 321
    direct.pop("oom")
    direct["ignored"] &= PYTHONS  # the tests may run under nohup
    assert launched == direct
    assert launched["session"]
    assert launched["descriptors"] == ["0", "1", "2", "3"]  # 3: of the directory that is listed
    assert os.listdir("/proc/self/fd") == before


FAULTS = {
    "no-such-command": "there is no such command",
    "./plain": "Permission denied",
    "./script": "the interpreter '/no/such' that its first line names does not exist",
    "./folder/none": "there is no such command",
}


def children() -> set[int]:
    """Those of this process, zombies among them."""
    return {each.pid for each in psutil.Process().children()}


@pytest.mark.parametrize("command", FAULTS)
def test_a_launched_command_that_cannot_run_is_told_like_any_other(tmp_path: Path, command: str) -> None:
    """And nothing is left: no process, no descriptor."""
    (tmp_path / "plain").touch()
    (tmp_path / "script").write_text("#!/no/such\n")
    (tmp_path / "script").chmod(0o755)
    before, said, others = os.listdir("/proc/self/fd"), [], children()
    for attributes in (None, ASKED):
        with pytest.raises(SpawnRefused) as refused:
            spawn(ProgramSpec("p", (command,), directory=str(tmp_path), attributes=attributes), "mark", {})
        said.append(str(refused.value))
    assert said[0] == said[1] == f"its command {command!r} cannot be run: {FAULTS[command]}"
    with pytest.raises(SpawnRefused, match="its directory /no/such cannot be used"):
        spawn(ProgramSpec("p", ("true",), directory="/no/such", attributes=ASKED), "mark", {})
    assert os.listdir("/proc/self/fd") == before
    assert children() == others


def test_what_cannot_be_set_is_refused_with_its_name() -> None:
    """More descriptors than the kernel has for anybody; nothing was run, and nothing is left."""
    others = children()
    asked = ProcessAttributes(rlimits=(("nofile", 1 << 40, 1 << 40),))
    says = (
        r"its limit nofile of 1099511627776 \(soft\) and 1099511627776 \(hard\) cannot be set: Operation not permit"
    )
    with pytest.raises(SpawnRefused, match=says):
        spawn(ProgramSpec("p", ("touch", "/no/such"), attributes=asked), "mark", {})
    assert "limit nofile" in (launch.refused(asked) or "")
    assert launch.refused(ASKED) is None
    assert children() == others


def test_without_a_launcher_only_what_was_asked_for_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its interpreter was moved, say, while the supervisor ran: a program with a login's attributes starts."""
    for executable, says in ((str(tmp_path / "none"), "none: No such file or directory"), ("true", "true ended")):
        monkeypatch.setattr(sys, "executable", executable)
        with pytest.raises(SpawnRefused, match=f"its attributes cannot be set: .*{says}"):
            spawn(ProgramSpec("p", ("true",), attributes=ASKED), "mark", {})
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(launch.descriptor_limit, "given", lambda: (before[0] - 1, before[1]))
    assert report(tmp_path / "log")["nofile"] == list(before)


def test_a_launcher_that_is_killed_was_a_start_all_the_same(tmp_path: Path) -> None:
    """Where it ended before it could say anything, nothing was started; no message is lost either way."""
    limits = ProcessAttributes(rlimits=(("as", 1 << 20, 1 << 20),))  # in which nothing can be loaded
    child = spawn(ProgramSpec("p", REPORTER, log=str(tmp_path / "log"), attributes=limits), "mark", {})
    assert os.waitpid(child.handle.pid, 0)[1] != 0
    child.handle.close()


@pytest.mark.root
def test_a_program_of_another_user_is_launched_as_that_user(tmp_path: Path) -> None:
    """What only root may set is set before; the interpreter need not be one that the user may run."""
    tmp_path.chmod(0o755)
    asked = ASKED._replace(nice=-3, oom_score_adj=7)
    code = 'id -u; id -g; id -G; nice; cat /proc/self/oom_score_adj; echo "$HOME"'
    log = tmp_path / "log"
    spec = ProgramSpec("p", ("sh", "-c", code), log=str(log), user="nobody", attributes=asked)
    child = spawn(spec, "mark", {})
    os.waitpid(child.handle.pid, 0)
    child.handle.close()
    assert log.read_text().split() == ["65534", "65534", "65534", "-3", "7", "/nonexistent"]


def test_a_program_that_is_stopped_in_its_launcher_ends(tmp_path: Path) -> None:
    """It has the dispositions of a program from the beginning."""
    child = spawn(ProgramSpec("p", ("sleep", "1000"), attributes=ASKED), "mark", {})
    os.killpg(child.handle.pid, signal.SIGINT)
    assert os.waitpid(child.handle.pid, 0)[1] == signal.SIGINT
    child.handle.close()
