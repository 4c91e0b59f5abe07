"""Feeding a supervisor in another process.

    from banken import client

    client.feed("worker-3")

The functions of this module belong to one default client per process, which connects to
``$BANKEN_ADDRESS`` or to the default address when it is first used. ``Client`` makes further ones.
"""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from time import monotonic
from typing import TYPE_CHECKING, Any

from banken.address import Address, resolve
from banken.model import REASON_MAX, encodable
from banken.port import Port, Section
from banken.transport import Sender
from banken.wire import Kind

if TYPE_CHECKING:
    from banken.calling import Callback
    from banken.listener import Listener

__all__ = [
    "Client",
    "Section",
    "close",
    "connect",
    "enable_dumps",
    "extend",
    "fail",
    "feed",
    "pause",
    "release",
    "resume",
    "section",
    "stats",
    "watchdog",
]


EXIT_WAIT = 0.3
"""Seconds that the end of a process waits, in all, for room to release what it fed."""


class Client(Port):
    """A way to one supervisor. Every method may be called from any thread, and after a fork.

    ``address``: a directory or ``ipc://DIRECTORY``; None: ``$BANKEN_ADDRESS``, else the default. Nothing is
    connected, and no error about the supervisor is raised, here or later: a worker runs on without one.

    ``anonymous``: for one-shot commands, whose process says nothing about the worker's life.
    ``release_at_exit``: a normal end of the interpreter releases what this client fed, and an uncaught exception
    fails it with the traceback for a reason (neither when it is anonymous).
    """

    def __init__(
        self,
        address: str | os.PathLike[str] | None = None,
        *,
        anonymous: bool = False,
        release_at_exit: bool = True,
    ) -> None:
        super().__init__(anonymous=anonymous)
        self._given = address
        self._release_at_exit = release_at_exit and not anonymous
        self._sender: Sender | None = None
        if address is not None:
            self._sender = Sender(resolve(address), self._opened)
            self._carry = self._sender.send
        self._listener: Listener | None = None
        self._callbacks: dict[str, Callback] = {}
        """functions of this process, by watchdog; outlive the listener, which ``close`` ends"""
        _clients.add(self)

    @property
    def address(self) -> Address:
        """Where the supervisor is expected."""
        return self._to().address

    def connect(self, address: str | os.PathLike[str]) -> None:
        """Feed the supervisor at ``address`` from now on. What was declared is declared there with its next
        feed."""
        resolved = resolve(address)
        self.close()
        self._given = address
        self._sender = Sender(resolved, self._opened)
        self._carry = self._sender.send
        self._listen()

    def stats(self) -> dict[str, Any]:
        """What feeding came to: ``sent``, ``coalesced`` and ``dropped`` feeds, ``reachable`` and ``address``.

        ``dropped``: feeds that found no supervisor or no room. ``reachable``: a supervisor is connected and
        takes messages now.
        """
        lines = {id(line): line for line in list(self._lines.values())}.values()
        return {
            "sent": sum(line.sent for line in lines),
            "coalesced": sum(line.coalesced for line in lines),
            "dropped": sum(line.dropped for line in lines),
            "reachable": self._sender is not None and self._sender.reachable(),
            "address": self.address.text,
        }

    def close(self) -> None:
        """Let the last messages leave (at most 0.2 s) and close the sockets; callbacks set here do not run now.

        A later feed opens again what is needed, the callbacks included.
        """
        _open.discard(self)
        for line in self._lines.values():
            line.open_until = 0.0
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._sender is not None:
            self._sender.close()

    def _to(self) -> Sender:
        """The sender, made by whichever thread comes first: two would open two sockets."""
        with self._making:
            new = self._sender or Sender(resolve(self._given), self._opened)
            if self._sender is None:  # nor has a signal handler come between
                self._sender, self._carry = new, new.send
            return self._sender

    def _deliver(self, frame: bytes, wait: float = 0.0) -> bool:
        return (self._sender or self._to()).send(frame, wait)

    def _opened(self) -> bool:
        """The sender is there; False: what hears the verdicts is not yet, for want of threads."""
        _open.add(self)
        _end_with_multiprocessing()
        with self._making:
            if self._listener is None:
                self._listen()  # after close(), and when a callback was set first
            return self._listener is None or self._listener.again(monotonic())

    def _bind(self, name: str, callback: Callback | None) -> None:
        if callback is None:
            self._callbacks.pop(name, None)
        else:
            self._callbacks[name] = callback
        with self._making:
            if self._listener is None:
                self._listen()
            else:
                self._listener.bind(name, callback)
        if self._sender is not None:
            self._sender.call_opened()  # where no thread was to be had to listen with, it asks for one again

    def _listen(self) -> None:
        """Hear the supervisor's verdicts on what has a callback here."""
        if self._callbacks:
            from banken.listener import Listener

            self._listener = Listener(self._to().address.text)
            for name, callback in list(self._callbacks.items()):
                self._listener.bind(name, callback)

    def _at_exit(self, fault: BaseException | None) -> None:
        """Release what was fed, waiting for room if need be, and close; after an uncaught exception, say that it
        has failed, with the traceback for a reason."""
        lines = {line.name: line for line in self._lines.values() if line.sent or line.declaration is not None}
        if self._release_at_exit and self._sender is not None and self._sender.met():
            deadline = monotonic() + EXIT_WAIT
            last = (Kind.RELEASE,) if fault is None else (Kind.FAIL, _reason(fault))
            for line in lines.values():
                left = max(0.0, deadline - monotonic())
                self._sender.send(self._encode(line, *last), left, insist=True)
            self._lines.clear()
        self.close()

    def _forked(self) -> None:
        super()._forked()
        if self._sender is not None:
            self._sender.forked()
        _open.discard(self)
        self._callbacks.clear()  # they are the parent's
        if self._listener is not None:
            self._listener.forked()
            self._listener = None


