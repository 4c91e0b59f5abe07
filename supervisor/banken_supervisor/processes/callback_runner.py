"""The process in which the functions of [callbacks], and a user's own actions, run. It is started by
``actions/callback_process.py``.

Its stdin is a socket to the supervisor, on which both sides send msgpack arrays. The first one that comes is the
task: what to import, and where from. The answer is by name why a function cannot be used. After that each request,
``[number, name, incident]``, is one call on a thread of its own, and its answer ``[number, line, trace, result]``,
with nothing in line and trace if the function returned.

For an action the request has bytes in place of the incident, and while it runs there may be questions,
``[number, nil, "", question]``, and what the supervisor says to it, ``[number, nil, [kind, data]]``.

The process ends with the socket. It is killed when the supervisor's thread that started it ends, so that a function
that holds the interpreter's lock does not outlive the supervisor either.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import pkgutil
import resource
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from math import inf
from queue import SimpleQueue
from typing import Any

import msgpack

from banken.errors import CallbackRefused
from banken.protocol.incidents import Cause, Incident
from banken.protocol.limits import encodable
from banken.threads import NO_THREAD, start_daemon
from banken.watchdog.callback_invocation import Run, taking_incident
from banken_supervisor.processes.death_signal import end_with
from banken_supervisor.processes.incident_end import IncidentEnd, StopReason

MESSAGE_MAX = 8 * 1024 * 1024
"""Bytes of one message: a task names all functions of a config."""

TRACE_MAX = 8192
"""Characters of a traceback that are sent; the end says most."""

LINE_MAX = 300
"""Characters of the line that says what an exception is."""

NO_CONNECTION, NO_MODULES, LOWER_LIMITS = 113, 114, 115
"""Exit statuses of a process that a callback made useless for the others: it closed or replaced the connection,
emptied ``sys.modules``, or lowered a limit (ulimit) of the process."""

REPLY, STOP = range(2)
"""What the supervisor says to an action that runs: the answer to its question; why it must stop waiting."""

_LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]


def found(target: str, directory: str) -> Any:
    """The object that ``module:name`` names. Whatever its module raises passes through."""
    if directory not in sys.path:
        sys.path.append(directory)  # last, so that a file beside the config never hides an installed module
    return pkgutil.resolve_name(target)


def why_not_found(fault: BaseException) -> str:
    """One line for what an import raised."""
    line = " ".join(traceback.format_exception_only(fault)[-1].split())
    return f"cannot be imported: {encodable(line[:LINE_MAX])}"


def bound(target: str, directory: str) -> Run | str:
    """The function that ``module:name`` names, taking an incident; or why it is no callback."""
    try:
        return taking_incident(found(target, directory))
    except CallbackRefused as fault:
        return str(fault)
    except BaseException as fault:  # noqa: BLE001  # a module may raise SystemExit too
        return why_not_found(fault)


def acting(target: str, directory: str, perform: str) -> Callable[..., Any] | str:
    """What runs the action that ``module:Class`` names, by the function ``perform``; or why nothing does."""
    try:
        return partial(pkgutil.resolve_name(perform), found(target, directory))
    except BaseException as fault:  # noqa: BLE001  # a module may raise SystemExit too
        return why_not_found(fault)


class Talk:
    """What one run of an action says to the supervisor, and hears of it. ``send``: sends a question."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.ended = IncidentEnd()
        self._send = send
        self._asking = threading.Lock()
        self._replies: SimpleQueue[bytes] = SimpleQueue()

    def ask(self, question: bytes) -> bytes:
        """The answer to a question; one at a time, from any thread."""
        with self._asking:
            self._send(question)
            return self._replies.get()

    def hear(self, kind: int, data: bytes) -> None:
        """The supervisor has said this."""
        if kind == REPLY:
            self._replies.put(data)
        else:
            self.ended.end(StopReason(data.decode()))


