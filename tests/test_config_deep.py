"""``check`` looks at the world too: commands, directories, users, modules; and survives what it finds there."""

from __future__ import annotations

import getpass
import importlib.util
import os
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import pytest

from banken_supervisor import config
from banken_supervisor.config import importing
from banken_supervisor.config.importing import Wanted
from banken_supervisor.processes import callback_runner

pytestmark = pytest.mark.process

PROGRAM = '[[program]]\nname = "p"\ncommand = ["sleep", "1"]\n'


def faults(directory: Path, text: str) -> list[str]:
    """Each fault of the text as ``line: key: text``; ``load`` finds none of them."""
    file = directory / "banken.toml"
    file.write_text(text)
    config.load(file)
    return [str(fault).removeprefix(f"{file}:") for fault in config.examine(file)[1]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            PROGRAM.replace("sleep", "no-such-command"),
            '3: program[0].command: no command "no-such-command" is found',
        ),
        (PROGRAM.replace("sleep", "./none"), 'there is no file "'),
        (
            PROGRAM + 'check = { exec = ["no-such-plugin", "-w", "5"] }',
            '4: program[0].check.exec: no command "no-such-plugin" is found',
        ),
        (
            PROGRAM + 'check = [{ exec = ["true"] }, { exec = ["true"], cwd = "/none" }]',
            '4: program[0].check[1].cwd: there is no directory "/none"',
        ),
        (
            PROGRAM + 'ready = { exec = ["/etc/passwd"] }',
            '4: program[0].ready.exec: "/etc/passwd" cannot be executed',
        ),
        (PROGRAM.replace("sleep", "/"), '"/" cannot be executed'),
        (PROGRAM.replace("sleep", "/etc/passwd"), '"/etc/passwd" cannot be executed'),
        (PROGRAM + 'env = { PATH = "/none" }', 'no command "sleep" is found on the PATH'),
        (PROGRAM + 'env_file = "none"', '/none" cannot be read: No such file or directory'),
        (PROGRAM + 'env_file = "banken.toml"', '4: program[0].env_file: "'),
        (
            PROGRAM + "rlimits = { nofile = 1099511627776 }",
            "4: program[0].rlimits: its limit nofile of 1099511627776",
        ),
        (PROGRAM + 'cwd = "none"', "4: program[0].cwd: there is no directory"),
        (PROGRAM + 'user = "no-such-user"', '4: program[0].user: there is no user "no-such-user" on this host'),
        (PROGRAM + 'log = "none/p.log"', "4: program[0].log: there is no directory"),
        (PROGRAM + 'log = "/"', '"/" is a directory; a file is needed'),
        (PROGRAM + 'log = "/proc/p.log"', "cannot be written to"),
        (
            '[supervisor]\njournal = "banken.toml"',
            '/banken.toml" is no journal; name a file that does not exist yet',
        ),
        ('[supervisor]\njournal = "none/j.db"', "2: supervisor.journal: there is no directory"),
        (
            PROGRAM + 'ladder = [\n{ do = "log" },\n{ do = "exec", command = "no-such-command" }]',
            '6: program[0].ladder[1].command: no command "no-such-command"',
        ),
        (
            PROGRAM + 'on_give_up = { do = "exec", command = "no-such-command" }',
            '4: program[0].on_give_up.command: no command "no-such-command"',
        ),
        (
            PROGRAM + '[[group]]\nname = "g"\nmembers = ["p"]\nat_least = 1\n'
            'ladder = [{ do = "exec", command = "no-such-command" }]',
            '8: group[0].ladder[0].command: no command "no-such-command"',
        ),
    ],
)
def test_what_is_missing_is_found(tmp_path: Path, text: str, told: str) -> None:
    """One fault, at its line; ``load`` does not look at the world."""
    if "/proc/p.log" in text and os.access("/proc", os.W_OK):
        text, told = text.replace("/proc/p.log", "none/p.log"), "there is no directory"  # root may write anywhere
    found = faults(tmp_path, text)
    assert len(found) == 1, found
    assert told in found[0]