_clients: weakref.WeakSet[Client] = weakref.WeakSet()

_open: set[Client] = set()
"""Those with a socket, kept alive: what they fed is to be released at the end wherever they were kept, and a
garbage collector that closed a socket could wait for a dead peer in the middle of anything."""

_ends_with: int | None = None
"""pid of the process in which multiprocessing was asked to tell us its end"""

_child_fault: BaseException | None = None
"""The exception that multiprocessing has caught and printed, as the end of its child"""


def _all_forked() -> None:
    for each in list(_clients):
        each._forked()


@atexit.register
def _all_at_exit() -> None:
    """The exception is in the interpreter's hands (in an interactive one it was only the last line's), in
    multiprocessing's, which caught it, or still on its way, as in multiprocessing's finalizers before 3.13."""
    last = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    fault = sys.exc_info()[1] or _child_fault or (None if hasattr(sys, "ps1") else last)
    # SystemExit is an end in order, and Ctrl-C somebody's wish.
    failed = isinstance(fault, Exception)
    for each in list(_open):
        each._at_exit(fault if failed else None)


def _reason(fault: BaseException) -> str:
    """The traceback. Of a long one what tells most: the innermost calls, and both ends of the message."""
    import traceback

    text = encodable("".join(traceback.format_exception(fault)).strip())
    if len(text) <= REASON_MAX:
        return text
    said = encodable("".join(traceback.format_exception_only(fault)).strip())
    part = REASON_MAX // 4
    if len(said) > 2 * part:
        said = f"{said[:part]}…{said[-part:]}"
    stack = encodable("".join(traceback.format_tb(fault.__traceback__)).rstrip())
    return f"…{stack[-(REASON_MAX - len(said) - 2) :]}\n{said}"


def _end_with_multiprocessing() -> None:
    """Multiprocessing ends its children by ``os._exit``, past atexit: its own finalizers are what runs there.

    From 3.13 on they run when the child's exception was caught, printed and forgotten. The printing is the one
    moment at which it can be had in every child, also in one that imported this module in the middle of its work.
    """
    global _ends_with
    process = sys.modules.get("multiprocessing.process")
    if process is None or _ends_with == os.getpid() or process.parent_process() is None:
        return
    import traceback
    from multiprocessing.util import Finalize

    _ends_with = os.getpid()
    Finalize(None, _all_at_exit, exitpriority=-100)
    print_exc, ends = traceback.print_exc, process.BaseProcess._bootstrap.__code__

    def keep(*args: Any, **options: Any) -> None:
        global _child_fault
        if sys._getframe(1).f_code is ends:
            _child_fault = sys.exc_info()[1]
        print_exc(*args, **options)

    traceback.print_exc = keep


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_all_forked)

_default = Client()

# Bound methods and not functions that look the default client up: a feed is to cost next to nothing.
feed = _default.feed
fail = _default.fail
release = _default.release
pause = _default.pause
resume = _default.resume
extend = _default.extend
watchdog = _default.watchdog
section = _default.section
connect = _default.connect
stats = _default.stats
close = _default.close


def enable_dumps(signal: int | None = None, *, ask: bool = True) -> bool:
    """Let the supervisor see where this process hangs (see banken.dumps); whether it now can."""
    from banken import dumps

    return dumps.enable_dumps(signal, address=_default.address.text, ask=ask)
