"""``banken.toml``: what the operator wants, read once, checked whole, and handed on as frozen data.

The way of a file: ``reading`` turns bytes into tables (limits, encoding, TOML), ``parsing`` checks each table by
itself (``models``, ``actions``: types, keys, ranges), ``semantics`` checks what only the whole can tell (names that
are bound nowhere, ladders that can never act), ``building`` makes the core's data of it. ``deep`` looks at the
world: commands, directories, users, imports. Every stage goes on past a fault, so that one run shows them all;
``lines`` finds the line of each.

Loading this package imports nothing; each name is loaded when it is first used. ``Secret``, ``Config`` and the
faults need no pydantic; ``load``, ``check`` and ``schema`` do.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from banken_supervisor.config.api import check as check
    from banken_supervisor.config.api import examine as examine
    from banken_supervisor.config.api import example as example
    from banken_supervisor.config.api import load as load
    from banken_supervisor.config.faults import ConfigFaults as ConfigFaults
    from banken_supervisor.config.faults import Fault as Fault
    from banken_supervisor.config.finding import find as find
    from banken_supervisor.config.schema import schema as schema
    from banken_supervisor.config.secrets import Secret as Secret
    from banken_supervisor.config.secrets import revealed as revealed
    from banken_supervisor.config.settings import Config as Config
    from banken_supervisor.config.settings import Retention as Retention
    from banken_supervisor.config.settings import Settings as Settings

    EXAMPLE: str

_HOMES = {
    "Config": "settings",
    "ConfigFaults": "faults",
    "Fault": "faults",
    "Retention": "settings",
    "Secret": "secrets",
    "Settings": "settings",
    "check": "api",
    "examine": "api",
    "example": "api",
    "find": "finding",
    "load": "api",
    "revealed": "secrets",
    "schema": "schema",
}

__all__ = [
    "EXAMPLE",
    "Config",
    "ConfigFaults",
    "Fault",
    "Retention",
    "Secret",
    "Settings",
    "check",
    "examine",
    "example",
    "find",
    "load",
    "revealed",
    "schema",
]


def __getattr__(name: str) -> Any:
    if name == "EXAMPLE":
        value: Any = importlib.import_module(f"{__name__}.api").example()
    elif name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value
