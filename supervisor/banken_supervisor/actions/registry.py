"""From the word in a ladder to the action that it names."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from banken.errors import Refused
from banken.protocol.limits import NAME_MAX, shorten
from banken_supervisor.actions.base import Action
from banken_supervisor.actions.options import seconds

GROUP = "banken.actions"
"""The entry-point group in which packages offer actions."""

LIMIT_MAX = 86_400.0
"""Seconds that an action may claim for one run."""

_PACKAGE = "banken_supervisor.actions"
_OURS = {
    "callback": "callback:Callback",
    "exec": "exec:Exec",
    "signal": "signal:Signal",
    "kill": "kill:Kill",
    "restart": "restart:Restart",
    "webhook": "webhook:Webhook",
    "notify": "notify:Notify",
    "dump": "dump:Dump",
    "log": "log:Log",
}

NAMES = tuple(_OURS)
"""The actions that come with banken."""


def build(do: str, options: Mapping[str, Any], named: Mapping[str, str] | None = None) -> Action:
    """The action ``do`` with its options; Refused (a ValueError) if there is none, or the options are not allowed.

    ``do`` is one of ``NAMES``, else one of ``named`` (the config's ``[actions]``: name to ``module:Class``), else
    an entry point of the group ``banken.actions``, else ``module:Class`` itself. Imports what it needs: never call
    it for a word that came over the wire.
    """
    found = _find(do, named or {})
    try:
        inspect.signature(found).bind(**options)
    except TypeError as fault:
        raise Refused(f"action {do!r}: {fault}; its options: {_allowed(found)}") from None
    try:
        action = found(**options)
    except ValueError as fault:
        raise Refused(f"action {do!r}: {fault}") from fault
    except Exception as fault:
        raise Refused(f"action {do!r} cannot be made: {type(fault).__name__}: {fault}") from fault
    _check(do, action)
    return action


def _check(do: str, action: Any) -> None:
    """What the executor relies on, for it must not fall over a user's class."""
    if not isinstance(getattr(action, "name", None), str) or not 0 < len(action.name) <= NAME_MAX:
        raise Refused(f"action {do!r}: its name is a text of 1 to {NAME_MAX} characters")
    if not isinstance(action.outside, bool):
        raise Refused(f"action {do!r}: outside is True or False")
    seconds(action.limit_s, f"action {do!r}: limit_s", 0.01, LIMIT_MAX)
    if not isinstance(action.hidden, tuple) or not all(isinstance(each, str) for each in action.hidden):
        raise Refused(f"action {do!r}: hidden is a tuple of texts")
    if not isinstance(action.target, Hashable):
        raise Refused(f"action {do!r}: target is None, or a text or another value that can be looked up by")


def _find(do: str, named: Mapping[str, str]) -> type[Action]:
    if do in _OURS:
        return _load(do, f"{_PACKAGE}.{_OURS[do]}")
    if do in named:
        return _load(do, named[do])
    for each in entry_points(group=GROUP, name=do):
        return _load(do, each.value)
    if ":" in do:
        return _load(do, do)
    known = ", ".join(dict.fromkeys((*NAMES, *named, *entry_points(group=GROUP).names)))
    raise Refused(
        f"no action is called {shorten(do)!r}; there are: {known}; or a class of your own as module:Class"
    )


def _load(do: str, where: str) -> type[Action]:
    module, _, name = where.partition(":")
    try:
        found: Any = import_module(module.strip())
        for part in name.strip().split("."):
            found = getattr(found, part)
    except Exception as fault:
        # It runs the user's own code, which may raise anything.
        raise Refused(
            f"action {do!r}: {shorten(where)!r} cannot be imported: {type(fault).__name__}: {fault}"
        ) from fault
    if not (isinstance(found, type) and issubclass(found, Action)) or inspect.isabstract(found):
        raise Refused(
            f"action {do!r}: {shorten(where)!r} is not a class derived from banken_supervisor.actions.Action"
        )
    return found


def _allowed(found: type[Action]) -> str:
    names = [each.name for each in inspect.signature(found).parameters.values()]
    return ", ".join(names) or "none"
