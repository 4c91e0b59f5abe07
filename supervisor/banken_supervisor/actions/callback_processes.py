"""The processes in which the functions of one config's [callbacks], and the user's own actions, run, so that none
can harm the supervisor.

All functions share one process, so what a module keeps, they share. It is there before the first call, and is
started again when it has ended. A function that ran when it ended, or that was ended because it was stuck, has a
process of its own from then on: it takes no other one along again. One that was not alone when the process ended,
and then ends well in its own, comes back, once.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import partial
from time import monotonic
from typing import Any

from banken.protocol.incidents import Incident
from banken_supervisor.actions.callback_process import Call, CallbackFailed, CallbackProcess, Conversation
from banken_supervisor.actions.job import WasEnded, when_stuck

ACTION = "action "
"""How the name of an action begins here: no function's does."""

PERFORM = "banken_supervisor.actions.own_action:perform"
"""What runs an action there."""

PAUSE_MIN_S, PAUSE_MAX_S = 0.5, 30.0
"""Seconds before a process is started again: none after the first end, then doubled from the one to the other."""

STEADY_S = 60.0
"""A process that lived for so long is started again at once."""

log = logging.getLogger("banken.callbacks")


class _Place:
    """Where one process at a time is, for all functions or for one. The fields belong to the lock."""

    def __init__(self, targets: Mapping[str, str]) -> None:
        self.targets = targets
        self.process: CallbackProcess | None = None
        self.ends = 0
        """ends in a row of processes that did not live long"""
        self.start_at = 0.0
        """monotonic time before which no process is started"""
        self.last = ""
        """how the last one ended"""

    @property
    def pause(self) -> float:
        """Seconds until a process may be started."""
        return max(0.0, self.start_at - monotonic())

    def leave(self, process: CallbackProcess, how: str, names: Collection[str] = ()) -> None:
        """The process takes no more calls: the sooner it went, the later another one is started. ``names``: of
        functions that ran in it; if all share it, they never will again, and the others need not wait."""
        self.process, self.last = None, how
        if names and len(self.targets) > 1:
            return
        self.ends = 1 if monotonic() - process.began > STEADY_S else self.ends + 1
        if self.ends > 1:
            self.start_at = monotonic() + min(PAUSE_MIN_S * 2 ** min(self.ends - 2, 16), PAUSE_MAX_S)


