"""What a process can say about its watchdogs, whatever carries the messages.

``BaseClient`` builds the messages, decides which feeds need not travel, and counts. ``Client`` (zmq_client.py)
carries them over ZeroMQ; a supervisor has a client of its own for watchdogs made in its process.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterable
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from banken.client.section import Section
from banken.process_identity import own_identity
from banken.protocol import limits
from banken.protocol.codec import encode
from banken.protocol.feed_state import RESOLUTION_MAX, RESOLUTION_SHARE, RESOLUTION_UNDECLARED, FeedState
from banken.protocol.messages import (
    CLEAN,
    DEFAULT_INTERVAL,
    DEFAULT_TIMEOUT,
    Declaration,
    Exit,
    Feeders,
    Kind,
    Message,
    Scope,
    declare,
)

if TYPE_CHECKING:
    from banken.client.unread import UnreadOf
    from banken.watchdog import Watchdog
    from banken.watchdog.callback_invocation import Callback
    from banken.watchdog.work import OpenWork

WAIT_FOR_ROOM = 0.1
"""Seconds that a message which must arrive (a release, a failure) waits for room in a full queue."""

IN_ORDER = 0.001
"""Seconds that a message waits for room which must not come before those that were sent earlier."""

LEFT_WAIT = 1.0
"""Seconds that a release or a failure waits until it has left: until libzmq's thread has run a few times."""

_numbers = itertools.count(1)
"""Of the words of this process, whichever client says them."""

Function = TypeVar("Function", bound=Callable[..., Any])


