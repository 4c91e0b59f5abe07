"""banken (番犬): a watchdog for many processes.

    from banken import client          # feed a supervisor in another process
    client.feed("worker-3")

    from banken import Watchdog        # the same class, its timer in this process
    watchdog = Watchdog(timeout=60, interval=20)

Importing ``banken`` alone loads nothing else; each public name is loaded when it is first used.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # type checkers take this name for true; the typing module itself takes milliseconds to load
if TYPE_CHECKING:
    from typing import Any

    from banken import client as client
    from banken import errors as errors
    from banken import presets as presets
    from banken.errors import BankenError as BankenError
    from banken.protocol.incidents import Cause as Cause
    from banken.protocol.incidents import Incident as Incident
    from banken.watchdog import Watchdog as Watchdog

__version__ = "0.1.0"

__all__ = ["BankenError", "Cause", "Incident", "Watchdog", "__version__", "client", "errors", "presets"]

_HOMES = {
    "BankenError": "errors",
    "Cause": "protocol.incidents",
    "Incident": "protocol.incidents",
    "Watchdog": "watchdog",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'banken' has no attribute {name!r}")
    home = importlib.import_module(f"banken.{_HOMES.get(name, name)}")
    value = globals()[name] = getattr(home, name) if name in _HOMES else home
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
