"""What several benchmarks are played on: a supervisor in its process, traffic from others, and probes.

A *probe* is a watchdog that is fed and then falls silent on purpose; its lateness is the time from its true
deadline to the first line of its callback in the supervisor's process. The true deadline is the moment
*before* its last feed was sent, plus its timeout, plus its resolution (0 here): what the message took to
arrive counts against the supervisor.
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack, suppress
from typing import Any

import traffic
import zmq
from common import Child, percentile, short_directory, wait_for

from banken.control import Control
from banken.errors import Unreachable
from banken.protocol.messages import Kind


class Stage:
    """One supervisor and whatever is done to it; leaving the ``with`` block ends all of it. ``own``: its callbacks
    run in a process of their own."""

    def __init__(self, hold_s: float = 0.0, *, own: bool = False) -> None:
        self._arguments = (hold_s, "own") if own else (hold_s,)
        self._stack = ExitStack()
        self._deadlines: dict[str, float] = {}
        self._declared: dict[str, bytes] = {}
        self._senders: list[Child] = []

    def __enter__(self) -> Stage:
        stack = self._stack
        try:
            self.directory = stack.enter_context(short_directory())
            self._keeper = stack.enter_context(Child(self.directory, *self._arguments, file="keeper"))
            self._control = Control(self.directory, timeout=15.0)
            stack.callback(self._control.close)
            try:
                self._control.request("ping")
            except Unreachable:
                raise RuntimeError(f"the supervisor did not start\n{self._keeper.errors()}") from None
            context: zmq.Context[Any] = zmq.Context()
            stack.callback(context.destroy, 0)
            self._push = traffic.push(context, self.directory)
        except BaseException:
            stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def pid(self) -> int:
        """The supervisor's process."""
        return self._keeper.pid

    def summary(self) -> dict[str, Any]:
        """What the supervisor says of itself."""
        answer: dict[str, Any] = self._control.request("summary")
        return answer

    def watched(self, count: int, within_s: float) -> None:
        """Wait until that many watchdogs are known."""
        wait_for(f"{count} watchdogs", lambda: self.summary()["watchdogs"] >= count, within_s, 0.2)

    # -- traffic ------------------------------------------------------------------------------------

    def feeders(self, prefix: str, count: int, timeout_s: float, per_second: float) -> None:
        """Start a process that feeds ``count`` watchdogs; it sends by itself once it is ready."""
        sender = Child(self.directory, prefix, count, timeout_s, per_second, file="traffic")
        self._stack.enter_context(sender)
        self._senders.append(sender)

    def feeders_ready(self) -> None:
        """Wait until all such processes have fed each watchdog once."""
        for sender in self._senders:
            sender.line()

    def feeders_ended(self) -> tuple[float, float]:
        """End them; feeds per second that they really sent in all, and how late the latest batch was."""
        for sender in self._senders:
            sender.terminate()
        reports = [sender.line() for sender in self._senders]
        self._senders.clear()
        rate = sum(each["sent"] / each["seconds"] for each in reports)
        return rate, max((each["late_s"] for each in reports), default=0.0)

    # -- probes -------------------------------------------------------------------------------------

    def declare(self, count: int, timeout_s: float, prefix: str = "probe") -> None:
        """Declare ``count`` probes, not fed yet: the next ones to be probed."""
        called = traffic.names(prefix, count)
        for frame in traffic.frames(Kind.DECLARE, called, timeout_s, callback="mark"):
            self._push.send(frame)
        feeds = traffic.frames(Kind.FEED, called, timeout_s, callback="mark")
        self._declared = dict(zip(called, feeds, strict=True))
        self._timeout_s = timeout_s

    def probe(self, seconds: float) -> None:
        """Feed all probes, each once, spread over ``seconds`` with random gaps; wait for the last verdict."""
        chance = random.Random(traffic.SEED)
        gap_s = seconds / len(self._declared)
        next_at = time.monotonic()
        for name, frame in self._declared.items():
            next_at += gap_s * chance.uniform(0.5, 1.5)
            time.sleep(max(0.0, next_at - time.monotonic()))
            self._deadlines[name] = time.monotonic() + self._timeout_s
            self._push.send(frame)
        time.sleep(self._timeout_s + 0.5)
        # Late ones are waited for, so that how late they are is told.
        with suppress(TimeoutError):
            wait_for("all verdicts", lambda: self.summary()["events"].get("expired", 0) >= len(self._declared), 5.0)

    def expire(self, name: str, callback: str, *, interval_s: float = traffic.NEVER_S) -> None:
        """Feed a watchdog once that falls due in 50 ms and whose verdicts run ``callback``."""
        for frame in traffic.frames(Kind.FEED, [name], 0.05, callback=callback, interval_s=interval_s):
            self._push.send(frame)

    def feed_all(self, called: list[str], timeout_s: float, seconds: float, every_s: float) -> None:
        """Feed some watchdogs again and again; a verdict on one of them would be a mark, and false."""
        feeds = traffic.frames(Kind.FEED, called, timeout_s, callback="mark")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for frame in feeds:
                self._push.send(frame)
            time.sleep(every_s)

    def finish(self) -> Marks:
        """End the supervisor and take its word."""
        self._keeper.terminate()
        return Marks(self._keeper.line(), self._deadlines)


class Marks:
    """Which callbacks ran when, beside when they should have."""

    def __init__(self, said: dict[str, Any], deadlines: dict[str, float]) -> None:
        self.said = said
        first: dict[str, float] = {}
        for name, at in said["marks"]:
            first.setdefault(name, at)
        self.names = list(first)
        self.lateness_s = [first[name] - due for name, due in deadlines.items() if name in first]
        self.missing = [name for name in deadlines if name not in first]
        self.early = sum(late < 0 for late in self.lateness_s)

    def ms(self, share: float) -> float:
        """Lateness that ``share`` of the probes did not exceed, milliseconds. All must have been noticed."""
        if self.missing or self.early or not self.lateness_s:
            text = f"{len(self.missing)} verdicts missing, {self.early} early, {len(self.lateness_s)} in all"
            raise RuntimeError(text)
        return percentile(self.lateness_s, share) * 1000

    def told(self) -> str:
        """The distribution in words."""
        shares = ((0.5, "p50"), (0.999, "p99.9"), (1.0, "max"))
        return ", ".join(f"{label} {self.ms(share):.2g}" for share, label in shares) + " ms"
