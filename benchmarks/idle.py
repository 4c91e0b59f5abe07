"""6. What a supervisor costs while nothing happens.

``banken run`` itself, with 1,000 watchdogs that were declared with a long timeout and stay silent. CPU time
by the kernel's clock of that process; wake-ups are the voluntary context switches of all its threads,
libzmq's included (/proc/PID/task/*/status). Nobody asks it anything meanwhile.
"""

from __future__ import annotations

import time
from typing import Any

import traffic
import zmq
from common import Child, Figure, cpu_seconds, short_directory, wait_for, wakeups

from banken.control import Control
from banken.protocol.messages import Kind

CPU_MAX = 0.5
WAKEUPS_MAX = 5
WATCHDOGS = 1_000
SETTLE_S = 3.0


def run(quick: bool) -> list[Figure]:
    """Both figures."""
    seconds = 10.0 if quick else 30.0
    with (
        short_directory() as directory,
        Child("run", "--address", directory, module="banken_supervisor") as child,
    ):
        context: zmq.Context[Any] = zmq.Context()
        try:
            socket = traffic.push(context, directory)
            for frame in traffic.frames(Kind.DECLARE, traffic.names("idle", WATCHDOGS), traffic.NEVER_S):
                socket.send(frame)
            with Control(directory, timeout=10.0) as control:
                wait_for("the watchdogs", lambda: control.request("summary")["watchdogs"] == WATCHDOGS, 10.0)
        finally:
            context.destroy(1000)
        time.sleep(SETTLE_S)
        cpu, woken, start = cpu_seconds(child.pid), wakeups(child.pid), time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - start
        cpu, woken = cpu_seconds(child.pid) - cpu, wakeups(child.pid) - woken
    note = f"over {took:.0f} s, {WATCHDOGS:,} silent watchdogs"
    return [
        Figure("idle", "CPU", 100 * cpu / took, "% of a core", at_most=CPU_MAX, note=note),
        Figure("idle", "wake-ups", woken / took, "a second", at_most=WAKEUPS_MAX, note=note),
    ]
