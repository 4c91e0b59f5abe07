"""Daemons of Debian's that speak sd_notify, as they are: ready, fed, hung, reloaded and stopped."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import sys
import time

import pytest

from process.kit import START_S, until
from process.notify_kit import Notifiers, notifiers
from process.run_kit import table

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not hasattr(socket, "SO_PASSCRED"), reason="sd_notify needs Linux"),
]

READY = "ready = { notify = true }\n"


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def ready(daemons: Notifiers, name: str) -> int:
    """Its pid, once it is ready."""
    until(lambda: daemons.run.program(name)["ready"], f"{name} is ready", START_S)
    pid: int = daemons.run.program(name)["pid"]
    return pid


def stopped(daemons: Notifiers, name: str) -> None:
    """It is stopped by request, and nothing that it said or did was an incident."""
    daemons.run.ask("stop", name)
    assert not daemons.logged(f"{name} expired")


@needs("tor")
def test_tor() -> None:
    """It names itself the main process, is ready, and feeds at half of WATCHDOG_USEC; stopped in its tracks it has
    expired, is looked at, and starts again."""
    command = ["tor", "--quiet", "-f", "@PLACE@/torrc", "--defaults-torrc", "@PLACE@/torrc"]
    config = table("tor", command, timeout="2s", grace="30s") + READY
    config += 'ladder = [{ do = "dump" }, { after = "200ms", do = "restart" }]\n'
    with notifiers(config) as daemons:
        torrc = daemons.run.place / "torrc"
        # Its file comes late, as for one that waits for its disk.
        torrc.write_text(f"DisableNetwork 1\nSocksPort 0\nDataDirectory {daemons.run.place}/tor\n")
        pid = ready(daemons, "tor")
        incidents = daemons.row("tor")["incidents"]
        end = time.monotonic() + 3  # it feeds each second
        while time.monotonic() < end:
            assert daemons.row("tor")["state"] == "alive"
            time.sleep(0.1)
        os.kill(pid, signal.SIGSTOP)
        daemons.until("tor", "its silence is noticed", incidents=incidents + 1)
        daemons.told("'dump' done")
        again = until(lambda: (new := daemons.run.program("tor"))["pid"] != pid and new["pid"], "it starts again")
        assert ready(daemons, "tor") == again
        daemons.until("tor", "it is well again", state="alive")
        daemons.told("tor expired (timeout)")


@needs("redis-server")
def test_redis() -> None:
    """Under --supervised systemd it is ready, says so in STATUS, and says STOPPING before it ends by itself."""
    options = ["--port", "0", "--unixsocket", "@PLACE@/s", "--supervised", "systemd", "--dir", "@PLACE@"]
    config = table("redis", ["redis-server", *options], grace="30s", restart="never") + READY
    with notifiers(config) as daemons:
        ready(daemons, "redis")
        assert "Ready to accept connections" in daemons.row("redis")["status"]
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(daemons.run.place / "s"))
            client.sendall(b"SHUTDOWN NOSAVE\r\n")
            until(lambda: daemons.run.program("redis")["state"] == "stopped", "it ends by itself")
        assert not daemons.logged("redis expired")


@needs("haproxy")
def test_haproxy() -> None:
    """The master says RELOADING before it is ready first, and at a reload becomes another program of the same pid:
    no incident, and its pid is the main one."""
    config = table("haproxy", ["haproxy", "-Ws", "-f", "@PLACE@/ha"], grace="30s") + READY
    text = (
        "global\n  stats socket {0}/cli mode 600\ndefaults\n  mode http\n  timeout connect 1s\n"
        "  timeout client 5s\n  timeout server 5s\nfrontend f\n  bind unix@{0}/web\n"
        "  http-request return status 200\n"
    )
    with notifiers(config) as daemons:
        (daemons.run.place / "ha").write_text(text.format(daemons.run.place))
        pid = ready(daemons, "haproxy")
        command = f"haproxy -Ws -f {daemons.run.place}"
        workers = {each for each, _ in daemons.run.live(command)} - {pid}
        assert workers
        os.kill(pid, signal.SIGUSR2)
        until(lambda: not workers & {each for each, _ in daemons.run.live(command)}, "its workers are others")
        until(lambda: not daemons.run.program("haproxy")["reloading"], "it has reloaded")
        row = daemons.run.program("haproxy")
        assert (row["state"], row["ready"], row["pid"]) == ("running", True, pid)
        stopped(daemons, "haproxy")


@pytest.mark.skipif(importlib.util.find_spec("gunicorn") is None, reason="gunicorn is not installed")
def test_gunicorn() -> None:
    """Its master says that it is ready, and with which status."""
    command = [sys.executable, "-m", "gunicorn", "-b", "unix:@PLACE@/web", "--chdir", "@PLACE@", "app:app"]
    config = table("gunicorn", command, grace="30s") + READY
    with notifiers(config) as daemons:
        app = "def app(environ, start):\n    start('200 OK', [])\n    return []\n"
        (daemons.run.place / "app.py").write_text(app)
        ready(daemons, "gunicorn")
        assert "Gunicorn" in daemons.row("gunicorn")["status"]
        stopped(daemons, "gunicorn")
