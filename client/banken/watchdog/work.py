"""Work, not silence: pieces of work with a limit each, in any thread, of a process that is idle in between.

    with dog.work("GET /x", limit=30):
        ...

The supervisor knows one moment: until then it need not hear from this process. It is the earliest end of all that
is open, and it must hold without this process's help, for a thread that keeps the interpreter lock stops every
other one. So what begins sends that moment, unless the one that was sent last does as well; what ends mostly sends
nothing. One thread for all corrects it afterwards: that the work has ended and the process is idle, or that other
work is due next. It also sends the name of what runs longer than a moment, which the incident is then about.

At a thousand requests a second with a limit of 30 s that is a message or two a second.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from math import inf
from operator import attrgetter
from time import monotonic
from typing import Any

from banken.errors import Refused
from banken.process_identity import after_fork
from banken.protocol import limits
from banken.protocol.messages import Scope
from banken.threads import WakeUp, start_daemon

log = logging.getLogger("banken")

SLACK_SHARE = 0.02
SLACK_MAX = 0.2
"""A verdict on work falls so much later than its limit: 2 % of the limit, at most 0.2 s. Work that begins within
this time of other work with the same limit needs no message of its own."""

LOOK_SHARE = 0.25
LOOK_MIN, LOOK_MAX = 0.005, 1.0
"""While work is open the thread looks four times in its limit, at least once a second."""

PROMPT_S = 1.0
"""Work with a shorter limit says by itself that it has ended: the thread might come too late for that."""

REPEAT_SHARE, REPEAT_MAX = 1 / 3, 1.0
"""So often the last message is sent again, for a supervisor that was restarted: three times in the timeout of the
watchdog, at least each second. The operator's timeout, which this process does not know, may be a short one; a
new supervisor gives two seconds more."""

THREAD_AGAIN_S = 5.0
"""Seconds until a thread is asked for again where the system gave none."""

Send = Callable[[float | None, Scope | None], bool]
"""Sends that the next message is due in so many seconds, None: that it is idle; and the work that is due then.
Whether the message was taken."""

Look = Callable[[float], float]
"""Says what is due, given the time. Seconds until it is to be called again; inf: not before it is added anew."""

_due = attrgetter("due")


class Work:
    """A piece of work; a context manager, made by ``work``. It may end in another thread than it began in."""

    __slots__ = ("_of", "due", "is_open", "limit", "name", "task", "thread")
    due: float
    """monotonic time, seconds"""
    thread: int
    task: Any

    def __init__(self, of: OpenWork, name: str, limit: float) -> None:
        # As limits.check_seconds has it; these comparisons take 50 ns.
        if not (limit.__class__ in _NUMBERS and limits.SECONDS_MIN <= limit <= limits.SECONDS_MAX):
            limit = limits.check_seconds(limit, "limit")
        self._of = of
        self.name = name if name.__class__ is str else limits.check_text(name, "the name of work", limits.SCOPE_MAX)
        self.limit = limit
        self.is_open = False

    def __enter__(self) -> Work:
        if self.is_open:
            raise Refused(f"{self.name!r} has begun already: call work() for each piece of work")
        self.thread = threading.get_ident()
        self.task = _current_task() if "asyncio.events" in _modules else None
        self.is_open = True
        of = self._of
        now = monotonic()
        self.due = due = now + self.limit
        of.open[id(self)] = self
        # Sent is a moment up to ``of.slack`` before the end of this: that does, as long as it is not much earlier.
        if due < of.sent_due or (due > of.sent_due + of.slack and not of.first.is_open):
            of.began(self, now)
        return self

    def __exit__(self, *_: object) -> None:
        of = self._of
        # Without a beginning, for the second time, or in a child that was forked meanwhile: nothing has ended.
        if of.open.pop(id(self), None) is not None:
            self.is_open = False
            if of.first is self and of.prompt:
                of.correct()


class _Nothing:
    """Stands for the first work where there is none."""

    is_open = False


_NOTHING: Any = _Nothing()
_NUMBERS = (float, int)
_modules = sys.modules


class OpenWork:
    """The open work of one watchdog in this process, and what its supervisor was told of it.

    ``timeout``: the watchdog's, seconds; ``known``: this process declared it. A feed is a promise of the next one
    within that time; it is kept here as work without a name, so that what feeds and works is judged by both.
    ``lock`` returns the one that its sender has, too; None: one of its own.
    """

    def __init__(
        self, send: Send, timeout: float, *, known: bool = True, lock: Callable[[], threading.RLock] | None = None
    ) -> None:
        self.open: dict[int, Work] = {}
        self.first: Any = _NOTHING
        """of what is open, what was due first when the last message was sent"""
        self.sent_due = inf
        """when it is due; inf: the supervisor was told that it is idle, or nothing"""
        self.slack = 0.0
        """seconds that the supervisor waits beyond ``sent_due``"""
        self.prompt = False
        """the end of ``first`` has to be told at once"""
        self.timeout = timeout
        self.known = known
        self._send = send
        own = threading.RLock()  # re-entrant: a signal handler may work, too
        self._given_lock, self._lock_now = lock, lock or (lambda: own)
        self._promise = Work(self, "", timeout)
        self._promise.due = inf
        self._fed = False
        """the promise is a feed's: a supervisor that comes later counts from its own start"""
        self._described = False
        """the supervisor knows the name of ``first``"""
        self._sent_at = self._said_at = -inf
        self.closed = False
        after_fork(self)

    @property
    def _lock(self) -> threading.RLock:
        return self._lock_now()

    def holds_back(self, seconds: float, now: float) -> bool:
        """Whether a feed, which promises the next message within so many seconds, is not to be sent: work is late,
        and until that has ended silence is what has to be heard of it."""
        first = min(list(self.open.values()), key=_due, default=None)
        if first is None or first.due + self._slack_of(first) > now:
            return False
        self.promise(seconds, sent=False)
        return True

    def began(self, work: Work, now: float) -> None:
        """Work has begun that the last message does not cover."""
        with self._lock:
            if work.due < self.sent_due < inf:
                self._say(work, now)  # no search: what was first until now is due later
            elif work.due < self.sent_due or not self.first.is_open:
                self._correct(now)
        teller.look(self.look, now, now + self._look_s())

    def correct(self) -> None:
        """What was due first has ended: tell what is first now."""
        with self._lock:
            if not self.first.is_open:
                self._correct(monotonic())

    def promise(self, seconds: float, *, sent: bool) -> None:
        """The next message comes within so many seconds; inf: whenever there is something to do. ``sent``: the
        supervisor knows it already, by a feed."""
        with self._lock:
            now = monotonic()
            promise = self._promise
            promise.due, promise.limit, promise.is_open = now + seconds, seconds, seconds != inf
            self._fed = sent
            if sent:
                self.first, self.sent_due, self.slack, self._sent_at = promise, promise.due, 0.0, now
                self.prompt = self._described = False
                first = min(list(self.open.values()), key=_due, default=None)
                if first is None or first.due >= promise.due:
                    return
                if first.due + self._slack_of(first) <= now:  # late since a moment ago: the feed is taken back
                    self._say(first, now)
                    return
            self._correct(now)
        teller.look(self.look, now, now + self._look_s())

    def look(self, now: float) -> float:
        """Tell what is to be told now, and return seconds until it should be looked again; inf: never."""
        with self._lock:
            if self.closed:
                return inf
            first: Any = self.first
            repeat = max(LOOK_MIN, min(self.timeout * REPEAT_SHARE, REPEAT_MAX))
            if first is _NOTHING:
                if now - self._sent_at >= repeat:
                    self._say(None, now)
                return repeat
            if not first.is_open:
                # Not at once: while work comes and goes, what was said last does for all that begins soon after.
                rest = self._said_at + _look_s(first) - now
                if rest > 0.001:
                    return rest
                self._correct(now)
            elif first.due + self.slack <= now:
                pass  # it is late: any message would say that all is well
            elif first is self._promise:
                if self.sent_due != first.due or (not self._fed and now - self._sent_at >= repeat - LOOK_MIN):
                    self._correct(now)
            elif now - self._sent_at >= repeat or (not self._described and _is_long(first, now)):
                self._say(first, now)
            if self.first is _NOTHING:
                return repeat
            if self.first is self._promise:
                left = max(LOOK_MIN, float(self._promise.due) - now)
                again = repeat if self._sent_at < 0.0 else self._sent_at + repeat - now
                return left if self._fed else max(LOOK_MIN, min(left, again))
            return _look_s(self.first)

    def close(self) -> None:
        """Tell nothing any more: the watchdog is released."""
        with self._lock:
            self.closed = True
            self.open = {}
        teller.forget(self.look)

    def _look_s(self) -> float:
        return LOOK_MAX if self.first is _NOTHING else _look_s(self.first)

    def _correct(self, now: float) -> None:
        """Find what is due first, and tell it."""
        # First this, then the search: what begins meanwhile in another thread then waits for this lock, and looks.
        self.sent_due = inf
        first: Work | None = None
        found = list(self.open.values())
        if found:
            first = min(found, key=_due)
        if self._promise.is_open and (first is None or self._promise.due < first.due):
            first = self._promise
        if first is not None and first.due + self._slack_of(first) <= now:
            # Late already, as the one before may have been: silence is what has to be heard of it.
            self.first, self.sent_due, self.slack = first, first.due, self._slack_of(first)
            self.prompt = self._described = True
            return
        self._say(first, now)

    def _say(self, first: Work | None, now: float) -> None:
        if self.closed:
            return
        self.first = _NOTHING if first is None else first
        self.slack = 0.0 if first is None else self._slack_of(first)
        self.sent_due = inf if first is None else first.due
        scope = None
        if first is not None and first is not self._promise and _is_long(first, now):
            scope = _scope(first, now)
        self._described = scope is not None
        # Work that was described has run for long enough to afford a message at its end.
        self.prompt = first is not None and (first.limit < PROMPT_S or self._described or not teller.runs(now))
        self._said_at = now
        taken = self._send(None if first is None else first.due + self.slack - now, scope)
        self._sent_at = now if taken else -inf

    def _slack_of(self, first: Work) -> float:
        return 0.0 if first is self._promise else min(SLACK_SHARE * first.limit, SLACK_MAX)

    def _forked(self) -> None:
        """In a child: the parent's work is the parent's, and so is what was told of it."""
        closed = self.closed
        self.__init__(self._send, self.timeout, known=self.known, lock=self._given_lock)  # type: ignore[misc]
        self.closed = closed