def test_what_is_there_is_found(tmp_path: Path) -> None:
    """A script beside the file, the user that we are, a log that is there and one that is not."""
    script = tmp_path / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    (tmp_path / "old.log").touch()
    text = f'cwd = "."\nuser = "{getpass.getuser()}"\nlog = "{{}}.log"'
    first = PROGRAM.replace("sleep", "./run.sh") + text.format("old")
    second = PROGRAM.replace('"p"', '"q"').replace("sleep", str(script)) + text.format("new")
    assert faults(tmp_path, f"{first}\n{second}") == []
    assert not (tmp_path / "new.log").exists()


@pytest.mark.parametrize(
    ("made", "given", "told"),
    [
        ("", "tcp://127.0.0.1:7767", "must be a directory; who feeds over tcp is heard by `listen`"),
        ("", "banken.toml", '/banken.toml" is not a directory; the address of a supervisor is one'),
        ("", "banken.toml/run", 'banken.toml" is not a directory'),
        ("", "banken.toml/a/run", 'banken.toml" is not a directory'),
        ("", "/proc/none/run", 'cannot be made: "/proc'),
        ("run 755", "run", '/run" is open to others (mode 0755); make it 0700, or name one that does not exist'),
        ("", "/proc", 'the directory "/proc" '),
        ("run 700", "run", ""),
        ("run 700", "run/a/b", ""),
        ("", "none/run", ""),
    ],
)
def test_an_address_that_no_supervisor_could_have_is_found(
    tmp_path: Path, made: str, given: str, told: str
) -> None:
    """Before it is tried; one that would be made is none."""
    if made:
        name, mode = made.split()
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(int(mode, 8))
    if given == "/proc/none/run" and os.access("/proc", os.W_OK):
        told = ""  # modes say nothing to root
    found = faults(tmp_path, f'[supervisor]\naddress = "{given}"')
    assert len(found) == bool(told), found
    assert not found or (told in found[0] and found[0].startswith("2: supervisor.address: ")), found


