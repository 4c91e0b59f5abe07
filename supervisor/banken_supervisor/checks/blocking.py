"""Calls that may block for ever (a look at a file of a dead mount, a look-up of a name), on threads of their own.

No thread can be ended from outside. So each call has a key, and while one with this key runs, others wait for the
same result: what is stuck holds one thread, however often it is asked. A thread ends with its call.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, TypeVar

from banken.threads import start_daemon
from banken_supervisor.checks.outcome import NotRunError

T = TypeVar("T")

THREADS_MAX = 64
"""Calls that run at once. A further one is not begun: all others are stuck."""

NAMES_MAX = 32
"""Of these, look-ups of names: while no DNS server answers, threads are left for what is looked at on this host."""

NAME = "name"
"""The first part of the key of a look-up of a name."""

_running: dict[tuple[asyncio.AbstractEventLoop, tuple[Hashable, ...]], asyncio.Future[Any]] = {}


async def call(key: tuple[Hashable, ...], function: Callable[[], T]) -> T:
    """The result of the function, which runs on a thread. Cancelling does not end the thread. NotRunError: no
    thread is left."""
    loop = asyncio.get_running_loop()
    place = loop, key
    if (future := _running.get(place)) is None:
        for ended in [each for each in _running if each[0].is_closed()]:
            del _running[ended]  # nobody takes its result
        names = sum(other[0] == NAME for _, other in _running)
        if len(_running) >= THREADS_MAX or (key[0] == NAME and names >= NAMES_MAX):
            which = f"{names} look-ups of names" if key[0] == NAME else f"{len(_running)} looks at files and names"
            raise NotRunError(errno.EAGAIN, f"{which} have not come back: this one is not begun")
        future = loop.create_future()
        if start_daemon(_run, "banken-look", loop, future, function) is None:
            raise NotRunError(errno.EAGAIN, "the system has no thread left")
        _running[place] = future  # not before: nobody is to wait for one that was not begun
        # Of a result that nobody waits for any more, nothing is said.
        future.add_done_callback(lambda done: _running.pop(place, None) and done.exception() and None)
    return await asyncio.shield(future)


async def reach(*paths: str) -> None:
    """Return when the file systems of these paths answer. What then holds the loop (a connect, the start of a
    command) does so for as long as that takes: on a dead mount for ever."""
    for path in paths:
        try:
            await call(("file", path), partial(os.stat, path))
        except NotRunError:
            raise
        except OSError:
            pass  # an answer, too


def _run(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], function: Callable[[], Any]) -> None:
    result: Any = None
    fault: BaseException | None = None
    try:
        result = function()
    except BaseException as raised:  # noqa: BLE001  # it belongs to whoever waits
        fault = raised
    with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
        loop.call_soon_threadsafe(_finish, future, result, fault)


def _finish(future: asyncio.Future[Any], result: Any, fault: BaseException | None) -> None:
    if future.done():
        return
    if fault is None:
        future.set_result(result)
    else:
        future.set_exception(fault)
