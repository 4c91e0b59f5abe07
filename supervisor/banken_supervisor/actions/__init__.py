"""What a step of a ladder does, and the threads that do it.

One file per action, with the model of its options; ``base`` has what actions share, ``registry`` finds them by
name, ``action_executor`` runs them. The engine decides which step is due; the ``dispatcher`` hands its action and
an ``ActionTarget`` to the executor. What became of it comes back as an ``ActionReport``.

Loading this package imports nothing: who needs the models of options alone has no use for the threads.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from banken_supervisor.actions.action_context import ActionContext
    from banken_supervisor.actions.action_executor import Executor
    from banken_supervisor.actions.base import Action
    from banken_supervisor.actions.registry import NAMES, build
    from banken_supervisor.actions.target import ActionReport, ActionTarget, Outcome

__all__ = [
    "NAMES", "Action", "ActionContext", "ActionReport", "ActionTarget", "Executor", "Outcome", "build",
]  # fmt: skip

_HOMES = {
    "ActionContext": "action_context", "Executor": "action_executor", "Action": "base", "NAMES": "registry",
    "build": "registry", "ActionReport": "target", "ActionTarget": "target", "Outcome": "target",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value