class CallbackProcesses:
    """``targets``: by name ``module:function``. ``directory``: where modules are looked for last. ``setup``: what
    each process calls first, ``module:function`` and its keyword arguments. ``actions``: those of the user's own,
    each ``module:Class``. The methods are for any thread.
    """

    def __init__(
        self,
        targets: Mapping[str, str],
        directory: str,
        setup: tuple[str, Mapping[str, Any]] | None = None,
        actions: Collection[str] = (),
    ) -> None:
        self._task = {
            "directory": directory, "path": [*sys.path], "parent": os.getpid(), "setup": setup, "perform": PERFORM,
        }  # fmt: skip
        self._changed = threading.Condition()
        self._shared = _Place({**targets, **{f"{ACTION}{target}": target for target in actions}})
        self._own: dict[str, _Place] = {}
        """by name: functions that have a process of their own"""
        self._doubts: Counter[str] = Counter()
        """by name: 1, a process ended while it ran with others; 2 and more, it is known to end processes"""
        self._living: set[CallbackProcess] = set()
        self._logging = threading.Lock()
        self._retired = False
        self._killed = False

    def start(self) -> dict[str, str]:
        """Start the process that all share, and wait for it. By name: why a function cannot be called."""
        with self._changed:
            self._start(self._shared)
            process = self._shared.process
            self._changed.wait_for(lambda: process is None or process.ready or process.how is not None)
            if process is not None and process.ready:
                return process.faults
            self._retired = True
        why = self._shared.last if process is None else process.how
        return dict.fromkeys(self._shared.targets, f"cannot be imported: the process that imports it: {why}")

    def function(self, name: str) -> Callable[[Incident], object]:
        """The function as one of this process. It raises CallbackFailed where that one raises, or is ended."""
        return partial(self._run, name)

    def act(self, target: str, what: bytes, conversation: Conversation) -> bytes:
        """Run one of the actions; what it returned. CallbackFailed: it raised, or was ended."""
        name = f"{ACTION}{target}"
        if name not in self._shared.targets:
            raise CallbackFailed("the config that is in force now has this action in no ladder")
        return self._run(name, what, conversation)

    def retire(self) -> None:
        """Another config is in force: end each process when the last call has ended."""
        with self._changed:
            self._retired = True
            for process in [*self._living]:
                process.retire()

    def kill(self, wait: float) -> None:
        """The supervisor ends: end all calls and processes. It waits at most ``wait`` seconds for them."""
        self.retire()
        with self._changed:
            self._killed = True
            for process in self._living:
                if process.calls:
                    process.kill("the supervisor stopped")
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._living, wait)
            for process in self._living:
                process.kill("the supervisor stopped")

    # -- a call -------------------------------------------------------------------------------------

    def _run(self, name: str, what: Incident | bytes, conversation: Conversation | None = None) -> bytes:
        call = Call(name)
        outer = when_stuck(partial(self._stuck, call))
        try:
            with self._changed:
                process = self._process_for(call)
                message = b"" if process is None else process.begin(call, what)
            if process is not None:
                when_stuck(partial(self._stuck, call))  # it begins now
                process.send(message)
                if conversation is not None:
                    call.talk(conversation)
            call.over.wait()
            self._clear_doubt(call)
        except WasEnded:  # a callback that it had called: nobody would wait for the rest of it
            self._stuck(call, 0.0)
            raise
        finally:
            when_stuck(outer)
            if self._retired:  # it may have started one since
                self.retire()
        if call.fault is not None:
            raise call.fault
        return call.result

    def _process_for(self, call: Call) -> CallbackProcess | None:
        """Wait for a process that is ready for the call; None: the call is over."""
        while not call.over.is_set():
            place = self._own.get(call.name, self._shared)
            process = place.process
            if self._killed:
                call.end(CallbackFailed("the supervisor stopped before it began"))
            elif process is None or process.retired:
                place.process = None
                if place.pause:
                    self._changed.wait(place.pause)
                else:
                    self._start(place)
            elif not process.ready:
                self._changed.wait()
            elif call.name in process.faults:
                call.end(CallbackFailed(f"{place.targets[call.name]} {process.faults[call.name]}"))
            else:
                return process
        return None

    def _clear_doubt(self, call: Call) -> None:
        """It ended well alone, so another one has ended the process that they shared."""
        with self._changed:
            process, place = call.process, self._own.get(call.name)
            alone = place is not None and place.process is process and process is not None and process.how is None
            if alone and self._doubts[call.name] == 1 and not isinstance(call.fault, WasEnded):
                assert process is not None
                del self._own[call.name]
                process.retire()

    def _stuck(self, call: Call, limit_s: float) -> str:
        """The call has taken too long: it is waited for no longer, and its process is ended. That, in words."""
        with self._changed:
            if call.over.is_set():
                return ""
            call.end(WasEnded())
            self._changed.notify_all()
            process = call.process
            if process is None:
                last = self._own.get(call.name, self._shared).last
                why = f", or ended: {last}" if last else ""
                return f"not begun within its limit of {limit_s:g} s: its process is not ready{why}"
            for place in (self._shared, *self._own.values()):
                if place.process is process:
                    place.leave(process, "it was stuck", [call.name])
            self._isolate([call.name], 2)
            process.abandon(call)
            if not self._retired and self._shared.process is None and not self._shared.pause:
                self._start(self._shared)
            when = " when the others in that have ended" if process.calls else ""
            return f"still running after its limit of {limit_s:g} s; it is ended with its process{when}"

    # -- processes, under the lock ------------------------------------------------------------------

    def _isolate(self, names: Collection[str], doubt: int) -> None:
        for name in names:
            self._doubts[name] += doubt
            self._own.setdefault(name, _Place({name: self._shared.targets[name]}))

    def _start(self, place: _Place) -> None:
        actions = {name: target for name, target in place.targets.items() if name.startswith(ACTION)}
        callbacks = {name: target for name, target in place.targets.items() if name not in actions}
        task = {**self._task, "callbacks": callbacks, "actions": actions}
        process = CallbackProcess(task, self._changed, self._ended)
        if process.how is None:
            place.process = process
            self._living.add(process)
        else:
            place.leave(process, process.how)

    def _ended(self, process: CallbackProcess, names: Collection[str]) -> None:
        """Called on the thread of a process that has ended, without the lock; ``names``: what ran in it."""
        how = process.how or ""
        with self._changed:
            self._living.discard(process)
            self._changed.notify_all()
            shared = self._shared.process is process
            found = [place for place in (self._shared, *self._own.values()) if place.process is process]
            for place in found:
                place.leave(process, how, names)
            if not found or self._retired:
                return
            self._isolate(set(names), 1 if len(set(names)) > 1 else 2)
            pause = self._shared.pause
            if shared and not pause:
                self._start(self._shared)
        ran = f" while {', '.join(sorted(set(names)))} ran" if names else ""
        when = "when it is called" if not shared else f"in {pause:g} s" if pause else "at once"
        if self._logging.acquire(blocking=False):  # else a thread waits for the log already: nobody reads it
            log.warning("a process of callbacks ended%s: %s; it is started again %s", ran, how, when)
            self._logging.release()
        if shared and pause:
            with self._changed:
                self._changed.wait_for(lambda: self._retired, pause)
                if self._shared.process is None and not self._retired:
                    self._start(self._shared)
