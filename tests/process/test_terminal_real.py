"""The terminal's commands as people use them: a real supervisor, a real terminal, keys and signals."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from banken_supervisor import cli
from banken_supervisor.journal import reading
from process.kit import START_S, Home, until
from process.ladder_kit import Command
from process.tty_kit import ENTER_SCREEN, HIDE_CURSOR, LEAVE_SCREEN, SHOW_CURSOR, Tty

pytestmark = pytest.mark.process


Banken = Callable[..., str]


@pytest.fixture
def banken(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Banken:
    """Runs one command at the address, in this process (the start of another takes longer than all the rest); gives
    its stdout, and its stderr where there was nothing on stdout."""

    def run(*args: object, code: int = 0, **environment: str) -> str:
        with monkeypatch.context() as changed:
            for name, value in {"BANKEN_ADDRESS": home.address, **environment}.items():
                changed.setenv(name, value)
            changed.setattr(sys, "argv", ["banken", *map(str, args)])
            with pytest.raises(SystemExit) as ended:
                cli.main()
        out, err = capsys.readouterr()
        assert ended.value.code == code, f"{args} gave {ended.value.code}: {out}{err}"
        return out or err

    return run


def running(home: Home) -> Command:
    """``banken run`` there, answering."""
    one = Command("run", "--address", home.address)
    home._closing.append(one)
    until(lambda: home._answers(one), "the supervisor answers", START_S)
    return one


def tty(home: Home, *args: object, **options: Any) -> Tty:
    """A command in a terminal of its own."""
    one = Tty(*args, "--address", home.address, **options)
    home._closing.append(one)
    return one


def restored(terminal: Tty) -> bool:
    """Whether the terminal is as it was before: settings, screen and cursor."""
    out = terminal.output
    return (
        terminal.mode() == terminal.first_mode
        and out.rfind(LEAVE_SCREEN) > out.rfind(ENTER_SCREEN) >= 0
        and out.rfind(SHOW_CURSOR) > out.rfind(HIDE_CURSOR) >= 0
    )


def test_status_watch_survives_a_restart_and_ends_by_ctrl_c(home: Home) -> None:
    """--watch says that nobody answers, shows the successor, and gives the terminal back."""
    supervisor = running(home)
    home.client().watchdog("worker-1", timeout=300).feed()
    watch = tty(home, "status", "--watch=1", lines=12, NO_COLOR="1")
    watch.sees("worker-1")
    supervisor.signal(signal.SIGKILL)
    supervisor.process.wait(10)
    watch.sees("no supervisor answers")
    new = running(home)
    watch.sees(f"pid {new.pid}")
    watch.type("\x03")
    assert watch.ended() == 0
    assert restored(watch)
    assert b"\x1b[31m" not in watch.output
    assert b"\x1b[1;31m" not in watch.output


def test_what_needs_a_terminal_says_so(home: Home, banken: Banken) -> None:
    """In a pipe there is an error that names what to use, and no escape."""
    assert "top needs a terminal" in banken("top", code=1)
    assert "banken status --json" in banken("status", "--watch", code=1)
    assert "--watch" in banken("status", "--watch", "--json", code=2)


def test_check_speaks_nagios(home: Home, banken: Banken) -> None:
    """One line and the exit code, for each state of things."""
    said = banken("check", code=3)
    assert said.startswith("BANKEN UNKNOWN - no supervisor answers")
    assert said.count("\n") == 1
    assert banken("check", "--bogus", code=3).startswith("BANKEN UNKNOWN - wrong arguments")
    running(home)
    client = home.client()
    for name in ("a", "b", "c"):
        client.watchdog(name, timeout=300).feed()
    until(lambda: [row["state"] for row in home.rows("*").values()] == ["alive"] * 3, "they are fed")
    # A busy machine may let the supervisor stall, which is a warning for ten minutes, or as long as --since says.
    now = ("--since", "1ms")
    assert banken("check", *now).startswith("BANKEN OK - 3 alive | down=0;;0;0 alive=3;;;0 ")
    banken("pause", "c")
    client.fail("a", "disk | full\nat once")
    until(lambda: home.row("a")["state"] == "expired", "it has failed")
    said = banken("check", code=2)
    assert said.startswith("BANKEN CRITICAL - 1 expired, 1 alive, 1 paused: a expired (failed ")
    assert said.count("|") == 1
    assert said.count("\n") == 1
    assert banken("check", "-w", 0, "-c", 1, code=1).startswith("BANKEN WARNING")
    assert banken("check", "b", "c", *now).startswith("BANKEN OK - 1 alive, 1 paused")
    assert banken("check", "nix", code=3).startswith("BANKEN UNKNOWN - no watchdog is called 'nix'")
    client.feed("a")
    until(lambda: home.row("a")["state"] == "alive", "it is well again")
    assert banken("check", *now).startswith("BANKEN OK")
    path = str(Path(home.address) / "journal.db")
    until(lambda: any(each.closed for each in reading.incidents(path)), "that is on disk")
    assert "well again: a" in banken("check", "--since", "1h", code=1)


def test_the_journal_is_read_like_a_log_and_told_as_a_history(home: Home, banken: Banken) -> None:
    """The past, with the supervisor and without: events -n, -f, incidents, history, the journal's own tools."""
    supervisor = running(home)
    client = home.client()
    client.watchdog("worker-1", timeout=300)
    until(lambda: client.feed("worker-1") or client.stats()["reachable"], "it is connected")
    client.feed("worker-1")
    for reason in ("one", "two", "three"):
        client.fail("worker-1", reason)
        until(lambda: home.row("worker-1").get("state") == "expired", "it has failed")
        client.feed("worker-1")
        until(lambda: home.row("worker-1")["state"] == "alive", "it is well again")
    path = str(Path(home.address) / "journal.db")
    until(lambda: sum(each.closed is not None for each in reading.incidents(path)) == 3, "that is on disk")
    own = ("--name", "worker-1", "--json")  # a busy machine may stall the supervisor, which is an event
    follow = Command("events", "-f", "-n", 2, *own, "--count", 3, "--address", home.address)
    home._closing.append(follow)
    seen = [follow.hear(), follow.hear()]
    assert [each["type"] for each in seen] == ["expired", "recovered"]
    until(lambda: "following" in follow.log(), "it follows")
    client.fail("worker-1", "four")
    now = follow.hear()
    assert (now["type"], now["reason"]) == ("expired", "four")
    assert now["seq"] > seen[-1]["seq"]
    assert follow.ended(START_S)[0] == 0

    told = json.loads(banken("history", "worker-1", "--json"))
    assert told["now"]["state"] == "expired"
    assert told["causes"] == {"failed": 4}
    assert told["failures"] == 4
    assert 0 < told["uptime"] < 1
    assert told["gaps"]
    supervisor.signal(signal.SIGKILL)
    supervisor.process.wait(10)
    assert "no supervisor answers" in banken("history", "worker-1")
    assert "nothing is known" in banken("history", "nix", code=1)
    assert len(json.loads(banken("incidents", "worker-*", "--since", "1h", "--json"))) == 4
    assert len(json.loads(banken("incidents", "--open", "--name", "worker-1", "--json"))) == 1
    assert json.loads(banken("events", "-n", 1, *own))["type"] == "expired"

    assert banken("journal", "check").endswith("journal.db: sound\n")
    rows = [json.loads(each) for each in banken("journal", "export").splitlines()]
    assert sum(row["table"] == "incidents" for row in rows) == 4
    assert "before" in banken("journal", "vacuum")
    journal = Path(home.address, "journal.db")
    journal.write_bytes(journal.read_bytes()[:5000])
    assert "problem" in banken("journal", "check", code=1)


def test_the_shell_completes_names_and_is_silent_without_a_supervisor(home: Home, banken: Banken) -> None:
    """What bash asks after Tab; it must not be kept waiting, and no error may land in its line."""
    asked = {"_BANKEN_COMPLETE": "bash_complete", "COMP_WORDS": "banken pause wor", "COMP_CWORD": "2"}
    began = time.monotonic()
    assert banken(**asked).strip() == ""
    assert time.monotonic() - began < START_S / 2
    running(home)
    home.client().watchdog("worker-1", timeout=300).feed()
    until(lambda: home.row("worker-1"), "it is watched")
    assert banken(**asked) == "plain,worker-1\n"
    for shell in ("bash", "zsh", "fish"):
        assert "_BANKEN_COMPLETE" in banken("completion", shell)
