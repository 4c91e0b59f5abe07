"""``banken config`` as people and scripts use it; and no other command pays for pydantic."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from banken_supervisor import config
from banken_supervisor.cli.group import COMMANDS

pytestmark = pytest.mark.process

LIMIT_S = 60
"""Seconds a command may take on a busy machine."""

HEAVY = ("pydantic", "cronsim", "apprise", "banken_supervisor.config.models")


def banken(*args: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "banken_supervisor", *args],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        cwd=cwd,
        env={**os.environ, "HOME": "/none", "XDG_CONFIG_HOME": "/none", **environment},
    )


def test_the_example_is_checked_and_found_well(tmp_path: Path) -> None:
    """What `example` prints passes `check`, which says what is in it in one line."""
    printed = banken("config", "example")
    assert (printed.returncode, printed.stderr) == (0, "")
    (tmp_path / "banken.toml").write_text(printed.stdout)
    checked = banken("config", "check", cwd=tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout == "banken.toml: 3 watchdogs, 1 group, 2 programs, 0 faults\n"


def test_faults_go_to_stderr_and_into_the_exit_code(tmp_path: Path) -> None:
    """Each in a line of its own, nothing on stdout."""
    (tmp_path / "bad.toml").write_text('[[watchdog]]\nname = "a"\ntimeout = "x"\n[[program]]\nname = "p"\n')
    checked = banken("config", "check", "bad.toml", cwd=tmp_path)
    assert (checked.returncode, checked.stdout) == (1, "")
    lines = checked.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith('bad.toml:3: watchdog[0].timeout: "x" is no duration; allowed is ')
    assert lines[1] == "bad.toml:4: program[0].command: is required and missing"


def test_a_supervisor_is_not_started_with_a_file_that_has_faults(tmp_path: Path) -> None:
    """`run` names the file and lists them as `config check` does, with the exit code of wrong usage."""
    (tmp_path / "bad.toml").write_text('[[watchdog]]\nname = "a"\ntimeout = "x"\n')
    done = banken("run", "-c", "bad.toml", "--address", str(tmp_path / "home"), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: bad.toml cannot be used:\nbad.toml:3: watchdog[0].timeout: " in done.stderr
    assert "Traceback" not in done.stderr


def test_json_tells_the_same(tmp_path: Path) -> None:
    """For scripts: on stdout, whole, the exit code as without it."""
    file = tmp_path / "bad.toml"
    file.write_text('[[watchdog]]\nname = "a"\nobserve = 3\n')
    checked = banken("config", "check", "--json", str(file))
    assert (checked.returncode, checked.stderr) == (1, "")
    assert json.loads(checked.stdout) == {
        "file": str(file),
        "ok": False,
        "watchdogs": 1,
        "groups": 0,
        "programs": 0,
        "faults": [
            {
                "file": str(file),
                "line": 3,
                "key": "watchdog[0].observe",
                "text": "must be true or false, not the number (3)",
            }
        ],
        "warnings": [],
    }
    file.write_text("")
    checked = banken("config", "check", "--json", str(file))
    assert checked.returncode == 0
    assert json.loads(checked.stdout)["ok"] is True


def test_a_lone_number_of_the_process_is_a_warning(tmp_path: Path) -> None:
    """In every key that takes it; not where it is doubled, and not where numprocs says that it is meant."""
    file = tmp_path / "banken.toml"
    lone = 'name = "p{i}"\ncommand = ["true", "{i}"]\nenv = { A = "{i}" }\nlog = "{i}.log"\n'
    file.write_text(f"[[program]]\n{lone}")
    checked = banken("config", "check", str(file))
    assert checked.returncode == 0
    assert "1 program, 0 faults, 4 warnings" in checked.stdout
    says = "{i} becomes 0, for there is no numprocs; if the text itself is meant, write {{i}}, else numprocs = 1"
    keys = [(2, "name"), (3, "command"), (4, "env"), (5, "log")]
    assert checked.stderr.splitlines() == [
        f"warning: {file}:{line}: program[0].{key}: {says}" for line, key in keys
    ]
    told = json.loads(banken("config", "check", "--json", str(file)).stdout)
    assert told["ok"]
    assert [each["line"] for each in told["warnings"]] == [2, 3, 4, 5]
    for text in (f"{lone}numprocs = 1\n", lone.replace("{i}", "{{i}}").replace("p{{i}}", "p")):
        file.write_text(f"[[program]]\n{text}")
        checked = banken("config", "check", str(file))
        assert (checked.stderr, "warning" in checked.stdout) == ("", False)


def test_the_file_is_found_or_said_to_be_missing(tmp_path: Path) -> None:
    """$BANKEN_CONFIG counts, and if there is no file at all, the places are named."""
    (tmp_path / "mine.toml").write_text("x = 1")
    checked = banken("config", "check", cwd=tmp_path, BANKEN_CONFIG="mine.toml")
    assert checked.stderr.startswith("mine.toml:1: x: unknown key")
    if config.find(None, {"HOME": "/none"}) is None:
        checked = banken("config", "check", cwd=tmp_path)
        assert checked.returncode == 1
        assert (
            "no config file: $BANKEN_CONFIG is not set, and there is none of banken.toml, /none/" in checked.stderr
        )
    checked = banken("config", "check", "none.toml", cwd=tmp_path)
    assert (checked.returncode, checked.stderr) == (1, "none.toml: cannot be read: No such file or directory\n")


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\x7fELF\x00\xff", b"#" * 10_000_000, b"a=1\na=1"])
def test_no_content_brings_a_traceback(tmp_path: Path, content: bytes) -> None:
    """Empty, a mark, binary, ten megabytes, keys twice: 0 or 1, and at most one line."""
    (tmp_path / "banken.toml").write_bytes(content)
    checked = banken("config", "check", cwd=tmp_path)
    assert checked.returncode == (0 if len(content) < 4 else 1)
    assert len((checked.stdout + checked.stderr).splitlines()) == 1
    assert "Traceback" not in checked.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    """The system's own words."""
    (tmp_path / "banken.toml").write_text("")
    (tmp_path / "banken.toml").chmod(0)
    checked = banken("config", "check", cwd=tmp_path)
    assert (checked.returncode, checked.stderr) == (1, "banken.toml: cannot be read: Permission denied\n")


