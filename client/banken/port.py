"""What can be said about a watchdog, whatever carries the words.

``Port`` builds the frames, keeps the coalescing windows and counts. ``Client`` (client.py) carries them over
ZeroMQ; the supervisor has a port of its own for watchdogs made in its process.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any

from banken.errors import NameRefused, Refused
from banken.identity import incarnation
from banken.model import (
    DEFAULT_INTERVAL,
    DEFAULT_TIMEOUT,
    REASON_MAX,
    STATUS_MAX,
    Declaration,
    Feeders,
    Incarnation,
    check_name,
    check_progress,
    check_seconds,
    check_text,
)
from banken.wire import Kind, Message, encode

if TYPE_CHECKING:
    from banken.calling import Callback
    from banken.watchdog import Watchdog

RESOLUTION_UNDECLARED = 0.01
"""Seconds, for a name this process did not declare: it cannot know the timeout."""

RESOLUTION_SHARE = 0.02
RESOLUTION_MAX = 1.0
"""Default resolution: 2 % of the timeout, at most one second."""

WAIT_FOR_ROOM = 0.1
"""Seconds a message that must arrive (a release, a failure) waits for room in a full queue."""

UNSAID_MAX = 1000
"""Releases remembered while no supervisor can be reached."""


class Line:
    """What one process knows of one name that it feeds."""

    __slots__ = (
        "coalesced",
        "declaration",
        "dropped",
        "frame",
        "name",
        "open_until",
        "resolution",
        "sent",
        "status",
    )

    def __init__(self, name: str, declaration: Declaration | None, resolution: float) -> None:
        self.name = name
        self.declaration = declaration
        self.resolution = resolution
        self.frame = b""
        """the constant bytes of a plain feed; empty until they are needed"""
        self.open_until = 0.0
        """monotonic time before which a feed need not travel"""
        self.status: str | None = None
        self.sent = 0
        self.coalesced = 0
        self.dropped = 0


class Port:
    """Feeds watchdogs and tells their keeper what else there is to tell. Safe to use from any thread.

    ``anonymous`` leaves out who is speaking: for one-shot commands, whose process says nothing about the
    worker's.
    """

    def __init__(self, *, anonymous: bool = False) -> None:
        self._lines: dict[str | None, Line] = {}
        self._anonymous = anonymous
        self._unsaid: dict[str, bytes] = {}
        self._sections = 0
        self._making = threading.RLock()  # re-entrant: a signal handler may feed meanwhile
        self._carry: Callable[[bytes], bool] = self._deliver
        """what carries a plain feed; whoever derives from this may bind something quicker"""

    # -- carried by whoever derives from this -------------------------------------------------------

    def _deliver(self, frame: bytes, wait: float = 0.0) -> bool:
        raise NotImplementedError

    def _bind(self, name: str, callback: Callback | None) -> None:
        """Run ``callback`` in this process when the verdict on ``name`` falls; None: no longer."""
        raise NotImplementedError

    # -- feeding ------------------------------------------------------------------------------------

    def feed(
        self,
        name: str | None = None,
        progress: int | float | str | None = None,
        status: str | None = None,
    ) -> None:
        """Prove that ``name`` is alive. Never blocks, and never raises because of the supervisor.

        Without a name it feeds ``$BANKEN_NAME``, which a supervisor gives to the programs it starts.
        ``progress`` is any value that changes as the work goes on; ``status`` a text for people, cut at
        1,024 characters; give both by keyword. (That they need not be is for speed: Python takes 25 ns longer to
        call what has keyword-only parameters.) A feed within the watchdog's resolution of the last one sent need
        not travel.
        """
        try:
            line = self._lines[name]
            now = monotonic()
            if now < line.open_until and status is None:
                line.coalesced += 1
                return
            frame = line.frame
            if frame and progress is None and status is None and not self._unsaid:
                # What _send_feed does for a plain feed, without a call more: that is 70 ns.
                if self._carry(frame):
                    line.sent += 1
                    line.open_until = now + line.resolution
                else:
                    line.dropped += 1
                    line.open_until = 0.0
                return
        except KeyError:
            line = self._line(name)
            now = monotonic()
        self._send_feed(line, now, progress, status)

    def _send_feed(
        self, line: Line, now: float, progress: int | float | str | None = None, status: str | None = None
    ) -> None:
        """Feed, whatever ``feed`` could not spare; ``now``: monotonic time."""
        if progress is None and status is None:
            frame = line.frame or self._frame(line)
        else:
            if progress is not None:
                check_progress(progress)
            if status is not None:
                status = check_text(status, "status", STATUS_MAX)
                if status == line.status and now < line.open_until:
                    line.coalesced += 1
                    return
            frame = self._encode(line, Kind.NOTE, progress, status)
        if self._unsaid:
            self._catch_up(line.name)
        if self._deliver(frame):
            line.sent += 1
            line.open_until = now + line.resolution
            if status is not None:
                line.status = status
        else:
            line.dropped += 1
            line.open_until = 0.0

    # -- everything else that can be said -----------------------------------------------------------

    def fail(self, name: str, reason: str) -> bool:
        """The worker's own word that ``name`` has failed: a verdict at once. ``reason`` is cut at 4,096.

        True when the message was handed over, as for the calls below.
        """
        return self._say(Kind.FAIL, name, check_text(reason, "reason", REASON_MAX))

    def release(self, name: str) -> bool:
        """Watch ``name`` no longer. One that cannot be sent now is sent before the next feed."""
        sent = self._say(Kind.RELEASE, name)
        line = self._lines.pop(name, None)
        known = line is not None and (line.sent or line.declaration is not None)
        if not sent and line is not None and known and len(self._unsaid) < UNSAID_MAX:
            self._unsaid[name] = self._encode(line, Kind.RELEASE)
        return sent

    def pause(self, name: str, seconds: float | None = None) -> bool:
        """Do not judge ``name`` for ``seconds``; None: until it is resumed."""
        return self._say(Kind.PAUSE, name, 0.0 if seconds is None else check_seconds(seconds, "seconds"))

    def resume(self, name: str) -> bool:
        """Judge ``name`` again, with a whole timeout from now."""
        return self._say(Kind.RESUME, name)

    def extend(self, name: str, seconds: float) -> bool:
        """This once, the next feed of ``name`` may come as late as ``seconds`` from now."""
        return self._say(Kind.EXTEND, name, check_seconds(seconds, "seconds"))

    # -- declaring ----------------------------------------------------------------------------------

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
    ) -> Watchdog:
        """Declare a watchdog; its timer starts now, with ``grace`` for the first feed. All in seconds.

        ``timeout``: unfed for so long, it expires. ``interval``: while it stays unfed, the callback runs
        again this often. ``grace``: until the first feed (default: ``timeout``). ``callback``: a function,
        run in this process, or the name of one that the supervisor bound. ``feeders``: "latest" (only the
        newest process may feed this name) or "any" (a pool). ``progress_timeout``: a progress value that
        stands still for so long is a verdict of its own. ``resolution``: feeds closer together than this
        need not travel (default: 2 % of the timeout, at most 1 s; 0 sends every one).

        Raises a ``Refused`` (a ValueError) that says what is allowed.
        """
        from banken.watchdog import PortKeeper, Watchdog

        named = callback if isinstance(callback, str) else None
        declaration = declare(timeout, interval, grace, feeders, named, progress_timeout)
        line = self._declare(check_name(name), declaration, resolution)
        dog = Watchdog(timeout, interval, grace=grace, _keeper=PortKeeper(self, line), _name=name)
        if callback is not None and not isinstance(callback, str):
            dog.set_callback(callback)
        return dog

    def section(self, name: str, timeout: float) -> Section:
        """``with port.section("load", timeout=30):`` a deadline for one stretch of work, in seconds."""
        check_name(name)
        seconds = check_seconds(timeout, "timeout")
        with self._making:
            self._sections += 1
            number = self._sections
        return Section(self, check_name(f"{name}@{os.getpid()}.{number}"), seconds)

    def _declare(self, name: str, declaration: Declaration, resolution: float | None) -> Line:
        if resolution is None:
            resolution = min(RESOLUTION_MAX, RESOLUTION_SHARE * declaration.timeout)
        else:
            resolution = check_seconds(resolution, "resolution", zero=True)
        line = self._lines[name] = Line(name, declaration, round(resolution, 3))
        self._unsaid.pop(name, None)
        self._deliver(self._encode(line, Kind.DECLARE), WAIT_FOR_ROOM)
        return line

    # -- shared -------------------------------------------------------------------------------------

    def _line(self, name: str | None) -> Line:
        """The line of a name that was not fed here before."""
        if name is None:
            own = os.environ.get("BANKEN_NAME")
            if not own:
                raise NameRefused("feed() without a name feeds $BANKEN_NAME, which is not set")
            line = self._lines.get(own) or self._line(own)
        else:
            line = Line(check_name(name), None, RESOLUTION_UNDECLARED)
        with self._making:
            return self._lines.setdefault(name, line)

    def _frame(self, line: Line) -> bytes:
        line.frame = self._encode(line, Kind.FEED)
        return line.frame

    def _encode(self, line: Line, kind: Kind, *args: Any) -> bytes:
        return encode(Message(kind, line.name, self._who(), line.resolution, line.declaration, args))

    def _who(self) -> Incarnation | None:
        return None if self._anonymous else incarnation()

    def _say(self, kind: Kind, name: str, *args: Any) -> bool:
        line = self._lines.get(name)
        if line is None:
            line = Line(check_name(name), None, RESOLUTION_UNDECLARED)
        line.open_until = 0.0  # the next feed must travel: the keeper's state may have changed
        return self._deliver(self._encode(line, kind, *args), WAIT_FOR_ROOM)

    def _catch_up(self, fed: str) -> None:
        """Send the releases that could not be sent when they were asked for."""
        self._unsaid.pop(fed, None)  # it is fed again: the release is out of date
        for name, frame in list(self._unsaid.items()):
            if not self._deliver(frame):
                return
            self._unsaid.pop(name, None)

    def _forked(self) -> None:
        """In a child: another incarnation feeds now, and has sent nothing yet."""
        self._making = threading.RLock()  # re-entrant: a signal handler may feed meanwhile
        self._unsaid.clear()
        for line in self._lines.values():
            line.frame = b""
            line.open_until = 0.0
            line.status = None
            line.sent = line.coalesced = line.dropped = 0


class Section:
    """A deadline for one stretch of work; a context manager, made by ``section``.

    It is a watchdog of its own, ``NAME@PID.NUMBER``, that exists while the block runs.
    """

    def __init__(self, port: Port, name: str, timeout: float) -> None:
        self.name = name
        self._port = port
        self._timeout = timeout

    def __enter__(self) -> Section:
        declaration = Declaration(self._timeout, self._timeout, self._timeout)
        self._port._declare(self.name, declaration, 0.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._port.release(self.name)

    def extend(self, seconds: float) -> bool:
        """The block may take until ``seconds`` from now."""
        return self._port.extend(self.name, seconds)


def declare(
    timeout: float,
    interval: float,
    grace: float | None = None,
    feeders: str = Feeders.LATEST,
    callback: str | None = None,
    progress_timeout: float | None = None,
) -> Declaration:
    """A checked declaration, seconds; ``Refused`` says what is wrong with it."""
    try:
        pool = Feeders(feeders)
    except ValueError:
        raise Refused(f"feeders={feeders!r} is not allowed: 'latest' or 'any'") from None
    seconds = check_seconds(timeout, "timeout")
    return Declaration(
        round(seconds, 3),
        round(check_seconds(interval, "interval"), 3),
        round(seconds if grace is None else check_seconds(grace, "grace"), 3),
        pool,
        None if callback is None else check_name(callback),
        None if progress_timeout is None else round(check_seconds(progress_timeout, "progress_timeout"), 3),
    )
