"""``kill``: end the process, and make sure that it has ended.

SIGCONT first, for a stopped process hears nothing else; SIGTERM; a while to end in order; SIGKILL; and then its
pidfd is watched. A process that outlives SIGKILL hangs in the kernel, and the outcome says where. That it ended by
itself meanwhile is success, and so is a feed before SIGKILL: then the incident has ended, and nobody is to be
killed.
"""

from __future__ import annotations

import threading
from signal import SIGCONT, SIGKILL, SIGTERM
from time import monotonic

from banken.protocol.messages import ProcessIdentity
from banken_supervisor.actions import options
from banken_supervisor.actions.base import Action, Outcome, Subject, World
from banken_supervisor.actions.signal import cannot_touch, foreign
from banken_supervisor.processes.process_group import ProcessGroup

VERIFY_S = 5.0
"""Seconds after SIGKILL until a process counts as unkillable."""

GLANCE_S = 0.05
"""Seconds between two looks at whether the incident has ended, while a process is waited for."""


class Kill(Action):
    """``wait``: seconds between SIGTERM and SIGKILL. ``group``: end the group too, if the worker leads one."""

    name = "kill"
    verify_s: float = VERIFY_S

    def __init__(self, *, wait: float = 10.0, group: bool = False) -> None:
        self._wait = options.seconds(wait, "wait", 0, 3600)
        self._group = options.flag(group, "group")
        self.limit_s = self._wait + 2 * VERIFY_S + 5

    def run(self, subject: Subject, world: World, ended: threading.Event) -> Outcome:
        """Climb until it has ended; ``step`` in the data is where it did."""
        if refusal := cannot_touch(subject, world):
            return refusal
        assert subject.who is not None
        group = world.group(subject.who) if self._group else None
        try:
            return self._climb(subject.who, group, world, ended)
        except PermissionError:
            return foreign(subject.who.pid)
        finally:
            if group is not None:
                group.close()

    def _climb(
        self, who: ProcessIdentity, group: ProcessGroup | None, world: World, ended: threading.Event
    ) -> Outcome:
        began = monotonic()

        def outcome(ok: bool, step: str, text: str) -> Outcome:
            data = {"pid": who.pid, "step": step, "seconds": monotonic() - began}
            return Outcome(ok, text, data | ({"group": group is not None} if self._group else {}))

        if not self._send(who, group, SIGCONT, world):
            if world.alive(who):
                return outcome(False, "refused", f"pid {who.pid} is not to be touched (init, or the supervisor)")
            return outcome(True, "before", f"pid {who.pid} had ended already")
        self._send(who, group, SIGTERM, world)
        gone = self._await(who, world, ended)
        if not gone and ended.is_set():
            text = f"pid {who.pid} lives on: the incident ended while SIGTERM was given time"
            return outcome(True, "ended", text)
        step = "SIGTERM" if gone else "SIGKILL"
        if not gone:
            self._send(who, group, SIGKILL, world)
            gone = world.wait_gone(who, self.verify_s)
        if not gone:
            return outcome(False, "unkillable", f"unkillable: pid {who.pid}, state {world.state(who)}")
        if group is not None and not self._end_rest(group):
            text = f"pid {who.pid} ended by {step}, but {group.left()} of its group outlived SIGKILL"
            return outcome(False, "group", text)
        return outcome(True, step, f"pid {who.pid} ended by {step} after {monotonic() - began:.1f} s")

    @staticmethod
    def _send(who: ProcessIdentity, group: ProcessGroup | None, number: int, world: World) -> bool:
        """To the process, and to its group. Whether the process was there to get it."""
        if group is not None and world.alive(who):
            return group.signal(number)
        return world.signal(who, number)

    def _await(self, who: ProcessIdentity, world: World, ended: threading.Event) -> bool:
        """Give it its time; whether it ended within it."""
        deadline = monotonic() + self._wait
        while not ended.is_set():
            left = deadline - monotonic()
            if world.wait_gone(who, max(0.0, min(left, GLANCE_S))):
                return True
            if left <= 0:
                return False
        return world.wait_gone(who, 0.0)

    def _end_rest(self, group: ProcessGroup) -> bool:
        """End what the process forked and left behind in its group."""
        group.signal(SIGKILL)
        return group.wait_gone(self.verify_s)
