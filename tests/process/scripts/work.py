"""Worker processes: ``work.py WORK ADDRESS [ARGUMENT …]``. Each work is a function below."""

from __future__ import annotations

import gc
import importlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import Any

from connected import connected

from banken import client
from banken.address import directory_of_user
from banken.client import Client


def say(what: Any) -> None:
    """One line to whoever started this process; whole, whoever else writes."""
    os.write(1, json.dumps(what).encode() + b"\n")


def told() -> str:
    """Wait for a line."""
    return sys.stdin.readline().strip()


def feeder(address: str, name: str, timeout: str, every: str, feeders: str = "latest") -> None:
    """Feed one name until killed."""
    mine = Client(address)
    dog = mine.watchdog(name, timeout=float(timeout), interval=60, feeders=feeders, resolution=0)
    known = False
    while True:
        dog.feed()
        if not known and mine.stats()["sent"]:
            known = True
            say({"fed": name})
        time.sleep(float(every))


def become(uid: int) -> None:
    """Be this user from now on, as a program with ``user`` is."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


def other_user(address: str, uid: str, names: str, timeout: str, every: str, dumps: str = "") -> None:
    """As the user ``uid``: feed these names, separated by commas, until killed; with ``dumps`` it can be looked at.

    All is imported before: that user may not read where it comes from.
    """
    for module in ("ctypes", "fcntl", "banken.diagnostics.dumps", "banken.watchdog.remote_timer"):
        importlib.import_module(module)
    become(int(uid))
    os.environ["BANKEN_ADDRESS"] = directory_of_user(address, int(uid))
    if dumps:
        client.connect(os.environ["BANKEN_ADDRESS"])
        say({"dumps": client.enable_dumps()})
    mine = Client()
    dogs = [mine.watchdog(name, timeout=float(timeout), interval=60, resolution=0) for name in names.split(",")]
    known = False
    while True:
        for dog in dogs:
            dog.feed()
        if not known and mine.stats()["sent"]:
            known = True
            say({"fed": names})
        time.sleep(float(every))


def waits(address: str, name: str) -> None:
    """Feed one name once, on a line."""
    say({"pid": os.getpid()})
    told()
    mine = connected(Client(address))
    mine.feed(name)
    say(mine.stats())
    told()


def herd(address: str, count: str, timeout: str, every: str) -> None:
    """That many processes, forked, each feeding a name of its own, ``w-0`` and so on, until killed."""
    pids = []
    for number in range(int(count)):
        pid = os.fork()
        if pid == 0:
            dog = Client(address).watchdog(f"w-{number}", timeout=float(timeout), interval=60)
            while True:
                dog.feed()
                time.sleep(float(every))
        pids.append(pid)
    say({"pids": pids})
    for pid in pids:
        os.waitpid(pid, 0)


def hot(address: str, calls: str, names: str, there: str = "", then: str = "") -> None:
    """Connect; on a line feed as fast as it goes and say what that cost; on another end normally.

    ``there``: a supervisor takes messages at first; ``then``: it does so after the burst. Both are waited for.
    """
    mine = client
    mine.connect(address)
    if there:
        connected()
    began = time.perf_counter()
    mine.feed("first")
    first = time.perf_counter() - began
    dogs = [mine.watchdog(f"hot-{n}", timeout=3600, resolution=0) for n in range(int(names))]
    say({"first": first, **mine.stats()})
    told()
    clock = time.perf_counter_ns
    spent = []
    for number in range(int(calls)):
        dog = dogs[number % len(dogs)]
        began_ns = clock()
        dog.feed()
        spent.append(clock() - began_ns)
    spent.sort()
    time.sleep(0.2)  # a stats() right after the burst would only show that libzmq's thread is still busy
    deadline = time.monotonic() + 5.0
    while mine.stats()["reachable"] != bool(then) and time.monotonic() < deadline:
        time.sleep(0.01)
    say(
        {
            "median": spent[len(spent) // 2] / 1e9,
            "p999": spent[int(len(spent) * 0.999)] / 1e9,
            "max": spent[-1] / 1e9,
            **mine.stats(),
        }
    )
    told()


def declares(address: str, names: str) -> None:
    """Declare that many watchdogs, and say how long that took in all."""
    began = time.perf_counter()
    for number in range(int(names)):
        client.connect(address) if not number else None
        client.watchdog(f"d-{number}", timeout=3600)
    say({"seconds": time.perf_counter() - began})


def flood(address: str, name: str) -> None:
    """Feed one name as fast as it goes, until killed; on a line say how many there were."""
    mine = Client(address)
    dog = mine.watchdog(name, timeout=1, interval=60, resolution=0)
    dog.feed()
    say({"fed": name})

    def report() -> None:
        while told():
            say(mine.stats())

    threading.Thread(target=report, daemon=True).start()
    while True:
        dog.feed()


# -- forks -------------------------------------------------------------------------------------------


def fork(address: str, childs: str, feeders: str, seconds: str) -> None:
    """Feed ``parent``, fork, feed ``parent`` on; the child feeds ``childs``. Both say what it cost."""
    mine = connected(Client(address))
    dog = mine.watchdog("parent", timeout=1.5, interval=60, feeders=feeders, resolution=0)
    dog.feed()
    pid = os.fork()
    who = "parent" if pid else "child"
    if not pid:
        idle = time.process_time()
        time.sleep(0.3)  # with the parent's sockets in hand: their threads are not here
        idle = time.process_time() - idle
        dog = connected(mine).watchdog(childs, timeout=1.5, interval=60, feeders=feeders, resolution=0)
    began, calls = time.process_time(), 0
    deadline = time.monotonic() + float(seconds)
    while time.monotonic() < deadline:
        dog.feed()
        calls += 1
        time.sleep(0.02)
    spent = time.process_time() - began
    report = {"who": who, "pid": os.getpid(), "calls": calls, "cpu": spent, **mine.stats()}
    say(report if pid else {**report, "idle_cpu": idle})
    told()
    os._exit(0)


def fork_storm(address: str, forks: str) -> None:
    """Fork again and again while other threads are inside feed(); each child feeds a name of its own."""
    mine = connected(Client(address))
    dog = mine.watchdog("busy", timeout=60, interval=60, resolution=0)
    dog.feed()
    ending = threading.Event()

    def hammer() -> None:
        while not ending.is_set():
            dog.feed()
            mine.feed("busy-too", status=str(time.monotonic()))

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    slowest = 0.0
    for number in range(int(forks)):
        pid = os.fork()
        if pid == 0:
            patience = time.monotonic() + 3  # on a busy machine one wait for the connection is not always enough
            while mine.stats()["sent"] == 0 and time.monotonic() < patience:
                mine.feed(f"kid-{number}")
            mine.close()  # os._exit would not let the message leave
            os._exit(0 if mine.stats()["sent"] == 1 else 3)
        began = time.monotonic()
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() - began > 5:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)
        slowest = max(slowest, time.monotonic() - began)
    ending.set()
    for thread in threads:
        thread.join()
    say({"slowest": slowest})
    told()


def _feed_once(address: str, name: str) -> None:
    client.connect(address)
    while not client.stats()["sent"]:  # on a busy machine one wait for the connection is not always enough
        client.feed(name)


def pools(address: str) -> None:
    """A child by each start method of multiprocessing, after the parent has fed; the children end normally."""
    client.connect(address)
    connected().feed("pool-parent")
    done = {}
    for method in ("fork", "spawn", "forkserver"):
        began = time.monotonic()
        child = multiprocessing.get_context(method).Process(
            target=_feed_once, args=(address, f"pool-{method}"), name=method
        )
        child.start()
        child.join(10)
        done[method] = (child.pid, child.exitcode, time.monotonic() - began)
    say(done)
    told()


def _feed_and_raise(address: str) -> None:
    _feed_once(address, "pool-child")
    raise RuntimeError("in the child")


def pool_raises(address: str, method: str) -> None:
    """A child by one start method of multiprocessing that an exception ends."""
    client.connect(address)
    connected().feed("pool-parent")
    child = multiprocessing.get_context(method).Process(target=_feed_and_raise, args=(address,))
    child.start()
    child.join(10)
    say({"exitcode": child.exitcode})
    told()


# -- threads and signals -----------------------------------------------------------------------------


def threads(address: str, count: str, seconds: str) -> None:
    """That many threads in one client, feeding one name as fast as it goes."""
    mine = connected(Client(address))
    dog = mine.watchdog("hard", timeout=3600, resolution=0)
    deadline = time.monotonic() + float(seconds)
    calls = [0] * int(count)

    def hammer(number: int) -> None:
        while time.monotonic() < deadline:
            dog.feed()
            calls[number] += 1

    running = [threading.Thread(target=hammer, args=(n,)) for n in range(int(count))]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    say({"calls": sum(calls), **mine.stats()})
    told()


def interrupted(address: str, seconds: str) -> None:
    """Feed in a loop while a signal handler feeds the same name."""
    mine = Client(address)
    calls = {"handler": 0, "loop": 0}

    def on_alarm(number: int, frame: object) -> None:
        calls["handler"] += 1
        mine.feed("both", status=str(calls["handler"]))
        if not ending:  # armed again only now: on a slow machine handlers would pile up inside each other
            signal.setitimer(signal.ITIMER_REAL, 0.0005)

    ending: list[bool] = []
    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    began = time.monotonic()
    mine.feed("first")
    first = time.monotonic() - began
    deadline = time.monotonic() + float(seconds)
    while time.monotonic() < deadline:
        calls["loop"] += 1
        mine.feed("both", status=f"loop {calls['loop']}")
    ending.append(True)
    signal.setitimer(signal.ITIMER_REAL, 0)
    say({**calls, "first": first, "calls": sum(calls.values()) + 1, **mine.stats()})
    told()


# -- ends --------------------------------------------------------------------------------------------


def ends(address: str, name: str, how: str) -> None:
    """Feed one name and, on a line, end: by falling off the end, sys.exit, an exception or a function's end."""
    client.connect(address)
    dog = connected().watchdog(name, timeout=60, interval=60)
    dog.feed()
    say(client.stats())
    told()
    if how == "exit":
        sys.exit(4)
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "raise":
        raise RuntimeError("on purpose")
    if how == "raise-long":
        raise RuntimeError("on purpose " * 1000 + "the end")