def test_what_the_programs_user_may_not_do_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """To enter the directory, and to execute the command: by its path and by PATH; the first thing in the way."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)  # only root can start it at all, and root may all
    with tempfile.TemporaryDirectory(prefix="bk-") as place:
        base = Path(place)
        base.chmod(0o755)
        for name, mode in (
            ("open", 0o755),
            ("shut", 0o700),
            ("open/run", 0o755),
            ("open/own", 0o700),
            ("shut/run", 0o755),
        ):
            if "/" in name:
                (base / name).write_text("#!/bin/sh\n")
            else:
                (base / name).mkdir()
            (base / name).chmod(mode)
        (base / "link").symlink_to("shut")

        def told(more: str, command: str = "sleep") -> list[str]:
            found = faults(base, PROGRAM.replace("sleep", command) + f'user = "nobody"\n{more}')
            return [each.replace(str(base), "…") for each in found]

        assert (
            told('cwd = "open"') == told("", f"{base}/open/run") == told('env = { PATH = "/bin:/usr/bin" }') == []
        )
        for each in ("shut", "link"):
            assert told(f'cwd = "{each}"')[0].startswith('5: program[0].cwd: user "nobody" may not enter "…/')
        denied = '3: program[0].command: user "nobody" may not execute "…/'
        assert told("", f"{base}/open/own") == [f'{denied}open/own"']
        assert told("", f"{base}/shut/run") == [f'{denied}shut/run": it may not enter "…/shut"']
        assert told(f'env = {{ PATH = "{base}/shut" }}', "run") == [f'{denied}shut/run": it may not enter "…/shut"']
        assert told(f'env = {{ PATH = "{base}/shut:{base}/open" }}', "run") == []


@pytest.mark.root
def test_somebody_else_is_told_what_only_root_may() -> None:
    """A process that is not root: whom it may not start programs as, and what it may not read."""
    with tempfile.TemporaryDirectory(prefix="bk-") as directory:
        os.chmod(directory, 0o755)
        told = []
        for mode in (0o644, 0o600):
            file = Path(directory) / "banken.toml"
            file.write_text(PROGRAM + 'user = "root"\ncheck = { exec = ["true"], user = "root" }')
            file.chmod(mode)
            assert config.examine(file)[1] == []  # root may; and now all is loaded that the other user may not read
            told.append(_as_nobody(file).replace(f"{file}:", ""))
    assert told == [
        '4: program[0].user: only root may start a program as "root"\n'
        '5: program[0].check.user: only root may run a command as "root"',
        " cannot be read: Permission denied",
    ]


def _as_nobody(file: Path) -> str:
    """What ``check`` tells a process of another user."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.seteuid(65534)
            os.write(writer, "\n".join(map(str, config.examine(file)[1])).encode())
        except BaseException:
            os.write(writer, traceback.format_exc().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as answer:
        told = answer.read()
    os.waitpid(pid, 0)
    return told


MODULES = {
    "good": "def ring(incident): ...\ndef quiet(): ...\n"
    "from banken_supervisor.actions import Action\n"
    "class Page(Action):\n    name = 'page'\n    def run(self, subject, world, ended): ...\n"
    "class A:\n    b = ring\n",
    "wide": "def two(a, b): ...\nnumber = 3\nclass NoRun: ...\n",
    "raising": "raise RuntimeError('no\\ndatabase \\x1b[31m')\n",
    "leaving": "import os\nos._exit(3)\n",
    "quitting": "raise SystemExit('bye')\n",
    "hanging": "import time\ntime.sleep(60)\n",
    "talking": "import sys\nprint('x' * 100_000)\nprint('y' * 100_000, file=sys.stderr)\ndef ring(): ...\n",
    "syntax": "def\n",
    "threaded": "import threading as t, time\nt.Thread(target=time.sleep, args=(60,)).start()\ndef ring(): ...\n",
}


def modules(directory: Path) -> None:
    """Write them where the config file is."""
    for name, text in MODULES.items():
        (directory / f"bk_{name}.py").write_text(text)


def test_modules_are_tried_and_hurt_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that raises, exits, hangs, prints, or starts a thread is told of or is well; nothing is imported here."""
    monkeypatch.setattr(importing, "IMPORT_LIMIT_S", 5.0)
    modules(tmp_path)
    began, threads = time.monotonic(), set(threading.enumerate())
    found = faults(
        tmp_path,
        "[callbacks]\n"
        'a1 = "bk_good:ring"\na2 = "bk_good:quiet"\na3 = "bk_good:A.b"\na4 = "builtins:print"\n'
        'b1 = "bk_talking:ring"\nb2 = "bk_threaded:ring"\n'
        'c1 = "bk_good:none"\nc2 = "bk_wide:two"\nc3 = "bk_wide:number"\nc4 = "bk_raising:x"\nc5 = "bk_leaving:x"\n'
        'c6 = "bk_quitting:x"\nc7 = "bk_hanging:x"\nc8 = "bk_syntax:x"\nc9 = "bk_none:x"\n'
        '[actions]\nd1 = "bk_good:Page"\nd2 = "bk_good:ring"\nd3 = "bk_wide:NoRun"\n',
    )
    assert found == [
        '8: callbacks.c1: "bk_good:none" cannot be imported: AttributeError: '
        "module 'bk_good' has no attribute 'none'",
        '9: callbacks.c2: "bk_wide:two" a callback takes nothing, or one incident; this one needs a, b',
        '10: callbacks.c3: "bk_wide:number" a callback is something callable, not int',
        found[3],
        '12: callbacks.c5: "bk_leaving:x" ended the process (status 3) when imported',
        '13: callbacks.c6: "bk_quitting:x" cannot be imported: SystemExit: bye',
        '14: callbacks.c7: "bk_hanging:x" was not imported within 5 s',
        found[7],
        "16: callbacks.c9: \"bk_none:x\" cannot be imported: ModuleNotFoundError: No module named 'bk_none'",
        '19: actions.d2: "bk_good:ring" is no action: a class derived from '
        "banken_supervisor.actions.Action is needed, this is a function",
        '20: actions.d3: "bk_wide:NoRun" is no action: a class derived from '
        "banken_supervisor.actions.Action is needed, this is a type",
    ]
    assert found[3].startswith('11: callbacks.c4: "bk_raising:x" cannot be imported: RuntimeError: no database')
    assert found[7].startswith('15: callbacks.c8: "bk_syntax:x" cannot be imported: SyntaxError')
    assert time.monotonic() - began < 50
    assert not [name for name in sys.modules if name.startswith("bk_")]
    for each in set(threading.enumerate()) - threads:
        each.join(10.0)  # one that has given its result may not have ended yet
    assert set(threading.enumerate()) <= threads


def test_all_trials_together_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left when the time is over is said to be untried."""
    monkeypatch.setattr(importing, "TRIAL_LIMIT_S", 2.0)
    modules(tmp_path)
    wanted = [Wanted("bk_hanging:x", False), Wanted("bk_good:ring", False)]
    told = importing.trial(wanted, str(tmp_path))
    assert told[wanted[0]] == "was not imported within 2 s"
    assert told[wanted[1]] == "was not tried: the imports before it took too long"


def test_a_module_is_brought_in_from_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``run`` does it: an installed module of the same name wins."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "bk_beside.py").write_text("class A:\n    def b(): ...\n")
    (tmp_path / "colorsys.py").write_text("raise AssertionError('the wrong one')\n")
    assert callback_runner.found("bk_beside:A.b", str(tmp_path)).__name__ == "b"
    assert callback_runner.found("colorsys:rgb_to_hsv", str(tmp_path))(0, 0, 0) == (0, 0, 0)
    del sys.modules["bk_beside"]


def test_modules_are_tried_as_they_will_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the working directory none is found, and no file there, or beside the config, hides an installed one."""
    beside, elsewhere = tmp_path / "beside", tmp_path / "elsewhere"
    for directory in (beside, elsewhere):
        directory.mkdir()
        (directory / "bdb.py").write_text("raise AssertionError('the wrong one')\n")
    (elsewhere / "bk_elsewhere.py").write_text("def ring(): ...\n")
    for directory in (beside, elsewhere):
        monkeypatch.chdir(directory)
        assert faults(beside, '[callbacks]\nc = "bdb:set_trace"\n') == []
        assert "No module named 'bk_elsewhere'" in faults(beside, '[callbacks]\nc = "bk_elsewhere:ring"\n')[0]


@pytest.mark.notify
def test_apprise_must_take_every_url(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """It is named by its place; neither we nor apprise's own log show it."""
    found = faults(tmp_path, '[notify.n]\nurls = ["json://127.0.0.1", "nosuch://hunter2", "slack://hunter2"]')
    assert [told.partition(";")[0] for told in found] == [
        "1: notify.n: apprise does not take URL 2 of 3",
        "1: notify.n: apprise does not take URL 3 of 3",
    ]
    assert "hunter2" not in "".join(capfd.readouterr()) + caplog.text


@pytest.mark.skipif(importlib.util.find_spec("apprise") is not None, reason="apprise is installed")
def test_without_apprise_nobody_can_be_told(tmp_path: Path) -> None:
    """The fault says what to install."""
    assert faults(tmp_path, '[notify.n]\nurls = ["json://h"]') == [
        "1: notify: needs apprise: in a checkout of banken, pip install '.[notify]'"
    ]
