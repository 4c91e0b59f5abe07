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
from collections.abc import Iterator
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


def senders(tmp: Path) -> Iterator[tuple[str, list[str], dict[str, object]]]:
    """Of each that can be had: its name, its command, and more keys of its program."""
    for library, text in LIBRARIES.items():
        if importlib.util.find_spec(library) is not None:
            code = "\n".join(line.strip() for line in text.splitlines())
            code += "\nimport time\nfor _ in range(5): feed(); time.sleep(0.25)\ntime.sleep(1000)"
            yield library, [sys.executable, "-c", code], {}
    if shutil.which("cc") is not None and Path("/usr/include/systemd/sd-daemon.h").exists():
        (tmp / "sender.c").write_text(C)
        subprocess.run(["cc", "-o", tmp / "sender", tmp / "sender.c", "-lsystemd"], check=True, timeout=60)
        yield "libsystemd", [str(tmp / "sender")], {}
    if shutil.which("systemd-notify") is not None:
        yield "systemd-notify", ["/bin/sh", "-c", SHELL], {"notify_access": "all"}
        if os.geteuid() == 0:  # it signs with the pid of the shell; as another user it cannot
            yield "systemd-notify-of-nobody", ["/bin/sh", "-c", SHELL], {"notify_access": "all", "user": "nobody"}


def test_senders(tmp_path: Path) -> None:
    """Each is ready, fed for more than its timeout, and then found silent; STATUS is heard. A sender that has ended
    counts, and one that is another user's has a socket that it can reach."""
    found = list(senders(tmp_path))
    if not found:
        pytest.skip("none of sdnotify, systemd-watchdog, cysystemd, libsystemd-dev and systemd-notify is installed")
    config = "".join(
        table(name, command, timeout=f"{TIMEOUT_S}s", grace="30s", restart="never", **more)
        + "ready = { notify = true }\n"
        for name, command, more in found
    )
    with notifiers(config) as daemons:
        for name, _, _ in found:
            until(lambda name=name: daemons.run.program(name)["ready"], f"{name} is ready", START_S)  # type: ignore[misc]
        for name, _, _ in found:
            row = daemons.until(name, f"the silence of {name} is noticed", state="expired")
            assert row["status"] == "sent", name
            assert daemons.run.program(name)["pid"] is not None
            (line,) = daemons.told(f"{name} expired")
            after, late = re.findall(r"silent for (\S+) s, (\S+) (?:ms|µs) after its deadline", line)[0]
            assert float(after) >= TIMEOUT_S
            assert float(late) < 500
        assert not daemons.logged("refused")