def once(address: str, name: str) -> None:
    """A short job: feed once, say whether that was sent, and on a line end."""
    client.connect(address)
    client.feed(name)
    say(client.stats())
    told()


def ends_full(address: str, name: str) -> None:
    """Feed as fast as it goes until a feed finds no room, and end at once."""
    client.connect(address)
    dog = connected().watchdog(name, timeout=60, interval=60, resolution=0)
    while not client.stats()["dropped"]:
        for _ in range(200):
            dog.feed()
    for _ in range(3000):
        dog.feed()
    say(client.stats())


def ends_local(address: str, name: str) -> None:
    """As ``ends``, but its client is a local variable, gone before the interpreter ends."""
    mine = connected(Client(address))
    mine.watchdog(name, timeout=60, interval=60).feed()
    say(mine.stats())
    told()


def section(address: str) -> None:
    """A section that is open when its supervisor is stopped, and ends while the queue is full."""
    mine = connected(Client(address))
    with mine.section("part", timeout=15.0) as part:
        say({"name": part.name})
        told()
        dog = mine.watchdog("filler", timeout=3600, resolution=0)
        refused = 0
        while refused < 50:
            before = mine.stats()["dropped"]
            dog.feed()
            if mine.stats()["dropped"] > before:
                refused += 1
                time.sleep(0.005)
            else:
                refused = 0
    say(mine.stats())
    while True:
        dog.feed()
        time.sleep(0.05)


