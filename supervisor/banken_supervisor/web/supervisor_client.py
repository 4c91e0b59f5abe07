"""Requests to the supervisor from asyncio: one thread owns the socket, and the event loop never waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

from banken.control import Control
from banken.errors import RequestFailed, Unreachable
from banken_supervisor.operator_client.supervisor_client import explained

ANSWER_S = 2.0
"""Seconds to wait for an answer, counted from the moment of the request."""

ANSWER_DOWN_S = 0.25
"""The same while no supervisor is connected, so that requests do not queue up behind each other in vain."""

CLOSE_S = 0.3
"""Seconds that the end waits for a request without an answer."""

WAITING_MAX = 1_000
"""Requests that wait for the thread; more are refused at once."""


class Busy(Unreachable):
    """More is requested than the supervisor answers."""


class _Request(NamedTuple):
    op: str
    args: dict[str, Any]
    then: Callable[[Any], Any] | None
    deadline: float
    answer: asyncio.Future[Any]


class AsyncSupervisorClient:
    """Requests to one supervisor. Made and used in a running event loop; ``close`` ends its thread."""

    def __init__(self, address: str) -> None:
        self.connected = True
        """set by the state cache; False shortens the wait for an answer"""
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._waiting: queue.Queue[_Request | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="banken-web-requests", daemon=True)
        self._thread.start()

    async def request(self, op: str, then: Callable[[Any], Any] | None = None, **args: Any) -> Any:
        """The answer, or what ``then`` makes of it on the client's thread. Unreachable, Busy, RequestFailed."""
        if self._waiting.qsize() >= WAITING_MAX:
            raise Busy(f"{WAITING_MAX} requests already wait for the supervisor; try again in a moment")
        answer: asyncio.Future[Any] = self._loop.create_future()
        wait = ANSWER_S if self.connected else ANSWER_DOWN_S
        self._waiting.put(_Request(op, args, then, monotonic() + wait, answer))
        return await answer

    def close(self) -> None:
        """End the thread after its current request."""
        self._waiting.put(None)
        self._thread.join(CLOSE_S)

    def _work(self) -> None:
        with Control(self._address) as control:
            while True:
                request = self._waiting.get()
                if request is None:
                    return
                if not request.answer.cancelled():
                    self._serve(control, request)

    def _serve(self, control: Control, request: _Request) -> None:
        control.timeout = request.deadline - monotonic()
        fault: Exception | None = None
        found: Any = None
        try:
            if control.timeout <= 0:
                raise Unreachable(f"the supervisor at {control.address.text} does not answer")
            found = control.request(request.op, **request.args)
            if request.then is not None:
                found = request.then(found)
        except Unreachable as down:
            wait = ANSWER_S if self.connected else ANSWER_DOWN_S
            fault = explained(down, control.address, wait)
        except RequestFailed as refused:
            fault = refused
        except Exception as strange:  # noqa: BLE001  # an answer of another version: report it, the thread goes on
            fault = RequestFailed(f"the supervisor's answer to {request.op} is not understood: {strange!r}"[:500])
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(_settle, request.answer, found, fault)


def _settle(answer: asyncio.Future[Any], found: Any, fault: Exception | None) -> None:
    if answer.done():  # the client went away
        return
    if fault is None:
        answer.set_result(found)
    else:
        answer.set_exception(fault)
