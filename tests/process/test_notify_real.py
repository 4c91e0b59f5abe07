"""Daemons that speak as to systemd are watched without a line of ours: what each field does to a real program."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from process.kit import START_S, process_state, until
from process.notify_kit import notifier, notifiers

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not hasattr(socket, "SO_PASSCRED"), reason="sd_notify needs Linux"),
]


def test_feeds() -> None:
    """READY ends the grace, WATCHDOG=1 feeds, silence is noticed in time, STATUS is shown and in the incident."""
    with notifiers(notifier("db", timeout="1s", grace="30s")) as daemons:
        given = daemons.environment("db")
        assert given["NOTIFY_SOCKET"] == os.path.join(daemons.run.address, "notify", "db")
        assert (given["WATCHDOG_USEC"], given["WATCHDOG_PID"]) == ("1000000", str(given["pid"]))
        daemons.order("db", "STATUS=Lädt 3 von 7")
        daemons.until("db", "STATUS before READY is shown", state="waiting", status="Lädt 3 von 7")
        daemons.order("db", "READY=1\nSTATUS=serves")
        daemons.until("db", "READY is the first feed", state="alive", status="serves")
        until_s = time.monotonic() + 2.5
        while time.monotonic() < until_s:
            daemons.order("db", "WATCHDOG=1")
            assert daemons.row("db")["state"] == "alive"
            time.sleep(0.3)
        daemons.until("db", "its silence is noticed", state="expired")
        daemons.order("db", "WATCHDOG=1")
        daemons.until("db", "a feed ends the incident", state="alive")
        assert "last status 'serves'" in daemons.told("db expired (timeout)")[0]


def test_what_it_says_of_its_time() -> None:
    """WATCHDOG_USEC is the worker's timeout, or a conflict with the operator's; EXTEND_TIMEOUT_USEC gives time
    once; WATCHDOG=trigger is a failure at once, for the reason that STATUS gave."""
    config = notifier("own") + notifier("set", timeout="1s")
    with notifiers(config) as daemons:
        assert "WATCHDOG_USEC" not in daemons.environment("own")
        daemons.order("own", "READY=1")
        daemons.until("own", "one that need not feed is up", state="alive", by="nobody")
        daemons.order("own", "WATCHDOG_USEC=800000")
        daemons.until("own", "the timeout is the worker's", timeout=0.8, by="worker")
        daemons.until("own", "its silence is noticed", state="expired")
        daemons.order("own", "WATCHDOG_USEC=18446744073709551615")
        assert daemons.until("own", "it has no timeout any more", state="alive")["timeout"] > 1e8
        daemons.order("set", "READY=1\nWATCHDOG_USEC=5000000\nEXTEND_TIMEOUT_USEC=1000")
        daemons.told("the operator's declaration is used")
        daemons.order("set", "EXTEND_TIMEOUT_USEC=20000000")
        until(lambda: daemons.row("set")["left"] > 10, "it has more time, once")
        assert daemons.row("set")["timeout"] == 1.0, "the operator's timeout stands"
        daemons.order("set", "EXTEND_TIMEOUT_USEC=1000")  # never earlier than it was
        daemons.order("set", "STATUS=all workers are stuck\nWATCHDOG=trigger")
        row = daemons.until("set", "it has failed", state="expired")
        assert (row["incident"]["cause"], row["incident"]["reason"]) == ("failed", "all workers are stuck")


def test_who_may_speak() -> None:
    """A child feeds for its parent only where the operator allows that; READY and STATUS count from all."""
    config = notifier("main", timeout="30s") + notifier("all", timeout="30s", notify_access="all")
    with notifiers(config) as daemons:
        for name in ("main", "all"):
            daemons.order(name, {"child": "WATCHDOG=1"})
        daemons.until("all", "a child feeds", state="alive")
        for _ in range(3):
            daemons.order("main", {"child": "WATCHDOG=1\nSTATUS=from a child"})
        daemons.until("main", "STATUS counts, WATCHDOG does not", state="waiting", status="from a child")
        told = daemons.told('notify_access = "all"')
        assert len(told) == 1
        assert f"main process is pid {daemons.environment('main')['pid']}:" in told[0]
        daemons.order("main", {"child": "READY=1"})
        daemons.until("main", "READY counts", state="alive")


@pytest.mark.skipif(shutil.which("systemd-notify") is None, reason="systemd-notify is not installed")
def test_outsiders() -> None:
    """A watchdog that is no program has a socket of its name; systemd-notify's barrier is answered at once."""
    config = '[[watchdog]]\nname = "outside"\nnotify = true\ntimeout = "20s"\n'
    with notifiers(config) as daemons:
        path = daemons.row("outside")["notify"]
        assert path == os.path.join(daemons.run.address, "notify", "outside")
        began = time.monotonic()
        subprocess.run(
            ["systemd-notify", "--ready", "--status=by hand"],
            env={**os.environ, "NOTIFY_SOCKET": path}, check=True, timeout=20,
        )  # fmt: skip
        assert time.monotonic() - began < 4  # it waits for its barrier for five seconds
        daemons.until("outside", "it is fed", state="alive", status="by hand")


