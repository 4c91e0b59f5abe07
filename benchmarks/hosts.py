"""Workers on other hosts: what several supervisors cost a worker, and what keys cost the supervisor.

*Sent*: ``Watchdog.feed()`` with ``resolution=0`` to one supervisor of this host, to one over tcp with a key, to
three over tcp, and to three of which one is down. They take turns in bursts shorter than any queue; only the time
of the worker's thread is counted, while the receivers, in another process, take what came.

*Taken*: CPU time of the supervisor's thread for feeds that it knows, over 20 connections with a key, beside the
same over its Unix sockets (as in intake.py). Its other threads (libzmq's, which decrypts) are in the second figure.

*Never waits*: each single ``feed()`` to three supervisors over tcp, in real time, while one of them is up, stopped
(SIGSTOP), dead, full (it accepts and reads nothing) or cut off (a port that answers nothing at all).

This file is also the processes that it needs beside it (``python benchmarks/hosts.py take|fill|receive|plain …``).
"""

from __future__ import annotations

import resource
import signal
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
from common import Child, Figure, asked, interleaved, percentile, ratio, say, short_directory
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
CURVE_TIMES_MAX = 1.1
TAKEN_PER_S_MIN, TAKEN_OF_IPC_MIN = 500_000, 30.0
"""Feeds a second, or else percent of what comes from the supervisor's own host."""

FEED_P999_MAX_MS = 1.0
CALLS, CALL_EVERY_S = 3_000, 0.0005

NAMES, CONNECTIONS, BURST = 1_000, 20, 400
MESSAGES = 100_000


def run(quick: bool) -> list[Figure]:
    """All figures of this benchmark."""
    return [*_sent(5 if quick else 15), *_plain(5 if quick else 15), *_waits(), *_taken(3 if quick else 9)]


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


