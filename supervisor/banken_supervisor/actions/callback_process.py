"""One process in which callbacks run (processes/callback_runner.py), and its thread here.

The thread starts the process, takes its answers, and collects it. When it ends, for whatever reason, every call in
it fails and says how it ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import count
from queue import Empty, SimpleQueue
from threading import Condition, Event, Lock
from time import monotonic
from typing import Any, Protocol

import msgpack

from banken.protocol.incidents import Incident
from banken.threads import NO_THREAD, start_daemon
from banken_supervisor.engine.exit_status import exit_text, signal_name
from banken_supervisor.engine.policy import ProcessAttributes
from banken_supervisor.processes import callback_runner, launch, own_modules
from banken_supervisor.processes.incident_end import StopReason

END_S = 1.0
"""Seconds that a process has to end in order once its connection has ended; then it is killed."""

POLL_S = 1.0
"""Seconds between two looks at the process where the system has no pidfd."""

IMPORT_LIMIT_S = 60.0
"""Seconds that all its imports may take."""

ANSWER_MAX = 4 * 1024 * 1024
"""Bytes of one answer: of an action it has as much data as an event may have (text/sanitize.py)."""

NOTICE_S = 0.1
"""Seconds between two looks whether an action that runs is to be told something."""

_REASONS = {
    callback_runner.NO_CONNECTION: "a callback in it closed or replaced its connection to the supervisor",
    callback_runner.NO_MODULES: "a callback in it emptied sys.modules",
    callback_runner.LOWER_LIMITS: "a callback in it lowered a limit of the process",
}


class CallbackFailed(Exception):
    """A callback raised, or its process ended. The text is one line."""

    def __init__(self, line: str, trace: str = "", data: Mapping[str, Any] | None = None) -> None:
        super().__init__(line)
        self.trace = trace or line
        """the traceback, from the other process"""
        self.data = dict(data or {})
        """how the process ended: ``status`` or ``signal``"""


class Conversation(Protocol):
    """What the supervisor says to an action that runs in another process."""

    def answer(self, question: bytes) -> bytes:
        """The answer to a question of its. It may take long."""

    def notice(self) -> StopReason | None:
        """What it is to be told, once: why it must stop waiting; None: nothing yet."""


class Call:
    """One run of a callback, or of an action. The fields belong to the lock of ``CallbackProcesses``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process: CallbackProcess | None = None
        """None: it waits for one"""
        self.number = 0
        """in that process"""
        self.over = Event()
        self.fault: BaseException | None = None
        self.result = b""
        """what an action returned"""
        self.asked: SimpleQueue[bytes | None] = SimpleQueue()
        """questions of an action; None: it is over"""

    def end(self, fault: BaseException | None = None) -> None:
        """It has ended; only the first end counts."""
        if not self.over.is_set():
            self.fault = fault
            self.over.set()
            self.asked.put(None)

    def talk(self, with_it: Conversation) -> None:
        """Answer its questions until it is over."""
        told = False
        while not self.over.is_set():
            with contextlib.suppress(Empty):
                question = self.asked.get(timeout=None if told else NOTICE_S)
                if question is not None:
                    self._say(callback_runner.REPLY, with_it.answer(question))
            notice = None if told else with_it.notice()
            if notice is not None:
                told = True
                self._say(callback_runner.STOP, notice.encode())

    def _say(self, kind: int, data: bytes = b"") -> None:
        if self.process is not None:
            self.process.send(msgpack.packb([self.number, None, [kind, data]]))