def cycle(address: str) -> None:
    """A client that is part of a reference cycle, and becomes garbage."""

    class Owner:
        def __init__(self) -> None:
            self.client = Client(address)
            self.client.feed("cycle")
            self.handlers = {"work": self.work}

        def work(self) -> None:
            self.client.feed("cycle")

    owner = Owner()
    owner.work()
    del owner
    say({"feeding": True})
    gc.collect()
    say({"collected": True})


def closes(address: str) -> None:
    """Feed, close the client, feed again."""
    mine = connected(Client(address))
    dog = mine.watchdog("closed", timeout=60, resolution=0)
    dog.feed()
    mine.close()
    say(mine.stats())
    told()
    while mine.stats()["sent"] < 2:  # on a busy machine one wait for the connection is not always enough
        dog.feed()
    mine.feed("closed-too")
    say(mine.stats())
    told()


# -- callbacks ---------------------------------------------------------------------------------------


def calls_back(address: str, name: str, timeout: str, interval: str, when: str) -> None:
    """Declare a watchdog with a callback in this process, feed it once, and let the main thread hang.

    ``when``: "first" declares with the callback, "late" sets it on a line, "closed" after a close().
    """
    mine = connected(Client(address))

    def bark(incident: Any) -> None:
        say({"pid": os.getpid(), "run": incident.run, "incident": incident.id, "cause": incident.cause})

    dog = mine.watchdog(
        name, timeout=float(timeout), interval=float(interval), callback=None if when == "late" else bark
    )
    dog.feed()
    if when == "closed":
        mine.close()
        connected(mine)
        dog.feed()
    say(mine.stats())
    if when == "late":
        told()
        dog.set_callback(bark)
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()  # the main thread hangs, as a deadlocked worker's would


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
