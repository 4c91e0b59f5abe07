"""What all actions share: all that an action needs stands here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import ClassVar, cast

from banken_supervisor.actions.action_context import ActionContext as ActionContext
from banken_supervisor.actions.target import ActionTarget as ActionTarget
from banken_supervisor.actions.target import IncidentEnd as IncidentEnd
from banken_supervisor.actions.target import Outcome as Outcome

LIMIT_S = 30.0
"""Seconds an action may run unless it says otherwise; then it is reported as stuck and its thread replaced."""


class Action(ABC):
    """One thing that a step can do. Made once per step and used by many threads: a run keeps nothing in it.

    Those that come with banken are pydantic models too, whose fields are the options. An action of a user's own
    takes its options as keyword arguments, checks them, and raises ValueError with what is allowed. It is named in
    the config as ``module:Class``, or by an entry point of the group ``banken.actions``.
    """

    name: ClassVar[str]

    outside: ClassVar[bool] = False
    """True: it waits for a server or a command. Such runs never take all threads, so that the supervisor can still
    kill and restart while a network is down"""

    needs_process: ClassVar[bool] = False
    """True: it acts on the worker's process, which must be on this host and known for certain"""

    brings_back: ClassVar[bool] = True
    """True: it may bring a worker back, so that a budget across incidents makes sense"""

    # No annotations from here on: pydantic would make options of them. Our own actions set these in ``__dict__``,
    # because their options are frozen.

    recipient = cast(Hashable, None)
    """where its messages go. Many runs of one action with the same recipient may become one run, which gets all but
    the first as ``ActionTarget.others``. None: each runs by itself"""

    limit_s = LIMIT_S
    """seconds until a run counts as stuck"""

    hidden = cast("tuple[str, ...]", ())
    """secrets: the executor puts *** in their place in every report"""

    @abstractmethod
    def run(self, target: ActionTarget, context: ActionContext, ended: IncidentEnd) -> Outcome:
        """Do it. To raise is to fail, with the traceback as the text.

        ``ended`` is set when the incident ends, and when the supervisor stops: stop waiting then. Its ``reason``
        says which. Where the supervisor stops, the incident is open, and the next supervisor does not begin this
        step again: what must not be left half done is finished at once.
        """

    def __repr__(self) -> str:
        return f"<action {self.name}>"  # no options: some are secrets
