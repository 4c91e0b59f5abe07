"""Who watches the supervisor hears from its loop that it turns, and from nothing else.

The service manager: READY when the first turn is over, WATCHDOG at half its time, STATUS, RELOADING and STOPPING,
all sent by the loop itself. Where no callback can run any more WATCHDOG is withheld: a restart helps then, and
turns of the loop alone do not. The hardware's watchdog and the deadman's address: each in its file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from time import CLOCK_MONOTONIC, clock_gettime_ns
from typing import TYPE_CHECKING, Any

from banken_supervisor.actions.action_executor import Executor
from banken_supervisor.actions.callbacks import Callbacks
from banken_supervisor.actions.keyed_executor import STUCK_MAX
from banken_supervisor.control.view import ControlView, ReloadView
from banken_supervisor.engine.checks import RUNNER
from banken_supervisor.engine.effects import Event, EventType
from banken_supervisor.engine.states import State
from banken_supervisor.outbox.outbox import Outbox
from banken_supervisor.processes.service_manager import ServiceManager
from banken_supervisor.programs.engine.states import ProgramState
from banken_supervisor.runtime.hardware_watchdog import HardwareWatchdog
from banken_supervisor.text.sanitize import line

if TYPE_CHECKING:
    from banken_supervisor.config.deadman import DeadmanSettings
    from banken_supervisor.runtime.deadman import Deadman

SHOWN = [each for each in State if each is not State.RELEASED]
"""Those that a watchdog is in while it is in the table."""

STATUS_EVERY_S = 1.0
"""Seconds between two texts for the manager, at least."""

AGAIN_S = 0.2
"""Seconds until a message is tried again that the manager did not take."""

LOST_S = 60.0
"""Seconds between two log lines about a manager that takes nothing."""


class OuterWatchdogs:
    """Belongs to the loop's thread. ``executors``: without them nothing is done about an incident."""

    def __init__(
        self,
        view: ControlView,
        executors: Sequence[Callbacks | Executor],
        log: Callable[[int, str, dict[str, Any]], None],
        outbox: Outbox | None,
        publish: Callable[[Event], None],
        post: Callable[[Callable[[], None]], object],
    ) -> None:
        self.deadman: Deadman | None = None
        self.hardware: HardwareWatchdog | None = None
        self._outbox, self._publish, self._post = outbox, publish, post
        self._hardware_fault: str | None = None
        """why its device cannot be used; None: not known yet"""
        self.manager: ServiceManager | None = None
        """None: no service manager wants to hear of this process"""
        self._view = view
        self._executors = executors
        self._log = log
        self._is_ready = self._is_stopping = self._is_reloading = False
        self._reloads_seen = 0
        self._watchdog_at = self._status_at = self._log_at = 0.0
        self._status = ""

    def patience(self, real: float) -> float | None:
        """Seconds until ``turn`` has something to do; None: nothing. ``real``: monotonic time, seconds."""
        due = [each.patience(real) for each in (self.deadman, self.hardware) if each is not None]
        if self.manager is not None and self.manager.waits:
            due.append(AGAIN_S)
        if self.manager is not None and self.manager.watchdog is not None:
            due.append(max(0.0, self._watchdog_at - real))
        return min(due, default=None)

    def turn(self, real: float) -> None:
        """The loop has turned. ``real``: monotonic time, seconds."""
        if self.hardware is not None:
            self.hardware.turn(real)
        if self.deadman is not None:
            self.deadman.turn(real)
        if self.manager is not None:
            self._tell_manager(self.manager, real)

    def configure(self, deadman: DeadmanSettings | None, device: str | None) -> None:
        """What the config says. What it says as before goes on."""
        if self.deadman is not None and self.deadman.settings != deadman:
            self.deadman.close()
            self.deadman = None
        if deadman is not None and self.deadman is None:
            from banken_supervisor.runtime.deadman import Deadman  # with pydantic, which a config has loaded

            tell = partial(self._tell, "deadman")
            self.deadman = Deadman(deadman, self._outbox, self._why_not, self._post, tell)
        if self.hardware is not None and self.hardware.path != device:
            self.hardware.close()
            self.hardware, self._hardware_fault = None, None
        if device is not None and self.hardware is None:
            self.hardware = HardwareWatchdog(device, partial(self._device_said, device))

    def state(self) -> dict[str, Any]:
        """For ``summary``."""
        return {
            "deadman": None if self.deadman is None else dict(self.deadman.counts),
            "hardware_watchdog_feeds": None if self.hardware is None else self.hardware.feeds,
        }

    def stop(self) -> None:
        """The supervisor begins to stop. May be called again."""
        if self.manager is not None and not self._is_stopping:
            self._is_stopping = True
            self.manager.say("STOPPING=1", "STATUS=stopping")

    def close(self) -> None:
        """The loop turns no more: nothing is said from now on, the hardware is disarmed. May be called again."""
        self.stop()
        self.configure(None, None)
        if self.manager is not None:
            self.manager.close()
            self.manager = None

    def _device_said(self, path: str, fault: str) -> None:
        """Called on the thread of the device."""
        self._post(partial(self._device, path, fault))

    def _device(self, path: str, fault: str) -> None:
        """The device cannot be used any more, for this reason, or it can."""
        if self.hardware is None or self.hardware.path != path or fault == self._hardware_fault:
            return
        self._hardware_fault = fault
        what = f"cannot be used: {fault}" if fault else "is armed"
        self._tell("hardware", "failed" if fault else "ok", f"the hardware watchdog {path} {what}")

    def _tell(self, what: str, state: str, text: str) -> None:
        self._publish(Event(EventType.OUTER_WATCHDOG, None, {"what": what, "state": state, "text": text}))

    def _tell_manager(self, manager: ServiceManager, real: float) -> None:
        if not self._is_ready:
            self._status_at, self._status = real + STATUS_EVERY_S, self._text()
            self._is_ready = True
            manager.say("READY=1", f"STATUS={self._status}")
        self._tell_reloads(manager, self._view.reloads())
        if manager.watchdog is not None and real >= self._watchdog_at:
            self._watchdog_at = real + manager.watchdog / 2
            if not self.stuck():
                manager.say("WATCHDOG=1")
        if real >= self._status_at and not self._is_stopping:
            self._status_at = real + STATUS_EVERY_S
            if (text := self._text()) != self._status:
                self._status = text
                manager.say(f"STATUS={text}")
        if manager.waits:
            manager.send()
        if manager.fault is not None and real >= self._log_at:
            self._log_at = real + LOST_S
            self._log(logging.WARNING, f"the service manager takes no message: {manager.fault}", {})

    def _tell_reloads(self, manager: ServiceManager, reloads: ReloadView | None) -> None:
        """A manager that asked for a reload waits for a RELOADING later than its signal, and then for READY."""
        if reloads is None or self._is_stopping:
            return
        if reloads.asked != self._reloads_seen:
            self._reloads_seen, self._is_reloading = reloads.asked, True
            manager.say("RELOADING=1", f"MONOTONIC_USEC={clock_gettime_ns(CLOCK_MONOTONIC) // 1000}")
        if self._is_reloading and not reloads.is_pending:
            self._is_reloading = False
            what = "" if reloads.last["ok"] else "; the last reload was refused, the old config stays in force"
            self._status = self._text()
            manager.say("READY=1", f"STATUS={self._status}{what}")

    def stuck(self) -> str:
        """Why nothing is done about incidents any more; empty: it is."""
        stuck = max(each.counts()["stuck"] for each in self._executors)
        return f"{stuck} threads are stuck, and no more are replaced" if stuck >= STUCK_MAX else ""

    def _why_not(self) -> str:
        """Why this supervisor does not do its work; empty: it does."""
        runner = self._view.driver.engine.get(RUNNER) if self._view.checks.placed else None
        if runner is None or runner.state in (State.ALIVE, State.PAUSED):
            return self.stuck()
        if runner.state is State.WAITING and self._view.metrics.uptime < runner.declaration.grace:
            return self.stuck()  # all begins
        return "the process that runs the checks does not answer"

    def _text(self) -> str:
        """One line for people: how many watchdogs and programs there are, in which states."""
        found = self._view.driver.engine.table.states
        states = ", ".join(f"{found[each]} {each.value}" for each in SHOWN if found[each])
        count = len(self._view.driver.engine)
        text = f"{count} watchdog{'' if count == 1 else 's'}{': ' if states else ''}{states}"
        if (programs := len(self._view.programs.specs)) > 0:
            text += f"; {self._view.programs.states()[ProgramState.RUNNING]} of {programs} programs run"
        stuck = self.stuck()
        return line(f"{stuck}: its WATCHDOG is withheld; {text}" if stuck else text, 500)
