"""Programs that are ready when they say so, and others that start after them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from process.kit import START_S, until
from process.notify_kit import Notifiers, notifier, notifiers
from process.run_kit import table

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not hasattr(socket, "SO_PASSCRED"), reason="sd_notify needs Linux"),
]

READY = {"notify": True}


def ready(name: str, how: str, **fields: Any) -> str:
    return notifier(name, **fields) + f"ready = {how}\n"


def banken(daemons: Notifiers, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "banken_supervisor", *words, "--address", daemons.run.address],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_one_after_the_other() -> None:
    """A program is starting until it says READY=1; what starts after it waits, whatever its order; `start --wait`
    waits, and a plain `start` does not wait for what waits for others."""
    config = notifier("app", after=["db"], order=-1) + ready("db", "{ notify = true }", grace="30s", order=9)
    with notifiers(config) as daemons:
        db = daemons.run.up("db")
        row = daemons.run.program("db")
        assert (row["state"], row["ready"]) == ("starting", False)
        app = daemons.run.program("app")
        assert (app["state"], app["awaits"], app["pid"]) == ("queued", ["db"], None)
        shown = banken(daemons, "status").stdout
        assert "starts when db is ready" in shown
        assert "not ready yet" in shown
        assert banken(daemons, "start", "app").stdout == "app starts when db is ready\n"
        waiting = subprocess.Popen(
            [sys.executable, "-m", "banken_supervisor", "start", "app", "--wait", "--address", daemons.run.address],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        daemons.order("db", {"child": "READY=1\nSTATUS=serves"})
        assert waiting.communicate(timeout=60)[0] == f"app is running (pid {daemons.run.up('app')})\n"
        assert waiting.returncode == 0
        row = daemons.run.program("db")
        assert (row["state"], row["ready"], row["pid"]) == ("running", True, db)
        assert daemons.row("db")["status"] == "serves"
        daemons.told("db is ready")


def test_not_ready_in_time() -> None:
    """Its grace bounds it: then it has an incident that says so, which feeds do not end, and READY does."""
    with notifiers(ready("db", "{ notify = true }", timeout="20s", grace="1500ms")) as daemons:
        daemons.order("db", "WATCHDOG=1")
        row = daemons.until("db", "it has an incident", state="expired")
        assert row["incident"]["reason"] == "it did not become ready within 1.5 s"
        failed = banken(daemons, "start", "db", "--wait")
        assert failed.returncode != 0
        assert "it did not become ready within 1.5 s" in failed.stderr
        daemons.order("db", "WATCHDOG=1")
        daemons.order("db", "STATUS=fed")
        daemons.until("db", "feeds do not end it", state="expired", status="fed", incidents=1)
        daemons.order("db", "READY=1")
        daemons.until("db", "READY ends it", state="alive")
        daemons.told("db recovered: it is ready, after ")
        assert daemons.run.program("db")["state"] == "running"


@pytest.mark.parametrize("number", [3, 9])
def test_a_line_to_a_descriptor(number: int) -> None:
    """A line to the descriptor that the config names means ready, as for s6; READY=1 does not."""
    code = (
        "import os, sys, time\n"
        f"os.fstat({number})\n"
        "while not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
        f"os.write({number}, b'\\n'); os.close({number})\n"
        "time.sleep(1000)\n"
    )
    config = table("db", [sys.executable, "-S", "-c", code, "@PLACE@/go"], grace="30s")
    config += f"ready = {{ fd = {number} }}\n"
    with notifiers(config) as daemons:
        pid = daemons.run.up("db")
        assert daemons.run.program("db")["state"] == "starting"
        before = os.listdir(f"/proc/{pid}/fd")
        assert str(number) in before
        (daemons.run.place / "go").touch()
        until(lambda: daemons.run.program("db")["ready"], "it is ready")
        assert daemons.row("db")["state"] in ("alive", "running")


def test_a_check_passes() -> None:
    """A check of any kind makes it ready when it has passed once, by a run since its start; then it is not run any
    more, and its failures are no incident. Until then the incident says what was seen."""
    code = (
        "import os, socket, sys, time\n"
        "while not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
        "s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[2]); s.listen()\n"
        "time.sleep(1000)\n"
    )
    config = table("db", [sys.executable, "-S", "-c", code, "@PLACE@/go", "@PLACE@/s-{i}"], grace="6s")
    config += 'ready = { unix = "@PLACE@/s-{i}", every = "200ms" }\n' + notifier("app", after=["db"])
    with notifiers(config) as daemons:
        pid = daemons.run.up("db")
        until(lambda: daemons.run.program("app")["awaits"] == ["db"], "the other one waits")
        reason = daemons.until("db", "it is not ready in time", state="expired")["incident"]["reason"]
        assert reason.startswith("it did not become ready within 6 s: unix ")
        assert reason.endswith(os.strerror(2))
        (daemons.run.place / "go").touch()
        daemons.run.up("app")
        row = daemons.run.program("db")
        assert (row["state"], row["pid"]) == ("running", pid)
        daemons.until("db", "its incident is over", incidents=1)
        assert daemons.row("db")["state"] != "expired"
        (daemons.run.place / "s-0").unlink()
        runs = lambda: daemons.run.home.ask("checks", name="db/ready")["rows"][0]["number"]  # noqa: E731
        number = runs()
        os.kill(pid, signal.SIGKILL)
        (daemons.run.place / "go").unlink()
        new = until(lambda: (row := daemons.run.program("db"))["pid"] != pid and row["pid"], "it starts again")
        until(
            lambda: daemons.run.home.ask("checks", name="db/ready")["rows"][0]["number"] > number, "it is run again"
        )
        row = daemons.run.program("db")
        assert (row["state"], row["pid"]) == ("starting", new)
        assert daemons.run.watchdogs()["db/ready"]["incidents"] == 0


def test_over_a_restart_of_the_supervisor() -> None:
    """One that was ready is ready for the next supervisor, and feeds by the same socket; one that was not is waited
    for anew."""
    config = ready("one", "{ notify = true }", timeout="20s") + ready("two", "{ notify = true }", grace="40s")
    with notifiers(config) as daemons:
        daemons.order("one", "READY=1")
        until(lambda: daemons.run.program("one")["ready"], "one is ready")
        pids = [daemons.run.up(name) for name in ("one", "two")]
        until(lambda: '"ready": true' in (daemons.run.place / "a/programs/one.json").read_text(), "it is on record")
        daemons.run.kill()
        daemons.run.run()
        assert [daemons.run.up(name) for name in ("one", "two")] == pids
        assert [daemons.run.program(name)["ready"] for name in ("one", "two")] == [True, False]
        daemons.order("two", "READY=1\nSTATUS=at last")
        daemons.order("one", "WATCHDOG=1\nSTATUS=fed")
        daemons.until("one", "it feeds", state="alive", status="fed")
        until(lambda: daemons.run.program("two")["ready"], "two is ready")


def test_stopping_and_reloading() -> None:
    """After STOPPING=1 silence is no matter and no end is an incident; that it does not end is one."""
    config = notifier("well", timeout="1s", restart="never") + notifier("hangs", timeout="1s", stop_timeout="2s")
    with notifiers(config) as daemons:
        daemons.order("well", "READY=1")
        daemons.order("well", "RELOADING=1")
        until(lambda: daemons.run.program("well")["reloading"], "it reloads")
        daemons.order("well", "READY=1")
        until(lambda: not daemons.run.program("well")["reloading"], "it has reloaded")
        for name in ("well", "hangs"):
            daemons.order(name, "STOPPING=1\nWATCHDOG=1\nSTATUS=flushes")
        daemons.until("hangs", "it does not end", state="expired")
        assert daemons.row("hangs")["incident"]["reason"] == "it said STOPPING=1, and has not ended within 2 s"
        daemons.order("well", {"exit": 3})
        until(lambda: "well" not in daemons.run.watchdogs(), "its watchdog is released")
        assert not daemons.logged("well expired")


def test_why_it_ends() -> None:
    """ERRNO, EXIT_STATUS and BUSERROR are in the reason of the end that follows."""
    with notifiers(notifier("db", timeout="20s", backoff="20s..20s")) as daemons:
        daemons.order("db", "READY=1")
        daemons.order("db", "ERRNO=28\nEXIT_STATUS=3")
        daemons.order("db", {"exit": 3})
        row = daemons.until("db", "it has ended", state="expired")
        assert "errno 28: No space left on device" in row["incident"]["reason"]


def test_a_main_process_in_a_pid_namespace() -> None:
    """A container's main process names its child by its pid there: that one is held, and its end is seen."""
    code = (
        "import os, socket, sys, time\n"
        "def say(text):\n"
        "    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:\n"
        "        s.sendto(text.encode(), os.environ['NOTIFY_SOCKET'])\n"
        "while not os.path.exists(sys.argv[1] + '.go'): time.sleep(0.01)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    while not os.path.exists(sys.argv[1]): time.sleep(0.01); say('WATCHDOG=1')\n"
        "    os._exit(5)\n"
        "say(f'MAINPID={child}\\nREADY=1\\nSTATUS=its pid is {child}')\n"
        "os.wait()\n"
        "time.sleep(100)\n"
    )
    under = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*under, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("namespaces may not be made here")
    command = [*under, sys.executable, "-S", "-c", code, "@PLACE@/end"]
    with notifiers(table("jar", command, timeout="2s", stop_timeout="1s") + 'restart = "never"\n') as daemons:
        first = until(lambda: daemons.run.program("jar")["pid"], "it runs", START_S)
        (daemons.run.place / "end.go").touch()
        row = until(lambda: (row := daemons.run.program("jar"))["pid"] != first and row, "another is main")
        inside = Path(f"/proc/{row['pid']}/status").read_text()
        assert daemons.row("jar")["status"] == f"its pid is {inside.partition('NSpid:')[2].split()[1]}"
        daemons.until("jar", "it feeds", state="alive")
        os.kill(row["pid"], signal.SIGSTOP)
        daemons.until("jar", "its silence is noticed", state="expired")
        os.kill(row["pid"], signal.SIGCONT)
        daemons.until("jar", "it feeds", state="alive")
        (daemons.run.place / "end").touch()
        assert daemons.until("jar", "its end is noticed", state="expired")["incident"]["cause"] == "exited"
        until(lambda: not os.path.exists(f"/proc/{first}"), "what was started ends with its main process")


