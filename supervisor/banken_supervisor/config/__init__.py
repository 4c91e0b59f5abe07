"""``banken.toml``: read once, checked whole, and handed on as frozen data.

The way of a file: ``reading`` turns bytes into tables (limits, encoding, TOML), ``parsing`` checks each table by
itself (``models``, ``steps``, and the option models beside the actions: types, keys, ranges), ``semantics`` checks
what only the whole can tell (names without a declaration, ladders that can never act), ``building`` makes the
engine's data of it. ``deep`` checks what the config needs from the system: commands, directories, users, imports.
Every stage goes on past a fault, so that one run reports them all; ``lines`` finds the line of each.

Loading this package imports nothing; each name is loaded when it is first used. ``Secret``, ``Config`` and the
faults need no pydantic; ``load``, ``check`` and ``schema`` do.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from banken_supervisor.config.api import check, examine, example, load
    from banken_supervisor.config.faults import ConfigFaults, Fault
    from banken_supervisor.config.finding import find
    from banken_supervisor.config.json_schema import schema
    from banken_supervisor.config.settings import Config, Retention, Settings
    from banken_supervisor.text.secret import Secret

    EXAMPLE: str

__all__ = [
    "EXAMPLE", "Config", "ConfigFaults", "Fault", "Retention", "Secret", "Settings",
    "check", "examine", "example", "find", "load", "schema",
]  # fmt: skip

_HOMES = {
    "config.api": ("check", "examine", "example", "load"),
    "config.faults": ("ConfigFaults", "Fault"),
    "config.finding": ("find",),
    "config.json_schema": ("schema",),
    "config.settings": ("Config", "Retention", "Settings"),
    "text.secret": ("Secret",),
}


def __getattr__(name: str) -> Any:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if name == "EXAMPLE":
        value: Any = importlib.import_module(f"{__name__}.api").example()
    elif home is not None:
        value = getattr(importlib.import_module(f"banken_supervisor.{home}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value
