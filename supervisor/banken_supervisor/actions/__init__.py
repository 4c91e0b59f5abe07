"""What a step of a ladder does, and the threads that do it.

One file per action, with the model of its options; ``base`` has what actions share, ``registry`` finds them by
name, ``action_executor`` runs them. The engine decides which step is due; the ``dispatcher`` hands its action and
an ``ActionTarget`` to the executor. What became of it comes back as an ``ActionReport``.
"""

from banken_supervisor.actions.action_context import ActionContext
from banken_supervisor.actions.action_executor import Executor
from banken_supervisor.actions.base import Action
from banken_supervisor.actions.registry import NAMES, build
from banken_supervisor.actions.target import ActionReport, ActionTarget, Outcome

__all__ = [
    "NAMES", "Action", "ActionContext", "ActionReport", "ActionTarget", "Executor", "Outcome", "build",
]  # fmt: skip