def test_another_main_process() -> None:
    """What was started names another process as the main one, and ends: the program goes on with that, which may
    feed, whose end is the program's, and which is stopped with it. Strangers are not taken."""
    code = (
        "import os, socket, sys, time\n"
        "def say(text):\n"
        "    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:\n"
        "        s.sendto(text.encode(), os.environ['NOTIFY_SOCKET'])\n"
        "while not os.path.exists(sys.argv[2] + '.go'): time.sleep(0.01)\n"
        "for stranger in (0, 1, int(sys.argv[1]), 4194000): say(f'MAINPID={stranger}')\n"
        "if os.fork() == 0:\n"
        "    while not os.path.exists(sys.argv[2]): time.sleep(0.01); say('WATCHDOG=1')\n"
        "    os._exit(5)\n"
        "child = int(open('/proc/self/task/%d/children' % os.getpid()).read().split()[0])\n"
        "say(f'MAINPID={child}\\nREADY=1')\n"
        "time.sleep(0.3)\n"
    )
    config = table("forks", [sys.executable, "-S", "-c", code, str(os.getpid()), "@PLACE@/end"], timeout="2s")
    with notifiers(config + 'restart = "never"\n') as daemons:
        first = until(lambda: daemons.run.program("forks")["pid"], "it runs", START_S)
        (daemons.run.place / "end.go").touch()
        pid = until(lambda: (row := daemons.run.program("forks"))["pid"] != first and row["pid"], "another is main")
        until(lambda: not os.path.exists(f"/proc/{first}"), "what was started has ended")
        row = daemons.run.program("forks")
        assert (row["state"], row["pid"]) == ("running", pid)
        assert daemons.row("forks")["state"] == "alive"
        daemons.told("is ignored")
        record = json.loads((daemons.run.place / "a/programs/forks.json").read_text())
        assert record["pid"] == pid
        os.kill(pid, signal.SIGSTOP)
        daemons.until("forks", "its silence is noticed", state="expired")
        os.kill(pid, signal.SIGCONT)
        daemons.until("forks", "it feeds", state="alive")
        (daemons.run.place / "end").touch()
        row = daemons.until("forks", "its end is noticed", state="expired")
        assert row["incident"]["cause"] == "exited"
