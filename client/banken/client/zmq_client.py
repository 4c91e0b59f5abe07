"""``Client``: feeds a supervisor in another process over ZeroMQ, and says how this process ended."""

from __future__ import annotations

import atexit
import os
import sys
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from banken.address import Address, resolve_all
from banken.client.base_client import BaseClient
from banken.client.sender import LINGER, Sender
from banken.process_identity import after_fork
from banken.protocol.feed_state import FeedState
from banken.protocol.limits import REASON_MAX, encodable
from banken.protocol.messages import Declaration, Kind

if TYPE_CHECKING:
    from banken.client.callback_listener import CallbackListener
    from banken.client.fanout import Fanout
    from banken.watchdog.callback_invocation import Callback

EXIT_WAIT = 0.3
"""Seconds that the end of a process waits, in all, for room to say of all that it fed that it is leaving."""

FIRST_AT_EXIT = 0.5
"""Seconds that it waits for the connection if none of its messages found one, though a supervisor may be there: a
short job on a busy machine feeds once."""

LEAVE_WAIT, LEAVE_LINGER = 0.05, 0.15
"""Seconds that ``leave`` waits for room, and then until all has left."""


class Client(BaseClient):
    """A connection to one supervisor, or to several. Every method may be called from any thread, and after a fork.

    ``address``: a directory, ``ipc://DIRECTORY`` or ``tcp://HOST:PORT``, or several with commas between them; None:
    ``$BANKEN_ADDRESS``, else the default. Nothing is connected here. No method raises because of the supervisor: a
    worker runs on without one. AddressRefused (a ValueError) for a text that is no address.
    ``key``: the file of this process's key, which tcp needs; None: ``$BANKEN_KEY``. KeyRefused (a ValueError).

    ``anonymous``: for one-shot commands, whose process is not the worker.
    ``release_at_exit``: the interpreter's end says of all that this client fed that the process is leaving, with
    the traceback of the exception that ended it, if one did; the supervisor judges it by the exit status. (Not when
    it is anonymous.)
    """

    def __init__(
        self,
        address: str | os.PathLike[str] | None = None,
        *,
        key: str | os.PathLike[str] | None = None,
        anonymous: bool = False,
        release_at_exit: bool = True,
    ) -> None:
        super().__init__(anonymous=anonymous)
        self._release_at_exit = release_at_exit and not anonymous
        self._key = key
        self._sender: Sender | Fanout | None = None
        if address is not None:
            self._use(self._make_sender(address))
        self._listener: CallbackListener | None = None
        """made when the first callback is set; keeps the callbacks while its thread is closed"""
        after_fork(self)

    @property
    def address(self) -> Address:
        """Where the supervisor is expected."""
        return self._to().address

    def connect(self, address: str | os.PathLike[str]) -> None:
        """Feed the supervisor at ``address`` from now on. What was declared is declared there with its next
        feed."""
        sender = self._make_sender(address)
        self.close()
        self._use(sender)
        if self._listener is not None:
            self._listener.connect(sender.text, sender.key)

    def stats(self) -> dict[str, Any]:
        """Counts of ``sent``, ``coalesced`` and ``dropped`` feeds; ``reachable`` and ``address`` of the supervisor.

        ``destinations``: for each supervisor of several, or on another host, a map of ``address``, ``reachable``,
        ``denied`` (it does not let this process in), and the messages that it took (``sent``) or not (``dropped``).

        ``coalesced``: feeds that did not have to travel. ``dropped``: feeds, and messages of sections, that found
        no supervisor or no room.
        ``reachable``: a supervisor is connected and takes messages now.
        """
        states = {id(state): state for state in [*self._states.values(), self._past]}.values()
        return {
            "sent": sum(state.sent for state in states),
            "coalesced": sum(state.coalesced for state in states),
            "dropped": sum(state.dropped for state in states),
            "reachable": self._sender is not None and self._sender.reachable(),
            "address": self._to().text,
            "destinations": self._to().stats(),
        }

    def close(self) -> None:
        """Let the last messages leave (at most 0.2 s) and close the sockets; callbacks set here do not run now.

        A later feed opens again what is needed, the callbacks included.
        """
        self._close(LINGER)

    def _close(self, linger: float) -> None:
        _open.discard(self)
        for state in self._states.values():
            state.open_until = 0.0
        if self._listener is not None:
            self._listener.close()
        if self._sender is not None:
            self._sender.close(linger)

    def leave(self) -> bool:
        """Release all that this process fed or declared, let it leave (at most 0.2 s) and close, as ``close`` does.

        For ends past the interpreter's own, which say nothing: ``os._exit``, ``os.exec``, a signal. Whether all was
        handed over.
        """
        return self._end(LEAVE_WAIT, LEAVE_LINGER, Kind.RELEASE)

    def _make_sender(self, address: str | os.PathLike[str] | None) -> Sender | Fanout:
        found = resolve_all(address)
        if len(found) == 1 and found[0].directory is not None:
            return Sender(found[0], self._opened, self._making)
        from banken.client.fanout import Fanout
        from banken.tcp import given_key

        return Fanout(found, given_key(self._key), self._opened, self._making)

    def _use(self, sender: Sender | Fanout) -> Sender | Fanout:
        self._sender, self._carry = sender, sender.send
        return sender

    def _to(self) -> Sender | Fanout:
        """The sender, made by whichever thread comes first: two would open two sockets."""
        with self._making:
            new = self._sender or self._make_sender(None)
            return self._sender or self._use(new)  # a signal handler may have come between

    def _deliver(self, frame: bytes, wait: float = 0.0) -> bool:
        return (self._sender or self._to()).send(frame, wait)

    def _opened(self) -> bool:
        """The sender has its socket; False: the callback listener still waits for a thread."""
        _open.add(self)
        _end_with_multiprocessing()
        with self._making:
            return self._listener is None or self._listener.again(monotonic())

    def _bind(self, name: str, callback: Callback | None) -> None:
        with self._making:
            if self._listener is None and callback is not None:
                from banken.client.callback_listener import CallbackListener

                sender = self._to()
                self._listener = CallbackListener(sender.text, sender.key, self._making)
            if self._listener is not None:
                self._listener.bind(name, callback)
        if self._sender is not None:
            self._sender.call_opened()  # if the listener got no thread, it asks again

    def _place(self) -> object:
        return self._to().place()

    def _is_shared(self, name: str) -> bool:
        if len(_open) < 2 or self._own_state(name) is None:
            return False
        now = monotonic()
        others = [each for each in list(_open) if each is not self and each._feeds(name, now)]
        return any(other._to().text == self._to().text for other in others)

    def _own_state(self, name: str) -> FeedState | None:
        """Of a name of which this one said, as this process, that it lives."""
        state = None if self._anonymous else self._states.get(name)
        return state if state is not None and state.is_own else None

    def _feeds(self, name: str, now: float) -> bool:
        """Whether it has fed ``name`` within its timeout. One that was forgotten, and never closed, has not."""
        state = self._own_state(name)
        return state is not None and now < state.open_until + (state.declaration or Declaration()).timeout

    def _is_open(self) -> bool:
        return self in _open

    def _leave(self, seconds: float) -> None:
        if self._sender is not None:
            self._sender.wait_left(seconds)

    def _at_exit(self, reason: str | None) -> None:
        """Say that the process is leaving. ``reason``: the traceback of what ended it."""
        if self._release_at_exit:
            self._end(EXIT_WAIT, LINGER, Kind.LEAVING, reason)
        else:
            self.close()

    def _end(self, wait: float, linger: float, kind: Kind, *args: Any) -> bool:
        """Say the last word of all that this process fed or declared, and close. Seconds: ``wait`` for room,
        ``linger`` until it has left."""
        for name in list(self._open_work):
            self._end_work(name)  # what its thread says would come after the last word
        sender, taken = self._sender, True
        if sender is not None and kind is Kind.LEAVING and not sender.ever_sent() and sender.may_be_heard():
            self._feed_late(sender)
        own = self._own_states()
        if sender is not None and sender.ever_sent():
            deadline = monotonic() + wait
            unread = [] if (kept := self._unread) is None else kept.words.unread(monotonic())
            for frame in (*unread, *(self._encode(state, kind, *args) for state in own)):
                taken &= sender.send(frame, max(0.0, deadline - monotonic()), insist=True)
        self._unread, self._say_at = None, inf
        self._close(linger)
        for state in own:
            self._forget(state.name)
            state.begin_anew()  # its handle may feed again
        return taken

    def _feed_late(self, sender: Sender | Fanout) -> None:
        """Feed once more what was fed when there was no connection yet."""
        deadline = monotonic() + FIRST_AT_EXIT
        for state in {id(state): state for state in self._states.values() if state.dropped}.values():
            frame = state.frame or self._encode(state, Kind.FEED)
            state.sent += sender.send(frame, max(0.0, deadline - monotonic()), insist=True)

    def _forked(self) -> None:
        super()._forked()
        if self._sender is not None:
            self._sender.forked(self._making)
        _open.discard(self)
        if self._listener is not None:
            self._listener.forked()
            self._listener = None  # the callbacks are the parent's


