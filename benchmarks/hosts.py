"""Workers on other hosts: what several supervisors cost a worker, and what keys cost the supervisor.

*Sent*: ``Watchdog.feed()`` with ``resolution=0`` to one supervisor of this host, to one over tcp with a key, to
three over tcp, and to three of which one is down. They take turns in bursts shorter than any queue; only the time
of the worker's thread is counted, while the receivers, in another process, take what came.

*Taken*: CPU time of the supervisor's thread for feeds that it knows, over 20 connections with a key, beside the
same over its Unix sockets (as in intake.py). Its other threads (libzmq's, which decrypts) are in the second figure.

This file is also the processes that it needs beside it (``python benchmarks/hosts.py take|fill|receive …``).
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import cycle, islice, repeat
from pathlib import Path
from statistics import median
from typing import Any

import traffic
import zmq
from common import Child, Figure, asked, interleaved, ratio, say, short_directory
from intake import PORTION, _drain_loop, _quiet

from banken import tcp
from banken.address import resolve
from banken.client import Client
from banken.keys import load
from banken.protocol.messages import Kind
from banken_supervisor import Supervisor
from banken_supervisor.engine.policy import Quotas
from banken_supervisor.keys.directory import KeyDirectory
from banken_supervisor.sources.tcp_feeds import prepare_server
from banken_supervisor.sources.zap import KeyGate

THREE_TIMES_MAX, DEAD_TIMES_MAX = 1.8, 1.2
TAKEN_PER_S_MIN = 500_000

NAMES, CONNECTIONS, BURST = 1_000, 20, 400
MESSAGES = 100_000


def run(quick: bool) -> list[Figure]:
    """All figures of this benchmark."""
    return [*_sent(5 if quick else 15), *_taken(3 if quick else 9)]


def _sent(rounds: int) -> list[Figure]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(short_directory()))
        here = str(directory / "s")
        ports = _free_ports(3)
        addresses = [f"tcp://127.0.0.1:{port}" for port in ports]
        keys, path = _keys(directory, addresses)
        receiver = stack.enter_context(Child("receive", keys.path, here, *ports[:3], file="hosts"))
        receiver.line()
        dead = f"tcp://127.0.0.1:{_free_ports(1)[0]}"
        path.write_text(path.read_text() + f'"{dead}" = "{keys.server().key.decode()}"\n')
        ways = {
            "ipc": here,
            "one": addresses[0],
            "three": ",".join(addresses),
            "one of three is down": ",".join([*addresses[:2], dead]),
        }
        contenders = {}
        for what, address in ways.items():
            client = Client(address, key=path, release_at_exit=False)
            stack.callback(client.close)
            contenders[what] = _burst(client, receiver)
        results = interleaved(rounds, contenders)
    return [
        Figure(
            "hosts", "feed() to three supervisors over tcp beside one", ratio(results, "three", "one"), "times",
            at_most=THREE_TIMES_MAX, note=f"{median(results['three']):.0f} ns beside {median(results['one']):.0f}",
            data={"ns": results},
        ),
        Figure(
            "hosts", "the same with one of three down beside all up",
            ratio(results, "one of three is down", "three"), "times", at_most=DEAD_TIMES_MAX,
        ),
        Figure("hosts", "over tcp with a key beside a Unix socket", ratio(results, "one", "ipc"), "times"),
    ]  # fmt: skip


def _burst(client: Client, receiver: Child) -> Callable[[], float]:
    feed = client.watchdog("bench", 60.0, resolution=0).feed

    def run() -> float:
        start = time.thread_time_ns()
        for _ in repeat(None, BURST):
            feed()
        taken = time.thread_time_ns() - start
        receiver.ask()
        return taken / BURST

    for _ in range(3):
        run()
    return run


def _taken(rounds: int) -> list[Figure]:
    with Child("take", rounds, file="hosts") as child:
        results: dict[str, list[float]] = child.line()
    return [
        Figure(
            "hosts", "the supervisor's loop takes feeds with keys", 1e9 / median(results["tcp"]), "/s",
            at_least=TAKEN_PER_S_MIN, note=f"of its own host {1e9 / median(results['ipc']):,.0f}",
            data={"ns": results},
        ),
        Figure("hosts", "beside those of its own host", 100 * ratio(results, "ipc", "tcp"), "%"),
        Figure(
            "hosts", "the same, with what its other threads do for each feed",
            100 * ratio(results, "ipc_process", "tcp_process"), "%",
        ),
    ]  # fmt: skip


def _free_ports(count: int) -> list[int]:
    """So many ports of which the next two are free, too."""
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            with suppress(OSError, OverflowError):
                first = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
                for more in (1, 2):
                    stack.enter_context(socket.create_server(("127.0.0.1", first + more)))
                found.append(first)
    return found


def _keys(directory: Path, addresses: list[str]) -> tuple[KeyDirectory, Path]:
    """A supervisor's keys, and the file of a worker for these addresses."""
    keys = KeyDirectory(directory / "keys")
    keys.new("watch", server=True)
    path = keys.new("w")
    keys.allow("w", ["*"], None)
    public = keys.server().key.decode()
    path.write_text(path.read_text() + "[servers]\n" + "".join(f'"{each}" = "{public}"\n' for each in addresses))
    return keys, path