class Runner:
    """Answers the requests of one connection until it ends."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._messages = msgpack.Unpacker(max_buffer_size=MESSAGE_MAX)
        self._bound: dict[str, Callable[..., Any]] = {}
        self._talks: dict[int, Talk] = {}
        """by number, of each action that runs"""
        self._requests: SimpleQueue[Any] = SimpleQueue()
        self._idle = 0
        """threads that wait for a request which is not on its way"""
        # A child that a callback forks must not hold the connection open.
        os.register_at_fork(after_in_child=connection.close)

    def prepare(self) -> bool:
        """Do what the task says, on the main thread, as modules expect to be imported. False: there is none."""
        task = self._next()
        if task is None:
            return False
        end_with(task["parent"])
        sys.path[:] = task["path"]
        if task["setup"]:
            target, arguments = task["setup"]
            pkgutil.resolve_name(target)(**arguments)
        made = {name: bound(target, task["directory"]) for name, target in task["callbacks"].items()}
        made |= {
            name: acting(target, task["directory"], task["perform"]) for name, target in task["actions"].items()
        }
        self._end_if_forked()
        self._bound = {name: run for name, run in made.items() if not isinstance(run, str)}
        self._limits = _limits()
        self._send({name: why for name, why in made.items() if isinstance(why, str)})
        return True

    def serve(self) -> None:
        """Call what is asked for until the connection ends."""
        while (request := self._next()) is not None:
            if request[1] is None:
                if (talk := self._talks.get(request[0])) is not None:
                    talk.hear(*request[2])
                continue
            if isinstance(request[2], bytes):
                self._talks[request[0]] = Talk(partial(self._question, request[0]))
            with self._lock:
                free = self._idle > 0
                self._idle -= free
            if free or start_daemon(self._work, f"banken-callback-{request[0]}") is not None:
                self._requests.put(request)
            else:
                self._send([request[0], NO_THREAD, "", b""])

    def _work(self) -> None:
        while True:
            self._call(*self._requests.get())
            with self._lock:
                self._idle += 1

    def _call(self, number: int, name: str, what: Any) -> None:
        line = trace = ""
        result = None
        try:
            if isinstance(what, bytes):
                result = self._bound[name](what, self._talks[number])
            else:
                self._bound[name](Incident(*what)._replace(cause=Cause(what[2])))
        except BaseException as fault:  # noqa: BLE001  # SystemExit and KeyboardInterrupt too
            line, trace = _described(fault)
        self._end_if_forked()
        if "sys" not in sys.modules:  # no import works any more
            os._exit(NO_MODULES)
        if any(now < before for now, before in zip(_limits(), self._limits, strict=True)):
            os._exit(LOWER_LIMITS)
        self._talks.pop(number, None)
        self._send([number, line, trace, result])

    def _question(self, number: int, question: bytes) -> None:
        self._end_if_forked()
        self._send([number, None, "", question])

    def _end_if_forked(self) -> None:
        """A callback forked, and its child came back here: it is nobody's."""
        if os.getpid() != self._process:
            os._exit(0)

    def _next(self) -> Any:
        """The next message; None: the connection has ended."""
        while True:
            with contextlib.suppress(msgpack.OutOfData):
                return self._messages.unpack()
            try:
                data = self._connection.recv(65536)
            except OSError:
                os._exit(NO_CONNECTION)
            if not data:
                return None
            self._messages.feed(data)

    def _send(self, message: object) -> None:
        try:
            with self._lock:
                self._connection.sendall(msgpack.packb(message))
        except BrokenPipeError:
            os._exit(0)  # the supervisor has no use for it
        except OSError:
            os._exit(NO_CONNECTION)


def _limits() -> list[float]:
    """All limits of this process, soft and hard."""
    values = [value for number in _LIMITS for value in resource.getrlimit(number)]
    return [inf if value == resource.RLIM_INFINITY else value for value in values]


def _described(fault: BaseException) -> tuple[str, str]:
    """(what was raised, in one line, its traceback). Its text is a user's: even that may raise anything."""
    try:
        line = " ".join("".join(traceback.format_exception_only(fault)).split())
        within = fault.__traceback__
        trace = "".join(traceback.format_exception(type(fault), fault, within and within.tb_next))
        return encodable(line[:LINE_MAX]), encodable(trace[-TRACE_MAX:])
    except BaseException:  # noqa: BLE001
        return type(fault).__name__, ""


def main() -> None:
    """Serve the socket that is our stdin."""
    connection = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    # The supervisor ends this process, and lets its callbacks end before: a service manager that stops both signals
    # both. A handler, for commands that are started here do not inherit it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: None)
    sys.argv = ["banken"]
    if isinstance(sys.stdout, io.TextIOWrapper):  # what callbacks print is to be in a file at once
        sys.stdout.reconfigure(line_buffering=True)
    with contextlib.suppress(Exception):  # there is no stderr
        faulthandler.enable()  # the log then says where it crashed
    runner = Runner(connection)
    if not runner.prepare():
        return
    # The main thread waits: a callback may interrupt it, and only it can.
    serving = start_daemon(runner.serve, "banken-requests")
    while serving is not None and serving.is_alive():
        with contextlib.suppress(BaseException):
            serving.join()


if __name__ == "__main__":
    main()
