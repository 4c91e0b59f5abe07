"""Processes of the standard library's pools, each with a watchdog, below a parent that is watched, too.

``python pools.py KIND [METHOD]``: it works until it is asked to end, and then ends in order.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import BaseContext

from signs import asked_to_end, connected

from banken import client

TIMEOUT = 30


def own_name() -> str:
    """A name that no other process of this program has."""
    return multiprocessing.current_process().name


def declare() -> None:
    """At the start of a process of a pool."""
    connected()
    client.watchdog(own_name(), TIMEOUT)


def work(number: int) -> int:
    """One task."""
    client.feed(own_name())
    time.sleep(0.01)
    return number


def feed_for_ever() -> None:
    """A process that has no end of its own."""
    dog = client.watchdog(own_name(), TIMEOUT)
    while True:
        dog.feed()
        time.sleep(0.02)


def load(number: int) -> None:
    """A worker of a data loader: one section a batch."""
    dog = client.watchdog(f"loader-{number}", TIMEOUT)
    while True:
        dog.feed()
        with client.section("load", timeout=TIMEOUT):
            time.sleep(0.02)


def pool(context: BaseContext) -> None:
    """``with Pool(2)``, whose end terminates its processes."""
    client.feed("parent")
    with context.Pool(2, initializer=declare) as workers:
        while not asked_to_end():
            workers.map(work, range(10))
            client.feed("parent")


def executor(context: BaseContext) -> None:
    """A ProcessPoolExecutor, whose end waits for its processes."""
    client.feed("parent")
    with ProcessPoolExecutor(2, context, initializer=declare) as workers:
        while not asked_to_end():
            list(workers.map(work, range(10)))
            client.feed("parent")


def daemon(context: BaseContext) -> None:
    """A daemonic process, which its parent terminates at its own end."""
    client.feed("parent")
    context.Process(target=feed_for_ever, daemon=True).start()
    while not asked_to_end():
        client.feed("parent")


def loader(context: BaseContext) -> None:
    """Two workers of a data loader, which are terminated in the middle of a section."""
    trainer = client.watchdog("parent", TIMEOUT)
    trainer.feed()
    workers = [context.Process(target=load, args=(number,), daemon=True) for number in (1, 2)]
    for each in workers:
        each.start()
    while not asked_to_end():
        trainer.feed()
    for each in workers:
        each.terminate()
    for each in workers:
        each.join()


if __name__ == "__main__":
    kinds = {"pool": pool, "executor": executor, "daemon": daemon, "loader": loader}
    kinds[sys.argv[1]](multiprocessing.get_context(sys.argv[2]))
