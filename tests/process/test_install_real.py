"""`banken install`: what it writes is taken by systemd's own tools without a word, and it replaces nothing else."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from banken_supervisor.cli.install import _say_next
from banken_supervisor.cli.unit_files import is_ours, system_files, user_files
from process.kit import START_S, until
from process.manager_kit import Manager

pytestmark = pytest.mark.process

needs_systemd = pytest.mark.skipif(
    not all(map(shutil.which, ("systemctl", "systemd-analyze", "systemd-tmpfiles"))),
    reason="needs the package systemd; it need not run",
)


def install(place: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it, as root or as somebody who has this place for a home."""
    own = {"HOME": str(place), "PATH": os.environ["PATH"], "XDG_CONFIG_HOME": str(place / "config")}
    command = [sys.executable, "-m", "banken_supervisor", "install", *options]
    return subprocess.run(
        command, env=own | environment, capture_output=True, text=True, timeout=START_S, check=False
    )


def written(place: Path) -> dict[str, str]:
    """All files below, by their paths in it."""
    return {str(each.relative_to(place)): each.read_text() for each in place.rglob("*") if each.is_file()}


@needs_systemd
@pytest.mark.parametrize("folder", ["plain", 'a "quoted\\ 100% $HOME'])
@pytest.mark.parametrize("whose", ["system", "user"])
def test_systemd_takes_the_units_without_a_word(tmp_path: Path, whose: str, folder: str) -> None:
    """Whatever the path of banken is; and it would say a word if something were wrong."""
    found = int(
        subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    )
    program = tmp_path / folder / "banken"
    program.parent.mkdir()
    program.symlink_to(sys.executable)
    files = (
        system_files(tmp_path / "root", found, [str(program)])
        if whose == "system"
        else user_files({"XDG_CONFIG_HOME": str(tmp_path / "c")}, found, [str(program)])
    )
    unit = files[0].path
    unit.parent.mkdir(parents=True)
    unit.write_text(files[0].text)
    verify = ["systemd-analyze", f"--{whose}", "--man=no", "verify", str(unit)]
    runtime = {"XDG_RUNTIME_DIR": str(tmp_path)} if whose == "user" else {}
    done = subprocess.run(verify, env=os.environ | runtime, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    for key in ("KillMode=process", "Restart=always", "WatchdogSec=", "OOMPolicy=continue", "NotifyAccess=main"):
        assert f"\n{key}" in files[0].text
    assert f"\nType=notify{'-reload' if found >= 253 else ''}\n" in files[0].text
    broken = unit.with_name("broken.service")
    broken.write_text(files[0].text.replace("KillMode=process", "KillMode=proces"))
    assert subprocess.run(
        [*verify[:-1], str(broken)], env=os.environ | runtime, capture_output=True, check=False
    ).stderr


def test_newer_systemds_get_what_they_know() -> None:
    for version, has, has_not in (
        (252, ("Type=notify\n", "ExecReload="), ("RestartSteps", "notify-reload")),
        (253, ("Type=notify-reload\n",), ("RestartSteps", "ExecReload")),
        (254, ("Type=notify-reload\n", "RestartSteps="), ("ExecReload",)),
        (None, ("Type=notify-reload\n",), ("RestartSteps",)),
    ):
        text = system_files(Path("/"), version, ["/usr/bin/banken"])[0].text
        assert all(each in text for each in has)
        assert not any(each in text for each in has_not)


@needs_systemd
@pytest.mark.root
def test_tmpfiles_makes_the_directories(tmp_path: Path) -> None:
    """As the unit and the supervisor have them."""
    assert install(tmp_path, "--system", "--root", str(tmp_path / "r")).returncode == 0
    for name in ("etc/passwd", "etc/group"):
        shutil.copy(Path("/", name), tmp_path / "r" / name)
    command = ["systemd-tmpfiles", "--create", f"--root={tmp_path / 'r'}", "banken.conf"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    modes = {
        name: (tmp_path / "r" / name).stat().st_mode & 0o777
        for name in ("run/banken", "run/banken.users", "var/lib/banken")
    }
    assert modes == {"run/banken": 0o700, "run/banken.users": 0o711, "var/lib/banken": 0o700}


def test_it_says_what_it_wrote_and_what_to_type_next(tmp_path: Path) -> None:
    """And written again it changes nothing; --print writes nothing."""
    root = tmp_path / "r"
    printed = install(tmp_path, "--system", "--print")
    assert printed.returncode == 0
    assert not written(tmp_path)
    first = install(tmp_path, "--system", "--root", str(root))
    assert first.returncode == 0, first.stderr
    found = written(root)
    assert sorted(found) == [
        "etc/banken/banken.toml",
        "etc/systemd/system/banken.service",
        "etc/tmpfiles.d/banken.conf",
    ]
    assert all(f"wrote             {root / name}" in first.stdout for name in found)
    assert all(text.strip() in printed.stdout for text in found.values())
    (root / "etc/banken/banken.toml").write_text("[supervisor]\n# mine\n")
    again = install(tmp_path, "--system", "--root", str(root))
    assert again.returncode == 0
    assert again.stdout.count("is there already") == 3
    assert written(root) == found | {"etc/banken/banken.toml": "[supervisor]\n# mine\n"}


@pytest.mark.parametrize("what", ["foreign", "changed", "link", "fifo", "directory", "binary"])
def test_what_it_did_not_write_stays(tmp_path: Path, what: str) -> None:
    """Nothing at all is written then, and the reason is said with what to do."""
    root = tmp_path / "r"
    unit = root / "etc/systemd/system/banken.service"
    assert install(tmp_path, "--system", "--root", str(root)).returncode == 0
    text = unit.read_text()
    (root / "etc/tmpfiles.d/banken.conf").unlink()
    unit.unlink()
    if what == "foreign":
        unit.write_text("[Service]\nExecStart=/bin/true\n")
    elif what == "changed":
        unit.write_text(text.replace("30s", "31s"))
    elif what == "link":
        unit.symlink_to("/dev/null")  # as `systemctl mask` makes it
    elif what == "fifo":
        os.mkfifo(unit)
    elif what == "directory":
        unit.mkdir()
    else:
        unit.write_bytes(b"\xff\xfe\0")
    before = None if what in ("fifo", "directory") else unit.read_bytes()
    done = install(tmp_path, "--system", "--root", str(root))
    assert done.returncode == 1
    assert str(unit) in done.stderr
    assert "nothing was written" in done.stderr
    assert before is None or unit.read_bytes() == before
    assert not (root / "etc/tmpfiles.d/banken.conf").exists()


def test_an_older_one_of_its_own_is_replaced(tmp_path: Path) -> None:
    root = tmp_path / "r"
    old = system_files(root, 252, ["/opt/old/bin/banken"])[0]
    old.path.parent.mkdir(parents=True)
    old.path.write_text(old.text)
    assert is_ours(old.text)
    assert install(tmp_path, "--system", "--root", str(root)).returncode == 0
    assert "/opt/old" not in old.path.read_text()
    assert is_ours(old.path.read_text())


def test_bad_arguments(tmp_path: Path) -> None:
    assert install(tmp_path).returncode == 2
    assert install(tmp_path, "--user", "--root", str(tmp_path)).returncode == 2
    assert install(tmp_path, "--user", "--system", "--print").returncode == 2
    if os.geteuid() == 0:
        for options in ([], ["--print"]):
            refused = install(tmp_path, "--user", *options)
            assert (refused.returncode, refused.stdout) == (1, "")
            assert "--system" in refused.stderr
    assert not written(tmp_path)


def test_a_user_is_told_where_the_unit_will_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not where a supervisor of this shell would, which may have no runtime directory, no name, another user's
    name, or another supervisor's address."""
    name = pwd.getpwuid(os.geteuid()).pw_name
    for variable in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "USER"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("BANKEN_ADDRESS", str(tmp_path / "other"))
    _say_next(True, 252)
    monkeypatch.setenv("USER", "somebody-else")
    _say_next(True, 252)
    told = capsys.readouterr().out
    where = (
        f"Its address is /run/user/{os.geteuid()}/banken, its journal {tmp_path}/.local/state/banken/journal.db.\n"
    )
    assert told.count(where) == 2
    assert told.count(f"loginctl enable-linger {name} ") == 2


def test_the_command_of_the_unit_runs_a_supervisor_that_is_ready(tmp_path: Path) -> None:
    """As systemd starts it: at the address of a login, with the first config, and fed."""
    files = user_files({"XDG_CONFIG_HOME": str(tmp_path / "c")}, 252, [sys.executable, "-m", "banken_supervisor"])
    for each in files:
        each.path.parent.mkdir(parents=True, exist_ok=True)
        each.path.write_text(each.text)
    start = next(line for line in files[0].text.splitlines() if line.startswith("ExecStart=")).partition("=")[2]
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path / "r")}
    with Manager(str(tmp_path / "m"), 1.0) as manager:
        command = [*manager.under, *shlex.split(start)]
        with subprocess.Popen(command, env=environment, cwd="/", stdout=subprocess.DEVNULL) as process:
            try:
                manager.until("READY")
                manager.until("WATCHDOG")
                assert (tmp_path / "r/banken/control").is_socket()
                process.terminate()
                manager.until("STOPPING")
                assert process.wait(20) == 0
            finally:
                process.kill()
    until(lambda: manager.heard, "it was heard")
