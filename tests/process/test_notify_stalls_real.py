"""A supervisor that stands still, and a program that floods: daemons that feed by sd_notify suffer from neither."""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import sys
import time
from contextlib import closing, suppress

import pytest

from banken.client import Client
from process.kit import until
from process.notify_kit import Notifiers, notifier, notifiers
from process.run_kit import table

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not hasattr(socket, "SO_PASSCRED"), reason="sd_notify needs Linux"),
]

STOP_S = 4.0
"""Seconds that the supervisor is stopped; tried with 10."""

FEEDS = """
import os, socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ["NOTIFY_SOCKET"])
s.send(b"READY=1")
longest = 0.0
while True:
    began = time.monotonic()
    s.send(b"WATCHDOG=1")
    longest = max(longest, time.monotonic() - began)
    with open(sys.argv[1] + ".new", "w") as file:
        file.write(str(longest))
    os.replace(sys.argv[1] + ".new", sys.argv[1])
    time.sleep(float(sys.argv[2]))
"""


def feeder(name: str, pause: float, **fields: object) -> str:
    command = [sys.executable, "-S", "-c", FEEDS, f"@PLACE@/{name}.longest", str(pause)]
    return table(name, command, grace="30s", **fields)


def all_feed(daemons: Notifiers, names: list[str]) -> None:
    for name in names:
        daemons.until(name, f"{name} feeds", state="alive")


def test_a_supervisor_that_is_stopped() -> None:
    """Five daemons feed each second meanwhile: none is convicted, and none is held up for longer than the stop."""
    names = [f"d{number}" for number in range(5)]
    with notifiers("".join(feeder(name, 1.0, timeout="2500ms") for name in names)) as daemons:
        all_feed(daemons, names)
        supervisor = daemons.run.home.ask("ping")["pid"]
        os.kill(supervisor, signal.SIGSTOP)
        time.sleep(STOP_S)
        os.kill(supervisor, signal.SIGCONT)
        resumed = time.monotonic()
        while time.monotonic() < resumed + 2.0:
            assert all(daemons.row(name)["state"] == "alive" for name in names)
        assert not daemons.logged("expired")
        held_up = [float((daemons.run.place / f"{name}.longest").read_text()) for name in names]
        assert max(held_up) < STOP_S + 0.5


FLOODS = r"""
import os, socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ["NOTIFY_SOCKET"])
while True:
    s.send(b"EXTEND_TIMEOUT_USEC=5000000\nREADY=1\nRELOADING=1\nMONOTONIC_USEC=1\nSTATUS=floods")
"""


def test_programs_that_flood_delay_no_verdict_on_others() -> None:
    """What they say waits for the loop, each in its own queue: no turn counts as cut short for that, in which time
    would run slower for all, and no barrier of a verdict is lost."""
    hogs = [f"hog-{number}" for number in range(3)]
    config = "".join(table(name, [sys.executable, "-S", "-c", FLOODS], timeout="60s") for name in hogs)
    with notifiers(config) as daemons:
        for name in hogs:
            daemons.until(name, f"{name} floods", status="floods")
        before = daemons.run.home.ask("summary")
        with closing(Client(daemons.run.address, release_at_exit=False)) as client:
            for number in range(5):
                name = f"w-{number}"
                client.watchdog(name, timeout=0.1, interval=60.0, resolution=0.0).feed()
                daemons.until(name, f"{name} is found silent", state="expired")
        after = daemons.run.home.ask("summary")
        assert (after["overloads"], after["probes_lost"]) == (before["overloads"], before["probes_lost"])
        assert not daemons.logged("hog-0 expired")


def test_bad_input() -> None:
    """Whatever one program sends, however much of it and with whatever descriptors: what it feeds and what others
    feed goes on, and the supervisor has as many descriptors as before."""
    names = ["quiet", "noisy"]
    config = feeder("quiet", 0.2, timeout="1500ms") + notifier("noisy", notify_access="all", timeout="20s")
    with notifiers(config) as daemons:
        daemons.order("noisy", "WATCHDOG=1")
        all_feed(daemons, names)
        pid = daemons.run.home.ask("ping")["pid"]
        path = daemons.row("noisy")["notify"]
        ended = os.fork()
        if not ended:
            os._exit(0)
        os.waitpid(ended, 0)
        number = b"9" * 30
        bad = [
            (b"x" * 65536, 0), (b"STATUS=" + b"x" * 4090, 0), (b"\0READY=1\0", 0), (b"no equals", 0), (b"", 0),
            (b"FDSTORE=1", 253), (b"BARRIER=1", 0), (b"BARRIER=1", 2), (b"BARRIER=1\nREADY=1", 1),
            (b"WATCHDOG_USEC=" + number, 0), (b"WATCHDOG_USEC=-1", 0), (b"EXTEND_TIMEOUT_USEC=-1", 0),
            (b"MAINPID=0", 0), (b"MAINPID=1", 0), (b"MAINPID=%d" % pid, 0), (b"MAINPID=%d" % ended, 0),
            (b"MAINPID=" + number, 0), (b"MAINPID=-1", 0), (b"STATUS=\xff", 0), (b"ERRNO=-1", 0),
        ]  # fmt: skip
        send(path, *bad[0])
        daemons.told("is dropped")
        before = len(os.listdir(f"/proc/{pid}/fd"))
        began = time.monotonic()
        for _ in range(5):
            for data, count in bad:
                send(path, data, count)
        sent = 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            while sent < 100_000 and time.monotonic() < began + 6:
                with suppress(BlockingIOError):
                    sender.sendto(b"STATUS=%d" % sent, socket.MSG_DONTWAIT, path)
                    sent += 1
        send(path, b"STATUS=the last\nWATCHDOG=1", 0)
        daemons.until("noisy", "all is taken", status="the last", state="alive")
        until(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before, "no descriptor is left")
        assert not daemons.logged("quiet expired")
        assert float((daemons.run.place / "quiet.longest").read_text()) < 1.0
        assert len([line for line in daemons.logged("refused") if "noisy" in line]) < 10  # each reason once
        assert daemons.run.program("noisy")["pid"] == daemons.environment("noisy")["pid"]


def send(path: str, data: bytes, count: int) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, open("/dev/null") as null:
        rights = array.array("i", [null.fileno()] * count)
        sender.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if count else [], 0, path)


def test_no_variable_of_its_unit() -> None:
    """A program gets none of what the supervisor's own unit was given, and so does not feed that one's watchdog."""
    own = {
        "NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "1", "LISTEN_FDS": "1",
        "LISTEN_PID": "1", "INVOCATION_ID": "x", "JOURNAL_STREAM": "1:2", "MAINPID": "1", "FDSTORE": "3",
    }  # fmt: skip
    config = notifier("timed", timeout="30s") + notifier("plain")
    with notifiers(config, own) as daemons:
        for name in ("timed", "plain"):
            given = daemons.environment(name)
            assert given["NOTIFY_SOCKET"].startswith(daemons.run.address), json.dumps(given)
            left = {key: given[key] for key in own.keys() & given.keys() if key != "NOTIFY_SOCKET"}
            wanted = {} if name == "plain" else {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(given["pid"])}
            assert left == wanted
