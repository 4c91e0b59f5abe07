"""The supervisor behind ``banken guard``: one program, at an address of its own, until that has ended."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from functools import partial
from time import monotonic
from types import FrameType

from banken.protocol.messages import DEFAULT_TIMEOUT, declare
from banken_supervisor.actions.target import ActionReport
from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.guard_terminal import Terminal
from banken_supervisor.engine.exit_status import exit_text
from banken_supervisor.engine.ladder import Ladder, Step
from banken_supervisor.engine.policy import EXIT_ONLY, Policy, ProgramSpec
from banken_supervisor.evidence import render
from banken_supervisor.programs.engine.effects import ProgramEvent, ProgramEventType
from banken_supervisor.programs.engine.states import ProgramState
from banken_supervisor.runtime.signals import Wish
from banken_supervisor.runtime.supervisor import Supervisor
from banken_supervisor.text.counts import plural
from banken_supervisor.text.durations import format_s

DUMP_S = 5.0
"""Seconds that looking at a hung command may take."""

INTERVAL_S = 60.0
"""How often it is said again that the command still hangs."""


class Guarding(Supervisor):
    """Runs one command. ``directory``: the address, 0700 and nobody else's. ``timeout``: None: only its end counts.

    ``code``: the exit code, once it has run.
    """

    signals = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    standalone = True

    def __init__(self, directory: str, spec: ProgramSpec, timeout: float | None, grace: float | None) -> None:
        super().__init__(directory)
        self.code = exit_codes.OK
        self._directory = directory
        self._spec = spec
        policy = EXIT_ONLY
        if timeout is not None:
            policy = Policy(declare(timeout, INTERVAL_S, max(timeout, DEFAULT_TIMEOUT) if grace is None else grace))
        wait = ("wait", min(spec.stop_timeout, 3600.0))
        steps = (Step("dump", options=(("seconds", DUMP_S),)), Step("kill", options=(wait, ("group", True))))
        self._policy = policy._replace(ladder=Ladder(steps))
        self._status: int | None = None
        self._interrupted = False
        """whether the user ended the command by a key that came to it alone"""
        self._terminal = Terminal(self._mailbox.post)

    def _opened(self) -> None:
        assert self._loop is not None
        self._loop.programs.set((self._spec,), (), {self._spec.name: self._policy})
        self._loop.programs.heard = self._heard
        self._terminal.opened()
        self._loop.programs.manager.orphans.sole_starter = lambda: True
        self._mailbox.post(self._see_start)

    # -- on the loop's thread -----------------------------------------------------------------------

    def _see_start(self) -> None:
        """In the first turn: the end if the command was not even tried, of which nothing would be heard."""
        assert self._loop is not None
        program = self._loop.programs.manager.programs.get(self._spec.name)
        if program is None or program.state is ProgramState.STOPPED:
            self.code = exit_codes.NOT_RUNNABLE
            self._say("cannot be started: the guard's own records cannot be read; is `ulimit -n` too low?")
            self._finish()

    def _heard(self, event: ProgramEvent) -> None:
        """What became of the command; the end when nothing more will."""
        data = event.data
        kinds = ProgramEventType
        if event.type is kinds.STARTED:
            self._terminal.started(data["pid"])
        elif event.type in (kinds.EXITED, kinds.STOPPED, kinds.UNKILLABLE):
            had = self._terminal.ended()
            if had and event.type is kinds.EXITED and data["status"] in (-signal.SIGINT, -signal.SIGQUIT):
                self._interrupted = True
                self._mailbox.post(self._end_command)  # Ctrl-C came to it alone: it ends us, too
        match event.type:
            case kinds.EXITED:
                self._note_end(data["status"])
            case kinds.FAILED:
                self.code = exit_codes.NOT_RUNNABLE
                self._say(f"cannot be started: {data['reason']}")
            case kinds.BACKOFF if not self._interrupted:
                how = "" if self._status is None else f" ({exit_text(self._status)})"
                self._say(f"ended{how}; it starts again in {format_s(data['seconds'])}")
            case kinds.GAVE_UP:
                restarts = plural(data["count"], "restart")
                self._say(f"is given up: {restarts} within {format_s(data['period'])} did not help")
                self._finish()
            case kinds.UNKILLABLE:
                self.code = 128 + signal.SIGKILL
                self._say(f"outlived SIGKILL for {format_s(data['after'])}: it hangs in the kernel")
                self._finish()
            case kinds.STOPPED if not data["again"]:
                if data["status"] is not None:
                    self._note_end(data["status"])
                self._finish()

    def _work(self) -> None:
        try:
            super()._work()
        finally:
            self._terminal.close()

    def _note_end(self, status: int | None) -> None:
        self._status = status
        self.code = exit_codes.NOT_SO if status is None else status if status >= 0 else 128 - status

    def _finish(self) -> None:
        assert self._loop is not None
        self._loop.stop()

    def _say(self, text: str) -> None:
        assert self._log_queue is not None
        self._log_queue.line(logging.WARNING, f"{self._spec.name} {text}", {})

    # -- elsewhere ----------------------------------------------------------------------------------

    def _acted(self, report: ActionReport) -> None:
        """On an action's thread: show where it hung, before anything is done to it."""
        found = report.data.get("evidence")
        if isinstance(found, dict):
            lines = render(found) if "threads" in found else [str(found.get("headline"))]
            self._say("\n".join(("was doing this:", *lines)))
        super()._acted(report)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        match self._end_signals.wish(number, monotonic()):
            case Wish.END:
                self._mailbox.post(partial(self._pass_on, number))
            case Wish.END_AT_ONCE:
                self._terminal.ended()  # else it keeps the modes of what is killed now
                shutil.rmtree(self._directory, ignore_errors=True)
                os._exit(128 + signal.SIGKILL)  # that is what the programs' guard ends the rest of the command with

    def _pass_on(self, number: int) -> None:
        """End the command with the signal that came; ``_heard`` ends the rest when it is gone."""
        assert self._loop is not None
        programs, driver = self._loop.programs, self._loop.driver
        self._spec = self._spec._replace(stop_signal=signal.Signals(number).name)
        programs.set((self._spec,), (), {self._spec.name: self._policy})
        programs.apply(driver.engine, driver.now, driver.out)
        self._end_command(f"{self._spec.stop_signal} was passed on")

    def _end_command(self, why: str = "it was interrupted") -> None:
        assert self._loop is not None
        driver = self._loop.driver
        self._loop.programs.command("stop", self._spec.name, driver.engine, driver.now, driver.out, why)