OUTSIDER = """
import os, socket, sys
for line in sys.stdin:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(line.strip().replace("|", "\\n").replace("@", "%d" % os.getpid()).encode(), sys.argv[1])
"""


class Outsider:
    """A process that is no program of the supervisor's, and says what it is told."""

    def __init__(self, path: str) -> None:
        command = [sys.executable, "-S", "-c", OUTSIDER, path]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
        assert self.process.stdin is not None
        self._input = self.process.stdin

    def say(self, text: str) -> None:
        """``|``: the next line. ``@``: its own pid."""
        self._input.write(text + "\n")
        self._input.flush()

    def end(self) -> None:
        """With 0. It stays a zombie: of that every kernel tells how it ended."""
        self._input.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._input.close()  # not before: at the end of its input it ends with 0


def test_a_main_process_that_has_ended() -> None:
    """What MAINPID named lasts as long as that process: the next one is heard, and its end judged. Its MAINPID
    counts before what the same datagram says else."""
    config = '[[watchdog]]\nname = "e"\nnotify = true\ntimeout = "20s"\n'
    started = []
    with notifiers(config) as daemons:
        path = daemons.row("e")["notify"]

        def new() -> Outsider:
            started.append(Outsider(path))
            return started[-1]

        try:
            first = new()
            first.say("READY=1|MAINPID=@|WATCHDOG=1")
            daemons.until("e", "the first one feeds", state="alive")
            first.end()
            until(lambda: "e" not in daemons.run.watchdogs(), "its end releases the name")
            second = new()
            second.say("WATCHDOG=1")
            daemons.until("e", "one that does not name itself feeds", state="alive")
            second.say("READY=1|MAINPID=@|WATCHDOG=1")
            daemons.until("e", "it is the main one", pid=second.process.pid)
            third = new()
            third.say("WATCHDOG=1")
            refused = f"pid {third.process.pid} feeds 'e', whose main process is pid {second.process.pid}: "
            until(lambda: daemons.logged(refused), "while the main process lives no other one feeds")
            third.say("MAINPID=@|WATCHDOG=trigger|STATUS=the third speaks")
            incident = daemons.until("e", "one that is main from now on says all", state="expired")["incident"]
            assert incident["reason"] == "the third speaks"
            third.say("WATCHDOG=1")
            daemons.until("e", "it is fed again", state="alive")
            for each in (second, third):  # in this order: else the name would be handed back to the second
                each.kill()
            incident = daemons.until("e", "its end is noticed", state="expired")["incident"]
            assert incident["cause"] == "exited"
            assert len(daemons.told("refused (notify-access)")) == 1
        finally:
            for each in started:
                each.kill()