# -- processes beside -------------------------------------------------------------------------------


def _receive(keys: str, here: str, *ports: str) -> None:
    """Feed sockets that only take what comes, and say when nothing more does."""
    directory = KeyDirectory(keys)
    own = directory.server_pair()
    context: zmq.Context[Any] = zmq.Context()
    gate = KeyGate(context, frozenset(directory.allowed()), lambda host, key: None)
    sockets = []
    Path(here).mkdir(0o700)
    for endpoint in (resolve(here).feed, *(f"tcp://127.0.0.1:{port}" for port in ports)):
        sockets.append(context.socket(zmq.PULL))
        if endpoint.startswith("tcp"):
            prepare_server(sockets[-1], gate, (own.public, own.secret))
        sockets[-1].bind(endpoint)
    poller = zmq.Poller()
    for each in sockets:
        poller.register(each, zmq.POLLIN)
    say(ready=True)
    for _ in asked():
        while found := poller.poll(20):
            for each, _event in found:
                with suppress(zmq.Again):
                    while True:
                        each.recv(zmq.DONTWAIT)
        say(done=True)


def _fill(address: str, key: str) -> None:
    """Send known feeds over many connections: as many as is asked for."""
    context: zmq.Context[Any] = zmq.Context()
    sockets = []
    for _ in range(CONNECTIONS):
        each = context.socket(zmq.PUSH)
        found = resolve(address)
        if found.directory is None:
            tcp.prepare(each, found, load(key))
        each.setsockopt(zmq.IMMEDIATE, 1)
        each.connect(found.feed)
        sockets.append(each)
    for each in sockets:
        if not each.poll(10_000, zmq.POLLOUT):
            raise TimeoutError("nobody takes feeds there")
    frames = traffic.frames(Kind.FEED, traffic.names("hosts", NAMES), 3600.0)
    messages, to = cycle(frames), cycle(sockets)
    say(ready=True)
    for request in asked():
        for frame in islice(messages, request["messages"]):
            next(to).send(frame)
        say(done=True)


def _take(rounds: int) -> None:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(short_directory()))
        address = f"tcp://127.0.0.1:{_free_ports(1)[0]}"
        keys, path = _keys(directory, [address])
        here = str(directory / "s")
        results: dict[str, list[float]] = {"tcp": [], "ipc": [], "tcp_process": [], "ipc_process": []}
        supervisor = Supervisor(
            here, quotas=Quotas(2_000_000, 2_000_000, events_burst=10_000_000), listen=[address], keys=keys.path
        )
        supervisor._open()  # its loop without its thread: this thread turns it
        loop = supervisor._loop
        assert loop is not None
        for way, where in (("tcp", address), ("ipc", here)):  # each alone: of two, one would take the names over
            with Child("fill", where, path, file="hosts") as filler:
                _turn_until_said(loop, filler)
                for turn in range(rounds + 1):  # the first round has them known
                    before, taken = time.process_time_ns(), 0
                    for _ in range(MESSAGES // PORTION):
                        filler.ask(messages=PORTION)
                        _quiet()
                        taken += _drain_loop(loop, PORTION)
                    loop.driver.out.clear()
                    if turn:
                        results[way].append(taken / MESSAGES)
                        results[f"{way}_process"].append((time.process_time_ns() - before) / MESSAGES)
        if len(loop.driver.engine) != NAMES:
            raise RuntimeError(
                f"{len(loop.driver.engine)} watchdogs; refused {loop.driver.engine.admission.refused}"
            )
        supervisor._resources.close()
    say(**results)


def _turn_until_said(loop: Any, child: Child) -> None:
    """It connects meanwhile."""
    import select

    while not select.select([child.process.stdout], [], [], 0)[0]:
        loop._wait_and_drain(0.01, False)
    child.line()


if __name__ == "__main__":
    what, *given = sys.argv[1:]
    {"receive": _receive, "fill": _fill, "take": lambda rounds: _take(int(rounds))}[what](*given)
