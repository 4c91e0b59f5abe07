"""Workers that hang: ``hang.py HANG ADDRESS dumps|no [ARGUMENT …]``. Each hang is a function below.

Each says its identity first; where it then hangs, the line carries the comment ``# here``.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import queue
import re
import signal
import socket
import sys
import threading
import time
from typing import Any

from banken import client
from banken.diagnostics.dumps import default_signal
from banken.process_identity import own_identity


def say(**what: Any) -> None:
    """One line to whoever started this process: who it is, and ``what``."""
    mine = own_identity()
    told = {"boot": mine.boot.hex(), "pid": mine.pid, "start": mine.start, "nonce": mine.nonce.hex(), **what}
    os.write(1, json.dumps(told).encode() + b"\n")


def two_locks() -> None:
    """Each of two threads holds the lock that the other wants."""
    first, second = threading.Lock(), threading.Lock()
    met = threading.Barrier(2)

    def other_way() -> None:
        with second:
            met.wait()
            first.acquire()  # here too

    threading.Thread(target=other_way, name="other\x1b[31m", daemon=True).start()
    with first:
        met.wait()
        say()
        take(second)


def take(lock: threading.Lock) -> None:
    """Wait for a lock that nobody gives back."""
    lock.acquire()  # here


def c_call() -> None:
    """A C function that holds the interpreter lock."""
    sleep = ctypes.PyDLL(None).sleep  # PyDLL: unlike CDLL, it keeps the lock
    say()
    hold_interpreter(sleep)


def hold_interpreter(sleep: Any) -> None:
    """A signal ends one sleep, so it sleeps again."""
    while True:
        sleep(600)  # here


def regex() -> None:
    """An expression that takes longer than the universe has."""
    say()
    match_for_ever("a" * 64 + "b")


def match_for_ever(text: str) -> None:
    """Backtracks."""
    re.match(r"(a+)+$", text)  # here


def waits() -> None:
    """Wait on an empty queue: what is stopped by the test."""
    say()
    wait_for_work(queue.Queue())


def wait_for_work(jobs: queue.Queue[int]) -> None:
    """Wait for a job that never comes."""
    jobs.get()  # here


def reads() -> None:
    """Read from a connection that says nothing."""
    server = socket.create_server(("127.0.0.1", 0))
    connection = socket.create_connection(server.getsockname())
    silent, _ = server.accept()
    say(peer=f"127.0.0.1:{server.getsockname()[1]}")
    connection.recv(1)  # here
    silent.close()


def spins() -> None:
    """Loop in Python."""
    say()
    while True:
        pass  # here


def task() -> None:
    """A task, two others further on, awaits a future that nobody sets."""
    asyncio.run(main_task())


async def main_task() -> None:
    """Waits for others, by gather and by a group."""
    async with asyncio.TaskGroup() as group:
        group.create_task(middle_task(), name="middle")
        asyncio.get_running_loop().call_later(0.05, say)


async def middle_task() -> None:
    """Waits for one that is done and one that is not."""
    await asyncio.gather(asyncio.sleep(0), inner_task())


async def inner_task() -> None:
    """Stuck in what it iterates over."""
    async for _ in items():
        pass


async def items() -> Any:
    """Yields nothing."""
    await fetch(asyncio.get_running_loop().create_future())
    yield 1


async def fetch(answer: asyncio.Future[int]) -> int:
    """Waits for an answer that never comes."""
    return await answer  # here


def crowd(count: str = "300") -> None:
    """Many threads with one stack, and one in a place of its own."""
    never = threading.Event()

    def idle() -> None:
        never.wait()

    for number in range(int(count) - 1):
        threading.Thread(target=idle, name=f"pool-{number}", daemon=True).start()

    def odd_one_out() -> None:
        never.wait()  # here too

    threading.Thread(target=odd_one_out, daemon=True).start()
    while len(never._cond._waiters) < int(count):  # type: ignore[attr-defined]  # each stands there before it waits
        time.sleep(0.01)
    say()
    never.wait()  # here


def deep() -> None:
    """A thousand frames of long names, not of ASCII."""
    text = "def {0}(n):\n    return {0}(n - 1) if n else wait_there()\n"
    name = "tief_ä_" + "n" * 200
    space: dict[str, Any] = {"wait_there": wait_there}
    exec(text.format(name), space)
    sys.setrecursionlimit(3000)
    say()
    space[name](900)


def wait_there() -> None:
    """Sleep."""
    time.sleep(600)  # here


def forks(dumps: str = "") -> None:
    """Parent and child wait, each in a place of its own."""
    if os.fork() == 0:
        say(child=True)
        child_waits()
    os.wait()  # here


def child_waits() -> None:
    """In the child."""
    time.sleep(600)  # here too


def zombie() -> None:
    """A child that has ended and is not collected."""
    pid = os.fork()
    if pid == 0:
        say(child=True)
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


def leaves() -> None:
    """End when told to."""
    say()
    sys.stdin.readline()


def execs() -> None:
    """Become another program, of the same pid and start time, that catches the signal for its own ends."""
    say()
    script = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGRTMIN + 5, lambda *_: os._exit(7))\n"
        "os.write(1, b'{}\\n')\n"
        "sys.stdin.readline()\n"
    )
    os.execv(sys.executable, [sys.executable, "-c", script])


def own_handler() -> None:
    """A program that uses the signal itself."""
    signal.signal(default_signal(), lambda *_: os._exit(7))
    say(enabled=client.enable_dumps())
    sys.stdin.readline()  # here


def takes_over() -> None:
    """A program that uses the signal itself, and says so only after dumps were enabled."""
    signal.signal(default_signal(), lambda *_: os._exit(7))
    say()
    sys.stdin.readline()  # here


def resets() -> None:
    """A worker of a server that resets all signals when it begins, after dumps were enabled."""
    pid = os.fork()
    if pid == 0:
        for number in (signal.SIGUSR1, signal.SIGUSR2, default_signal()):
            signal.signal(number, signal.SIG_DFL)
        say()
    sys.stdin.readline()  # here


def comes_back() -> None:
    """Its announcement is taken away; the thread makes it again."""
    from banken.diagnostics import dumps

    dumps.KEEP_S = 0.05
    say(enabled=client.enable_dumps())
    time.sleep(600)


if __name__ == "__main__":
    work, address, dumping, *rest = sys.argv[1:]
    client.connect(address)
    if dumping == "dumps":
        assert client.enable_dumps(), "dumps could not be enabled"
    elif dumping == "signal":
        assert client.enable_dumps(ask=False), "dumps could not be enabled"
    globals()[work](*rest)
