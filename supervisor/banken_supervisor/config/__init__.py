"""``banken.toml``: read once, checked whole, and handed on as frozen data.

The way of a file: ``reading`` turns bytes into tables (limits, encoding, TOML), ``parsing`` checks each table by
itself (``models``, ``steps``, and the option models beside the actions: types, keys, ranges), ``semantics`` checks
what only the whole can tell (names without a declaration, ladders that can never act), ``building`` makes the
engine's data of it. ``deep`` checks what the config needs from the system: commands, directories, users, imports.
Every stage goes on past a fault, so that one run reports them all; ``lines`` finds the line of each.

Loading this package imports nothing; each name is loaded when it is first used. ``Config`` and the faults need no
pydantic; ``load``, ``examine`` and ``schema`` do.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from banken_supervisor.config.api import examine, example, load
    from banken_supervisor.config.deep import feeding_directories
    from banken_supervisor.config.faults import ConfigFaults, Fault
    from banken_supervisor.config.finding import find
    from banken_supervisor.config.json_schema import schema
    from banken_supervisor.config.settings import Config

__all__ = ["Config", "ConfigFaults", "Fault", "examine", "example", "feeding_directories", "find", "load", "schema"]

_HOMES = {
    "Config": "settings", "ConfigFaults": "faults", "Fault": "faults", "examine": "api", "example": "api",
    "feeding_directories": "deep", "find": "finding", "load": "api", "schema": "json_schema",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value