class Teller:
    """The thread that says, without a call, what is due: of the open work of all watchdogs of this process, and of
    words that allow silence (client/unread.py). It starts with the first of them."""

    def __init__(self) -> None:
        self._looks: set[Look] = set()
        self._wake_up: WakeUp | None = None
        self._looks_at = inf
        """monotonic time at which it looks next"""
        self._thread: threading.Thread | None = None
        self._start_at = -inf
        after_fork(self)

    def runs(self, now: float) -> bool:
        """Whether there is such a thread; it is started if need be."""
        if self._thread is None and now >= self._start_at:
            self._start_at = now + THREAD_AGAIN_S
            self._wake_up = WakeUp()  # not before: gevent may have replaced what it is made of since
            self._thread = start_daemon(self._run, "banken-work", self._wake_up)
        return self._thread is not None

    def look(self, each: Look, now: float, soon: float) -> None:
        """Have it look at this one, not later than ``soon``."""
        self._looks.add(each)
        if self.runs(now) and self._wake_up is not None and soon < self._looks_at:
            self._looks_at = soon
            self._wake_up.signal()

    def forget(self, each: Look) -> None:
        """Look at this one no longer."""
        self._looks.discard(each)

    def _run(self, wake_up: WakeUp) -> None:
        while True:
            now = monotonic()
            self._looks_at = inf  # before it looks: what begins meanwhile wakes it
            wait = inf
            for each in list(self._looks):
                self._looks.discard(each)  # before it looks, too: it may be added meanwhile
                try:
                    rest = each(now)
                except Exception:  # without this thread what is idle would count as silent
                    log.exception("what is due could not be said")
                    rest = LOOK_MAX
                if rest < inf:
                    self._looks.add(each)
                wait = min(wait, rest)
            self._looks_at = min(self._looks_at, now + wait)
            wake_up.wait(max(0.0, self._looks_at - monotonic()))

    def _forked(self) -> None:
        self.__init__()  # type: ignore[misc]


