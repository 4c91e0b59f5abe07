"""Descriptors and memory of the supervisor's own process: told before they are short, and room is made.

Descriptors: connections of workers come first. From 80 % of the limit on, the handles by which the end of a process
is noticed are given back, and taken again when there is room; meanwhile such a process is judged by its silence.

Memory: when little is left below a limit, new names are refused and texts of workers dropped. Where that is not
enough, and Python has none to give, the newest names go first. Nothing of it ends the loop.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from banken_supervisor.engine.driver import Driver
from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.observability.guard import Guard, Place
from banken_supervisor.processes import descriptor_limit, memory_limit
from banken_supervisor.processes.process_watcher import ProcessWatcher

CHECK_S = 0.1
"""Seconds between two looks."""

AGAIN_S = 0.5
"""The same, while one is short and nothing else happens."""

DESCRIPTORS_HIGH, DESCRIPTORS_LOW = 0.8, 0.7
"""Shares of the limit from which on descriptors are short, and below which they are not any more."""

FEW = 1_024
"""A lower limit of descriptors is told at the start."""

MEMORY_SHARE = 4
MEMORY_MIN, MEMORY_MAX = 8 * 1024 * 1024, 64 * 1024 * 1024
"""Memory is short when a quarter of what was free at the start is left, within these bounds, bytes."""

RESERVE = 4 * 1024 * 1024
"""Bytes that are given back when Python had none to give: for what handles that."""

SHORT_S = 2.0
"""Seconds that memory counts as short at least."""

SHED_EVERY_S = 1.0
SHED_SHARE = 16
SHED_MAX = 2_000
SHED_FROM = 1_000
"""Of the names a sixteenth is released at once, at most 2,000, and at most half of them in all. A thousand are left
alone: it is not they that need the memory."""

GIVE_BACK_FROM, CALM_S = 8 * 1024 * 1024, 2.0
"""When so many bytes have waited, and hardly any do for so many seconds, the C library is asked to give memory
back: by itself it keeps a third of it."""

GIVE_BACK_EVERY_S = 30.0
"""Seconds until it is asked in any case. Much else takes memory and frees it: connections, names, subscriptions."""

MANY = 10_000
"""With more watchdogs than this the garbage collector does not scan them."""

Publish = Callable[[Event], None]


class Resources:
    """Belongs to the loop's thread."""

    def __init__(
        self,
        driver: Driver,
        watcher: ProcessWatcher,
        guard: Guard,
        publish: Publish,
        unsent: Callable[[], int] = lambda: 0,
    ) -> None:
        """``unsent``: bytes that wait to be sent."""
        self._unsent = unsent
        self._waited_most, self._calm_at, self._give_back_at = 0, 0.0, 0.0
        self._driver = driver
        self._watcher = watcher
        self._guard = guard
        self._publish = publish
        self._next = self._next_shed = self._short_until = 0.0
        self._limited = descriptor_limit.raise_limit()
        self._descriptors_short = self._memory_short = False
        self._reserve: bytearray | None = bytearray(RESERVE)
        self._faults = 0
        """MemoryErrors that were seen"""
        self._many = MANY
        self._may_shed = 0
        found = memory_limit.room()
        left = 0 if found is None else (found[1] - found[0]) // MEMORY_SHARE
        self._margin = max(MEMORY_MIN, min(MEMORY_MAX, left))

    def start(self) -> None:
        """Tell of a low limit."""
        limit = descriptor_limit.limit()
        if limit < FEW:
            why = "the system allows no more" if self._limited else "it cannot be raised"
            text = (
                f"at most {limit} descriptors ({why}): about {max(0, limit // 2 - 20)} workers; raise `ulimit -n`"
            )
            self._tell("descriptors", "low", descriptor_limit.used(), limit, text)

    def patience(self) -> float | None:
        """Seconds until ``turn`` should look again; None: it need not."""
        short = self._descriptors_short or self._memory_short or self._watcher.unseen
        return AGAIN_S if short else None

    def turn(self, real: float) -> None:
        """Look at both. ``real``: monotonic time, seconds."""
        if (count := len(self._driver.engine)) > self._many:
            # To scan a million for cycles, which they do not have, takes a second. What is released is still freed.
            self._many = count * 5 // 4
            gc.freeze()
        if real >= self._next or self._guard.memory_errors != self._faults:
            self._next = real + CHECK_S
            self._guard.run(Place.RESOURCES, self._look_at_memory, real)
            self._guard.run(Place.RESOURCES, self._look_at_descriptors)
            self._guard.run(Place.RESOURCES, self._give_back, real)

    def state(self) -> dict[str, Any]:
        """What ``summary`` says of them. Memory in bytes, of the limit that is nearest; None: there is none."""
        memory = memory_limit.room()
        return {
            "descriptors": descriptor_limit.used(),
            "descriptors_max": descriptor_limit.limit(),
            "descriptors_short": self._descriptors_short,
            "memory_used": None if memory is None else memory[0],
            "memory_max": None if memory is None else memory[1],
            "memory_short": self._memory_short,
            "processes_watched": len(self._watcher),
            "processes_unseen": len(self._watcher.unseen),
        }

    # -- descriptors ----------------------------------------------------------------------------------

    def _look_at_descriptors(self) -> None:
        used, limit = descriptor_limit.used(), descriptor_limit.limit()
        high, watcher = int(DESCRIPTORS_HIGH * limit), self._watcher
        if used >= high:
            watcher.let_go(used - high + 1)
            if not self._descriptors_short:
                self._descriptors_short = True
                text = (
                    f"{used} of {limit} descriptors are open: workers are judged by silence alone, their ends are "
                    "not noticed; raise `ulimit -n`, or look for a leak"
                )
                self._tell("descriptors", "short", used, limit, text)
        elif self._descriptors_short and used < DESCRIPTORS_LOW * limit:
            self._descriptors_short = False
            self._tell("descriptors", "ok", used, limit, f"{used} of {limit} descriptors are open")
        if watcher.unseen:
            driver, engine = self._driver, self._driver.engine
            for process in watcher.look_again(high - used - 1, engine.table.watches):
                engine.processes.exited(process, driver.now, driver.out)

    # -- memory ---------------------------------------------------------------------------------------

    def _give_back(self, real: float) -> None:
        """Give back what was freed: soon after much has waited, and every now and then."""
        waits = self._unsent() + self._driver.engine.waiting.size
        self._waited_most = max(self._waited_most, waits)
        if self._waited_most < GIVE_BACK_FROM or waits > self._waited_most // 8:
            self._calm_at = real + CALM_S
        if real >= min(self._calm_at, self._give_back_at):
            self._waited_most, self._give_back_at = 0, real + GIVE_BACK_EVERY_S
            memory_limit.give_back()

    def _look_at_memory(self, real: float) -> None:
        failed, self._faults = self._guard.memory_errors != self._faults, self._guard.memory_errors
        failed = (failed or self._memory_short) and not self._has_reserve()
        found = memory_limit.room()
        left = self._margin if found is None else found[1] - found[0]
        if failed or left < self._margin:
            self._short_until = real + SHORT_S
            if not self._memory_short:
                self._begin_shortage(found)
            if (failed or left < self._margin // 4) and real >= self._next_shed:
                self._next_shed = real + SHED_EVERY_S
                self._shed()
        elif self._memory_short and real >= self._short_until:
            self._end_shortage(found)

    def _has_reserve(self) -> bool:
        """Whether so much can be had: then only something large could not. Else it is given back."""
        self._reserve = None
        try:
            self._reserve = bytearray(RESERVE)
        except MemoryError:
            return False
        return True

    def _begin_shortage(self, found: tuple[int, int] | None) -> None:
        engine = self._driver.engine
        self._memory_short = engine.admission.short_of_memory = True
        self._may_shed = len(engine) // 2 if len(engine) > SHED_FROM else 0
        used, limit = found or (None, None)
        text = "memory is short: new names are refused, and texts of workers dropped, until there is more"
        self._tell("memory", "short", used, limit, text)

    def _end_shortage(self, found: tuple[int, int] | None) -> None:
        self._memory_short = self._driver.engine.admission.short_of_memory = False
        used, limit = found or (None, None)
        self._tell("memory", "ok", used, limit, "there is memory again: new names are taken")

    def _shed(self) -> None:
        driver = self._driver
        count = min(self._may_shed, SHED_MAX, len(driver.engine) // SHED_SHARE)
        names = driver.engine.shed(count, driver.now, driver.out)
        if names:
            self._may_shed -= len(names)
            text = f"the newest {len(names)} watchdogs were released, {names[0]!r} is the newest: no memory is left"
            used, limit = memory_limit.room() or (None, None)
            self._tell("memory", "shed", used, limit, text)

    def _tell(self, what: str, state: str, used: int | None, limit: int | None, text: str) -> None:
        data = {"what": what, "state": state, "used": used, "limit": limit, "text": text}
        self._publish(Event(EventType.RESOURCES, None, {k: v for k, v in data.items() if v is not None}))
