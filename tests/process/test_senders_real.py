"""Whatever people send sd_notify with: each library and command makes a program ready and feeds it, and its silence
is noticed."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from process.kit import START_S, until
from process.notify_kit import notifiers
from process.run_kit import table

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not hasattr(socket, "SO_PASSCRED"), reason="sd_notify needs Linux"),
]

TIMEOUT_S = 1.0

LIBRARIES = {
    "sdnotify": """
        import sdnotify
        say = sdnotify.SystemdNotifier().notify
        say("READY=1"); say("STATUS=sent"); feed = lambda: say("WATCHDOG=1")""",
    "systemd_watchdog": """
        import systemd_watchdog
        dog = systemd_watchdog.WatchDog()
        assert dog.timeout == 1_000_000, dog.timeout
        dog.ready(); dog.status("sent"); feed = dog.ping""",
    "cysystemd": """
        from cysystemd.daemon import notify, Notification
        notify(Notification.READY); notify(Notification.STATUS, "sent")
        feed = lambda: notify(Notification.WATCHDOG)""",
}

C = """
#include <systemd/sd-daemon.h>
#include <unistd.h>
#include <stdlib.h>
int main(void) {
    unsigned long long usec = 0;
    if (sd_watchdog_enabled(0, &usec) <= 0 || usec != 1000000) return 9;
    if (sd_notify(0, "READY=1\\nSTATUS=sent") <= 0) return 8;
    if (sd_notify_barrier(0, 10000000) < 0) return 7;
    for (int i = 0; i < 5; i++) { sd_notify(0, "WATCHDOG=1"); usleep(250000); }
    sleep(1000);
}
"""

SHELL = (
    "systemd-notify --ready --status=sent && for i in 1 2 3 4 5; "
    "do systemd-notify WATCHDOG=1; sleep 0.25; done; exec sleep 1000"
)


def watched(command: list[str], **fields: object) -> None:
    """A program with this command is ready, fed for two timeouts, and then found silent."""
    config = table("sender", command, timeout=f"{TIMEOUT_S}s", grace="30s", restart="never", **fields)
    with notifiers(config + "ready = { notify = true }\n") as daemons:
        until(lambda: daemons.run.program("sender")["ready"], "it is ready", START_S)
        assert not daemons.logged("sender expired")
        row = daemons.until("sender", "its silence is noticed", state="expired")
        assert row["status"] == "sent"
        ((after, late),) = re.findall(
            r"silent for (\S+) s, (\S+) (?:ms|µs) after its deadline", daemons.run.log.read_text()
        )
        assert float(after) >= TIMEOUT_S
        assert float(late) < 500
        assert not daemons.logged("refused")
        assert daemons.run.program("sender")["pid"] is not None


@pytest.mark.parametrize("library", LIBRARIES)
def test_libraries(library: str) -> None:
    """Of Python's package index."""
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    code = "\n".join(line.strip() for line in LIBRARIES[library].splitlines())
    code += "\nimport time\nfor _ in range(5): feed(); time.sleep(0.25)\ntime.sleep(1000)"
    watched([sys.executable, "-c", code])


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program in C, with libsystemd."""
    folder = tmp_path_factory.mktemp("libsystemd")
    (folder / "sender.c").write_text(C)
    if shutil.which("cc") is None or not Path("/usr/include/systemd/sd-daemon.h").exists():
        pytest.skip("cc and libsystemd-dev are not installed")
    subprocess.run(["cc", "-o", folder / "sender", folder / "sender.c", "-lsystemd"], check=True, timeout=60)
    return folder / "sender"


def test_libsystemd(compiled: Path) -> None:
    """Of C, with its barrier."""
    watched([str(compiled)])


@pytest.mark.skipif(shutil.which("systemd-notify") is None, reason="systemd-notify is not installed")
@pytest.mark.parametrize("user", [None, "nobody"])
def test_systemd_notify(user: str | None) -> None:
    """In a shell; it has ended when it is heard. As root, it signs with the pid of the shell; as another user it
    cannot, and feeds by a socket of that user's."""
    if user is not None and os.geteuid() != 0:
        pytest.skip("only root can start a program as another user")
    watched(["/bin/sh", "-c", SHELL], notify_access="all", **({} if user is None else {"user": user}))
