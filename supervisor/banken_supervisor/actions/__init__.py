"""What a step of a ladder does, and the threads that do it.

One small file per action; ``base`` has what they share, ``registry`` finds them by name, ``executor`` runs them,
``identity`` and ``group`` know processes for certain. Nothing here decides: the core says which step is due, and
the loop hands its action and a ``Subject`` to the ``Executor``. What became of it comes back as a ``Report``.
"""

from banken_supervisor.actions.action_executor import Executor, Report, What
from banken_supervisor.actions.base import Action, Outcome, Subject, World
from banken_supervisor.actions.registry import NAMES, build

__all__ = ["NAMES", "Action", "Executor", "Outcome", "Report", "Subject", "What", "World", "build"]
