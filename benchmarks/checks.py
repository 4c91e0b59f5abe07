"""What checks cost, and what they cost workers that feed: 1,000 of them, tcp and http, every 10 seconds.

*The process that runs them*: its CPU time, as a share of one core, when all have run.

*Workers beside it*: probes are fed once and fall silent; how late their incident is, from the true deadline to the
event at a subscriber. The same supervisor without a check, in rounds that alternate.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import traffic
import zmq
from common import Child, Figure, cpu_seconds, environment, percentile, short_directory, wait_for

from banken.control import Control, Events
from banken.errors import Unreachable
from banken.protocol.messages import Kind

CHECKS = 1_000
EVERY_S = 10.0
CORE_MAX = 15.0
"""Per cent of a core."""

MORE_P99_MS_MAX = 5.0
TIMEOUT_S = 0.5
PROBES_PER_S = 40


def run(quick: bool) -> list[Figure]:
    """Both figures."""
    rounds, probes = (1, 300) if quick else (3, 1_000)
    shares: list[float] = []
    late: dict[bool, list[float]] = {True: [], False: []}
    with Child(file="answering") as server:
        port = server.line()["port"]
        for _ in range(rounds):
            for with_checks in (True, False):
                with _supervisor(_config(port) if with_checks else "") as (address, control):
                    runner = 0
                    if with_checks:
                        wait_for("a pass of every check", lambda: _passed(control) == CHECKS, 60.0, 0.5)
                        runner = _runner(control)
                        time.sleep(EVERY_S)  # the crowd of the first runs is over
                    before, began = cpu_seconds(runner) if runner else 0.0, time.monotonic()
                    late[with_checks] += _lateness(address, probes)
                    if runner:
                        time.sleep(max(0.0, began + 2 * EVERY_S - time.monotonic()))
                        shares.append(100 * (cpu_seconds(runner) - before) / (time.monotonic() - began))
                        if (failed := CHECKS - _passed(control)) > CHECKS // 100:
                            raise RuntimeError(f"{failed} checks of {CHECKS} do not pass: this machine is too busy")
    p99 = {each: percentile(values, 0.99) * 1000 for each, values in late.items()}
    return [
        Figure(
            "checks",
            f"the process that runs {CHECKS:,} checks every {EVERY_S:g} s, tcp and http: share of a core",
            max(shares),
            "%",
            at_most=CORE_MAX,
            note=f"{', '.join(f'{each:.1f}' for each in shares)} % in {rounds} rounds",
            data={"shares": shares},
        ),
        Figure(
            "checks",
            "deadline to event of a worker beside them, p99 more than without",
            p99[True] - p99[False],
            "ms",
            at_most=MORE_P99_MS_MAX,
            note=f"p99 {p99[True]:.2f} ms with, {p99[False]:.2f} ms without, {len(late[True])} verdicts each",
            data={"with_s": late[True], "without_s": late[False]},
        ),
    ]


def _config(port: int) -> str:
    kinds = (
        f'{{ tcp = "127.0.0.1:{port}", send = "PING\\r\\n", expect = "+PONG", every = "{EVERY_S:g}s" }}',
        f'{{ http = "http://127.0.0.1:{port}/health", contains = "ok", every = "{EVERY_S:g}s" }}',
    )
    return "".join(f'[[watchdog]]\nname = "s{n}"\ncheck = {kinds[n % 2]}\n' for n in range(CHECKS))


@contextmanager
def _supervisor(config: str) -> Iterator[tuple[str, Control]]:
    with short_directory() as place:
        file, address = Path(place, "banken.toml"), f"{place}/a"
        file.write_text(f'[supervisor]\naddress = "{address}"\njournal = "{place}/j.db"\n{config}')
        command = [sys.executable, "-m", "banken_supervisor", "run", "-c", str(file)]
        with Path(place, "log").open("wb") as log:
            process = subprocess.Popen(command, env=environment(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            wait_for("the supervisor", lambda: _answers(address), 30.0)
            with Control(address, timeout=15.0) as control:
                yield address, control
        finally:
            process.terminate()
            process.wait(30)


def _answers(address: str) -> bool:
    with suppress(Unreachable, OSError), Control(address, timeout=0.5) as control:
        return bool(control.request("ping"))
    return False


def _passed(control: Control) -> int:
    counted = control.request("metrics", limit=0)["checks"]
    return 0 if counted is None else int(counted["last"]["passed"])


def _runner(control: Control) -> int:
    rows = control.request("programs")["rows"]
    return next(int(row["pid"]) for row in rows if row["name"] == "banken-checks")


def _lateness(address: str, probes: int) -> list[float]:
    """Seconds from the true deadline of each probe to its event."""
    names = traffic.names("probe", probes)
    came: dict[str, float] = {}
    ready = threading.Event()
    deadlines: dict[str, float] = {}

    def listen() -> None:
        with Events(address) as events:
            ready.set()
            until = time.monotonic() + probes / PROBES_PER_S + 10.0
            while len(came) < probes and time.monotonic() < until:
                event = events.next(0.5)
                if event is not None and event["type"] == "expired":
                    came.setdefault(event["name"], time.monotonic())

    listener = threading.Thread(target=listen)
    listener.start()
    ready.wait(10)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        push = traffic.push(context, address)
        for frame in traffic.frames(Kind.DECLARE, names, TIMEOUT_S):
            push.send(frame)
        time.sleep(0.3)
        chance, at = random.Random(traffic.SEED), time.monotonic()
        for name, frame in zip(names, traffic.frames(Kind.FEED, names, TIMEOUT_S), strict=True):
            at += chance.uniform(0.5, 1.5) / PROBES_PER_S
            time.sleep(max(0.0, at - time.monotonic()))
            deadlines[name] = time.monotonic() + TIMEOUT_S
            push.send(frame)
        listener.join()
    finally:
        context.destroy(0)
    if len(came) < probes:
        raise RuntimeError(f"{probes - len(came)} of {probes} verdicts are missing")
    return [came[name] - deadlines[name] for name in names]