def _look_s(first: Work) -> float:
    """Seconds until it is looked whether this is still open."""
    return min(max(first.limit * LOOK_SHARE, LOOK_MIN), LOOK_MAX)


def _is_long(work: Work, now: float) -> bool:
    """Whether it has run for so long that its name is worth a message."""
    return now - (work.due - work.limit) >= 0.9 * _look_s(work)


def _scope(work: Work, now: float) -> Scope:
    """What is told of a piece of work, and of the thread that is in it."""
    # Without the lock that threading.enumerate() takes.
    thread = getattr(threading, "_active", {}).get(work.thread)
    name = "" if thread is None else limits.encodable(limits.shorten(thread.name, limits.SCOPE_MAX))
    tid = (None if thread is None else thread.native_id) or 0
    task = (
        "" if work.task is None else limits.encodable(limits.shorten(str(work.task.get_name()), limits.SCOPE_MAX))
    )
    began = limits.encodable(limits.shorten(work.name, limits.SCOPE_MAX))
    return Scope(began, max(0.0, now - (work.due - work.limit)), work.limit, tid, name, task)


def _current_task() -> Any:
    """The asyncio task that runs now; None: there is none."""
    if _modules["asyncio.events"]._get_running_loop() is None:
        return None
    return _modules["asyncio.tasks"].current_task()


teller = Teller()