def test_who_names_itself_is_looked_at_in_its_incident() -> None:
    """Under the next supervisor, too. One whom another process names is not."""
    config = "".join(
        f'[[watchdog]]\nname = "{name}"\nnotify = true\ntimeout = "{timeout}"\nladder = [{{ do = "dump" }}]\n'
        for name, timeout in (("own", "1s"), ("other", "1s"), ("later", "6s"))
    )
    with notifiers(config) as daemons:
        names = "own", "other", "later", "other"
        own, other, later, sender = (Outsider(daemons.row(name)["notify"]) for name in names)
        try:
            for each in (own, later):
                each.say("READY=1|MAINPID=@|WATCHDOG=1")
            sender.say(f"READY=1|MAINPID={other.process.pid}|WATCHDOG=1")
            assert "the main thread in" in daemons.told("own 'dump' done")[0]
            assert "is not looked at: a message named it" in daemons.told("other 'dump' done")[0]
            assert not daemons.logged("later expired")
            daemons.run.stop()
            daemons.run.run()
            assert "the main thread in" in daemons.told("later 'dump' done")[0]
        finally:
            for each in (own, other, later, sender):
                each.kill()


def test_a_main_process_is_known_over_a_restart() -> None:
    """What MAINPID named is watched, and is the main process, under the next supervisor, too; a pause of its goes
    on."""
    config = "".join(f'[[watchdog]]\nname = "{name}"\nnotify = true\ntimeout = "20s"\n' for name in ("e", "p"))
    with notifiers(config) as daemons:
        first, second = (Outsider(daemons.row(name)["notify"]) for name in ("e", "p"))
        child = Outsider(daemons.row("e")["notify"])
        try:
            for name, each in (("e", first), ("p", second)):
                each.say("READY=1|MAINPID=@|WATCHDOG=1")
                daemons.until(name, "it is fed", state="alive", pid=each.process.pid)
            pause = ["pause", "p", "1h", "--address", daemons.run.address]
            subprocess.run([sys.executable, "-m", "banken_supervisor", *pause], check=True, timeout=START_S)
            daemons.until("p", "it is paused", state="paused")
            daemons.run.stop()
            daemons.run.run()
            daemons.until("p", "its pause goes on", state="paused", pid=second.process.pid)
            daemons.until("e", "it is judged from the start", state="alive", pid=first.process.pid)
            child.say("WATCHDOG=1")
            daemons.told(f"pid {child.process.pid} feeds 'e', whose main process is pid {first.process.pid}: ")
            first.say("WATCHDOG=trigger|STATUS=it speaks")
            incident = daemons.until("e", "the main process says all", state="expired")["incident"]
            assert incident["reason"] == "it speaks"
            first.say("WATCHDOG=1")
            daemons.until("e", "it is fed again", state="alive", pid=first.process.pid)
            first.kill()
            incident = daemons.until("e", "its end is noticed", state="expired")["incident"]
            assert incident["cause"] == "exited"
        finally:
            for each in (first, second, child):
                each.kill()


def test_a_socket_that_cannot_be_bound_again_at_once() -> None:
    """While something else is in the place of the sockets' directory that is told, once; then the daemon is heard
    again."""
    config = '[[watchdog]]\nname = "e"\nnotify = true\ntimeout = "20s"\n'
    with notifiers(config) as daemons:
        path = Path(daemons.row("e")["notify"])
        supervisor = daemons.run.home.ask("ping")["pid"]
        os.kill(supervisor, signal.SIGSTOP)  # it makes nothing meanwhile
        try:
            until(lambda: process_state(supervisor) == "T", "it stands still")
            shutil.rmtree(path.parent)
            path.parent.touch()
        finally:
            os.kill(supervisor, signal.SIGCONT)
        daemons.told("notify/e: ")
        path.parent.unlink()
        daemons.told("are bound again: notify/e")
        daemon = Outsider(str(path))
        try:
            daemon.say("WATCHDOG=1")
            daemons.until("e", "it is heard", state="alive")
            assert len(daemons.logged("cannot be bound now, which is tried again: notify/e: ")) == 1
        finally:
            daemon.kill()
