"""``kill``: end the process, and make sure that it has ended.

SIGCONT first, for a stopped process handles no other signal; SIGTERM; a while to end in order; SIGKILL; then its
pidfd is watched. A process that outlives SIGKILL hangs in the kernel, and the outcome says where. It is success if
the process ends by itself meanwhile, and also if a feed ends the incident before SIGKILL: then nothing is killed.

If the supervisor stops before SIGKILL, it is sent at once: the incident is open, and the next supervisor does not
begin this step again.
"""

from __future__ import annotations

from contextlib import closing, nullcontext
from signal import SIGCONT, SIGKILL, SIGTERM
from time import monotonic
from typing import Annotated, Any, ClassVar

from pydantic import Field

from banken.protocol.messages import ProcessIdentity
from banken_supervisor.actions.base import Action, ActionContext, ActionTarget, IncidentEnd, Outcome
from banken_supervisor.actions.options import Table, seconds
from banken_supervisor.actions.signal import on_process, untouchable
from banken_supervisor.actions.target import CUT
from banken_supervisor.processes.incident_end import StopReason
from banken_supervisor.processes.process_group import ProcessGroup

VERIFY_S = 5.0
"""Seconds after SIGKILL until a process counts as unkillable."""

POLL_S = 0.05
"""Seconds between two checks whether the incident has ended, while it waits for a process."""


class Kill(Action, Table):
    """CONT, TERM, wait, KILL, and see that it is dead."""

    name: ClassVar[str] = "kill"
    needs_process: ClassVar[bool] = True
    verify_s: ClassVar[float] = VERIFY_S

    wait: Annotated[float, *seconds(0, 3600)] = Field(10.0, description="From TERM to KILL.")
    group: bool = Field(False, description="Its process group too, where it leads one.")

    def model_post_init(self, context: Any, /) -> None:
        self.__dict__["limit_s"] = self.wait + 2 * VERIFY_S + 5

    def run(self, target: ActionTarget, context: ActionContext, ended: IncidentEnd) -> Outcome:
        """Escalate until it has ended; ``step`` in the data is where it did."""

        def kill(who: ProcessIdentity) -> Outcome:
            group = context.group(who) if self.group else None
            with nullcontext() if group is None else closing(group):
                return self._escalate(who, group, context, ended)

        return on_process(target, context, kill)

    def _escalate(
        self, who: ProcessIdentity, group: ProcessGroup | None, context: ActionContext, ended: IncidentEnd
    ) -> Outcome:
        began = monotonic()

        def outcome(ok: bool, step: str, text: str, **more: bool) -> Outcome:
            data = {"pid": who.pid, "step": step, "seconds": monotonic() - began, **more}
            return Outcome(ok, text, data | ({"group": group is not None} if self.group else {}))

        def send(number: int) -> bool:
            """To the process, and to its group; False: it is not there, or never signalled."""
            if group is not None and context.alive(who):
                return group.signal(number)
            return context.signal(who, number)

        if not send(SIGCONT):
            if context.alive(who):
                return outcome(False, "refused", untouchable(who.pid))
            return outcome(True, "before", f"pid {who.pid} had ended already")
        send(SIGTERM)
        gone = self._wait_gone(who, context, ended)
        reason = None if gone else ended.reason
        if reason is StopReason.HANDED_OVER:
            text = f"pid {who.pid} lives on after SIGTERM: {ended.text}"
            return outcome(False, "handed-over", text, **{CUT: True})
        if reason in (StopReason.ENDED, StopReason.RECOVERED):
            text = f"pid {who.pid} lives on: the incident ended during the wait after SIGTERM"
            return outcome(True, "ended", text)
        step = "SIGTERM" if gone else "SIGKILL"
        if not gone:
            send(SIGKILL)
            gone = context.wait_gone(who, self.verify_s)
        if not gone:
            return outcome(False, "unkillable", f"unkillable: pid {who.pid}, state {context.state(who)}")
        if group is not None:  # what the process forked and left behind has the rest of the time
            self._wait_group(group, began + self.wait, ended)
            group.signal(SIGKILL)
            if not group.wait_gone(self.verify_s):
                text = f"pid {who.pid} ended by {step}, but {group.left()} of its group outlived SIGKILL"
                return outcome(False, "group", text)
        why = f", for {ended.text}" if reason is not None else ""
        return outcome(True, step, f"pid {who.pid} ended by {step} after {monotonic() - began:.1f} s{why}")

    def _wait_gone(self, who: ProcessIdentity, context: ActionContext, ended: IncidentEnd) -> bool:
        """Whether it ended within its time, or before the incident ended."""
        deadline = monotonic() + self.wait
        while not (gone := context.wait_gone(who, max(0.0, min(deadline - monotonic(), POLL_S)))):
            if ended.is_set() or monotonic() >= deadline:
                break
        return gone

    def _wait_group(self, group: ProcessGroup, deadline: float, ended: IncidentEnd) -> None:
        """For its end, until ``deadline``, or until the supervisor stops."""
        while not group.wait_gone(max(0.0, min(deadline - monotonic(), POLL_S))):
            if ended.reason is StopReason.STOPPING or monotonic() >= deadline:
                return
