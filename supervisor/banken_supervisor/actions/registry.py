"""Finds and builds the action that a step names."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Hashable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from banken.errors import Refused
from banken.protocol.limits import NAME_MAX, shorten
from banken_supervisor.actions.base import Action
from banken_supervisor.actions.own_action import HIDDEN, note_made

GROUP = "banken.actions"
"""The entry-point group in which packages offer actions."""

LIMIT_MIN, LIMIT_MAX = 0.01, 86_400.0
"""Seconds that an action may claim for one run."""

NAMES = ("callback", "exec", "signal", "kill", "restart", "webhook", "notify", "dump", "log")
"""The actions that come with banken: each is the class of its name in the module of its name, a pydantic model."""


def own_action(name: str) -> type[Action]:
    """The class of one of ``NAMES``."""
    found: type[Action] = getattr(import_module(f"banken_supervisor.actions.{name}"), name.capitalize())
    return found


def build(
    do: str, options: Mapping[str, Any], named: Mapping[str, str] | None = None, read_files: bool = True
) -> Action:
    """The action ``do`` with its options; Refused (a ValueError) if there is none, or the options are not allowed.

    ``do`` is one of ``NAMES``, else one of ``named`` (the config's ``[actions]``: name to ``module:Class``), else
    an entry point of the group ``banken.actions``, else ``module:Class`` itself. Imports what it needs: never call
    it for a name that came over the wire. ``read_files``: False leaves out the checks that read files, for a caller
    that must not wait, of options that were checked before.
    """
    if do not in NAMES:
        action = _made(do, _find(do, named or {}), options)
        try:
            _check(do, action)
        except Refused:
            raise
        except Exception as fault:  # a property of the user's own class may raise anything
            raise Refused(f"action {do!r} cannot be used: {type(fault).__name__}: {fault}") from fault
        return action
    model: Any = own_action(do)
    from pydantic import ValidationError  # with the action that needs it, not with the loop

    from banken_supervisor.actions.options import Source, fault_text

    try:
        checked: Action = model.model_validate(dict(options), context=Source(read_files=read_files))
        return checked
    except ValidationError as wrong:
        faults = wrong.errors(include_url=False)
    # Raised outside: the fault that pydantic raised knows what was given, which may be a secret.
    keys = [".".join(map(str, fault["loc"])) for fault in faults]
    texts = [fault_text(fault, lambda: list(model.model_fields)) for fault in faults]
    found = (f"{key}: {text}" if key else text for key, text in zip(keys, texts, strict=True))
    raise Refused(f"action {do!r}: {'; '.join(found)}")


def _made(do: str, found: type[Action], options: Mapping[str, Any]) -> Action:
    """An action that takes its options as keyword arguments."""
    given = {key: plain(value) for key, value in options.items()}
    try:
        inspect.signature(found).bind(**given)
    except TypeError as fault:
        allowed = ", ".join(inspect.signature(found).parameters) or "none"
        raise Refused(f"action {do!r}: {fault}; its options: {allowed}") from None
    try:
        action = found(**given)
    except ValueError as fault:
        raise Refused(f"action {do!r}: {fault}") from fault
    except Exception as fault:
        raise Refused(f"action {do!r} cannot be made: {type(fault).__name__}: {fault}") from fault
    note_made(action, given)
    return action


def plain(value: Any) -> Any:
    """An option in plain text, a tuple as a list: as an action with keyword arguments takes it."""
    reveal = getattr(value, "reveal", None)
    return reveal() if reveal is not None else list(value) if isinstance(value, tuple) else value


def _check(do: str, action: Any) -> None:
    """What the executor relies on: a user's class must not break it."""
    name, limit, hidden = getattr(action, "name", None), action.limit_s, action.hidden
    number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
    why = None
    if not isinstance(name, str) or not 0 < len(name) <= NAME_MAX:
        why = f"its name is a text of 1 to {NAME_MAX} characters"
    elif not isinstance(action.outside, bool):
        why = "outside is True or False"
    elif not number or not LIMIT_MIN <= limit <= LIMIT_MAX:
        why = f"limit_s={limit!r} is not allowed: {LIMIT_MIN:g} to {LIMIT_MAX:g} seconds"
    elif not isinstance(hidden, tuple) or not all(isinstance(each, str) for each in hidden):
        why = HIDDEN
    elif not isinstance(action.recipient, Hashable):
        why = "recipient is None, or a text or another value that can be looked up by"
    if why is not None:
        raise Refused(f"action {do!r}: {why}")


def _find(do: str, named: Mapping[str, str]) -> type[Action]:
    where = named.get(do) or next((each.value for each in entry_points(group=GROUP, name=do)), do)
    if ":" not in where:
        known = ", ".join(dict.fromkeys((*NAMES, *named, *entry_points(group=GROUP).names)))
        raise Refused(
            f"no action is called {shorten(do)!r}; there are: {known}; or a class of your own as module:Class"
        )
    try:
        found: Any = pkgutil.resolve_name(where)
    except Exception as fault:
        # It runs the user's own code, which may raise anything.
        raise Refused(
            f"action {do!r}: {shorten(where)!r} cannot be imported: {type(fault).__name__}: {fault}"
        ) from fault
    why = not_an_action(found)
    if why is not None:
        raise Refused(f"action {do!r}: {shorten(where)!r} is no action: {why}")
    checked: type[Action] = found
    return checked


def not_an_action(found: object) -> str | None:
    """Why an object that was imported cannot be used as an action; None: it can."""
    if not (isinstance(found, type) and issubclass(found, Action)) or found is Action:
        what = type(found).__name__
        article = "an" if what[0].lower() in "aeiou" else "a"
        return f"a class derived from banken_supervisor.actions.Action is needed, this is {article} {what}"
    if inspect.isabstract(found):
        return f"its class lacks {', '.join(sorted(found.__abstractmethods__))}"
    name = getattr(found, "name", None)
    if not isinstance(name, str) or not name:
        return 'its class lacks a name, such as name = "page"'
    return None
