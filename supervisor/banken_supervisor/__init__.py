"""The supervisor: the process that owns every watchdog's timer.

from banken_supervisor import Supervisor

with Supervisor() as supervisor:
    supervisor.watchdog("worker-3", timeout=30).setCallback(lambda: print("worker-3 is silent"))
    supervisor.run()
"""

from banken_supervisor.supervisor import Supervisor

__all__ = ["Supervisor"]
