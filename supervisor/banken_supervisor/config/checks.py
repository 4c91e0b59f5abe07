"""``check = {…}`` or a list of them, in [[watchdog]] and [[program]]: what makes checks of the tables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, TypeAdapter, ValidationError

from banken.errors import Refused
from banken_supervisor.actions.options import Source, fault_text
from banken_supervisor.checks.base import CheckFields
from banken_supervisor.checks.host import HostTable
from banken_supervisor.checks.registry import KINDS
from banken_supervisor.checks.uses import UsesTable
from banken_supervisor.config.faults import dotted
from banken_supervisor.config.tags import MANY, ONE, TAG, one_or_many
from banken_supervisor.text.quoting import kind_of, quoted, suggestion

CHECKS_MAX = 100
"""Checks of one name."""

BRANCH = f"{TAG}check "
"""Begins the tag of each kind: ``exec`` is an action's too."""

EXAMPLE = '{ tcp = "127.0.0.1:6379" }'

_USES, _HOST = frozenset(UsesTable.model_fields), frozenset(HostTable.model_fields)

Check = CheckFields
"""One check, whatever its kind."""


def _one_kind(value: object) -> object:
    """A table with exactly one key of a kind."""
    if isinstance(value, CheckFields):
        return value
    if not isinstance(value, dict):
        raise ValueError(f"must be a table such as {EXAMPLE}, not {kind_of(value)}")
    value = _nested(value)
    found = _kinds_in(value)
    kinds = ", ".join(sorted(KINDS))
    if len(found) > 1:
        raise ValueError(f"has {' and '.join(found)}: each is a check of its own; write a list of two")
    if not found:
        others = [key for key in value if key not in CheckFields.model_fields]
        unknown = f"{quoted(others[0])} is no kind of check" if others else "has no kind of check"
        hint = suggestion(others[0], KINDS) if others else ""
        raise ValueError(f"{unknown}; {hint}{' ' if hint else ''}allowed: {kinds}")
    return value


def _nested(value: dict[str, Any]) -> dict[str, Any]:
    """``{ memory = "< 2GiB" }`` is ``{ uses = { memory = "< 2GiB" } }``; so for host, where it is clear whose."""
    limits = {key: each for key, each in value.items() if key not in CheckFields.model_fields}
    if not limits or any(key in KINDS for key in limits) or not limits.keys() <= _USES | _HOST:
        return value
    percent = "%" in str(limits.get("memory", ""))
    of_host = bool(limits.keys() - _USES) or percent
    of_uses = bool(limits.keys() - _HOST) or ("memory" in limits and not percent)
    if of_host == of_uses:
        raise ValueError(
            f"{', '.join(limits)}: whose? write uses = {{ … }} for the program's, host = {{ … }} for the machine's"
        )
    rest = {key: each for key, each in value.items() if key not in limits}
    return {("host" if of_host else "uses"): limits, **rest}


def with_owner_said(value: Any) -> Any:
    """``check`` or ``ready`` of a program, as the file has it. ValueError: memory in percent stands where nothing
    says whose it is: that of the machine, which a restart of the program does not change, or the program's."""
    for each in value if isinstance(value, list) else [value]:
        if not isinstance(each, dict):
            continue
        limits = {key: given for key, given in each.items() if key not in CheckFields.model_fields}
        memory = str(limits.get("memory", ""))
        if "%" in memory and limits.keys() <= _USES & _HOST:
            machines = f"host = {{ memory = {quoted(memory)} }} for the machine's"
            programs = 'uses = { memory = "< 2GiB" } for the program\'s, in bytes'
            raise ValueError(f"memory = {quoted(memory)}: whose? write {machines}, {programs}")
    return value


def _branch(value: Any) -> str | None:
    if isinstance(value, CheckFields):
        return BRANCH + value.kind
    return next((BRANCH + key for key in _kinds_in(value)), None) if isinstance(value, dict) else None


def _kinds_in(value: dict[str, Any]) -> list[str]:
    """The keys that are kinds, without those that are an option of another one here: http has ``host``."""
    found = [key for key in value if key in KINDS]
    return [key for key in found if not any(key in KINDS[each].model_fields for each in found if each != key)]


if TYPE_CHECKING:
    OneCheck = CheckFields
    Checks = CheckFields | list[CheckFields]
else:
    _BRANCHES = tuple(Annotated[model, Tag(BRANCH + key)] for key, model in KINDS.items())
    OneCheck = Annotated[
        Annotated[
            Union[_BRANCHES],  # noqa: UP007  # made of the registry
            Discriminator(_branch),
        ],
        BeforeValidator(_one_kind),
    ]
    Checks = Annotated[
        Annotated[OneCheck, Tag(ONE)] | Annotated[list[OneCheck], Field(max_length=CHECKS_MAX), Tag(MANY)],
        Discriminator(one_or_many),
    ]
"""The type of a key that takes checks."""

_CHECKS = TypeAdapter[Any](Checks)


def as_tuple(given: Checks | None) -> tuple[Check, ...]:
    """The checks of such a key."""
    return () if given is None else tuple(given) if isinstance(given, list) else (given,)


def parse_checks(raw: object, source: Source | None = None) -> tuple[Check, ...]:
    """Checks of a table, or of a list of tables, as tomllib gives them. Refused says all that is wrong.

    ``source``: where they come from; default: the current directory. ``${ENV}`` in secrets is expanded.
    """
    if not isinstance(raw, (dict, list)):
        raise Refused(f"check must be a table such as {EXAMPLE}, or a list of them, not {kind_of(raw)}")
    try:
        return as_tuple(_CHECKS.validate_python(raw, context=source or Source(os.getcwd())))
    except ValidationError as faults:
        raise Refused("\n".join(_words(fault) for fault in faults.errors(include_url=False))) from None


def _words(fault: Mapping[str, Any]) -> str:
    place = tuple(part for part in fault["loc"] if not str(part).startswith(TAG))
    text = fault_text(fault, lambda: allowed_keys(fault["loc"][:-1]))
    where = dotted(("check", *place)) if not place or isinstance(place[0], int) else dotted(place)
    return f"{where}: {text}"


def model_at(part: str) -> type[BaseModel] | None:
    """The model of a branch that pydantic names in an error's place."""
    return KINDS.get(part.removeprefix(BRANCH)) if part.startswith(BRANCH) else None


def allowed_keys(place: tuple[str | int, ...]) -> list[str]:
    """The keys of the table at this place of an error."""
    inner = {"uses": _USES, "host": _HOST}.get(str(place[-1]) if place else "")
    if inner is not None:
        return sorted(inner)
    models = [model for part in place if isinstance(part, str) and (model := model_at(part)) is not None]
    return [field.alias or key for key, field in models[-1].model_fields.items()] if models else sorted(KINDS)