class BaseClient:
    """Feeds watchdogs, and sends the supervisor all else about them. Safe to use from any thread.

    ``anonymous`` leaves out the process identity: for one-shot commands, whose process is not the worker.
    A subclass implements ``_deliver`` and ``_bind``.
    """

    def __init__(self, *, anonymous: bool = False) -> None:
        self._states: dict[str | None, FeedState] = {}
        self._anonymous = anonymous
        self._open_work: dict[str, OpenWork] = {}
        self._unread: UnreadOf | None = None
        """words that the supervisor may not have read; None: there are none"""
        self._say_at = inf
        """monotonic time at which the next message waits for them"""
        self._sections = itertools.count(1)
        self._making = threading.RLock()  # one for all parts: with two, a handler that feeds could wait for ever
        self._past = FeedState("", None, 0.0)
        """the counts of names that this process feeds no longer, and of those that it never fed"""
        self._carry: Callable[[bytes], bool] = self._deliver
        """what carries a plain feed; a subclass may set something quicker than ``_deliver``"""

    def _deliver(self, frame: bytes, wait: float = 0.0) -> bool:
        """Hand one message over, waiting at most ``wait`` seconds for room; whether it was taken."""
        raise NotImplementedError

    def _place(self) -> object:
        """Which supervisor is there, by what differs for each; None: none is, or none can be lost."""
        return None

    def _is_shared(self, name: str) -> bool:
        """Whether another client of this process, which is the same one to the supervisor, feeds ``name`` there."""
        return False

    def _is_open(self) -> bool:
        """Whether it was not closed since its last message: then a thread of banken's may send by it."""
        return True

    def _leave(self, seconds: float) -> None:
        """Wait, at most so long, until what was handed over has left this process."""

    def _bind(self, name: str, callback: Callback | None) -> None:
        """Run ``callback`` in this process when the verdict on ``name`` falls; None: no longer."""
        raise NotImplementedError

    def feed(
        self, name: str | None = None, progress: limits.Progress | None = None, status: str | None = None
    ) -> None:
        """Prove that ``name`` is alive. Never blocks, and never raises because of the supervisor.

        Without a name it feeds ``$BANKEN_NAME``, which a supervisor gives to the programs it starts; where that is
        not set, it does nothing, and logs a warning once.
        ``progress`` is any value that changes as the work goes on; ``status`` a text for people, cut at
        1,024 characters. Give both by keyword. (They are not keyword-only because such a call takes 25 ns longer.)
        A feed within the watchdog's resolution of the last one sent need not travel.

        NameRefused or TextRefused (ValueErrors) for a name, progress or status that is not allowed.
        """
        try:
            state = self._states[name]
            now = monotonic()
            if now < state.open_until and status is None:
                state.coalesced += 1
                return
            frame = state.frame
            if frame and progress is None and status is None and now < self._say_at:
                # The same as _send_feed does for a plain feed; one call less saves 70 ns.
                if self._carry(frame):
                    state.sent += 1
                    state.open_until = now + state.resolution
                else:
                    state.dropped += 1
                    state.open_until = 0.0
                return
        except KeyError:
            own = os.environ.get("BANKEN_NAME") if name is None else name
            if name is None and not own:
                limits.warn_once(
                    "client.feed() without a name does nothing: it feeds $BANKEN_NAME, which is not set"
                )
                return
            state = self._make_state(own)
            if name is None:
                self._states[None] = state
            now = monotonic()
        self._send_feed(state, now, progress, status)

    def _send_feed(
        self, state: FeedState, now: float, progress: limits.Progress | None = None, status: str | None = None
    ) -> None:
        """Send a feed, coalesced only where its status did not change; ``now``: monotonic time, seconds."""
        work, is_known = self._open_work.get(state.name) if self._open_work else None, False
        if progress is None and status is None:
            frame = state.frame or self._encode(state, Kind.FEED)
            if work is None:  # else no feed is sent without telling the open work of it
                state.frame = frame
        else:
            if progress is not None:
                progress = limits.check_progress(progress)
            if status is not None:
                status = limits.check_text(status, "status", limits.STATUS_MAX)
                is_known = status == state.status and now < state.open_until
            frame = self._encode(state, Kind.NOTE, progress, status)
        if is_known or (work is not None and work.holds_back(work.timeout + state.resolution, now)):
            state.coalesced += 1
            return
        if (unread := self._unread) is not None:
            unread.say(state.name, Kind.FEED, now)
        sent = self._deliver(frame)  # as _hand_over does; one call less
        if sent:
            state.sent += 1
            state.open_until = now + state.resolution
            state.status = state.status if status is None else status
        else:
            state.dropped += 1
            state.open_until = 0.0
        if work is not None and (sent or work.known):  # one that was not sent takes back what was promised before
            work.promise(work.timeout + state.resolution, sent=sent)

    def fail(self, name: str, reason: str) -> bool:
        """Report that ``name`` has failed: a verdict at once. ``reason`` is cut at 4,096 characters.

        True when the message was handed over, as for the calls below. A ``Refused`` (a ValueError) for a name, a
        text or a duration that is not allowed.
        """
        sent = self._send(Kind.FAIL, name, limits.check_text(reason, "reason", limits.REASON_MAX))
        if sent:
            self._leave(LEFT_WAIT)
        return sent

    def release(self, name: str) -> bool:
        """Watch ``name`` no longer. One that cannot be sent now is sent before the next message of any kind.
        Where several clients of this process have fed it within its timeout, the last of them releases it.

        What it sends has left this process when it returns (in milliseconds, at most 1 s on a busy machine), so
        that it arrives though the process is killed the next moment. So does ``fail``.
        """
        sent = self._release(name)
        if sent:
            self._leave(LEFT_WAIT)
        return sent

    def leave(self) -> bool:
        """Release all that this process fed or declared. Whether all was handed over."""
        taken = [self._release(state.name) for state in self._own_states()]
        return all(taken)

    def pause(self, name: str, seconds: float | None = None) -> bool:
        """Suspend the timeout of ``name`` for ``seconds``; None: until it is resumed."""
        return self._send(Kind.PAUSE, name, 0.0 if seconds is None else limits.check_seconds(seconds, "seconds"))

    def resume(self, name: str) -> bool:
        """End a pause of ``name``, with a whole timeout from now."""
        return self._send(Kind.RESUME, name)

    def extend(self, name: str, seconds: float) -> bool:
        """This once, the next feed of ``name`` may come as late as ``seconds`` from now."""
        return self._send(Kind.EXTEND, name, limits.check_seconds(seconds, "seconds"))

    def watchdog(
        self,
        name: str,
        timeout: float = DEFAULT_TIMEOUT,
        interval: float = DEFAULT_INTERVAL,
        *,
        grace: float | None = None,
        callback: Callback | str | None = None,
        feeders: str = Feeders.LATEST,
        progress_timeout: float | None = None,
        resolution: float | None = None,
        exit: str = Exit.UNCLEAN,  # noqa: A002  # as in the config
        clean: Iterable[int | str] = CLEAN,
    ) -> Watchdog:
        """Declare a watchdog; its timer starts now, with ``grace`` for the first feed. All in seconds.

        ``timeout``: unfed for so long, it expires. ``interval``: while it stays unfed, the callback runs
        again this often. ``grace``: until the first feed (default: ``timeout``). ``callback``: a function,
        run in this process, or the name of one that the supervisor bound. ``feeders``: "latest" (only the
        newest process may feed this name) or "any" (a pool). ``progress_timeout``: a progress value that
        stands still for so long is a verdict of its own. ``resolution``: feeds closer together than this
        need not travel (default: 2 % of the timeout, at most 1 s; 0 sends every one). ``exit``: whether the end of
        this process is an incident: "unclean" (unless it is one of ``clean``), "incident" (any) or "never".
        ``clean``: exit statuses and signals, ``[0, 3, "SIGUSR1"]`` (default: 0, HUP, INT, TERM, PIPE).

        Raises a ``Refused`` (a ValueError) that says what is allowed.
        """
        from banken.watchdog import Watchdog
        from banken.watchdog.remote_timer import RemoteTimer

        named = callback if isinstance(callback, str) else None
        declaration = declare(timeout, interval, grace, feeders, named, progress_timeout, exit, clean)
        state = self._declare(limits.check_name(name), declaration, resolution)
        watchdog = Watchdog(timeout, interval, grace=grace, _timer=RemoteTimer(self, state), _name=name)
        if callback is not None and not isinstance(callback, str):
            watchdog.set_callback(callback)
        return watchdog

    def section(self, name: str, timeout: float) -> Section:
        """``with client.section("load", timeout=30):`` a deadline for one stretch of work, in seconds."""
        name = f"{limits.check_name(name)}@{os.getpid()}.{next(self._sections)}"
        return Section(self, limits.check_name(name), limits.check_seconds(timeout, "timeout"))

    def busy(self, name: str, seconds: float) -> None:
        """The next message about ``name`` (a feed, work, ``idle``) comes within so many seconds from now."""
        self._work_of(name).promise(limits.check_seconds(seconds, "seconds"), sent=False)

    def idle(self, name: str) -> None:
        """``name`` has nothing to do: but for work that is open it is not judged before its next message."""
        self._work_of(name).promise(inf, sent=False)

    def watched(self, name: str, limit: float) -> Callable[[Function], Function]:
        """``@client.watched("etl", limit=60)``: each call of the function is work of the watchdog ``name``.

        ``limit``: seconds that a call may take. Functions and coroutine functions, nested, in any number of threads
        and tasks. Without a ``watchdog(name, …)`` in this process the first call declares it, with ``limit`` for
        its timeout; in a child process it is called ``NAME@PID``, so that each child is judged by itself.

        NameRefused or DurationRefused (ValueErrors) for a name or a limit that is not allowed, Refused for what is
        no function.
        """
        from banken.watchdog.watched import watched

        limits.check_name(name)
        return watched(self, name, limits.check_seconds(limit, "limit"))

    def _work_of(self, name: str) -> OpenWork:
        """The open work of one watchdog in this process."""
        found = self._open_work.get(name)
        if found is None:
            from banken.watchdog.work import OpenWork

            state = self._states.get(name) or self._make_state(name)
            timeout = DEFAULT_TIMEOUT if state.declaration is None else state.declaration.timeout
            with self._making:
                found = self._open_work.get(name)
                if found is None:
                    found = OpenWork(
                        lambda seconds, scope: self._send_work(name, seconds, scope), timeout,
                        known=state.declaration is not None, lock=lambda: self._making,
                    )  # fmt: skip
                    if state.sent or state.coalesced:  # it is fed, and goes on to be
                        found.promise(timeout + state.resolution, sent=True)
                    state.frame = b""
                    self._open_work[name] = found
        return found

    def _send_work(self, name: str, seconds: float | None, scope: Scope | None) -> bool:
        state = self._states.get(name) or self._make_state(name)
        state.open_until = 0.0
        taken = self._hand_over(state, Kind.WORK, self._encode(state, Kind.WORK, seconds, scope), IN_ORDER)
        state.sent += taken
        state.dropped += not taken
        return taken

    def _end_work(self, name: str) -> None:
        work = self._open_work.pop(name, None)
        if work is not None:
            work.close()

    def _declare(self, name: str, declaration: Declaration, resolution: float | None) -> FeedState:
        if resolution is None:
            resolution = min(RESOLUTION_MAX, RESOLUTION_SHARE * declaration.timeout)
        else:
            resolution = limits.check_seconds(resolution, "resolution", zero=True)
        before = self._states.get(name)
        state = self._states[name] = FeedState(name, declaration, round(resolution, 3))
        if self._states.get(None) is before is not None:
            self._states[None] = state
        if (work := self._open_work.get(name)) is not None:
            work.timeout, work.known = declaration.timeout, True
        frame = self._encode(state, Kind.DECLARE)
        state.declared_here = self._hand_over(state, Kind.DECLARE, frame, WAIT_FOR_ROOM)
        if before is not None:
            state.declared_here = state.declared_here or before.is_own
            self._past.add_counts(before)
        return state

    def _make_state(self, name: str | None) -> FeedState:
        """The state of a name that was not fed here before; NameRefused unless it is allowed."""
        state = FeedState(limits.check_name(name), None, RESOLUTION_UNDECLARED)
        with self._making:
            return self._states.setdefault(state.name, state)

    def _own_states(self) -> list[FeedState]:
        """Of all names that this process, and not one that it was forked from, fed or declared."""
        return [state for name, state in list(self._states.items()) if name is not None and state.is_own]

    def _release(self, name: str) -> bool:
        self._end_work(name)
        if self._is_shared(name):
            self._forget(name)
            return True
        state = self._states.get(name) or FeedState(limits.check_name(name), None, RESOLUTION_UNDECLARED)
        frame = self._encode(state, Kind.RELEASE)
        sent = self._hand_over(state, Kind.RELEASE, frame, WAIT_FOR_ROOM)
        self._forget(name)
        if state.is_own:
            from banken.client.unread import keep

            keep(self, name, Kind.RELEASE, lambda _left: frame, sent=sent)
        return sent

    def _forget(self, name: str) -> FeedState | None:
        """This process feeds it no longer. Its counts stay."""
        state = self._states.pop(name, None)
        if state is not None:
            self._past.add_counts(state)
            if self._states.get(None) is state:
                del self._states[None]
        return state

    def _encode(self, state: FeedState, kind: Kind, *args: Any, number: int | None = None) -> bytes:
        identity = None if self._anonymous else own_identity()
        return encode(Message(kind, state.name, identity, state.resolution, state.declaration, args, number))

    def _send(self, kind: Kind, name: str, *args: Any) -> bool:
        """Say a word that has a number."""
        first = self._states.get(name)
        if first is None:
            first = FeedState(limits.check_name(name), None, RESOLUTION_UNDECLARED)
        first.open_until, first.frame = 0.0, b""  # the next feed must travel, and makes earlier words out of date
        number = None if self._anonymous else next(_numbers)
        sent = self._hand_over(first, kind, self._encode(first, kind, *args, number=number), WAIT_FOR_ROOM)
        if number is not None:
            from banken.client.unread import SILENT, keep

            def again(left: float) -> bytes:
                rest = args if left == inf else (max(left, limits.SECONDS_MIN),)
                return self._encode(self._states.get(name, first), kind, *rest, number=-number)

            keep(self, name, kind, again, sent=sent, seconds=(args[0] if kind in SILENT else 0) or inf)
        return sent

    def _hand_over(self, state: FeedState, kind: Kind, frame: bytes, wait: float = 0.0) -> bool:
        """Deliver a message about one name, after the words that the supervisor may not have read."""
        if (unread := self._unread) is not None:
            unread.say(state.name, kind, monotonic())
        return self._deliver(frame, wait)

    def _forked(self) -> None:
        """In a child: another process feeds now, and has sent nothing yet."""
        self._making = threading.RLock()
        self._unread, self._say_at = None, inf
        for state in (self._past, *self._states.values()):
            state.begin_anew()
