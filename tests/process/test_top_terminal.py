"""``banken top`` in a real terminal, with keys, signals and another size."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from typing import Any

import pytest

from process.kit import START_S, Home, process_state, until
from process.tmux_kit import TMUX, Tmux
from process.top_kit import failed, fed, running
from process.tty_kit import ENTER_SCREEN, HIDE_CURSOR, LEAVE_SCREEN, SHOW_CURSOR, Tty

pytestmark = pytest.mark.process

needs_tmux = pytest.mark.skipif(TMUX is None, reason="tmux is missing: nothing here is seen in a real terminal")

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")


@pytest.fixture
def worker(home: Home) -> Home:
    """A supervisor that watches thirty, of whom one has failed."""
    running(home)
    client = fed(home, *(f"worker-{number}" for number in range(30)))
    failed(home, client, "worker-2", "disk full")
    return home


def window(home: Home, *args: object, **options: Any) -> Tmux:
    """``banken top`` in a window of tmux."""
    one = Tmux("top", *args, "--address", home.address, **options)
    home._closing.append(one)
    return one


def tty(home: Home, **options: Any) -> Tty:
    """``banken top`` in a bare terminal, whose output is kept as it came."""
    one = Tty("top", "--address", home.address, **options)
    home._closing.append(one)
    return one


def reads(terminal: Tty) -> bytes:
    """All that was written so far."""
    terminal._read(0.05)
    return terminal.output


def saw(terminal: Tty, text: bytes) -> None:
    """Wait until this was written."""
    until(lambda: text in reads(terminal), str(text), START_S)


def restored(terminal: Tty) -> bool:
    """Whether the terminal is as it was before: settings, screen and cursor."""
    out = terminal.output
    return (
        terminal.mode() == terminal.first_mode
        and out.rfind(LEAVE_SCREEN) > out.rfind(ENTER_SCREEN) >= 0
        and out.rfind(SHOW_CURSOR) > out.rfind(HIDE_CURSOR) >= 0
    )


@needs_tmux
def test_keys_in_a_real_terminal(worker: Home) -> None:
    """See who is down, look at the incident, find one, pause it, and go."""
    top = window(worker, columns=80, lines=24)
    shown = top.sees("30 watchdogs: 1 expired, 29 alive", "failed: disk full")
    assert shown.splitlines()[4].split()[:3] == ["!", "expired", "worker-2"]
    assert shown.splitlines()[3].split() == ["STATE▼", "NAME", "LEFT", "SILENT", "REMARK"]
    top.press("Enter")
    top.sees("Open incident", "disk full", "Back")
    top.press("Escape")
    top.sees("1 Watchdogs 30")
    top.press("End")
    top.sees("worker-9")
    top.type("/er-7")
    top.until(lambda text: text.count("alive ") == 1 and "worker-7" in text, "the one that fits")
    top.press("Enter")
    top.type("p")
    top.sees("pause worker-7? y/n")
    top.type("y")
    top.sees("1 paused", "‖ paused")
    assert worker.row("worker-7")["state"] == "paused"
    top.type("3")
    top.sees("! open", "disk full")
    top.type("q")
    top.sees("exit code 0")


@needs_tmux
def test_a_restart_and_another_size(home: Home) -> None:
    """The supervisor may go and come, the window change, whatever size a shell exports."""
    supervisor = running(home)
    fed(home, "worker-1")
    top = window(home, columns=200, lines=50, COLUMNS="80", LINES="24")
    shown = top.sees("worker-1", "PID")
    assert "Quit" in shown.splitlines()[-1]
    top.resize(40, 8)
    top.until(lambda text: "PID" not in text and "worker-1" in text, "less")
    top.resize(120, 12)
    top.sees("INC", "REMARK")
    supervisor.signal(signal.SIGKILL)
    supervisor.process.wait(10)
    assert "worker-1" in top.sees("no supervisor answers at", "last answer at")  # what was known stays to be read
    new = running(home)
    top.sees(f"pid {new.pid}")
    top.press("C-c")
    top.sees("exit code 0")


@needs_tmux
def test_without_colours_all_is_said_in_words(worker: Home) -> None:
    """NO_COLOR: no colour is written; states are words, the selected row is reversed. Else there are some."""
    for told, some in (("1", False), ("", True)):
        top = window(worker, **({"NO_COLOR": told} if told else {}))
        top.sees("! expired", "● alive", "failed: disk full")
        shown = top.shown(escapes=True)
        assert bool(COLOUR.search(shown)) is some
        assert re.search(r"\x1b\[(?:\d+;)*7m[^\x1b]*", shown), "the selected row cannot be told"
        top.type("q")
        top.sees("exit code 0")


def test_what_is_no_terminal_is_told_what_to_use(home: Home) -> None:
    """On a terminal that cannot be drawn on, and where the errors go elsewhere: one line, and no escape."""
    for told in ({"TERM": "dumb"}, {"PYTHONIOENCODING": "ascii"}):
        one = tty(home, **told)
        assert one.ended() == 1
        assert b"banken status --json" in one.output
        assert ENTER_SCREEN not in one.output


def test_errors_that_go_elsewhere_are_not_drawn_on(address: str) -> None:
    """The view is drawn on stderr: with `2> file` nothing may be written there but the reason."""
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "banken_supervisor", "top", "--address", address],
        stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, timeout=START_S, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    for end in (ours, theirs):
        os.close(end)
    assert done.returncode == 1
    assert b"stderr is none" in done.stderr
    assert b"\x1b" not in done.stderr


def test_sigterm_and_a_closed_window_end_it(home: Home) -> None:
    """The terminal is given back; nobody who has gone is waited for."""
    running(home)
    top = tty(home)
    saw(top, b"no watchdogs yet")
    top.signal(signal.SIGTERM)
    assert top.ended() == 128 + signal.SIGTERM
    assert restored(top)
    top = tty(home)
    saw(top, b"no watchdogs yet")
    top.hang_up()
    assert top.ended() == 128 + signal.SIGHUP


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(home: Home) -> None:
    """While it is stopped the terminal is the shell's."""
    running(home)
    top = tty(home)
    saw(top, b"no watchdogs yet")
    top.type("\x1a")
    until(lambda: reads(top).count(LEAVE_SCREEN) == 1, "it has left", START_S)
    until(lambda: process_state(top.pid) == "T", "it is stopped, as a shell waits for", START_S)
    top.signal(signal.SIGCONT)
    until(lambda: reads(top).count(ENTER_SCREEN) == 2, "it is back", START_S)
    top.type("q")
    assert top.ended() == 0
    assert restored(top)