class CallbackProcess:
    """Made under the lock ``changed``, which guards all that is not private, and is notified when it is ready and
    when it has ended. ``ended`` is then called without it, with the names of what ran."""

    def __init__(
        self,
        task: Mapping[str, Any],
        changed: Condition,
        ended: Callable[[CallbackProcess, Collection[str]], None],
    ) -> None:
        self.ready = False
        """whether calls may be sent"""
        self.faults: dict[str, str] = {}
        """by name: why a function cannot be called"""
        self.how: str | None = None
        """how it ended, in words; None: it has not"""
        self.retired = False
        """whether it takes no more calls, and ends when the last one has"""
        self.began = monotonic()
        self.calls: dict[int, Call] = {}
        """those that run in it"""
        self._task = task
        self._changed = changed
        self._ended = ended
        self._numbers = count()
        self._killed = ""
        """why it is killed; empty: it is not"""
        self._status: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._sending = Lock()
        try:
            self._connection, self._its = socket.socketpair()
        except OSError as fault:
            self.how = f"cannot be started: {fault.strerror}"
            return
        if start_daemon(self._attend, "banken-callback-process") is None:
            self._its.close()
            self._connection.close()
            self.how = NO_THREAD

    # -- under the lock -----------------------------------------------------------------------------

    def begin(self, call: Call, what: Incident | bytes) -> bytes:
        """Count the call in; what to ``send`` for it then, without the lock."""
        number = next(self._numbers)
        message: bytes = msgpack.packb([number, call.name, what if isinstance(what, bytes) else list(what)])
        self.calls[number] = call
        call.process, call.number = self, number
        return message

    def abandon(self, call: Call) -> None:
        """Wait for it no longer: the process is killed, once the other calls in it have ended."""
        self.calls = {number: each for number, each in self.calls.items() if each is not call}
        self._killed = "a callback in it was stuck"
        self.retire()

    def retire(self) -> None:
        """End the process when no call is in it: in order, so that its atexit functions run."""
        self.retired = True
        if not self.calls:
            if self._killed:
                self.kill(self._killed)
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)

    def kill(self, why: str) -> None:
        """End it at once, with the calls in it."""
        self._killed = why
        if self._process is not None:
            self._process.kill()

    # -- without it ---------------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        """Send what ``begin`` returned. It waits where the process does not read, until that is ended."""
        with self._sending, contextlib.suppress(OSError):  # its thread finds that it has ended
            self._connection.sendall(message)

    # -- its thread ---------------------------------------------------------------------------------

    def _attend(self) -> None:
        try:
            process = self._start()
        except Exception as fault:  # noqa: BLE001  # no process, no descriptor, no memory
            how = f"cannot be started: {getattr(fault, 'strerror', None) or fault}"
        else:
            try:
                self.send(msgpack.packb(self._task))
                self._take_answers(process)
            except OSError:
                pass  # it ended with calls unread
            except Exception as fault:  # noqa: BLE001  # whatever a callback wrote there
                self._killed = f"it sent what is no answer ({type(fault).__name__})"
            how = self._collect(process)
        self._connection.close()
        with self._changed:
            self.how = how
            calls, self.calls = list(self.calls.values()), {}
            for call in calls:
                call.end(self._fault(len(calls) - 1))
            self._changed.notify_all()
        self._ended(self, [call.name for call in calls])

    def _start(self) -> subprocess.Popen[bytes]:
        # In a session of its own: Ctrl-C in a terminal is for the supervisor, which then ends it in order.
        with self._its:
            process = launch.start(
                own_modules.command(callback_runner.__name__),
                ProcessAttributes(),
                stdin=self._its,
                start_new_session=True,
                env=own_modules.environment(),
            )
        with self._changed:
            self._process = process
            if self._killed:
                process.kill()
        return process

    def _take_answers(self, process: subprocess.Popen[bytes]) -> None:
        """Until the connection or the process ends: what a callback forked may hold the connection open."""
        messages = msgpack.Unpacker(max_buffer_size=ANSWER_MAX)
        ready_by = monotonic() + IMPORT_LIMIT_S
        with _end_of(process) as end:
            poll = select.poll()
            poll.register(self._connection, select.POLLIN)
            if end is not None:
                poll.register(end, select.POLLIN)
            while self.ready or monotonic() < ready_by:
                ready = poll.poll(None if self.ready and end is not None else POLL_S * 1000)
                over = process.poll() is not None if end is None else (end, select.POLLIN) in ready
                with contextlib.suppress(BlockingIOError):
                    while True:
                        data = self._connection.recv(65536, socket.MSG_DONTWAIT)
                        if not data:
                            return
                        messages.feed(data)
                        for message in messages:
                            self._take(message)
                if over:
                    return
        self._killed = f"its imports were not done within {IMPORT_LIMIT_S:g} s"

    def _take(self, message: Any) -> None:
        with self._changed:
            if not self.ready:
                self.faults = {str(name): str(why) for name, why in message.items()}
                self.ready = True
                self._changed.notify_all()
            else:
                number, line, trace, result = message
                if line is None:
                    if number in self.calls:
                        self.calls[number].asked.put(result)
                    return
                call = self.calls.pop(number, None)
                if call is not None:
                    call.result = result
                    call.end(CallbackFailed(str(line), str(trace)) if line else None)
                if self.retired:
                    self.retire()

    def _collect(self, process: subprocess.Popen[bytes]) -> str:
        """End it, and say how it ended."""
        if self._killed:
            process.kill()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        try:
            self._status = process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return "it closed its connection, or became another program, and was killed"
        why = self._killed or _REASONS.get(self._status, "")
        return f"{why}; {exit_text(self._status)}" if why else exit_text(self._status)

    def _fault(self, others: int) -> CallbackFailed:
        beside = f", and {others} other callback{'s' if others > 1 else ''} in it" if others else ""
        data: dict[str, Any] = {}
        if self._status is not None:
            data = {"status": self._status} if self._status >= 0 else {"signal": signal_name(-self._status)}
        return CallbackFailed(f"its process ended while it ran{beside}: {self.how}", data=data)


@contextlib.contextmanager
def _end_of(process: subprocess.Popen[bytes]) -> Iterator[int | None]:
    """A descriptor that becomes readable when the process ends; None where the system has none to give."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
