"""The supervisor: the process that owns every watchdog's timer.

from banken_supervisor import Supervisor

with Supervisor() as supervisor:
    supervisor.watchdog("worker-3", timeout=30).setCallback(lambda: print("worker-3 is silent"))
    supervisor.run()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from banken_supervisor.runtime.supervisor import Supervisor

__all__ = ["Supervisor"]


def __getattr__(name: str) -> Any:
    """Loaded when it is used: every command of the command line is in this package, and few need a supervisor."""
    if name == "Supervisor":
        from banken_supervisor.runtime.supervisor import Supervisor

        globals()[name] = Supervisor
        return Supervisor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