def test_the_schema_is_printed() -> None:
    """As JSON, and it is the one that `schema()` gives."""
    printed = banken("config", "schema")
    assert (printed.returncode, printed.stderr) == (0, "")
    schema = json.loads(printed.stdout)
    assert schema == json.loads(json.dumps(config.schema()))
    jsonschema.Draft202012Validator.check_schema(schema)


def test_no_other_command_loads_what_reads_the_config() -> None:
    """pydantic takes longer to load than most commands to run; only `run` (with a file) and `config` need it."""
    code = (
        "import importlib, json, sys\n"
        "import banken_supervisor.cli.group as group, banken_supervisor.config as config\n"
        "config.Fault, config.ConfigFaults, config.Config, config.find\n"
        "for name in group.COMMANDS: assert group.banken.get_command(None, name)\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))\n"
        "config.load\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT_S, check=True)
    before, after = map(json.loads, ran.stdout.splitlines())
    assert "config" in COMMANDS
    assert before == []
    assert "pydantic" in after  # so that the test would see it


@pytest.mark.parametrize(
    "args", [("--help",), ("status", "--address", "/none/x"), ("feed", "a", "--address", "/none/x")]
)
def test_a_command_that_runs_does_not_load_it(args: tuple[str, ...]) -> None:
    """Not when it only names its module, nor when it works."""
    code = (
        "import sys\n"
        "from banken_supervisor.cli import main\n"
        f"sys.argv = ['banken', *{args!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"assert not [name for name in {HEAVY!r} if name in sys.modules]\n"
        "print('clean', file=sys.stderr)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT_S)
    assert ran.stderr.endswith("clean\n"), ran.stderr


@pytest.mark.parametrize("content", ["", "\n# nothing yet\n"])
def test_without_a_terminal_no_supervisor_starts_with_an_empty_file(tmp_path: Path, content: str) -> None:
    """It may be one that a full disk cut: exit code 2, and what allows it; `config check` says so, too."""
    (tmp_path / "banken.toml").write_text(content)
    done = banken("run", "--address", str(tmp_path / "a"), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is empty" in done.stderr
    assert "--allow-empty" in done.stderr
    assert not (tmp_path / "a").exists()
    checked = banken("config", "check", cwd=tmp_path)
    assert checked.returncode == 0
    assert "--allow-empty" in checked.stdout


@pytest.mark.parametrize("terminal", [True, False])
def test_a_person_or_an_option_may_start_with_an_empty_file(tmp_path: Path, terminal: bool) -> None:
    """At a terminal as it is, elsewhere with --allow-empty."""
    (tmp_path / "banken.toml").write_text("")
    command = [sys.executable, "-m", "banken_supervisor", "run", "--address", str(tmp_path / "a"), "--no-journal"]
    master, slave = os.openpty()
    stderr = slave if terminal else subprocess.DEVNULL
    options = [] if terminal else ["--allow-empty"]
    run = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=stderr, cwd=tmp_path)
    try:
        assert run.stdout is not None
        assert b"supervises" in run.stdout.readline()
    finally:
        run.kill()
        run.communicate()
        os.close(master)
        os.close(slave)
