"""How a callback is called: with nothing if it takes nothing, with the incident if it takes one argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from banken.errors import CallbackRefused

if TYPE_CHECKING:
    from banken.protocol.incidents import Incident

Callback = Callable[..., Any]
Run = Callable[["Incident"], Any]


def taking_incident(callback: object) -> Run:
    """``callback`` as a function of one incident. CallbackRefused if it takes more than that."""
    if not callable(callback):
        raise CallbackRefused(f"a callback is something callable, not {type(callback).__name__}")
    import inspect  # some milliseconds to import, needed only where a callback is set

    try:
        parameters = list(inspect.signature(callback).parameters.values())
    except (TypeError, ValueError):
        parameters = []  # some builtins have no signature; they are called with nothing
    required = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if not required:
        return lambda _incident: callback()
    if len(required) == 1 and required[0].kind is not inspect.Parameter.KEYWORD_ONLY:
        return callback
    names = ", ".join(p.name for p in required)
    raise CallbackRefused(f"a callback takes nothing, or one incident; this one needs {names}")
