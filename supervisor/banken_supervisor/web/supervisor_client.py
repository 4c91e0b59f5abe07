"""Requests to the supervisor from asyncio: one thread owns the socket, and the event loop never waits for it."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Any

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


class AsyncSupervisorClient:
    """Requests to one supervisor. Made and used in a running event loop; ``close`` ends its thread."""

    def __init__(self, address: str) -> None:
        self.connected = True
        """set by the state cache; False shortens the wait for an answer"""
        self._address = address
        self._waiting: queue.SimpleQueue[Callable[[Control], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="banken-web-requests", daemon=True)
        self._thread.start()

    async def request(self, op: str, then: Callable[[Any], Any] | None = None, **args: Any) -> Any:
        """The answer, or what ``then`` makes of it on the client's thread. Unreachable, Busy, RequestFailed."""
        if self._waiting.qsize() >= WAITING_MAX:
            raise Busy(f"{WAITING_MAX} requests already wait for the supervisor; try again in a moment")
        answer: Future[Any] = Future()
        wait = ANSWER_S if self.connected else ANSWER_DOWN_S
        deadline = monotonic() + wait

        def serve(control: Control) -> None:
            if not answer.set_running_or_notify_cancel():
                return
            control.timeout = deadline - monotonic()
            try:
                if control.timeout <= 0:
                    raise Unreachable(f"the supervisor at {control.address.text} does not answer")
                found = control.request(op, **args)
                answer.set_result(found if then is None else then(found))
            except Unreachable as down:
                answer.set_exception(explained(down, control.address, wait))
            except RequestFailed as refused:
                answer.set_exception(refused)
            except Exception as strange:  # noqa: BLE001  # an answer of another version: the thread goes on
                fault = f"the supervisor's answer to {op} is not understood: {strange!r}"[:500]
                answer.set_exception(RequestFailed(fault))

        self._waiting.put(serve)
        return await asyncio.wrap_future(answer)

    def close(self) -> None:
        """End the thread after its current request."""
        self._waiting.put(None)
        self._thread.join(CLOSE_S)

    def _work(self) -> None:
        with Control(self._address) as control:
            while (serve := self._waiting.get()) is not None:
                serve(control)
