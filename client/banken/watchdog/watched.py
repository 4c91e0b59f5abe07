"""``client.watched``: each call of a function is work of a watchdog."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from banken.errors import Refused
from banken.protocol.messages import DEFAULT_INTERVAL, Declaration
from banken.watchdog.work import OpenWork, Work

Function = TypeVar("Function", bound=Callable[..., Any])


class WorkClient(Protocol):
    """What is used of a client (client/base_client.py)."""

    _states: dict[str | None, Any]

    def _declare(self, name: str, declaration: Declaration, resolution: float | None) -> Any: ...
    def _work_of(self, name: str) -> OpenWork: ...


def watched(client: WorkClient, name: str, limit: float) -> Callable[[Function], Function]:
    """The decorator; name and limit (seconds) are checked."""
    home = os.getpid()
    opened: tuple[int, OpenWork] | None = None

    def open_work() -> OpenWork:
        """The open work that a call in this process belongs to."""
        nonlocal opened
        found, pid = opened, os.getpid()
        if found is None or found[0] != pid or found[1].closed:
            own = name
            if name not in client._states:
                own = f"{name}@{pid}" if _is_child(home) else name
                if own not in client._states:
                    client._declare(own, Declaration(limit, min(limit, DEFAULT_INTERVAL), limit), None)
            opened = found = pid, client._work_of(own)
        return found[1]

    def decorate(function: Function) -> Function:
        given: object = function
        if inspect.isgeneratorfunction(given) or inspect.isasyncgenfunction(given):
            given = "a generator function"
        elif not callable(given):
            given = type(given).__name__
        if isinstance(given, str):
            instead = "use 'with watchdog.work(name, limit):' inside it"
            raise Refused(f"watched takes a function or a coroutine function, not {given}; {instead}")
        title = getattr(function, "__qualname__", type(function).__name__)
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def call(*args: Any, **options: Any) -> Any:
                with Work(open_work(), title, limit):
                    return await function(*args, **options)
        else:

            @functools.wraps(function)
            def call(*args: Any, **options: Any) -> Any:
                with Work(open_work(), title, limit):
                    return function(*args, **options)

        return call  # type: ignore[return-value]

    return decorate


def _is_child(home: int) -> bool:
    """Whether this process was forked since, or started by multiprocessing."""
    process = sys.modules.get("multiprocessing.process")
    return os.getpid() != home or (process is not None and process.parent_process() is not None)
