"""What the engine asks about processes; it knows none itself."""

from __future__ import annotations

from banken_supervisor.engine.process_lifecycle import ProcessLifecycle
from banken_supervisor.engine.table import Table
from banken_supervisor.processes.process_watcher import ProcessWatcher


def wire_processes(processes: ProcessLifecycle, table: Table, watcher: ProcessWatcher) -> None:
    """Answer what the engine asks; all on the loop's thread."""
    processes.is_possible, watcher.same = watcher.is_possible, table.incarnations
    processes.lives, processes.has_ended, processes.tells_end = watcher.holds, watcher.ended, watcher.tells_end