_open: set[Client] = set()
"""Clients with a socket, kept alive: what they fed is released at the end of the process, and a garbage collector
that closed a socket could wait for a dead peer at any moment."""

_ends_with: int | None = None
"""pid of the process in which multiprocessing was asked to call us at its end"""

_child_fault: BaseException | None = None
"""the exception that ended this child of multiprocessing, which has caught and printed it"""


@atexit.register
def _all_at_exit() -> None:
    """End every client."""
    fault = _ending_fault()
    # SystemExit and Ctrl-C are ends that were asked for: their status says all.
    reason = None if fault is None or isinstance(fault, (SystemExit, KeyboardInterrupt)) else _reason(fault)
    for each in list(_open):
        each._at_exit(reason)


def _ending_fault() -> BaseException | None:
    """The exception that ends this process; None: none does.

    A child of multiprocessing has caught it, or, before 3.13, runs its finalizers on its way: then its traceback
    begins in the function that runs the child. (A child that was forked while its parent handled an exception has
    that one in hand, too.) In any other process it is the last one that was printed, if its traceback begins with
    the program. One that a console or a test runner printed began inside a call of theirs, except in an interactive
    interpreter.
    """
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        handled = sys.exc_info()[1]
        began = None if handled is None else handled.__traceback__
        on_its_way = began is not None and began.tb_frame.f_code is process.BaseProcess._bootstrap.__code__
        return handled if on_its_way else _child_fault
    last: BaseException | None = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    began = None if last is None or hasattr(sys, "ps1") else last.__traceback__
    return last if began is not None and began.tb_frame.f_back is None else None


def _reason(fault: BaseException) -> str:
    """The traceback. Of a long one: the innermost calls, and both ends of the message."""
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
    """Run ``_all_at_exit`` in a child of multiprocessing, too.

    Such a child ends by ``os._exit``: atexit does not run, only multiprocessing's own finalizers. From 3.13 on
    they run after the child's exception was caught, printed and forgotten. Only while it is printed can it be
    had in every child, also in one that imported this module in the middle of its work.
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