def _plain(rounds: int) -> list[Figure]:
    """Two raw sockets, one with keys, for banken has none without: what CURVE costs the thread that sends."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(short_directory()))
        secret, plain = _free_ports(2)
        keys, path = _keys(directory, [f"tcp://127.0.0.1:{secret}"])
        receiver = stack.enter_context(Child("plain", keys.path, secret, plain, file="hosts"))
        receiver.line()
        context: zmq.Context[Any] = stack.enter_context(zmq.Context())
        contenders = {}
        for what, port in (("curve", secret), ("plain", plain)):
            each = stack.enter_context(context.socket(zmq.PUSH))
            each.setsockopt(zmq.LINGER, 0)
            if what == "curve":
                tcp.prepare(each, resolve(f"tcp://127.0.0.1:{port}"), load(path))
            each.connect(f"tcp://127.0.0.1:{port}")
            if not each.poll(10_000, zmq.POLLOUT):
                raise TimeoutError(f"{what}: nobody takes feeds there")
            contenders[what] = _raw_burst(each, receiver)
        results = interleaved(rounds, contenders)
    return [
        Figure(
            "hosts", "CURVE beside plain tcp, the worker's thread", ratio(results, "curve", "plain"), "times",
            at_most=CURVE_TIMES_MAX, data={"ns": results},
        )
    ]  # fmt: skip


def _raw_burst(to: zmq.Socket[bytes], receiver: Child) -> Callable[[], float]:
    frame = traffic.frames(Kind.FEED, ["bench"], 60.0)[0]

    def run() -> float:
        start = time.thread_time_ns()
        for _ in repeat(None, BURST):
            to.send(frame, zmq.DONTWAIT)
        taken = time.thread_time_ns() - start
        receiver.ask()
        return taken / BURST

    for _ in range(3):
        run()
    return run


def _waits() -> list[Figure]:
    """Of each call, with three destinations of which one is not well."""
    figures = []
    for state in ("up", "stopped", "dead", "full", "cut off"):
        with ExitStack() as stack:
            directory = Path(stack.enter_context(short_directory()))
            ports = _free_ports(4)
            addresses = [f"tcp://127.0.0.1:{port}" for port in ports]
            keys, path = _keys(directory, addresses)
            two = stack.enter_context(Child("receive", keys.path, directory / "a", *ports[:2], file="hosts"))
            one = stack.enter_context(Child("receive", keys.path, directory / "b", ports[2], file="hosts"))
            two.line(), one.line()
            third = addresses[2]
            if state == "cut off":  # a queue that is full: the kernel answers nothing more
                third = addresses[3]
                deaf = stack.enter_context(socket.socket())
                deaf.bind(("127.0.0.1", ports[3]))
                deaf.listen(0)
                for _ in range(4):
                    peer = stack.enter_context(socket.socket())
                    peer.setblocking(False)
                    peer.connect_ex(("127.0.0.1", ports[3]))
            client = Client(",".join([*addresses[:2], third]), key=path, release_at_exit=False)
            stack.callback(client.close)
            feed = client.watchdog("bench", 60.0, resolution=0).feed
            feed()
            if state == "stopped":
                one.process.send_signal(signal.SIGSTOP)
                stack.callback(one.process.send_signal, signal.SIGCONT)
            elif state == "dead":
                one.process.kill()
                one.process.wait()
            elif state == "full":  # it reads nothing until it is asked to: libzmq's queue there has no limit
                one.process.send_signal(signal.SIGSTOP)
                stack.callback(one.process.send_signal, signal.SIGCONT)
                while client.stats()["destinations"][2]["dropped"] == 0:
                    for _ in range(1_000):
                        feed()
                    two.ask()
            taken, every = [], []
            for number in range(CALLS):
                before = resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
                start = time.perf_counter_ns()
                feed()
                every.append((time.perf_counter_ns() - start) / 1e6)
                # Else the system gave its core to somebody else: that is no wait of the call.
                if resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw == before:
                    taken.append(every[-1])
                time.sleep(CALL_EVERY_S)
                if number % 1_000 == 0:
                    two.ask()
        figures.append(
            Figure(
                "hosts", f"feed() to three supervisors, one is {state}: p99.9", percentile(taken, 0.999), "ms",
                at_most=FEED_P999_MAX_MS,
                note=f"median {1000 * median(taken):.1f} µs, of {len(taken):,} calls without preemption; of all "
                f"{CALLS:,} {percentile(every, 0.999):.2g} ms",
            )
        )  # fmt: skip
    return figures


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
    of_ipc = 100 * ratio(results, "ipc", "tcp")  # one of the two is asked
    return [
        Figure(
            "hosts", "the supervisor's loop takes feeds with keys", 1e9 / median(results["tcp"]), "/s",
            at_least=None if of_ipc >= TAKEN_OF_IPC_MIN else TAKEN_PER_S_MIN,
            note=f"of its own host {1e9 / median(results['ipc']):,.0f}",
            data={"ns": results},
        ),
        Figure(
            "hosts", "beside those of its own host", of_ipc, "%",
            at_least=None if 1e9 / median(results["tcp"]) >= TAKEN_PER_S_MIN else TAKEN_OF_IPC_MIN,
        ),
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
    _take_all(poller)


def _receive_both(keys: str, secret: str, plain: str) -> None:
    """One socket with keys, one without."""
    directory = KeyDirectory(keys)
    own = directory.server_pair()
    context: zmq.Context[Any] = zmq.Context()
    gate = KeyGate(context, frozenset(directory.allowed()), lambda host, key: None)
    poller, sockets = zmq.Poller(), [context.socket(zmq.PULL), context.socket(zmq.PULL)]
    prepare_server(sockets[0], gate, (own.public, own.secret))
    for each, port in zip(sockets, (secret, plain), strict=True):
        each.bind(f"tcp://127.0.0.1:{port}")
        poller.register(each, zmq.POLLIN)
    _take_all(poller)


def _take_all(poller: zmq.Poller) -> None:
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
    {"receive": _receive, "plain": _receive_both, "fill": _fill, "take": lambda rounds: _take(int(rounds))}[what](
        *given
    )
